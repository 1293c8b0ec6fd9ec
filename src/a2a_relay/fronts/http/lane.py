"""The fast lane: one relayed call on an HTTP/1.1 connection, without a task, a scope or a queue.

It owns bytes and nothing else: what a request means is decided by `core.target`
and `desk`, how an answer is written by `bindings`, as in the plain lane. uvicorn's
protocol keeps it in its pipeline as it keeps its own cycles; the attributes that
it looks at have its names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from a2a_relay.a2a import sse
from a2a_relay.core.call import Call
from a2a_relay.core.exchange import AgentError, Exchange, Outcome, Result
from a2a_relay.core.principal import Principal
from a2a_relay.core.stream import Event, Stream, offset_of
from a2a_relay.errors import IllegalMove, OverLimit, Reason, Refused
from a2a_relay.fronts.http.answer import Answer, Headers, refusal
from a2a_relay.fronts.http.bindings import EVENT_STREAM, UNBUFFERED, Binding
from a2a_relay.fronts.http.desk import refusal_answer, stream_headers
from a2a_relay.fronts.http.head import HeaderBlock, RequestHead, new_request_id
from a2a_relay.fronts.http.repeats import RequestLine
from a2a_relay.node.mail.held import HeldCall
from a2a_relay.node.quotas import Place
from a2a_relay.node.wheel import Slot, call_off
from a2a_relay.ports.observer import CallReport

if TYPE_CHECKING:
    from a2a_relay.fronts.http.lane_protocol import LaneProtocol


class _NoEvent:
    """What uvicorn sets to wake a cycle's coroutine, of which there is none."""

    def set(self) -> None:
        pass


BODY_TIMEOUTS = 10
"""As many times the time for a piece of a body all of it may take."""
_LAST_CHUNK = b"0\r\n\r\n"


