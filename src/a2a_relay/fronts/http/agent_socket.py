"""The agent link over ASGI's WebSocket messages: complete under any ASGI server."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

from a2a_relay.core.target import Surface
from a2a_relay.errors import Refused
from a2a_relay.fronts.http.answer import refusal
from a2a_relay.fronts.http.exposure import Exposure
from a2a_relay.fronts.http.head import read_headers
from a2a_relay.fronts.http.request import Receive, Scope, Send
from a2a_relay.fronts.http.upgrade import read_upgrade
from a2a_relay.node.relay_node import RelayNode
from a2a_relay.wire import close_codes
from a2a_relay.wire.close_codes import CloseCode


class AsgiTransport:
    """Frames out through one writer, in order."""

    def __init__(self, send: Send, peer: str) -> None:
        self._send = send
        self._peer = peer
        self._frames: deque[tuple[bytes, bool]] = deque()
        self._backlog_bytes = 0
        self._close: CloseCode | None = None
        self._wake = asyncio.Event()
        self._on_byte: Callable[[], None] | None = None

    @property
    def peer(self) -> str:
        return self._peer

    @property
    def backlog_bytes(self) -> int:
        return self._backlog_bytes

    def send(self, frame: bytes) -> None:
        self._put(frame, is_binary=False)

    def send_binary(self, message: bytes) -> None:
        self._put(message, is_binary=True)

    def _put(self, frame: bytes, *, is_binary: bool) -> None:
        self._frames.append((frame, is_binary))
        self._backlog_bytes += len(frame)
        self._wake.set()

    def close(self, code: CloseCode) -> None:
        self._close = code
        self._wake.set()

    def listen(self, on_byte: Callable[[], None]) -> bool:
        """Tell of the next message; ASGI has no pings."""
        self._on_byte = on_byte
        return False

    def heard(self) -> None:
        """A message has come."""
        if self._on_byte is not None:
            asyncio.get_running_loop().call_soon(self._on_byte)
            self._on_byte = None

    async def write(self) -> None:
        """Write frames as they come, until the link is closed from this side."""
        while True:
            while self._frames:
                frame, is_binary = self._frames.popleft()
                content: dict[str, Any] = {"bytes": frame} if is_binary else {"text": frame.decode()}
                await self._send({"type": "websocket.send", **content})
                self._backlog_bytes -= len(frame)
            if self._close is not None:
                await self._send({"type": "websocket.close", "code": self._close.code, "reason": self._close.reason})
                return
            self._wake.clear()
            await self._wake.wait()


async def serve_agent(
    scope: Scope, receive: Receive, send: Send, surface: Surface, node: RelayNode, exposure: Exposure
) -> None:
    """Serve one agent from its upgrade to its end."""
    client = scope.get("client")
    peer = f"{client[0]}:{client[1]}" if client else ""
    headers = read_headers(scope["headers"])
    base_url = exposure.base_url(headers, scope.get("scheme", "ws"), peer)
    peer = exposure.client_peer(headers, peer)
    upgrade = read_upgrade(surface, headers)
    if (await receive())["type"] != "websocket.connect":
        return
    try:
        exposure.require_origin(headers)
        auth = upgrade.authenticate(node, peer.rpartition(":")[0])
    except Refused as refused:
        node.observer.link_refused(refused.reason, refused.message, peer)
        await _refuse_upgrade(scope, send, refused)
        return
    await send({"type": "websocket.accept", "subprotocol": upgrade.subprotocol})
    transport = AsgiTransport(send, peer)
    link = node.open_link(transport, base_url, upgrade.dialect)
    code: int | None = None
    try:
        if auth is not None:
            link.attach(auth)
        async with asyncio.TaskGroup() as tasks:
            writer = tasks.create_task(transport.write())
            reader = tasks.create_task(_read(receive, transport.heard, link.receive))
            await asyncio.wait({writer, reader}, return_when=asyncio.FIRST_COMPLETED)
            if link.is_closed and not writer.done():
                await asyncio.wait({writer}, timeout=CLOSE_SECONDS)
            code = reader.result() if reader.done() else None
            writer.cancel()
            reader.cancel()
    except* OSError:
        pass  # ASGI servers raise one when the peer has gone in mid-write
    finally:
        node.link_ended(link, code)


CLOSE_SECONDS = 5.0
"""How long a closed link may take to write what it still has to say."""


async def _read(receive: Receive, heard: Callable[[], None], take: Callable[[bytes], None]) -> int | None:
    """Hand frames on until the link ends; its close code, if there is one."""
    while True:
        message = await receive()
        if message["type"] == "websocket.disconnect":
            return message.get("code")
        heard()
        text = message.get("text")
        take(text.encode("utf-8", "surrogatepass") if text is not None else message.get("bytes") or b"")


async def _refuse_upgrade(scope: Scope, send: Send, refused: Refused) -> None:
    """Answer an upgrade with the refusal's status; with 403 under a server that can say nothing else."""
    if "websocket.http.response" not in (scope.get("extensions") or {}):
        code = close_codes.AUTH_FAILED
        await send({"type": "websocket.close", "code": code.code, "reason": code.reason})
        return
    answer = refusal(refused)
    headers = [(name.encode(), text.encode()) for name, text in answer.headers]
    headers += [(b"content-type", answer.media_type.encode()), (b"content-length", str(len(answer.body)).encode())]
    await send({"type": "websocket.http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": answer.body})


async def refuse_socket(receive: Receive, send: Send) -> None:
    """Refuse an upgrade at a path that has none."""
    await receive()
    await send({"type": "websocket.close", "code": close_codes.PROTOCOL_ERROR.code, "reason": "no socket here"})
