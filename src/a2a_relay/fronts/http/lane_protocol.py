"""uvicorn's httptools protocol with a fast lane: relayed calls and agent links pass without ASGI.

Everything else, and whatever is unusual (HEAD, HTTP/1.0, a target that is refused),
goes the plain way. Both ways keep one order: a lane's request waits in uvicorn's
own pipeline behind whatever came before it.
"""

from __future__ import annotations

import asyncio
from functools import lru_cache
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from a2a_relay.core.target import Route, Surface, read_target
from a2a_relay.errors import Refused
from a2a_relay.fronts.http.desk import CALL_SURFACES, CallDesk
from a2a_relay.fronts.http.exposure import Exposure
from a2a_relay.fronts.http.head import read_headers
from a2a_relay.fronts.http.lane import LaneCycle, LaneRequest
from a2a_relay.fronts.http.link_protocol import LinkProtocol
from a2a_relay.fronts.http.protocol import RelayHttpProtocol

_PLAIN_VERBS = frozenset({b"HEAD", b"OPTIONS", b"CONNECT", b"TRACE"})


@lru_cache(maxsize=16384)
def _call_route(verb: str, target: bytes) -> Route | None:
    """The route of a relayed call; None for anything that goes the plain way, refusals included."""
    try:
        route = read_target(verb, target)
    except Refused:
        return None
    return route if route.surface in CALL_SURFACES else None


class StatusLines:
    """Status lines with the server's own headers, which change once a second (the date)."""

    def __init__(self) -> None:
        self._headers: list[tuple[bytes, bytes]] | None = None
        self._lines: dict[int, bytes] = {}

    def line(self, status: int, headers: list[tuple[bytes, bytes]]) -> bytes:
        """The first lines of an answer, each with its line end."""
        if headers is not self._headers:
            self._headers, self._lines = headers, {}
        line = self._lines.get(status)
        if line is None:
            line = self._lines[status] = STATUS_LINE[status] + b"".join(b"%b: %b\r\n" % header for header in headers)
        return line


class LaneProtocol(RelayHttpProtocol):
    """One HTTP connection."""

    desk: CallDesk
    exposure: Exposure
    status_lines: StatusLines

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.peer = ""
        self._idle_since = 0.0
        self._idle_timer: asyncio.TimerHandle | None = None
        self._served: LaneCycle | None = None  # the latest lane's request whose turn has come

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.peer = f"{self.client[0]}:{self.client[1]}" if self.client else ""

    def connection_lost(self, exc: Exception | None) -> None:
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        cycles: list[object] = [self.cycle, self._served, *(cycle for cycle, _ in self.pipeline)]
        super().connection_lost(exc)
        for cycle in cycles:
            if isinstance(cycle, LaneCycle):
                cycle.gone()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        cycle = self._lane_cycle()
        if cycle is not None and cycle.more_body:
            cycle.await_body()

    def _lane_cycle(self) -> LaneCycle | None:
        """The latest request, when it is a lane's."""
        cycle: object = self.cycle
        return cycle if type(cycle) is LaneCycle else None

    def on_headers_complete(self) -> None:
        self._is_in_head = False
        self._stop_head_timer()
        if self._is_over():
            return
        request = self._lane_request()
        if request is None:
            self._go_plain()
            return
        existing = self._current()
        cycle = LaneCycle(self, self.desk, request)
        self.cycle = cast("RequestResponseCycle", cycle)
        if existing is None or existing.response_complete:
            self._served = cycle
            cycle.start()
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((self.cycle, self.app))

    def _lane_request(self) -> LaneRequest | None:
        verb: bytes = self.parser.get_method()
        if verb in _PLAIN_VERBS or self.parser.get_http_version() != "1.1" or self.parser.should_upgrade():
            return None
        route = _call_route(verb.decode("ascii"), self.url)
        if route is None:
            return None
        return LaneRequest(
            verb=verb.decode("ascii"),
            target=self.url,
            headers=self.headers,
            route=route,
            keep_alive=self.parser.should_keep_alive(),
            expects_continue=self.expect_100_continue,
        )

    # a lane's request begins without the scope that the plain way needs

    def on_message_begin(self) -> None:
        self._head_bytes = 0
        self.url = b""
        self.expect_100_continue = False
        self.headers = []
        self._is_in_head = True

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
        self._stop_lingering()
        cycle.more_body = False
        if not cycle.response_complete:
            cycle.complete()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        next_cycle: object = cycle
        if isinstance(next_cycle, LaneCycle):
            self._served = next_cycle
            # Not at once: a pipeline of refusals would nest as deep as it is long.
            self.loop.call_soon(next_cycle.start)
        else:
            super()._start_asgi_task(cycle, app)

    def _abandon_current(self) -> None:
        cycle = self._lane_cycle()
        if cycle is None:
            super()._abandon_current()
        else:
            cycle.gone()

    # one timer for all the pauses of a connection, instead of one for each

    def on_response_complete(self) -> None:
        if self.pipeline or self.transport.is_closing():
            super().on_response_complete()
            return
        self.server_state.total_requests += 1
        self.flow.resume_reading()
        self._idle_since = self.loop.time()
        if self._idle_timer is None:
            self._idle_timer = self.loop.call_later(self.timeout_keep_alive, self._idle_due)
        self._linger_for_rest()

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

    # agent links

    def handle_websocket_upgrade(self) -> None:
        try:
            is_link = read_target("GET", self.url).surface is Surface.AGENT_LINK
            base_url = self.exposure.base_url(read_headers(self.headers), self.scheme or "http", self.peer)
        except Refused:
            is_link, base_url = False, ""
        if not is_link:
            super().handle_websocket_upgrade()
            return
        self.connections.discard(self)
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        lines = [b"%b %b HTTP/1.1\r\n" % (self.parser.get_method(), self.url)]
        lines += [b"%b: %b\r\n" % header for header in self.headers]
        link = LinkProtocol(self.desk.node, self.connections, self.loop)
        self.transport.set_protocol(link)
        link.begin(self.transport, b"".join(lines) + b"\r\n", self.peer, base_url)

    def status_line(self, status: int) -> bytes:
        """Status line and the server's own headers."""
        return self.status_lines.line(status, self.server_state.default_headers)
