"""Our subclasses of uvicorn's protocols: limits that it does not have, and liveness by bytes.

uvicorn takes headers of any size and waits for them for ever (decision 24), and
drops a slow WebSocket whose pong is late although bytes are moving (S14).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, NamedTuple

from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from a2a_relay.a2a import jsonrpc
from a2a_relay.errors import Reason, Refused
from a2a_relay.fronts.http import compression
from a2a_relay.fronts.http.batching import BatchingTransport, Outbox, ReaderWatch
from a2a_relay.fronts.http.crowding import Crowding
from a2a_relay.fronts.http.head import require_plain_head

LINGER_SECONDS = 10.0
"""How long a client may go on sending what was refused already: closing at once would reset
the connection, and the client would never see why it was refused."""
LINGER_BYTES = 64 * 1024 * 1024
PING_SECONDS = 30.0
SILENCE_SECONDS = 60.0
NO_UPGRADE = "an upgrade is a GET"


class HttpLimits(NamedTuple):
    """What a request's head may cost: bytes, count, seconds."""

    max_header_bytes: int
    max_headers: int
    max_target: int
    header_timeout_seconds: float
    unread_timeout_seconds: float = 60.0
    """How long a client may read nothing of an answer that waits for it."""


class _Flow(FlowControl):
    """uvicorn's flow control, which fails on a transport that the client has left in the meantime."""

    def pause_reading(self) -> None:
        if not self._transport.is_closing():
            super().pause_reading()

    def resume_reading(self) -> None:
        if not self._transport.is_closing():
            super().resume_reading()