class LaneCycle(RequestHead):
    """One request and its answer; the sink of its exchange.

    `start` is called when every earlier answer on the connection is written,
    `feed` and `complete` as the body arrives, in either order.
    """

    # uvicorn's names
    message_event = _NoEvent()
    body = b""
    more_body = True
    disconnected = False
    response_started = False
    response_complete = False

    id = ""
    block = HeaderBlock(())
    status = 0
    size = 0
    events = 0
    written_at = 0.0
    _principal: Principal | None = None
    _call: Call | None = None
    _binding: Binding | None = None
    _exchange: Exchange | HeldCall | None = None
    _stream: Stream | None = None
    _slot: Slot | None = None
    _place: Place | None = None
    _kept_back: OverLimit | None = None
    _seen = 0
    _held = -1
    _is_started = False
    _is_chunked = False

    def __init__(
        self,
        protocol: LaneProtocol,
        line: RequestLine,
        headers: HeaderBlock | list[tuple[bytes, bytes]],
        *,
        keep_alive: bool = True,
        expects_continue: bool = False,
    ) -> None:
        """`headers` as they came, or as they were read and admitted before."""
        self._protocol = protocol
        self._desk = protocol.desk
        self._started_at = protocol.desk.node.clock.monotonic()
        self._headers = headers
        self._parts: list[bytes] = []
        self._expects_continue = expects_continue
        self.line = line
        self.verb, self.target, _ = line
        self.keep_alive = keep_alive

    @property
    def is_admitted(self) -> bool:
        """Whether its headers were read and its sender may call."""
        return self._principal is not None

    # the request

    def start(self) -> None:
        """It is this request's turn: decide by its head."""
        self._is_started = True
        try:
            self._admit()
        except Refused as refused:
            self._refuse(refused)
            return
        if not self.more_body:
            self._submit()
        elif self._expects_continue:
            self._protocol.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _admit(self) -> None:
        headers, route, protocol = self._headers, self.line.route, self._protocol
        self.scheme, self.client = protocol.scheme or "http", protocol.peer
        decide = self._desk.identify
        if not isinstance(headers, HeaderBlock):
            headers, decide = HeaderBlock(headers), self._desk.admit
        self.block = headers
        self.id = headers.given_id or new_request_id()
        host = protocol.host if not protocol.asks_for_others else self._desk.client_host(headers, protocol.peer)
        self._principal, self._address = decide(headers, route, host)

    def feed(self, data: bytes) -> None:
        """A piece of the body."""
        self.size += len(data)
        self._parts.append(data)
        if not self._is_started or self.response_started:
            return
        limit = self._desk.node.limits.max_body
        if self.size > limit:
            self._parts.clear()
            self._refuse(Refused(Reason.TOO_LARGE, metadata={"limit": str(limit)}))

    def complete(self) -> None:
        """The body is here."""
        if self._kept_back is not None:
            return
        self._stop_timer()
        if self._is_started and not self.response_started:
            self._submit()

    def await_body(self) -> None:
        """The body will come in pieces: each may take its time, and not more."""
        if self._slot is None and not self.response_started and self._is_started:
            self._arm_body()

    def _arm_body(self) -> None:
        self._seen = self.size
        self._later(self._desk.rules.body_timeout_seconds, LaneCycle._body_due)

    def _body_due(self) -> None:
        timeout_seconds = self._desk.rules.body_timeout_seconds
        late_at = self._started_at + timeout_seconds * BODY_TIMEOUTS
        if self.size > self._seen and self._desk.node.clock.monotonic() < late_at:
            self._arm_body()
        else:
            self._refuse(Refused(Reason.REQUEST_TIMEOUT))

    def _submit(self) -> None:
        """Read the call and hand it to the node; the answer may come before this returns."""
        desk, principal = self._desk, self._principal
        if principal is None:
            return
        body = b"".join(self._parts)
        self._parts.clear()  # a large body should be held once
        size = len(body)
        try:
            call, binding = desk.read(self, self.line.route, principal, self._address, body)
            self._call, self._binding = call, binding
            del body
            desk.bodies.take(principal.tenant, size)
            self._held = size
            if desk.quotas.is_set:
                self._place = desk.quotas.enter(principal, is_stream=call.streams)
            if call.streams:
                self._begin_stream(desk.stream(call, self))
                return
            exchange = desk.submit(call, self)
        except Refused as refused:
            self._refuse(refused)
            return
        if self.response_complete:
            return
        self._exchange = exchange
        pace = desk.rules.pace
        if binding.keeps_alive and pace.unary_keepalive:
            silent_until = exchange.started_at + pace.unary_keepalive
            self._slot = desk.node.wheel.put(self, silent_until, LaneCycle._keep_alive)

    def _begin_stream(self, stream: Stream) -> None:
        if self.response_complete:
            return
        self._stream = stream
        pace = self._desk.rules.pace
        if self.response_started:
            self._later(pace.heartbeat, LaneCycle._beat)
        else:
            self._later(pace.head_wait, LaneCycle._head_due)

    # the sink of a call, the reader of a stream

    def answer(self, outcome: Outcome) -> None:
        call, binding = self._taken()
        if not self._is_chunked:
            self._whole(binding.answer(outcome), outcome)
        elif call.streams and not isinstance(outcome, Result):
            self._finish_chunks(binding.error_event(outcome), outcome)
        else:
            self._finish_chunks(binding.answer(outcome).body, outcome)

    def event(self, event: Event, headers: Mapping[str, str]) -> bool:
        binding = self._binding
        if binding is None:
            raise IllegalMove("an event before its call was read")
        if not self.response_started:
            self._stream_head(headers.items())
            self._later(self._desk.rules.pace.heartbeat, LaneCycle._beat)
        self.events += 1
        self._chunk(binding.event(event))
        return not self._protocol.flow.write_paused

    def gap(self, first: int, last: Event) -> None:
        self._stream_head(())
        self._chunk(sse.gap_event(last.position, first, offset_of(last)))

    def read_on(self) -> None:
        """The client has read most of what was written."""
        if self._stream is not None:
            self._desk.node.read_on(self._stream, self)

    def end(self, failure: AgentError | Refused | None) -> None:
        _, binding = self._taken()
        if failure is not None and not self.response_started:
            self._whole(binding.answer(failure), failure)
            return
        self._stream_head(())
        self._finish_chunks(b"" if failure is None else binding.error_event(failure), failure)

    def _taken(self) -> tuple[Call, Binding]:
        if self._call is None or self._binding is None:
            raise IllegalMove("an answer before its call was read")
        return self._call, self._binding

    def gone(self) -> None:
        """The client is gone."""
        self.disconnected = True
        if self.response_complete:
            return
        self.response_complete = True
        if self._exchange is not None:
            self._desk.node.abandon(self._exchange)
        if self._stream is not None:
            self._desk.node.leave_stream(self._stream, self)
        self._let_go(Refused(Reason.CLIENT_GONE), 0)

    # signs of life

    def _head_due(self) -> None:
        """A silent stream: its head, and a comment behind it (decision 18)."""
        self._stream_head(())
        self._chunk(sse.HEARTBEAT)
        self._later(self._desk.rules.pace.heartbeat, LaneCycle._beat)

    def _beat(self) -> None:
        heartbeat = self._desk.rules.pace.heartbeat
        silent = self._desk.node.clock.monotonic() - self.written_at
        if silent < heartbeat:
            self._later(heartbeat - silent, LaneCycle._beat)
            return
        if not self._protocol.flow.write_paused:  # a client that does not read has signs of life enough before it
            self._chunk(sse.HEARTBEAT)
        self._later(heartbeat, LaneCycle._beat)

    def _keep_alive(self) -> None:
        """A silent JSON-RPC call: commit to 200 and send a blank now and then (decision 5)."""
        if not self.response_started:
            self._chunked_head(200, (("content-type", "application/json"), *UNBUFFERED))
        self._chunk(b" ")
        self._later(self._desk.rules.pace.unary_keepalive, LaneCycle._keep_alive)

    # bytes

    def _refuse(self, refused: Refused) -> None:
        if isinstance(refused, OverLimit) and refused.hold_seconds and self._kept_back is None:
            self._keep_back(refused)
        elif not self.id:  # its headers can be read in two ways
            self.id = new_request_id()
            self._whole(refusal(refused), refused)
        else:
            self._whole(refusal_answer(refused, self.line.route, self._binding), refused)

    def _keep_back(self, refused: OverLimit) -> None:
        """Somebody goes on regardless: it is told later, and nothing of its connection is read until then."""
        self._kept_back = refused
        self._parts.clear()
        self._protocol.flow.pause_reading()
        # A timer of its own: the wheel's slots would bring a flood back in crowds.
        self._desk.node.clock.call_later(refused.hold_seconds, self._tell_refused)

    def _tell_refused(self) -> None:
        if self._kept_back is not None and not self.response_complete:
            self._refuse(self._kept_back)

    def _whole(self, answer: Answer, outcome: Outcome) -> None:
        protocol = self._protocol
        is_unread = self.more_body or self._principal is None
        if is_unread and self.block.ends_connection:
            self.keep_alive = False
        self.status, self.response_started = answer.status, True
        first = protocol.status_lines.whole(answer.status, answer.media_type, protocol.server_state.default_headers)
        lines = f"{len(answer.body)}\r\n{self._last_lines(answer.headers)}".encode("latin-1")
        protocol.transport.writelines((first, lines, answer.body))
        self._finish(outcome)

    def _stream_head(self, passed: Iterable[tuple[str, str]]) -> None:
        if not self.response_started:
            where = stream_headers(self._taken()[0], self._stream)
            self._chunked_head(200, (("content-type", EVENT_STREAM), *UNBUFFERED, *where, *passed))
            self._protocol.bound_unsent()

    def _chunked_head(self, status: int, headers: Headers) -> None:
        self.status, self.response_started, self._is_chunked = status, True, True
        protocol = self._protocol
        first = protocol.status_lines.line(status, protocol.server_state.default_headers)
        lines = self._last_lines((*headers, ("transfer-encoding", "chunked")))
        protocol.transport.write(first + lines.encode("latin-1"))

    def _last_lines(self, headers: Headers) -> str:
        """Header lines of an answer, to the blank line."""
        if self._desk.cors is not None:
            headers += self._desk.cors.headers(self.block.by_name)
        lines = "".join([f"{name}: {text}\r\n" for name, text in headers]) if headers else ""
        if not self.keep_alive:
            lines += "connection: close\r\n"
        return f"{lines}x-request-id: {self.id}\r\n\r\n"

    def _chunk(self, data: bytes) -> None:
        self.written_at = self._desk.node.clock.monotonic()
        self._protocol.transport.write(b"%x\r\n%b\r\n" % (len(data), data))

    def _finish_chunks(self, last: bytes, outcome: Outcome | None) -> None:
        if last:
            self._chunk(last)
        self._protocol.transport.write(_LAST_CHUNK)
        self._finish(outcome)

    def _finish(self, outcome: Outcome | None) -> None:
        self.response_complete = True
        self._let_go(outcome, self.status)
        if self.keep_alive:
            self._protocol.on_response_complete()
        else:
            self._protocol.end_connection()

    def _let_go(self, outcome: Outcome | None, status: int) -> None:
        """Free what this call held, and report it."""
        self._stop_timer()
        self._stream = None
        self._exchange = None  # which holds this sink: without the knot neither has to wait for the garbage collector
        desk, call = self._desk, self._call
        if self._place is not None:
            self._place.leave()
        if self._held >= 0 and self._principal is not None:
            desk.bodies.give_back(self._principal.tenant, self._held)
        line, node = self.line, desk.node
        node.observer.call_finished(
            tuple.__new__(
                CallReport,
                (
                    self.id,
                    line.route.address,
                    line.route.surface.value if call is None else call.method,
                    status,
                    self._reason(outcome) if isinstance(outcome, Refused) else None,
                    node.clock.monotonic() - self._started_at,
                    self.events,
                    isinstance(outcome, AgentError),
                    True,
                    "",
                ),
            )
        )

    def _later(self, seconds: float, callback: Callable[[LaneCycle], None]) -> None:
        """Its one timer."""
        self._stop_timer()
        node = self._desk.node
        self._slot = node.wheel.put(self, node.clock.monotonic() + seconds, callback)

    def _stop_timer(self) -> None:
        if self._slot is not None:
            call_off(self._slot, self)
            self._slot = None

    def _reason(self, refused: Refused) -> Reason:
        """Why this call was refused, which is written down where it is a question of who asks."""
        refusals, call, route = self._desk.node.refusals, self._call, self.line.route
        if refusals is not None:
            method = route.surface.value if call is None else call.method
            refusals.note_call(refused.reason, route.address, method, self._protocol.peer, self._principal)
        return refused.reason
