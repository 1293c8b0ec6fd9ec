"""A relay of a few lines: what it says is up to the test, the WebSocket is real."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from a2a_relay.connector import AgentError, Connector, IncomingRequest
from a2a_relay.wire import chunks
from a2a_relay.wire.frames import Chunk

WELCOME = {
    "type": "auth_ok",
    "agent_id": "echo",
    "tenant": "acme",
    "protocol": "a2a-relay/1",
    "session": "s-1",
    "max_frame": 65536,
}
NEW_WELCOME = {**WELCOME, "max_frame": 8 << 20, "features": ["chunks", "credit", "resume"], "resume_seconds": 30}
"""A relay with which streams survive their link."""
OLD_WELCOME = {"type": "auth_ok", "agent_id": "echo", "tenant": "acme"}

Frame = dict[str, Any]


class Link:
    """The relay's end of one link, after the auth frame was read."""

    def __init__(self, connection: ServerConnection, auth: Frame) -> None:
        self.connection = connection
        self.auth = auth

    async def say(self, frame: Frame) -> None:
        await self.connection.send(json.dumps(frame))

    async def hear(self) -> Frame:
        async with asyncio.timeout(10):
            found: Frame = json.loads(await self.connection.recv())
            return found

    def cut(self) -> None:
        """The network fails."""
        self.connection.transport.abort()

    async def welcome(self, session: str, *, streams: Any = (), calls: Any = (), **more: Any) -> None:
        """Take the link, and say what goes on over it."""
        resumed = {"session": session, "streams": list(streams), "calls": list(calls)}
        await self.say({**NEW_WELCOME, **resumed, **more})

    async def credit(self, id: str, through: int) -> None:
        await self.say({"type": "a2a.credit", "payload": {"id": id, "events": 4, "bytes": 9999, "through": through}})

    async def cancel(self, id: str) -> None:
        await self.say({"type": "a2a.cancel", "payload": {"id": id, "reason": "CLIENT_GONE"}})

    async def hear_piece(self) -> Chunk:
        """A piece of a large frame, without a receipt."""
        async with asyncio.timeout(10):
            found = chunks.read(await self.connection.recv(decode=False))
            assert isinstance(found, Chunk)
            return found

    async def take(self, id: str, count: int) -> None:
        """Give the receipt for pieces."""
        await self.connection.send(chunks.write_taken(id, count), text=True)

    async def ask(self, id: str, method: str = "SendMessage", params: Any = None, **more: Any) -> None:
        payload = {"id": id, "method": method, "params": params or {}, "timeout_ms": 5000, **more}
        await self.say({"type": "a2a.request", "payload": payload})


Script = Callable[[Link], Awaitable[None]]


@asynccontextmanager
async def relay(*scripts: Script) -> AsyncIterator[str]:
    """A relay whose first link runs the first script, and so on; the last script serves all that follow."""
    count = 0

    async def on_link(connection: ServerConnection) -> None:
        nonlocal count
        script = scripts[min(count, len(scripts) - 1)]
        count += 1
        try:
            await script(Link(connection, json.loads(await connection.recv())))
        except ConnectionClosed:
            return

    async with serve(on_link, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def refusing(message: str, code: int) -> Script:
    """A relay that refuses whoever comes."""

    async def script(link: Link) -> None:
        await link.say({"type": "error", "message": message})
        await link.connection.close(code, message)

    return script


async def welcoming(link: Link) -> None:
    """A relay that takes the link and waits for its end."""
    await link.say(WELCOME)
    await link.connection.wait_closed()


async def never(event: asyncio.Event, seconds: float) -> None:
    """A watch that looks only when it is stirred."""
    await event.wait()


async def echo(request: IncomingRequest) -> bytes:
    if request.method == "my/fail":
        raise AgentError(-32004, "no")
    if request.method == "my/break":
        raise RuntimeError("a secret of the agent")
    return request.params


async def dialogue(*scripts: Script, agent_card: Any = None, sleep: Any = asyncio.sleep, **agent: Any) -> None:
    """Attach to a relay that follows scripts, one a link, and stop when the last has come to its end."""
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def followed(script: Script) -> Script:
        async def follow(link: Link) -> None:
            try:
                await script(link)
                if script is scripts[-1]:
                    done.set_result(None)
            except BaseException as error:
                if not done.done():
                    done.set_exception(error)
            await link.connection.wait_closed()

        return follow

    connector = {"agent_card": agent_card, "wait": never, "chance": lambda: 0.01, "sleep": sleep}
    async with relay(*map(followed, scripts)) as url, Connector(url, "the-token", **connector) as serving:
        async with asyncio.timeout(15):
            starting = asyncio.ensure_future(serving.start(**(agent or {"handler": echo})))
            await asyncio.wait({starting, done}, return_when=asyncio.FIRST_COMPLETED)
            if done.done() and done.exception() is not None:
                starting.cancel()  # a script that fails before its welcome is waited for in vain
            else:
                await starting
            await done
