"""The agent link as a protocol object: frames from the socket to the node without ASGI in between.

`websockets` does the handshake and everything that is unusual (control frames,
fragments, errors). A whole unfragmented text frame, which is nearly every frame,
is taken directly; frames are told apart by their headers, so that the library
only ever gets whole ones and never holds half of one.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from typing import Any

from websockets.datastructures import Headers
from websockets.frames import Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from a2a_relay.errors import Refused
from a2a_relay.fronts.http import compression
from a2a_relay.fronts.http.answer import refusal
from a2a_relay.fronts.http.protocol import PING_SECONDS, SILENCE_SECONDS
from a2a_relay.fronts.http.turnstile import Turnstile
from a2a_relay.fronts.http.upgrade import Upgrade
from a2a_relay.node.agent_link import AgentLink
from a2a_relay.node.relay_node import RelayNode
from a2a_relay.wire.close_codes import CloseCode
from a2a_relay.wire.frames import Auth

try:
    from websockets.speedups import apply_mask
except ImportError:
    from websockets.utils import apply_mask

CLOSE_SECONDS = 5.0
"""How long the other side may take to answer a close frame."""
_LISTEN_SECONDS = 5.0
"""How long a sign of life is looked for: longer than anybody waits for it."""
_FIRST_LOOK_SECONDS = 0.005
_LONGEST_LOOK_SECONDS = 0.1
_COPIED_BELOW_BYTES = 64 * 1024
"""Smaller frames are copied out of what arrived, which costs less than not to."""
_TEXT_FRAME = 0x81
_BINARY_FRAME = 0x82
_WHOLE_FRAMES = (_TEXT_FRAME, _BINARY_FRAME)
_MEDIUM = {kind: bytes((kind, 126)) for kind in _WHOLE_FRAMES}
_LARGE = {kind: bytes((kind, 127)) for kind in _WHOLE_FRAMES}
_MASKED = 0x80
_LOG = logging.getLogger("a2a_relay.link")


def _part(data: bytes | bytearray, start: int, end: int) -> bytes | bytearray | memoryview:
    return data[start:end] if end - start < _COPIED_BELOW_BYTES else memoryview(data)[start:end]


_PLAIN = Upgrade()


class LinkProtocol(asyncio.Protocol):
    """One agent's socket, from its upgrade to its end; the transport of its `AgentLink`."""

    __slots__ = (
        "_asked",
        "_buffer",
        "_close_code",
        "_compresses",
        "_connections",
        "_fragments",
        "_last_byte_at",
        "_link",
        "_loop",
        "_max_frame",
        "_need",
        "_node",
        "_timer",
        "_transport",
        "_turnstile",
        "_waiting",
        "_ws",
        "peer",
    )

    def __init__(
        self,
        node: RelayNode,
        connections: set[Any],
        loop: asyncio.AbstractEventLoop,
        turnstile: Turnstile,
        *,
        may_compress: bool = False,
        upgrade: Upgrade = _PLAIN,
    ) -> None:
        self._turnstile = turnstile
        self._waiting = 0  # frames that wait at the turnstile
        self._node = node
        self._connections = connections
        self._loop = loop
        self._max_frame = node.limits.max_frame
        self._asked = upgrade
        self._ws = ServerProtocol(
            extensions=compression.offers(is_on=may_compress),
            subprotocols=[Subprotocol(upgrade.subprotocol)] if upgrade.subprotocol is not None else None,
            max_size=self._max_frame,
            logger=_LOG,
        )
        self._compresses = False
        self._buffer = bytearray()
        self._need = 0
        self._fragments: list[bytes] | None = None
        self._link: AgentLink | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._close_code: int | None = None
        self.peer = ""

    def begin(self, transport: asyncio.Transport, request: bytes, peer: str, base_url: str) -> None:
        """Take the transport over and answer the upgrade."""
        self._transport = transport
        self.peer = peer
        self._connections.add(self)
        self._last_byte_at = self._loop.time()
        self._turnstile.enter(partial(self._upgrade, request, base_url))
        if self._link is None and not transport.is_closing():
            transport.pause_reading()

    def _upgrade(self, request: bytes, base_url: str) -> None:
        transport = self._transport
        if transport.is_closing():
            return
        transport.resume_reading()
        self._ws.receive_data(request)
        auth: Auth | None = None
        for event in self._ws.events_received():
            if isinstance(event, Request):
                response = self._ws.accept(event)
                if response.status_code == HTTPStatus.SWITCHING_PROTOCOLS:
                    try:
                        auth = self._asked.authenticate(self._node, self.peer.rpartition(":")[0])
                    except Refused as refused:
                        self._node.observer.link_refused(refused.reason, refused.message, self.peer)
                        response = _refusal(refused)
                self._ws.send_response(response)
        self._flush()
        if self._ws.state is not State.OPEN:
            transport.close()
            return
        self._compresses = bool(self._ws.extensions)
        self._link = self._node.open_link(self, base_url, self._asked.dialect)
        self._timer = self._loop.call_later(PING_SECONDS, self._ping)
        if auth is not None:
            self._link.attach(auth)

    # the transport of the link

    @property
    def backlog_bytes(self) -> int:
        """Bytes that have not left yet."""
        return int(self._transport.get_write_buffer_size())

    def send(self, frame: bytes, kind: int = _TEXT_FRAME) -> None:
        """Write one frame (RFC 6455 section 5.2; a server's frames are not masked)."""
        size = len(frame)
        if self._compresses and size >= compression.COMPRESSED_FROM_BYTES:
            write = self._ws.send_text if kind == _TEXT_FRAME else self._ws.send_binary
            write(frame)
            self._flush()
            return
        if size < 126:
            head = bytes((kind, size))
        elif size < 1 << 16:
            head = _MEDIUM[kind] + size.to_bytes(2, "big")
        else:
            head = _LARGE[kind] + size.to_bytes(8, "big")
        self._transport.writelines((head, frame))

    def send_binary(self, message: bytes) -> None:
        """Write one binary frame."""
        self.send(message, _BINARY_FRAME)

    def close(self, code: CloseCode) -> None:
        """Close after what was sent before."""
        if self._ws.state is State.OPEN:
            self._ws.send_close(code.code, code.reason)
            self._flush()
        self._expect_end()

    def listen(self, on_byte: Callable[[], None]) -> bool:
        """Ping, and tell of the next byte. It is looked for again and again: nearly every byte is nobody's answer."""
        if self._ws.state is State.OPEN:
            self._ws.send_ping(b"")
            self._flush()
        self._last_byte_at -= 1e-6  # a value that no byte leaves
        until = self._loop.time() + _LISTEN_SECONDS
        self._loop.call_later(_FIRST_LOOK_SECONDS, self._look, self._last_byte_at, until, _FIRST_LOOK_SECONDS, on_byte)
        return True

    def _look(self, silent_at: float, until: float, seconds: float, on_byte: Callable[[], None]) -> None:
        if self._last_byte_at != silent_at:
            on_byte()
        elif self._loop.time() < until and not self._transport.is_closing():
            seconds = min(2 * seconds, _LONGEST_LOOK_SECONDS)
            self._loop.call_later(seconds, self._look, silent_at, until, seconds, on_byte)

    # the socket

    def data_received(self, data: bytes) -> None:
        self._last_byte_at = self._loop.time()
        if self._ws.parser_exc is not None:
            return  # what follows a frame that was refused has no beginning
        if self._buffer:
            self._buffer += data
            if len(self._buffer) < self._need:
                return
            rest = self._take_frames(self._buffer)
            self._buffer = bytearray(rest)
            return
        rest = self._take_frames(data)
        if rest:
            self._buffer += rest

    def _take_frames(self, data: bytes | bytearray) -> bytes | bytearray:
        """Take every whole frame; what is left over. `_need` is how long that has to become."""
        at, end = 0, len(data)
        while end - at >= 2:
            second = data[at + 1]
            size, body = second & 0x7F, at + 2
            if size == 126:
                size, body = int.from_bytes(data[at + 2 : at + 4], "big"), at + 4
            elif size == 127:
                size, body = int.from_bytes(data[at + 2 : at + 10], "big"), at + 10
            if second >= _MASKED:
                body += 4
            after = body + size
            if size > self._max_frame and body <= end:
                self._unusual(bytes(data[at:]))  # the library refuses it by its header
                return b""
            if after > end:
                self._need = (body if body > end else after) - at  # the header first, it may not be whole
                break
            if data[at] in _WHOLE_FRAMES and second >= _MASKED and self._fragments is None and self._link is not None:
                self._receive(self._link, apply_mask(_part(data, body, after), data[body - 4 : body]))
            else:
                self._unusual(bytes(data[at:after]))
            at = after
        else:
            self._need = 2
        return data[at:] if self._ws.state is not State.CLOSED else b""

    def _receive(self, link: AgentLink, frame: bytes) -> None:
        if link.session is not None and not self._waiting:
            link.receive(frame)
            return
        self._waiting += 1  # authentication is dear, and many agents may come at once
        self._turnstile.enter(partial(self._receive_later, link, frame))
        if self._waiting:
            link.has_spoken()
            self._transport.pause_reading()

    def _receive_later(self, link: AgentLink, frame: bytes) -> None:
        self._waiting -= 1
        if self._transport.is_closing():
            return
        if not self._waiting:
            self._transport.resume_reading()
        link.receive(frame)

    def _unusual(self, frame: bytes) -> None:
        """A whole frame that is not a plain text frame, or one that must be refused."""
        ws = self._ws
        ws.receive_data(frame)
        for event in ws.events_received():
            if isinstance(event, Frame) and event.opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
                self._collect(bytes(event.data), is_last=event.fin)
        self._flush()
        if ws.state is not State.OPEN:
            if ws.close_sent is not None and ws.parser_exc is not None:
                self._close_code = int(ws.close_sent.code)
            self._expect_end()

    def _collect(self, data: bytes, *, is_last: bool) -> None:
        parts = self._fragments or []
        parts.append(data)
        self._fragments = None if is_last else parts
        if sum(map(len, parts)) > self._max_frame:
            self._ws.fail(1009, "frame too large")
            self._close_code = 1009
        elif is_last and self._link is not None:
            self._receive(self._link, b"".join(parts))

    def _flush(self) -> None:
        for data in self._ws.data_to_send():
            if data:
                self._transport.write(data)

    def _expect_end(self) -> None:
        """Wait a while for the other side's close frame, then hang up."""
        if self._timer is not None:
            self._timer.cancel()
        if self._ws.state is State.CLOSED or (self._ws.close_expected() and self._ws.close_rcvd is not None):
            self._transport.close()
        else:
            self._timer = self._loop.call_later(CLOSE_SECONDS, self._transport.abort)

    def _ping(self) -> None:
        """Liveness is bytes, not answers in time: a slow link on which bytes move is alive (S14)."""
        if self._loop.time() - self._last_byte_at >= SILENCE_SECONDS:
            self._close_code = 4007
            self._transport.abort()
            return
        self._ws.send_ping(b"")
        self._flush()
        self._timer = self._loop.call_later(PING_SECONDS, self._ping)

    def eof_received(self) -> None:
        self._ws.receive_eof()
        self._flush()
        self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.discard(self)
        if self._timer is not None:
            self._timer.cancel()
        if self._link is not None:
            code = self._close_code
            if code is None and self._ws.close_rcvd is not None:
                code = int(self._ws.close_rcvd.code)
            self._turnstile.enter(partial(self._node.link_ended, self._link, code))

    def shutdown(self) -> None:
        """uvicorn's last call, after the node has left: whatever is still open is hung up."""
        self._transport.close()


def _refusal(refused: Refused) -> Response:
    """The answer to an upgrade whose credential may not attach."""
    answer = refusal(refused)
    headers = Headers(answer.headers)
    headers["Content-Type"], headers["Content-Length"] = answer.media_type, str(len(answer.body))
    headers["Connection"] = "close"
    return Response(answer.status, HTTPStatus(answer.status).phrase, headers, answer.body)
