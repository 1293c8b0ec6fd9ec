"""Small real agents over WebSocket: relay-go's frames, the native dialect, openclaw's habits.

An agent is attached with `Agent.attach` (or a subclass's) and given a behaviour, an
async function that gets each call. Everything the relay sent is kept, so that a test
can look at the bytes as the agent got them.
"""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import Any, Self

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

PATIENCE_SECONDS = 15.0
"""How long a test waits for something that must come."""

Json = dict[str, Any]


class Refusal(Exception):
    """The relay answered the auth frame with something other than `auth_ok`."""

    def __init__(self, frame: Json | None, close_code: int | None) -> None:
        super().__init__(f"refused with {frame}, closed with {close_code}")
        self.frame = frame
        self.close_code = close_code


class Call:
    """One `a2a.request` as it arrived; `raw` is the frame's text, byte for byte."""

    def __init__(self, raw: str, payload: Json) -> None:
        self.raw = raw
        self.payload = payload
        self.id: str = payload["id"]
        self.method: str = payload["method"]
        self.params: Any = payload.get("params")
        self.stream: bool = payload.get("stream") is True
        self.meta: Json = payload.get("meta") or {}

    @property
    def text(self) -> str:
        """The text of the message's first part (also inside openclaw's nested request)."""
        params = self.params if "message" in self.params else self.params["params"]
        return str(params["message"]["parts"][0]["text"])


Behaviour = Callable[["Agent", Call], Awaitable[None]]
Attach = Callable[..., Awaitable[Any]]
"""What the fixtures that attach agents give to a test."""


def card(name: str = "Conformance agent", **changes: Any) -> Json:
    """A card as today's agents publish it: both versions' required fields, interfaces at a private address."""
    return {
        "name": name,
        "description": "Echoes what it is told",
        "url": "http://192.168.7.7:9999/",
        "version": "1.2.3",
        "protocolVersion": "0.3.0",
        "preferredTransport": "JSONRPC",
        "supportedInterfaces": [
            {"url": "http://192.168.7.7:9999/", "protocolBinding": "JSONRPC", "protocolVersion": "1.0"},
            {"url": "http://192.168.7.7:9999", "protocolBinding": "HTTP+JSON", "protocolVersion": "1.0"},
        ],
        "capabilities": {"streaming": True},
        "defaultInputModes": ["text/plain"],
        "defaultOutputModes": ["text/plain"],
        "skills": [{"id": "echo", "name": "Echo", "description": "Echoes", "tags": ["test"]}],
        **changes,
    }


async def dial(ws_url: str) -> ClientConnection:
    """Open a WebSocket without compression, without a proxy and without a frame limit."""
    return await connect(
        ws_url, max_size=None, compression=None, proxy=None, open_timeout=PATIENCE_SECONDS, close_timeout=2
    )