class RelayHttpProtocol(HttpToolsProtocol):
    """uvicorn's httptools protocol with limits on the head of a request."""

    http_limits = HttpLimits(32 * 1024, 100, 8 * 1024, 10.0)
    outbox: Outbox
    crowding = Crowding(0, ())
    on_refused: Callable[[Refused, tuple[str, int] | None], None] = staticmethod(lambda _refused, _client: None)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._head_bytes = 0
        self._is_in_head = False
        self._head_timer: asyncio.TimerHandle | None = None
        self._refused: Refused | None = None
        self._running: RequestResponseCycle | None = None  # the latest request whose turn has come
        self._linger_timer: asyncio.TimerHandle | None = None
        self._dropped_bytes = 0
        self._entered = ""
        self._watch: ReaderWatch | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        batching = BatchingTransport(transport, self.outbox)
        super().connection_made(batching)
        self.flow = _Flow(batching)
        entered = self.crowding.enter(self.client[0] if self.client else "")
        if entered is None:
            self._refused = Refused(Reason.RATE_LIMITED, "too many connections from this address")
            self.on_refused(self._refused, self.client)
            transport.abort()
            return
        self._entered = entered
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_head_timer()
        self._stop_lingering()
        self._stop_watching()
        self._leave_crowd()
        super().connection_lost(exc)

    def _leave_crowd(self) -> None:
        """It is no connection of HTTP's any more."""
        self.crowding.leave(self._entered)
        self._entered = ""

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._watch is None and not self._paces_itself():
            self._watch = ReaderWatch(self.transport, self.http_limits.unread_timeout_seconds)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stop_watching()

    def _paces_itself(self) -> bool:
        """Whether what is being answered has its own way with clients that do not read."""
        return False

    def _stop_watching(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None

    def data_received(self, data: bytes) -> None:
        if self._refused is not None:
            return
        super().data_received(data)
        if self._is_in_head and self._head_timer is None:
            self._await_head()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._head_bytes = 0
        self._is_in_head = True

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        if len(self.url) > self.http_limits.max_target:
            self._refuse(Refused(Reason.TARGET_TOO_LONG))

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head_bytes += len(name) + len(value)
        if not self._is_in_head:  # a trailer is no header; what it costs is counted
            if self._head_bytes > self.http_limits.max_header_bytes:
                self._refuse(Refused(Reason.HEADERS_TOO_LARGE))
            return
        limits = self.http_limits
        if self._head_bytes > limits.max_header_bytes or len(self.headers) >= limits.max_headers:
            self._refuse(Refused(Reason.HEADERS_TOO_LARGE))
            return
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._is_in_head = False
        self._stop_head_timer()
        if self._is_over():
            return
        if self._is_acceptable():
            super().on_headers_complete()

    def _is_acceptable(self) -> bool:
        """Whether the head can be read in one way only; refused if not."""
        try:
            version = self.parser.get_http_version()
            if version not in ("1.0", "1.1"):
                raise Refused(Reason.INVALID_HTTP, "this HTTP version is not served")
            if not self.url.startswith(b"/"):
                raise Refused(Reason.INVALID_TARGET, "only origin-form targets are served")
            require_plain_head(version, self.headers)
        except Refused as refused:
            self._refuse(refused)
            return False
        return True

    def _is_over(self) -> bool:
        """Whether nothing that still arrives counts: what was pipelined behind the connection's last answer."""
        if self._refused is None and self.transport.is_closing():
            self._refused = Refused(Reason.CLIENT_GONE)
        return self._refused is not None

    def on_body(self, body: bytes) -> None:
        if self._linger_timer is not None:
            self._dropped_bytes += len(body)
            if self._dropped_bytes > LINGER_BYTES:
                self.transport.close()
        elif self._refused is None:
            super().on_body(body)

    def on_message_complete(self) -> None:
        self._stop_lingering()
        if self._refused is None:
            super().on_message_complete()
        if cycle := self._current():
            cycle.more_body = False

    def on_response_complete(self) -> None:
        super().on_response_complete()
        cycle = self._current()
        if cycle and cycle.response_complete and cycle.more_body:
            self._linger()  # the answer came before its request was whole

    def send_400_response(self, msg: str) -> None:
        self._refuse(Refused(Reason.INVALID_HTTP))

    def handle_websocket_upgrade(self) -> None:
        if self.parser.get_method() != b"GET":
            self._refuse(Refused(Reason.INVALID_HTTP, NO_UPGRADE))
        else:
            self._leave_crowd()
            super().handle_websocket_upgrade()

    def _current(self) -> RequestResponseCycle | None:
        """The cycle of the latest request; None before the first, and for an upgrade."""
        return self.cycle

    def _abandon_current(self) -> None:
        """Whatever request was still being read gets no other answer."""
        cycle = self._current()
        if cycle and not cycle.response_complete:
            cycle.disconnected = True
            cycle.message_event.set()

    def _linger(self) -> None:
        """Go on reading for a while, and drop what comes."""
        self._dropped_bytes = 0
        self._linger_timer = self.loop.call_later(LINGER_SECONDS, self.transport.close)

    def _stop_lingering(self) -> None:
        if self._linger_timer is not None:
            self._linger_timer.cancel()
            self._linger_timer = None

    def _await_head(self) -> None:
        self._head_timer = self.loop.call_later(self.http_limits.header_timeout_seconds, self._head_timed_out)

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _head_timed_out(self) -> None:
        self._head_timer = None
        if not self.transport.is_closing():
            self._refuse(Refused(Reason.REQUEST_TIMEOUT))

    def _refuse(self, refused: Refused) -> None:
        """Answer a request that is not acceptable, and close; behind an answer that is still due, only close."""
        if self._refused is not None or self.transport.is_closing():
            return
        self._refused = refused
        self._stop_head_timer()
        if self.pipeline:
            self._end_after_those_before()
            return
        cycle = self._current()
        if cycle and not cycle.response_complete and (cycle.response_started or not cycle.more_body):
            cycle.keep_alive = False
            return
        body = jsonrpc.error_response(b"null", jsonrpc.refusal(refused))
        status = refused.ruling.http_status
        self.transport.write(
            b"%bcontent-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%b"
            % (STATUS_LINE[status], len(body), body)
        )
        self._abandon_current()
        self.on_refused(refused, self.client)
        self.end_connection()

    def _end_after_those_before(self) -> None:
        """A request behind others is not acceptable: they get their answers, it gets none, and nothing follows."""
        if self.pipeline[0][0].more_body:
            self.pipeline.popleft()
            self._abandon_current()
        last = self.pipeline[0][0] if self.pipeline else self._running
        if last is not None:
            self.cycle = last
            last.keep_alive = False

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def end_connection(self) -> None:
        """The last answer is written: say so, and wait for the client to close (RFC 9112 section 9.6).

        Closing at once would reset the connection when more has arrived, and with it an answer that was not read yet.
        """
        self._refused = self._refused or Refused(Reason.CLIENT_GONE)
        if self.transport.is_closing():
            return
        if self.transport.can_write_eof():
            self.transport.write_eof()
            self._linger()
        else:
            self.transport.close()


class RelayWebSocketProtocol(WebSocketsSansIOProtocol):
    """uvicorn's WebSocket protocol whose liveness is bytes: ping every 30 s, gone after 60 s without a byte."""

    compresses_links = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.conn.available_extensions = compression.offers(is_on=self.compresses_links)

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._last_byte_at = self.loop.time()

    def data_received(self, data: bytes) -> None:
        self._last_byte_at = self.loop.time()
        super().data_received(data)

    def start_keepalive(self) -> None:
        self.ping_timer = self.loop.call_later(PING_SECONDS, self._keep_alive)

    def _keep_alive(self) -> None:
        if self.close_sent or self.transport.is_closing():
            return
        if self.loop.time() - self._last_byte_at >= SILENCE_SECONDS:
            self.conn.fail(1011, "no byte arrived in time")
            self.transport.write(b"".join(self.conn.data_to_send()))
            self.transport.abort()
            return
        self.conn.send_ping(b"")
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.ping_timer = self.loop.call_later(PING_SECONDS, self._keep_alive)
