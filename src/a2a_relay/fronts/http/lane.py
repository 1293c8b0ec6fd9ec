"""The fast lane: one relayed call on an HTTP/1.1 connection, without a task, a scope or a queue.

It owns bytes and nothing else: what a request means is decided by `core.target`
and `desk`, how an answer is written by `bindings`, as in the plain lane. uvicorn's
protocol keeps it in its pipeline as it keeps its own cycles; the attributes that
it looks at have its names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, NamedTuple

from a2a_relay.a2a import sse
from a2a_relay.core.exchange import AgentError, Exchange, Outcome, Result
from a2a_relay.core.target import Route
from a2a_relay.errors import IllegalMove, Reason, Refused
from a2a_relay.fronts.http.answer import Answer, Headers, refusal
from a2a_relay.fronts.http.bindings import EVENT_STREAM, UNBUFFERED
from a2a_relay.fronts.http.desk import Admission, CallDesk, refusal_answer
from a2a_relay.fronts.http.head import RequestHead
from a2a_relay.fronts.http.reading import ReadCall
from a2a_relay.node.wheel import WheelTimer
from a2a_relay.ports.observer import CallReport

if TYPE_CHECKING:
    from a2a_relay.fronts.http.lane_protocol import LaneProtocol


class _NoEvent:
    """What uvicorn sets to wake a cycle's coroutine, of which there is none."""

    def set(self) -> None:
        pass


_NO_EVENT = _NoEvent()
_LAST_CHUNK = b"0\r\n\r\n"


class LaneRequest(NamedTuple):
    """A request whose head has arrived. `has_body` when more than the head may follow."""

    verb: str
    target: bytes
    headers: list[tuple[bytes, bytes]]
    route: Route
    keep_alive: bool
    expects_continue: bool


