"""The agent as an ASGI app in this process: its answers stream, which httpx's own ASGI transport does not do.

Source: ASGI 3.0, HTTP and WebSocket message format 2.4 (a send after the client
has gone raises OSError), lifespan protocol 2.0.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Any

import httpx
import structlog

from a2a_relay.connector.cards import CardSource
from a2a_relay.connector.refused import ConnectorRefused, place_of
from a2a_relay.connector.upstream_http import HttpUpstream

Message = MutableMapping[str, Any]
AsgiApp = Callable[
    [MutableMapping[str, Any], Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]
]

_ORIGIN = "http://localhost"
_VERSIONS = {"version": "3.0", "spec_version": "2.4"}
_HELD_PARTS = 16
_LOG = structlog.get_logger("a2a_relay.connector")


class AppUpstream(HttpUpstream):
    """An A2A server that is an ASGI app. Only its card and its A2A paths are called; its lifespan is run."""

    def __init__(self, app: AsgiApp, *, card: CardSource | None = None) -> None:
        self._lifespan = Lifespan(app)
        super().__init__(_ORIGIN, card=card, transport=AsgiTransport(app, self._lifespan.state))

    async def start(self) -> None:
        await self._lifespan.start()

    async def aclose(self) -> None:
        await super().aclose()
        await self._lifespan.aclose()


class AsgiTransport(httpx.AsyncBaseTransport):
    """Calls an app as a server would: each request in a task of its own, the answer part by part."""

    def __init__(self, app: AsgiApp, state: dict[str, Any]) -> None:
        self._app = app
        self._state = state
        self._tasks: set[asyncio.Task[None]] = set()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        exchange = _Exchange(await request.aread())
        task = asyncio.get_running_loop().create_task(exchange.run(self._app, self._scope(request)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            await exchange.started.wait()
        except asyncio.CancelledError:
            exchange.disconnect()
            raise
        return httpx.Response(exchange.status, headers=exchange.headers, stream=exchange)

    async def aclose(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _scope(self, request: httpx.Request) -> dict[str, Any]:
        return {
            "type": "http",
            "asgi": _VERSIONS,
            "http_version": "1.1",
            "method": request.method,
            "scheme": request.url.scheme,
            "path": request.url.path,
            "raw_path": request.url.raw_path.partition(b"?")[0],
            "query_string": request.url.query,
            "root_path": "",
            "headers": [(name.lower(), value) for name, value in request.headers.raw],
            "client": ("127.0.0.1", 0),
            "server": ("localhost", 80),
            "state": self._state.copy(),
        }


class _Exchange(httpx.AsyncByteStream):
    """One request and its answer; the app waits while nobody takes the parts that it sent."""

    def __init__(self, body: bytes) -> None:
        self.status = 500
        self.headers: list[tuple[bytes, bytes]] = []
        self.started = asyncio.Event()
        self._body: bytes | None = body
        self._parts: asyncio.Queue[bytes | None] = asyncio.Queue(_HELD_PARTS)
        self._gone = asyncio.Event()
        self._is_whole = False

    async def run(self, app: AsgiApp, scope: dict[str, Any]) -> None:
        try:
            await app(scope, self._receive, self._send)
        except Exception as error:  # noqa: BLE001 the app is foreign code: its failure is its answer
            if not self._gone.is_set():
                _LOG.warning("app_failed", error=place_of(error))
        finally:
            self.started.set()
        if not self._gone.is_set():
            await self._parts.put(None)

    async def _receive(self) -> Message:
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        if self._gone.is_set():
            raise OSError("the caller has gone")
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = list(message.get("headers", ()))
            self.started.set()
        elif message["type"] == "http.response.body":
            if message.get("body"):
                await self._parts.put(bytes(message["body"]))
            if not message.get("more_body", False):
                self._is_whole = True
                await self._parts.put(None)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while (part := await self._parts.get()) is not None:
            yield part
        if not self._is_whole and self.headers:
            raise httpx.ReadError("the app ended before its answer")

    async def aclose(self) -> None:
        self.disconnect()

    def disconnect(self) -> None:
        """Tell the app that nobody reads on, and let go of what it still sends."""
        self._gone.set()
        while not self._parts.empty():
            self._parts.get_nowait()


class Lifespan:
    """The app's start and end. An app without a lifespan simply has none."""

    def __init__(self, app: AsgiApp) -> None:
        self.state: dict[str, Any] = {}
        self._app = app
        self._inbox: asyncio.Queue[Message] = asyncio.Queue()
        self._outbox: asyncio.Queue[Message | None] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Run the app's start. Raises `ConnectorRefused` when it fails."""
        self._task = asyncio.get_running_loop().create_task(self._run())
        await self._inbox.put({"type": "lifespan.startup"})
        answer = await self._outbox.get()
        if answer is not None and answer["type"] == "lifespan.startup.failed":
            raise ConnectorRefused(f"the app has failed to start: {answer.get('message', '')}")

    async def aclose(self) -> None:
        """Run the app's end, if it has started."""
        if self._task is None:
            return
        if not self._task.done():
            await self._inbox.put({"type": "lifespan.shutdown"})
            await self._outbox.get()
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        scope = {"type": "lifespan", "asgi": _VERSIONS, "state": self.state}
        try:
            await self._app(scope, self._inbox.get, self._outbox.put)
        except Exception as error:  # noqa: BLE001 apps without a lifespan raise whatever they like (ASGI lifespan 2.0)
            _LOG.debug("app_has_no_lifespan", error=type(error).__name__)
        finally:
            self._outbox.put_nowait(None)