class Agent:
    """An agent that speaks relay-go's frames."""

    auth_fields: Json = {}

    def __init__(self, link: ClientConnection, welcome: Json, behaviour: Behaviour) -> None:
        self.link = link
        self.welcome = welcome
        self.behaviour = behaviour
        self.tenant: str = welcome["tenant"]
        self.id: str = welcome["agent_id"]
        self.calls: list[Call] = []
        self.frames: list[Json] = []
        self._fresh_calls: asyncio.Queue[Call] = asyncio.Queue()
        self._fresh_frames: defaultdict[str, asyncio.Queue[Json]] = defaultdict(asyncio.Queue)
        self._running: set[asyncio.Task[None]] = set()
        self._failures: list[BaseException] = []
        self._reader = asyncio.create_task(self._read())

    @classmethod
    async def attach(
        cls, ws_url: str, token: str, behaviour: Behaviour, agent_card: Json | str | None = None, **fields: Any
    ) -> Self:
        """Attach, or raise `Refusal`. A card given as text crosses as exactly that text."""
        link = await dial(ws_url)
        try:
            await link.send(auth_frame(token, agent_card, **cls.auth_fields, **fields))
            welcome = json.loads(await asyncio.wait_for(link.recv(), PATIENCE_SECONDS))
        except ConnectionClosed as closed:
            raise Refusal(None, closed.rcvd.code if closed.rcvd else None) from closed
        except TimeoutError:
            await link.close()
            raise
        if welcome.get("type") != "auth_ok":
            raise Refusal(welcome, await closing(link))
        return cls(link, welcome, behaviour)

    async def _read(self) -> None:
        try:
            async for text in self.link:
                self._take(str(text))
        except ConnectionClosed:
            pass

    def _take(self, text: str) -> None:
        frame = json.loads(text)
        self.frames.append(frame)
        if frame.get("type") != "a2a.request":
            self._fresh_frames[str(frame.get("type"))].put_nowait(frame)
            return
        call = Call(text, frame["payload"])
        self.calls.append(call)
        self._fresh_calls.put_nowait(call)
        task = asyncio.create_task(self._behave(call))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _behave(self, call: Call) -> None:
        try:
            await self.behaviour(self, call)
        except ConnectionClosed:
            pass
        except Exception as failure:
            self._failures.append(failure)

    async def next_call(self) -> Call:
        """The next call that no test has taken yet."""
        return await asyncio.wait_for(self._fresh_calls.get(), PATIENCE_SECONDS)

    async def next_frame(self, kind: str, within: float = PATIENCE_SECONDS) -> Json:
        """The next frame of a type that no test has taken yet."""
        return await asyncio.wait_for(self._fresh_frames[kind].get(), within)

    def received(self, kind: str) -> int:
        """How many frames of a type have arrived so far."""
        return sum(1 for frame in self.frames if frame.get("type") == kind)

    async def send(self, kind: str, **payload: Any) -> None:
        """Send a frame with a payload."""
        await self.link.send(json.dumps({"type": kind, "payload": payload} if payload else {"type": kind}))

    async def send_text(self, text: str) -> None:
        """Send a text frame as it is."""
        await self.link.send(text)

    async def answer(self, call: Call, result: Any) -> None:
        """Answer with a result."""
        await self.send("a2a.response", id=call.id, result=result)

    async def answer_raw(self, call: Call, result: str) -> None:
        """Answer with a result that crosses as exactly this text."""
        await self.send_text(f'{{"type":"a2a.response","payload":{{"id":"{call.id}","result":{result}}}}}')

    async def fail(self, call: Call, code: int, message: str, **data: Any) -> None:
        """Answer with an error object; `data=` is optional."""
        await self.send("a2a.response", id=call.id, error={"code": code, "message": message, **data})

    async def until_closed(self) -> int:
        """Wait until the relay has ended the link; the close code (1006 without a close frame)."""
        await asyncio.wait_for(self.link.wait_closed(), PATIENCE_SECONDS)
        return self.link.close_code or 1006

    async def close(self) -> None:
        """Detach; raises what a behaviour stumbled over, so that no test passes over it."""
        for task in self._running:
            task.cancel()
        await self.link.close()
        await asyncio.gather(self._reader, *self._running, return_exceptions=True)
        if self._failures:
            raise self._failures[0]


class NativeAgent(Agent):
    """An agent that speaks the native dialect `a2a-relay/1`."""

    auth_fields = {"protocol": "a2a-relay/1", "adopts_ids": False}

    def _take(self, text: str) -> None:
        super()._take(text)
        frame = self.frames[-1]
        if frame.get("type") == "relay.probe" and not frame["payload"]["id"].startswith("mine-"):
            task = asyncio.create_task(self.link.send(text))
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    async def event(self, call: Call, seq: int, result: Any) -> None:
        """Send one stream event."""
        await self.send("a2a.event", id=call.id, seq=seq, result=result)

    async def event_raw(self, call: Call, seq: int, result: str) -> None:
        """Send one stream event that crosses as exactly this text."""
        await self.send_text(f'{{"type":"a2a.event","payload":{{"id":"{call.id}","seq":{seq},"result":{result}}}}}')

    async def end(self, call: Call, **error: Any) -> None:
        """End a stream; `error=` when it has failed."""
        await self.send("a2a.end", id=call.id, **error)


class OpenclawAgent(Agent):
    """An agent with openclaw-a2a's habits: it reads a whole JSON-RPC request from `payload.params`."""


def auth_frame(token: str, agent_card: Json | str | None = None, **fields: Any) -> str:
    """The text of an auth frame; a card given as text is put in as it is."""
    frame = json.dumps({"type": "auth", "token": token, **fields})
    if agent_card is None:
        return frame
    text = agent_card if isinstance(agent_card, str) else json.dumps(agent_card)
    return f'{frame[:-1]}, "agent_card": {text}}}'


async def closing(link: ClientConnection) -> int | None:
    """Wait until the relay has closed a link; its close code, if it sent one."""
    await asyncio.wait_for(link.wait_closed(), PATIENCE_SECONDS)
    return link.close_code