class LaneCycle:
    """One request and its answer; the sink of its exchange.

    `start` is called when every earlier answer on the connection is written,
    `feed` and `complete` as the body arrives, in either order.
    """

    __slots__ = (
        "_admission",
        "_desk",
        "_exchange",
        "_head",
        "_held",
        "_is_chunked",
        "_is_started",
        "_parts",
        "_protocol",
        "_read",
        "_request",
        "_started_at",
        "_timer",
        "body",
        "disconnected",
        "events",
        "keep_alive",
        "more_body",
        "response_complete",
        "response_started",
        "size",
        "status",
        "written_at",
    )
    message_event = _NO_EVENT

    def __init__(self, protocol: LaneProtocol, desk: CallDesk, request: LaneRequest) -> None:
        self._protocol = protocol
        self._desk = desk
        self._request = request
        self._started_at = desk.node.clock.monotonic()
        self._head: RequestHead | None = None
        self._admission: Admission | None = None
        self._read: ReadCall | None = None
        self._exchange: Exchange | None = None
        self._timer: WheelTimer | None = None
        self._parts: list[bytes] = []
        self._held = -1
        self._is_started = False
        self._is_chunked = False
        self.body = b""
        self.size = 0
        self.status = 0
        self.events = 0
        self.written_at = 0.0
        self.keep_alive = request.keep_alive
        self.more_body = True
        self.disconnected = False
        self.response_started = False
        self.response_complete = False

    # the request

    def start(self) -> None:
        """It is this request's turn: decide by its head."""
        self._is_started = True
        request, protocol = self._request, self._protocol
        try:
            self._head = RequestHead(
                request.verb, request.target, request.headers, protocol.scheme or "http", protocol.peer
            )
        except Refused as refused:
            self._head = RequestHead(request.verb, request.target, (), "http", protocol.peer)
            return self._whole(refusal(refused), refused)
        try:
            self._admission = self._desk.admit(self._head, request.route)
        except Refused as refused:
            return self._refuse(refused)
        if not self.more_body:
            return self._submit()
        if request.expects_continue:
            protocol.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        return None

    def feed(self, data: bytes) -> None:
        """A piece of the body."""
        self.size += len(data)
        self._parts.append(data)
        limit = self._desk.node.limits.max_body
        if self.size > limit and self._is_started and not self.response_started:
            self._parts.clear()
            self._refuse(Refused(Reason.TOO_LARGE, metadata={"limit": str(limit)}))

    def complete(self) -> None:
        """The body is here."""
        self._stop_timer()
        if self._is_started and not self.response_started:
            self._submit()

    def await_body(self) -> None:
        """The body will come in pieces: each may take its time, and not more."""
        if self._timer is None and not self.response_started and self._is_started:
            self._arm_body(self.size)

    def _arm_body(self, seen: int) -> None:
        self._later(self._desk.rules.body_timeout_seconds, lambda: self._body_due(seen))

    def _body_due(self, seen: int) -> None:
        if self.size > seen:
            self._arm_body(self.size)
        else:
            self._refuse(Refused(Reason.REQUEST_TIMEOUT))

    def _submit(self) -> None:
        """Read the call and hand it to the node; the answer may come before this returns."""
        head, admission = self._head, self._admission
        if head is None or admission is None:
            return
        body = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        self._parts.clear()
        try:
            limit = self._desk.node.limits.max_body
            if len(body) > limit:
                raise Refused(Reason.TOO_LARGE, metadata={"limit": str(limit)})
            self._read = self._desk.read(head, self._request.route, admission, body)
            self._desk.hold(admission, len(body))
            self._held = len(body)
            self._exchange = self._desk.submit(self._read.call, self)
        except Refused as refused:
            self._refuse(refused)
            return
        if self.response_complete:
            self._exchange = None
        else:
            self._await_answer(self._read)

    def _await_answer(self, read: ReadCall) -> None:
        pace = self._desk.rules.pace
        if read.call.streams:
            if not self.response_started:
                self._later(pace.head_wait, self._head_due)
            else:
                self._later(pace.heartbeat, self._beat)
        elif read.binding.keeps_alive and pace.unary_keepalive:
            self._later(pace.unary_keepalive, self._keep_alive)

    # the sink

    def answer(self, outcome: Outcome) -> None:
        read = self._require_read()
        if read.call.streams and isinstance(outcome, Result):
            self._stream_head(outcome.headers.items())
            self._event(read, outcome)
            self._finish_chunks(b"", outcome)
        elif self._is_chunked:
            if read.call.streams and not isinstance(outcome, Result):
                self._finish_chunks(read.binding.error_event(outcome), outcome)
            else:
                self._finish_chunks(read.binding.answer(outcome).body, outcome)
        else:
            self._whole(read.binding.answer(outcome), outcome)

    def event(self, result: Result) -> bool:
        if self.disconnected:
            return True
        read = self._require_read()
        if self._is_too_slow():
            return False
        if not self.response_started:
            self._stream_head(result.headers.items())
            self._later(self._desk.rules.pace.heartbeat, self._beat)
        self._event(read, result)
        return True

    def end(self, failure: AgentError | Refused | None) -> None:
        read = self._require_read()
        if failure is not None and not self.response_started:
            self._whole(read.binding.answer(failure), failure)
            return
        self._stream_head(())
        self._finish_chunks(b"" if failure is None else read.binding.error_event(failure), failure)

    def _event(self, read: ReadCall, result: Result) -> None:
        self.events += 1
        self._chunk(read.binding.event(result.body))

    def _is_too_slow(self) -> bool:
        """Whether the client has more before it than one stream may have waiting (the plain lane's bound, in bytes)."""
        waiting: int = self._protocol.transport.get_write_buffer_size()
        return waiting > self._desk.node.limits.stream_buffer_bytes

    def gone(self) -> None:
        """The client is gone."""
        self.disconnected = True
        if self.response_complete:
            return
        self.response_complete = True
        if self._exchange is not None:
            self._desk.node.abandon(self._exchange)
        self._let_go(Refused(Reason.CLIENT_GONE), 0)

    # signs of life

    def _head_due(self) -> None:
        """A silent stream: its head, and a comment behind it (decision 18)."""
        self._stream_head(())
        self._chunk(sse.HEARTBEAT)
        self._later(self._desk.rules.pace.heartbeat, self._beat)

    def _beat(self) -> None:
        heartbeat = self._desk.rules.pace.heartbeat
        silent = self._desk.node.clock.monotonic() - self.written_at
        if silent < heartbeat:
            self._later(heartbeat - silent, self._beat)
            return
        self._chunk(sse.HEARTBEAT)
        self._later(heartbeat, self._beat)

    def _keep_alive(self) -> None:
        """A silent JSON-RPC call: commit to 200 and send a blank now and then (decision 5)."""
        if not self.response_started:
            self._chunked_head(200, (("content-type", "application/json"), *UNBUFFERED))
        self._chunk(b" ")
        self._later(self._desk.rules.pace.unary_keepalive, self._keep_alive)

    # bytes

    def _refuse(self, refused: Refused) -> None:
        binding = self._read.binding if self._read is not None else None
        self._whole(refusal_answer(refused, self._request.route, binding), refused)

    def _whole(self, answer: Answer, outcome: Outcome) -> None:
        headers = answer.headers
        is_unread = self._admission is None or self.more_body
        if is_unread and self._head is not None and self._head.ends_connection:
            headers = (*headers, ("connection", "close"))
            self.keep_alive = False
        length = ("content-length", str(len(answer.body)))
        head = self._head_bytes(answer.status, (("content-type", answer.media_type), length, *headers))
        self._protocol.transport.write(head + answer.body)
        self.response_started = True
        self._finish(outcome)

    def _stream_head(self, passed: Iterable[tuple[str, str]]) -> None:
        if not self.response_started:
            self._chunked_head(200, (("content-type", EVENT_STREAM), *UNBUFFERED, *passed))

    def _chunked_head(self, status: int, headers: Headers) -> None:
        self.response_started = self._is_chunked = True
        self._protocol.transport.write(self._head_bytes(status, (*headers, ("transfer-encoding", "chunked"))))

    def _head_bytes(self, status: int, headers: Headers) -> bytes:
        self.status = status
        lines = "".join([f"{name}: {text}\r\n" for name, text in headers])
        request_id = self._head.id if self._head is not None else ""
        if not self.keep_alive and ("connection", "close") not in headers:
            lines += "connection: close\r\n"
        return self._protocol.status_line(status) + f"{lines}x-request-id: {request_id}\r\n\r\n".encode("latin-1")

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
        if not self.keep_alive:
            self._protocol.transport.close()
        self._protocol.on_response_complete()

    def _let_go(self, outcome: Outcome | None, status: int) -> None:
        """Free what this call held, and report it."""
        self._stop_timer()
        self._exchange = None  # which holds this sink: without the knot neither has to wait for the garbage collector
        if self._held >= 0 and self._admission is not None:
            self._desk.release(self._admission, self._held)
        node, call = self._desk.node, self._read.call if self._read is not None else None
        node.observer.call_finished(
            CallReport(
                request_id=self._head.id if self._head is not None else "",
                address=self._request.route.address,
                method=call.method if call is not None else self._request.route.surface.value,
                status=status,
                reason=outcome.reason if isinstance(outcome, Refused) else None,
                is_agent_error=isinstance(outcome, AgentError),
                duration_seconds=node.clock.monotonic() - self._started_at,
                events=self.events,
            )
        )

    def _later(self, seconds: float, callback: Callable[[], None]) -> None:
        self._stop_timer()
        self._timer = self._desk.node.wheel.call_later(seconds, callback)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _require_read(self) -> ReadCall:
        if self._read is None:
            raise IllegalMove("an answer before its call was read")
        return self._read
