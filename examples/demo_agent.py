"""The echo agent: a complete A2A agent in one file, built on the official Python SDK (`a2a-sdk`).

It knows nothing of the relay. It is an ordinary A2A server that listens on this machine only, and that is the point:
the connector makes it reachable from elsewhere without a change to it. With --durable its card has one line more, by
which it asks relays to let its streams survive them; others ignore it.

    python examples/demo_agent.py 9999                      # serves http://127.0.0.1:9999
    relay connect --upstream http://127.0.0.1:9999          # ... and now it is behind the relay

What it does with a message: it makes a task, streams the text back in a few chunks of one artifact, and completes.
A client that does not stream gets the finished task. Both bindings (JSON-RPC and HTTP+JSON) and both protocol
versions (1.0 and 0.3) are served, so that any A2A client can talk to it.
"""

import argparse
import asyncio
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Literal

import httpx
import uvicorn
from a2a.helpers.proto_helpers import new_text_message, new_text_part
from a2a.server.agent_execution import AgentExecutor, RequestContext
from a2a.server.events import EventQueue
from a2a.server.request_handlers import DefaultRequestHandler
from a2a.server.routes import create_agent_card_routes, create_jsonrpc_routes, create_rest_routes
from a2a.server.tasks import (
    BasePushNotificationSender,
    InMemoryPushNotificationConfigStore,
    InMemoryTaskStore,
    TaskUpdater,
)
from a2a.types.a2a_pb2 import (
    AgentCapabilities,
    AgentCard,
    AgentExtension,
    AgentInterface,
    AgentProvider,
    AgentSkill,
    Task,
    TaskState,
    TaskStatus,
)
from starlette.applications import Starlette

Reply = Literal["task", "message"]
RELAY_EXTENSION = "https://a2a-relay.dev/ext/relay/v1"


class EchoExecutor(AgentExecutor):
    """The agent's work itself. The SDK calls `execute` once per message and delivers what it puts into the queue."""

    def __init__(self, think_seconds: float, chunk_seconds: float, chunk_words: int, reply: Reply) -> None:
        self._think_seconds = think_seconds
        self._chunk_seconds = chunk_seconds
        self._chunk_words = chunk_words
        self._reply = reply

    async def execute(self, context: RequestContext, event_queue: EventQueue) -> None:
        """Answer one message: with a task that is worked on in the open, or with a single message."""
        text = context.get_user_input()
        if self._reply == "message":
            await asyncio.sleep(self._think_seconds)
            await event_queue.enqueue_event(new_text_message(text, context_id=context.context_id))
            return

        # A new conversation starts with a task in state SUBMITTED: the first thing that a streaming client sees.
        # The task's id is the SDK's choice; the client learns it here and can use it for get, cancel and subscribe.
        if context.current_task is None and context.message is not None:
            await event_queue.enqueue_event(
                Task(
                    id=context.task_id,
                    context_id=context.context_id,
                    status=TaskStatus(state=TaskState.TASK_STATE_SUBMITTED),
                    history=[context.message],
                )
            )

        task = TaskUpdater(event_queue, context.task_id or "", context.context_id or "")
        await task.start_work()  # state WORKING
        await asyncio.sleep(self._think_seconds)
        await self._stream_back(text, task)
        await task.complete()  # state COMPLETED: the end of the stream

    async def cancel(self, context: RequestContext, event_queue: EventQueue) -> None:
        """Say that the task has ended. The SDK has already stopped `execute` when it calls this."""
        await TaskUpdater(event_queue, context.task_id or "", context.context_id or "").cancel()

    async def _stream_back(self, text: str, task: TaskUpdater) -> None:
        """Send the text as one artifact in a few chunks: the first one opens it, the others append to it."""
        chunks = split_into_chunks(text, self._chunk_words)
        for position, chunk in enumerate(chunks):
            await task.add_artifact(
                [new_text_part(chunk)],
                artifact_id="echo",
                name="echo",
                append=position > 0,
                last_chunk=position == len(chunks) - 1,
            )
            await asyncio.sleep(self._chunk_seconds)


