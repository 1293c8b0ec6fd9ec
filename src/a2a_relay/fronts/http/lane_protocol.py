"""uvicorn's httptools protocol with a fast lane: relayed calls and agent links pass without ASGI.

Everything else, and whatever is unusual (HEAD, HTTP/1.0, a target that is refused),
goes the plain way. Both ways keep one order: a lane's request waits in uvicorn's
own pipeline behind whatever came before it.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
from functools import lru_cache
from socket import IPPROTO_TCP
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from a2a_relay.core.target import read_target
from a2a_relay.errors import Reason, Refused
from a2a_relay.fronts.http.batching import ReaderWatch
from a2a_relay.fronts.http.desk import CALL_SURFACES, CallDesk
from a2a_relay.fronts.http.exposure import Exposure
from a2a_relay.fronts.http.head import read_headers
from a2a_relay.fronts.http.lane import LaneCycle
from a2a_relay.fronts.http.link_protocol import LinkProtocol
from a2a_relay.fronts.http.protocol import NO_UPGRADE, RelayHttpProtocol
from a2a_relay.fronts.http.repeats import KnownHeaders, KnownLines, RequestLine
from a2a_relay.fronts.http.turnstile import Turnstile
from a2a_relay.fronts.http.upgrade import LINK_SURFACES, read_upgrade

UNSENT_BYTES = 64 * 1024
"""What of a stream may wait in the kernel beyond what is on its way to the client."""
_NOTSENT_LOWAT: int | None = getattr(socket, "TCP_NOTSENT_LOWAT", 25 if sys.platform == "linux" else None)

_PLAIN_VERBS = frozenset({b"HEAD", b"OPTIONS", b"CONNECT", b"TRACE"})


@lru_cache(maxsize=16384)
def _call_line(verb: bytes, target: bytes, *, relay_elixir: bool) -> RequestLine | None:
    """The request line of a relayed call; None for anything that goes the plain way, refusals included."""
    try:
        route = read_target(verb.decode("ascii"), target, relay_elixir=relay_elixir)
    except Refused:
        return None
    return RequestLine(verb.decode("ascii"), target, route) if route.surface in CALL_SURFACES else None


class StatusLines:
    """Status lines with the server's own headers, which change once a second (the date)."""

    def __init__(self) -> None:
        self._headers: list[tuple[bytes, bytes]] | None = None
        self._lines: dict[int | tuple[int, str], bytes] = {}

    def line(self, status: int, headers: list[tuple[bytes, bytes]]) -> bytes:
        """The first lines of an answer, each with its line end."""
        if headers is not self._headers:
            self._headers, self._lines = headers, {}
        line = self._lines.get(status)
        if line is None:
            line = self._lines[status] = STATUS_LINE[status] + b"".join(b"%b: %b\r\n" % header for header in headers)
        return line

    def whole(self, status: int, media_type: str, headers: list[tuple[bytes, bytes]]) -> bytes:
        """The first lines of an answer with a length, up to its digits."""
        found = self._lines.get((status, media_type)) if headers is self._headers else None
        if found is None:
            line = self.line(status, headers)
            found = line + f"content-type: {media_type}\r\ncontent-length: ".encode("latin-1")
            self._lines[status, media_type] = found
        return found


