"""An agent on the official SDK's server that counts, one event for each number: streams that a test can look through.

    python counting_agent.py 0 [--durable] [--leave FILE --every 75]        # prints its URL

The message `count 300 0.01` makes a task that says "0 " to "299 ", each as a piece of one artifact and with a pause
of 0.01 s behind it; `count 300 0.01 4096` fills each up with so many bytes. `--durable` asks for durable windows.
With `--every 75` it says 149 only when FILE has one byte, 224 only when it has two, and so on: who kills something at
each 75th number knows that there is something left to stream afterwards, however slow the machine is.
"""

import argparse
import asyncio
import socket
from pathlib import Path

import uvicorn
from a2a.helpers.proto_helpers import new_text_part
from a2a.server.agent_execution import AgentExecutor, RequestContext
from a2a.server.events import EventQueue
from a2a.server.request_handlers import DefaultRequestHandler
from a2a.server.routes import create_agent_card_routes, create_jsonrpc_routes, create_rest_routes
from a2a.server.tasks import InMemoryTaskStore, TaskUpdater
from a2a.types.a2a_pb2 import (
    AgentCapabilities,
    AgentCard,
    AgentExtension,
    AgentInterface,
    AgentSkill,
    Task,
    TaskState,
    TaskStatus,
)
from google.protobuf.json_format import ParseDict
from starlette.applications import Starlette

EXTENSION = "https://a2a-relay.dev/ext/relay/v1"


class Counting(AgentExecutor):
    """Counts as it is told, and behind each `every` numbers only with leave."""

    def __init__(self, leave: Path | None, every: int) -> None:
        self._leave = leave
        self._every = every

    async def _wait_for_leave(self, number: int) -> None:
        needed = (number + 1) // self._every - 1
        if self._leave is None or (number + 1) % self._every:
            return
        while (self._leave.stat().st_size if self._leave.exists() else 0) < needed:
            await asyncio.sleep(0.02)

    async def execute(self, context: RequestContext, event_queue: EventQueue) -> None:
        _, last, pause, *size = context.get_user_input().split()
        filler = "x" * int(size[0]) if size else ""
        await event_queue.enqueue_event(
            Task(
                id=context.task_id,
                context_id=context.context_id,
                status=TaskStatus(state=TaskState.TASK_STATE_SUBMITTED),
            )
        )
        task = TaskUpdater(event_queue, context.task_id or "", context.context_id or "")
        await task.start_work()
        for number in range(int(last)):
            await self._wait_for_leave(number)
            parts = [new_text_part(f"{number}{filler} ")]
            await task.add_artifact(parts, artifact_id="numbers", append=number > 0)
            await asyncio.sleep(float(pause))
        await task.complete()

    async def cancel(self, context: RequestContext, event_queue: EventQueue) -> None:
        await TaskUpdater(event_queue, context.task_id or "", context.context_id or "").cancel()


def build_card(url: str, *, is_durable: bool) -> AgentCard:
    asked = ParseDict({"uri": EXTENSION, "params": {"streamWindow": "durable"}}, AgentExtension())
    return AgentCard(
        name="counting",
        description="Counts.",
        version="1.0.0",
        supported_interfaces=[
            AgentInterface(url=f"{url}/", protocol_binding="JSONRPC", protocol_version="1.0"),
            AgentInterface(url=url, protocol_binding="HTTP+JSON", protocol_version="1.0"),
            AgentInterface(url=f"{url}/", protocol_binding="JSONRPC", protocol_version="0.3"),
            AgentInterface(url=url, protocol_binding="HTTP+JSON", protocol_version="0.3"),
        ],
        capabilities=AgentCapabilities(streaming=True, extensions=[asked] if is_durable else []),
        default_input_modes=["text/plain"],
        default_output_modes=["text/plain"],
        skills=[AgentSkill(id="count", name="Count", description="Counts.", tags=["test"])],
    )


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("port", type=int)
    options.add_argument("--durable", action="store_true")
    options.add_argument("--leave", type=Path)
    options.add_argument("--every", type=int, default=1)
    chosen = options.parse_args()
    with socket.create_server(("127.0.0.1", chosen.port)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        card = build_card(url, is_durable=chosen.durable)
        handler = DefaultRequestHandler(
            agent_executor=Counting(chosen.leave, chosen.every), task_store=InMemoryTaskStore(), agent_card=card
        )
        app = Starlette(
            routes=[
                *create_agent_card_routes(card),
                *create_jsonrpc_routes(handler, "/", enable_v0_3_compat=True),
                *create_rest_routes(handler, enable_v0_3_compat=True),
            ]
        )
        print(url, flush=True)
        uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listener])


if __name__ == "__main__":
    main()
