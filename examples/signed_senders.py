"""An agent that knows who is asking, and believes nobody else: the official SDK's server behind a verifier.

    RELAY_URL=https://relay.example RELAY_TOKEN=... python examples/signed_senders.py acme/greeter

The connector has the relay sign who calls; `SenderMiddleware` checks that with the relay's public keys, and takes
every other `A2A-Relay-Sender` away. The executor finds the sender in the call's context.
"""

import asyncio
import os
import sys
from contextlib import suppress

from a2a.helpers.proto_helpers import new_text_message
from a2a.server.agent_execution import AgentExecutor, RequestContext
from a2a.server.context import ServerCallContext
from a2a.server.events import EventQueue
from a2a.server.request_handlers import DefaultRequestHandler
from a2a.server.routes import DefaultServerCallContextBuilder, create_agent_card_routes, create_jsonrpc_routes
from a2a.server.tasks import InMemoryTaskStore
from demo_agent import build_card
from starlette.applications import Starlette
from starlette.requests import Request

from a2a_relay.connector import Connector
from a2a_relay.connector.senders import RelayKeys, Sender, SenderMiddleware


class Greeter(AgentExecutor):
    """Greets whoever asks by the name that the relay vouches for."""

    async def execute(self, context: RequestContext, event_queue: EventQueue) -> None:
        """Answer with a message."""
        sender: Sender | None = context.call_context.state["sender"]
        text = "hello, stranger" if sender is None else f"hello, {sender.identity} ({sender.role})"
        await event_queue.enqueue_event(new_text_message(text, context_id=context.context_id))

    async def cancel(self, context: RequestContext, event_queue: EventQueue) -> None:
        """There is never anything to cancel."""


class WithSender(DefaultServerCallContextBuilder):
    """Hands the checked sender from the ASGI scope to the executor."""

    def build(self, request: Request) -> ServerCallContext:
        """The SDK's own context, with one thing more."""
        context = super().build(request)
        context.state["sender"] = request.scope["a2a_relay.sender"]
        return context


def create_app(relay: str, address: str) -> SenderMiddleware:
    """The agent `tenant/agent`, which believes the relay at this URL."""
    card = build_card("http://localhost")
    handler = DefaultRequestHandler(agent_executor=Greeter(), task_store=InMemoryTaskStore(), agent_card=card)
    app = Starlette(
        routes=[
            *create_agent_card_routes(card),
            *create_jsonrpc_routes(handler, "/", enable_v0_3_compat=True, context_builder=WithSender()),
        ]
    )
    return SenderMiddleware(app, RelayKeys(relay), address)


async def run(relay: str, token: str, address: str) -> None:
    """Stay attached until Ctrl-C."""
    async with Connector(relay, token, verify_senders="require") as connector:
        await connector.start(app=create_app(relay, address))
        print(f"attached to {relay}", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(run(os.environ["RELAY_URL"], os.environ["RELAY_TOKEN"], sys.argv[1]))
