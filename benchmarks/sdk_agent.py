"""An agent as a2a-sdk makes them, for a benchmark: it answers every message with status updates at a steady rate.

    python benchmarks/sdk_agent.py --port 9999 --rate 10 --seconds 6

Each update carries the time at which it was sent, as those of stream_agents.py do.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import time

import uvicorn
from a2a.helpers.proto_helpers import new_text_part
from a2a.server.agent_execution import AgentExecutor, RequestContext
from a2a.server.events import EventQueue
from a2a.server.request_handlers import DefaultRequestHandler
from a2a.server.routes import create_agent_card_routes, create_jsonrpc_routes
from a2a.server.tasks import InMemoryTaskStore, TaskUpdater
from a2a.types.a2a_pb2 import AgentCapabilities, AgentCard, AgentInterface, Task, TaskState, TaskStatus
from starlette.applications import Starlette


class CountingExecutor(AgentExecutor):
    """Says that it works, at a steady rate."""

    def __init__(self, rate: float, seconds: float) -> None:
        self._period = 1 / rate
        self._seconds = seconds

    async def execute(self, context: RequestContext, event_queue: EventQueue) -> None:
        task_id, context_id = context.task_id or "", context.context_id or ""
        status = TaskStatus(state=TaskState.TASK_STATE_SUBMITTED)
        await event_queue.enqueue_event(Task(id=task_id, context_id=context_id, status=status))
        await asyncio.sleep(random.random() * self._period)  # streams that were opened together do not tick together
        task, due = TaskUpdater(event_queue, task_id, context_id), time.monotonic()
        ends = due + self._seconds
        while due < ends:
            stamp = f"@{time.monotonic_ns() // 1000:016}@"
            await task.update_status(TaskState.TASK_STATE_WORKING, task.new_agent_message([new_text_part(stamp)]))
            due += self._period
            await asyncio.sleep(max(0.0, due - time.monotonic()))
        await task.complete()

    async def cancel(self, context: RequestContext, event_queue: EventQueue) -> None:
        await TaskUpdater(event_queue, context.task_id or "", context.context_id or "").cancel()


def main(chosen: argparse.Namespace) -> None:
    url = f"http://127.0.0.1:{chosen.port}/"
    card = AgentCard(
        name="counter",
        description="counts",
        version="1",
        supported_interfaces=[AgentInterface(url=url, protocol_binding="JSONRPC", protocol_version="1.0")],
        capabilities=AgentCapabilities(streaming=True),
    )
    handler = DefaultRequestHandler(
        agent_executor=CountingExecutor(chosen.rate, chosen.seconds), task_store=InMemoryTaskStore(), agent_card=card
    )
    app = Starlette(routes=[*create_agent_card_routes(card), *create_jsonrpc_routes(handler, "/")])
    uvicorn.run(app, port=chosen.port, log_level="warning", timeout_graceful_shutdown=1)


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--port", type=int, required=True)
    arguments.add_argument("--rate", type=float, default=10)
    arguments.add_argument("--seconds", type=float, default=6)
    main(arguments.parse_args())