def split_into_chunks(text: str, chunk_words: int = 0, at_most: int = 8) -> list[str]:
    """Cut the text after so many words, 0: into eight chunks or fewer; the pieces joined are the text again."""
    words = re.findall(r"\s*\S+\s*", text) or [text]
    per_chunk = chunk_words or -(-len(words) // at_most)
    return ["".join(words[start : start + per_chunk]) for start in range(0, len(words), per_chunk)]


def build_card(url: str, *, is_durable: bool = False) -> AgentCard:
    """Describe the agent to its clients: who it is, what it can do and where it listens.

    Args:
        url: where it listens, without a trailing slash, such as `http://127.0.0.1:9999`.
        is_durable: whether it asks relays to keep its streams on disk, so that they outlive a relay that is killed.
    """
    durable = AgentExtension(uri=RELAY_EXTENSION, params={"streamWindow": "durable"})
    return AgentCard(
        name="echo",
        description="Says back what it is told, a few words at a time.",
        version="1.0.0",
        provider=AgentProvider(organization="a2a-relay examples", url="https://example.com"),
        # In order of preference. Clients of 0.3 find the same facts in the card's older fields, which the SDK adds.
        supported_interfaces=[
            AgentInterface(url=f"{url}/", protocol_binding="JSONRPC", protocol_version="1.0"),
            AgentInterface(url=url, protocol_binding="HTTP+JSON", protocol_version="1.0"),
            AgentInterface(url=f"{url}/", protocol_binding="JSONRPC", protocol_version="0.3"),
            AgentInterface(url=url, protocol_binding="HTTP+JSON", protocol_version="0.3"),
        ],
        capabilities=AgentCapabilities(
            streaming=True,
            push_notifications=True,
            extended_agent_card=True,
            extensions=[durable] if is_durable else [],
        ),
        default_input_modes=["text/plain"],
        default_output_modes=["text/plain"],
        skills=[
            AgentSkill(
                id="echo",
                name="Echo",
                description="Returns the text of the message.",
                tags=["echo", "demo"],
                examples=["hi"],
            )
        ],
    )


def build_extended_card(url: str, *, is_durable: bool = False) -> AgentCard:
    """Describe the agent to clients that have authenticated: the same card with a skill that strangers do not see."""
    card = build_card(url, is_durable=is_durable)
    card.skills.append(
        AgentSkill(id="echo-members", name="Members' echo", description="The same, for members.", tags=["echo"])
    )
    return card


def create_app(
    url: str,
    *,
    think_seconds: float = 0.0,
    chunk_seconds: float = 0.1,
    chunk_words: int = 0,
    reply: Reply = "task",
    is_durable: bool = False,
) -> Starlette:
    """Build the agent as an ASGI application.

    Args:
        url: the base URL that its card names.
        think_seconds: how long it works before its first word.
        chunk_seconds: the pause after each chunk.
        chunk_words: the words of a chunk; 0 makes eight chunks or fewer of any text.
        reply: `task` for a task with an artifact, `message` for a single message.
        is_durable: whether its card asks relays to keep its streams on disk.
    """
    card = build_card(url, is_durable=is_durable)
    http = httpx.AsyncClient()
    push_configs = InMemoryPushNotificationConfigStore()
    handler = DefaultRequestHandler(
        agent_executor=EchoExecutor(think_seconds, chunk_seconds, chunk_words, reply),
        task_store=InMemoryTaskStore(),
        agent_card=card,
        extended_agent_card=build_extended_card(url, is_durable=is_durable),
        push_config_store=push_configs,
        # An agent that strangers may call should also pass `push_url_validator`, lest it be sent to fetch any URL.
        push_sender=BasePushNotificationSender(http, push_configs),
    )

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        await handler.aclose()
        await http.aclose()

    return Starlette(
        lifespan=lifespan,
        routes=[
            *create_agent_card_routes(card),
            *create_jsonrpc_routes(handler, "/", enable_v0_3_compat=True),
            *create_rest_routes(handler, enable_v0_3_compat=True),
        ],
    )


def main() -> None:
    """Serve the agent on this machine until Ctrl-C."""
    options = argparse.ArgumentParser(description="An echo agent that speaks A2A 1.0 and 0.3.")
    options.add_argument("port", type=int, nargs="?", default=9999, help="0 takes a free one (default: 9999)")
    options.add_argument("--think", type=float, default=0.0, metavar="SECONDS", help="work this long before answering")
    options.add_argument("--chunk", type=float, default=0.1, metavar="SECONDS", help="pause after each chunk")
    options.add_argument(
        "--words", type=int, default=0, metavar="N", help="words of a chunk (default: in eight chunks)"
    )
    options.add_argument("--reply", choices=["task", "message"], default="task", help="what an answer is")
    options.add_argument("--durable", action="store_true", help="ask relays to let its streams survive them")
    chosen = options.parse_args()

    # The port is taken before the card is written, so that the card of port 0 names the real one.
    with socket.create_server(("127.0.0.1", chosen.port)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        app = create_app(
            url,
            think_seconds=chosen.think,
            chunk_seconds=chosen.chunk,
            chunk_words=chosen.words,
            reply=chosen.reply,
            is_durable=chosen.durable,
        )
        print(url, flush=True)
        with suppress(KeyboardInterrupt):
            uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listener])


if __name__ == "__main__":
    main()