class LaneProtocol(RelayHttpProtocol):
    """One HTTP connection."""

    desk: CallDesk
    exposure: Exposure
    status_lines: StatusLines
    known_lines: KnownLines
    turnstile: Turnstile
    compresses_links = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.peer = ""
        self.host = ""
        self.asks_for_others = False
        """Whether the peer is a trusted proxy, whose requests come from elsewhere."""
        self._idle_since = 0.0
        self._idle_timer: asyncio.TimerHandle | None = None
        self._is_at_rest = True  # what comes next begins a request, and no answer is due
        self._known: KnownHeaders | None = None
        self._held_by: ReaderWatch | None = None
        self._missing = 0  # bytes of the body of a request whose head was known

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if self.client:
            self.host = self.client[0]
            self.peer = f"{self.host}:{self.client[1]}"
            self.asks_for_others = self.exposure.trusts(self.peer)

    def connection_lost(self, exc: Exception | None) -> None:
        for timer in (self._idle_timer, self._held_by):
            if timer is not None:
                timer.cancel()
        self._held_by = None
        cycles: list[object] = [self.cycle, self._running, *(cycle for cycle, _ in self.pipeline)]
        super().connection_lost(exc)
        for cycle in cycles:
            if isinstance(cycle, LaneCycle):
                cycle.gone()

    def data_received(self, data: bytes) -> None:
        if self._is_at_rest and self._known is not None:
            data = self._take_repeat(self._known, data)
        elif self._missing:
            data = self._take_body(data)
        if data:
            self._parse(data)

    def _parse(self, data: bytes) -> None:
        is_new, self._is_at_rest = self._is_at_rest, False
        before: object = self.cycle
        super().data_received(data)
        if is_new and self.cycle is before is not None and not self._is_in_head and self._refused is None:
            self._is_at_rest = True  # nothing but blank lines
            self._idle_since = self.loop.time()
        cycle = self._lane_cycle()
        if cycle is not None:
            if cycle.more_body:
                cycle.await_body()
            if is_new and cycle is not before and cycle.is_admitted:
                self._learn(cycle, data)

    # heads that are known: what the parser would find in them is known too

    def _learn(self, cycle: LaneCycle, data: bytes) -> None:
        """Remember the head of a request that `data` begins with, unless something follows behind its body."""
        line, block = cycle.line, cycle.block
        raw = b"%b %b HTTP/1.1" % (line.verb.encode(), line.target)
        end = data.find(b"\r\n\r\n") + 4
        if not data.startswith(raw) or end < 4 or not cycle.keep_alive:
            return
        known = KnownHeaders.learn(data[len(raw) : end], block)
        found = known.match(data, len(raw)) if known is not None else None
        if found is not None and len(data) <= found[0] + found[1]:
            self._known = known
            self.known_lines.learn(raw, line)

    def _take_repeat(self, known: KnownHeaders, data: bytes) -> bytes:
        """Serve a request whose head is known. What is left for the parser: everything when it is not."""
        line_end = data.find(b"\r\n")
        line = self.known_lines.get(data[:line_end])
        found = known.match(data, line_end) if line is not None else None
        if line is None or found is None or found[1] > self.desk.node.limits.max_body:
            return data
        self._is_at_rest = False
        self._idle_since = 0.0
        start, size = found
        body = data[start : start + size]
        self._missing = missing = size - len(body)
        cycle = LaneCycle(self, line, known.block)
        self.cycle = self._running = cycle  # type: ignore[assignment]
        cycle.more_body = missing > 0
        if body:
            cycle.feed(body)
        cycle.start()
        if missing:
            cycle.await_body()
        return data[start + size :]

    def _take_body(self, data: bytes) -> bytes:
        """More of the body of a request whose head was known; what is left for the parser."""
        body, rest = data[: self._missing], data[self._missing :]
        self._missing -= len(body)
        self.on_body(body)
        if not self._missing:
            self.on_message_complete()
        return rest

    def _lane_cycle(self) -> LaneCycle | None:
        """The latest request, when it is a lane's."""
        cycle: object = self.cycle
        return cycle if type(cycle) is LaneCycle else None

    def on_headers_complete(self) -> None:
        self._is_in_head = False
        self._stop_head_timer()
        if self._is_over():
            return
        line = self._call_line()
        if line is None:
            self._go_plain()
            return
        if not self._is_acceptable():
            return
        existing = self._current()
        cycle = LaneCycle(
            self,
            line,
            self.headers,
            keep_alive=self.parser.should_keep_alive(),
            expects_continue=self.expect_100_continue,
        )
        self.cycle = cast("RequestResponseCycle", cycle)
        if (existing is None or existing.response_complete) and self._held_by is None:
            self._running = self.cycle
            cycle.start()
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((self.cycle, self.app))

    def _call_line(self) -> RequestLine | None:
        """The request line, when the lane serves it."""
        verb: bytes = self.parser.get_method()
        if verb in _PLAIN_VERBS or self.parser.get_http_version() != "1.1" or self.parser.should_upgrade():
            return None
        return _call_line(verb, self.url, relay_elixir=self.desk.rules.relay_elixir)

    # a lane's request begins without the scope that the plain way needs

    def on_message_begin(self) -> None:
        self._head_bytes = 0
        self.url = b""
        self.expect_100_continue = False
        self.headers = []
        self._is_in_head = True
        self._is_at_rest = False

    def _go_plain(self) -> None:
        url, headers, expects_continue = self.url, self.headers, self.expect_100_continue
        HttpToolsProtocol.on_message_begin(self)
        self.url, self.expect_100_continue = url, expects_continue
        self.headers += headers
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        cycle = self._lane_cycle()
        if cycle is not None and not cycle.response_complete:
            cycle.feed(body)
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        cycle = self._lane_cycle()
        if cycle is None:
            super().on_message_complete()
            return
        if not cycle.more_body:
            return  # an upgrade behind it, which was refused
        self._stop_lingering()
        cycle.more_body = False
        if not cycle.response_complete:
            cycle.complete()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        next_cycle: object = cycle
        if self._held_by is not None:
            self.flow.pause_reading()
            self.pipeline.appendleft((cycle, app))
        elif isinstance(next_cycle, LaneCycle):
            self._running = cycle
            # Not at once: a pipeline of refusals would nest as deep as it is long.
            self.loop.call_soon(self._start_queued, next_cycle)
        else:
            super()._start_asgi_task(cycle, app)

    @staticmethod
    def _start_queued(cycle: LaneCycle) -> None:
        cycle.start()
        if cycle.more_body:
            cycle.await_body()

    def _abandon_current(self) -> None:
        cycle = self._lane_cycle()
        if cycle is None:
            super()._abandon_current()
        else:
            cycle.gone()

    # one timer for all the pauses of a connection, instead of one for each

    def on_response_complete(self) -> None:
        if self.flow.write_paused and not self.transport.is_closing():
            if self._held_by is None:  # what comes behind a whole answer waits until most of it is read
                self._held_by = ReaderWatch(self.transport, self.desk.rules.body_timeout_seconds)
            return
        if self.pipeline or self.transport.is_closing():
            super().on_response_complete()
            return
        self.server_state.total_requests += 1
        if self.flow.read_paused:
            self.flow.resume_reading()
        self._idle_since = self.loop.time()
        if self._idle_timer is None:
            self._idle_timer = self.loop.call_later(self.timeout_keep_alive, self._idle_due)
        if self.cycle.more_body:
            self._linger()
        elif not self._is_in_head and self._refused is None:
            self._is_at_rest = True

    def _unset_keepalive_if_required(self) -> None:
        self._idle_since = 0.0
        super()._unset_keepalive_if_required()

    def _idle_due(self) -> None:
        self._idle_timer = None
        if self.transport.is_closing():
            return
        idle = self.loop.time() - self._idle_since if self._idle_since else 0.0
        if idle >= self.timeout_keep_alive:
            self.transport.close()
        else:
            self._idle_timer = self.loop.call_later(self.timeout_keep_alive - idle, self._idle_due)

    # a client that does not read its answers gets no further ones, is not listened to, and is not waited for for ever

    def pause_writing(self) -> None:
        super().pause_writing()
        self.flow.pause_reading()

    def _paces_itself(self) -> bool:
        return self._lane_cycle() is not None

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._held_by is not None:
            self._held_by.cancel()
            self._held_by = None
            self.on_response_complete()
            return
        running: object = self._running
        if type(running) is LaneCycle:
            running.read_on()
        if not self.pipeline:
            self.flow.resume_reading()

    def bound_unsent(self) -> None:
        """Have the kernel hold little that the client has not asked for: what waits there is nobody's window."""
        socket = self.transport.get_extra_info("socket")
        if socket is not None and _NOTSENT_LOWAT is not None:
            with contextlib.suppress(OSError):
                socket.setsockopt(IPPROTO_TCP, _NOTSENT_LOWAT, UNSENT_BYTES)

    # agent links

    def handle_websocket_upgrade(self) -> None:
        current = self._current()
        if current is not None and (self.pipeline or not current.response_complete):
            self._refuse(Refused(Reason.INVALID_HTTP, "an upgrade behind a request"))
            return
        if self.parser.get_method() != b"GET":
            self._refuse(Refused(Reason.INVALID_HTTP, NO_UPGRADE))
            return
        try:
            surface = read_target("GET", self.url, relay_elixir=self.desk.rules.relay_elixir).surface
            headers = read_headers(self.headers)
            base_url = self.exposure.base_url(headers, self.scheme or "http", self.peer)
            peer = self.exposure.client_peer(headers, self.peer)
            self.exposure.require_origin(headers)
            upgrade = read_upgrade(surface, headers) if surface in LINK_SURFACES else None
        except Refused:
            upgrade, base_url, peer = None, "", ""
        if upgrade is None:
            super().handle_websocket_upgrade()
            return
        self.connections.discard(self)
        self._leave_crowd()
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        lines = [b"%b %b HTTP/1.1\r\n" % (self.parser.get_method(), self.url)]
        lines += [b"%b: %b\r\n" % header for header in self.headers]
        link = LinkProtocol(
            self.desk.node,
            self.connections,
            self.loop,
            self.turnstile,
            may_compress=self.compresses_links,
            upgrade=upgrade,
        )
        self.transport.set_protocol(link)
        link.begin(self.transport, b"".join(lines) + b"\r\n", peer, base_url)
