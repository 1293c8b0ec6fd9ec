"""Agents of a test's own process, over a link of the native dialect that heeds credit, and of a dialect without it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

from programs import Relay
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from a2a_relay.wire import agent_side
from a2a_relay.wire.agent_side import AuthOk, Cancel, Credit, IncomingRequest
from a2a_relay.wire.flow import Outgoing

PATIENCE_SECONDS = 30.0
MAX_FRAME = 64 * 1024 * 1024


class Stream:
    """One call for an agent that streams its answer."""

    def __init__(self, link: ClientConnection, request: IncomingRequest) -> None:
        self.request = request
        self.text = str(json.loads(request.params)["message"]["parts"][0]["text"])
        self.sent = 0
        """Events that have left."""
        self.waits = asyncio.Event()
        """Set while the next event has no credit."""
        self.cancelled: str | None = None
        self._link = link
        self._outgoing = Outgoing(request.id, request.window)
        self._credit = asyncio.Event()

    async def say(self, body: bytes) -> None:
        """Send one event as soon as there is credit for it."""
        while not self._outgoing.has_room(len(body)):
            self._credit.clear()
            self.waits.set()
            await self._credit.wait()
        self.waits.clear()
        seq = self._outgoing.event(body)
        await self._link.send(agent_side.event(self.request.id, seq, body), text=True)
        self.sent = seq

    async def end(self) -> None:
        """End it well."""
        self._outgoing.end()
        await self._link.send(agent_side.end(self.request.id), text=True)

    def credit(self, through: int) -> None:
        """The relay has taken more."""
        self._outgoing.credit(through)
        self._credit.set()


Behaviour = Callable[[Stream], Awaitable[None]]


class Agent:
    """What is attached: its streams by the texts that they were asked with."""

    def __init__(self) -> None:
        self.streams: dict[str, Stream] = {}
        self.unary: Callable[[IncomingRequest], bytes] = lambda request: b'{"message":{"messageId":"r"}}'

    async def stream(self, text: str) -> Stream:
        """The stream that was asked with a text, as soon as it has come."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while text not in self.streams:
                await asyncio.sleep(0.01)
        return self.streams[text]


@asynccontextmanager
async def attached(relay: Relay, name: str, behave: Behaviour) -> AsyncIterator[Agent]:
    """A native agent that behaves so with each stream, on a link of its own."""
    agent = Agent()
    by_id: dict[str, Stream] = {}
    async with (
        connect(f"ws{relay.url.removeprefix('http')}/agent", proxy=None, compression=None, max_size=None) as link,
        asyncio.TaskGroup() as tasks,
    ):
        first = agent_side.auth(relay.token(role="agent", agent=name), None, max_frame=MAX_FRAME)
        await link.send(first, text=True)
        welcome = agent_side.read(str(await asyncio.wait_for(link.recv(), PATIENCE_SECONDS)).encode())
        assert isinstance(welcome, AuthOk), welcome

        async def read() -> None:
            with suppress(ConnectionClosed):
                async for message in link:
                    take(agent_side.read(message.encode() if isinstance(message, str) else message))

        def take(frame: Any) -> None:
            match frame:
                case IncomingRequest(stream=True):
                    stream = by_id[frame.id] = Stream(link, frame)
                    agent.streams[stream.text] = stream
                    tasks.create_task(_quietly(behave(stream)))
                case IncomingRequest():
                    tasks.create_task(_quietly(link.send(agent_side.result(frame.id, agent.unary(frame)), text=True)))
                case Credit() if frame.id in by_id:
                    by_id[frame.id].credit(frame.through)
                case Cancel() if frame.id in by_id:
                    by_id[frame.id].cancelled = frame.reason

        reading = tasks.create_task(read())
        try:
            yield agent
        finally:
            await link.close()
            await reading
            for stream in by_id.values():  # nobody is left who waits for credit
                stream.credit(stream.sent)


async def _quietly(work: Awaitable[None]) -> None:
    """A link that ends ends what was under way."""
    with suppress(ConnectionClosed):
        await work


@asynccontextmanager
async def attached_without_credit(
    relay: Relay, name: str, behave: Callable[[str, Callable[[bytes], Awaitable[None]]], Awaitable[None]]
) -> AsyncIterator[None]:
    """An agent of the dialect a2a.v1. `behave` is given a stream's text and a way to say its events."""
    url = f"ws{relay.url.removeprefix('http')}/agent"
    headers = {"Authorization": f"Bearer {relay.token(role='agent', agent=name)}"}
    wanted = [Subprotocol("a2a.v1")]
    async with (
        connect(url, proxy=None, compression=None, subprotocols=wanted, additional_headers=headers) as link,
        asyncio.TaskGroup() as tasks,
    ):

        async def answer(call: dict[str, Any]) -> None:
            head = b'{"jsonrpc":"2.0","id":' + json.dumps(call["id"]).encode()

            async def say(body: bytes) -> None:
                await link.send(head + b',"result":' + body + b"}", text=True)

            await behave(call["params"]["message"]["parts"][0]["text"], say)
            await link.send(head + b',"streamEnd":true}', text=True)

        async def read() -> None:
            with suppress(ConnectionClosed):
                async for message in link:
                    call = json.loads(message)
                    if "method" in call:
                        tasks.create_task(_quietly(answer(call)))

        reading = tasks.create_task(read())
        try:
            yield
        finally:
            await link.close()
            await reading
