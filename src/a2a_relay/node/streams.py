"""The streams of this node: fed by their agents, read by whoever may, kept for a while after either has gone.

An agent's events go into the stream's window and from there to its reader; the agent is
given credit for what has been taken. A reader that goes away detaches: the window takes
over from it for `detach_grace_seconds`, then the agent is told to stop. What is kept is
bounded for each stream, tenant and process; the windows that nobody reads go first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from a2a_relay.a2a import jsonrpc
from a2a_relay.core.address import Address
from a2a_relay.core.call import Call
from a2a_relay.core.exchange import AgentError, Exchange, Outcome, Result
from a2a_relay.core.limits import Limits
from a2a_relay.core.position import Position
from a2a_relay.core.principal import Principal
from a2a_relay.core.session import Session
from a2a_relay.core.stream import Event, Reader, Stream
from a2a_relay.errors import Reason, Refused
from a2a_relay.node.backpressure import Backpressure
from a2a_relay.node.quotas import Quotas
from a2a_relay.node.stream_logs import StreamLogs
from a2a_relay.node.wheel import Wheel, call_off
from a2a_relay.node.windows import Windows
from a2a_relay.ports.clock import Clock
from a2a_relay.ports.observer import Observer, StreamReport
from a2a_relay.ports.stream_log import StreamLog
from a2a_relay.wire.frames import NO_HEADERS, StreamEvent

Failure = AgentError | Refused | None

_BATCH = 64
_PACE_SECONDS = 1.0
"""How long a stream is held back before it is asked again whether it may go on."""
_REST_SECONDS = 60.0
"""For what a reader has not taken when its stream ends."""
_AT_ONCE = (Reason.STREAM_TOO_SLOW, Reason.RELAY_LEAVING)
"""Ends that do not wait for a reader to take what is still here."""


class Streams:
    """The one place that moves streams on and calls their readers."""

    def __init__(
        self,
        clock: Clock,
        wheel: Wheel,
        observer: Observer,
        limits: Limits,
        logs: tuple[StreamLog, StreamLog | None],
        epoch: str,
        cancel: Callable[[Exchange, Refused], None],
        backpressure: Backpressure,
        quotas: Quotas,
    ) -> None:
        """`logs` are that of memory and the durable one, if there is any."""
        self._clock = clock
        self._wheel = wheel
        self._observer = observer
        self._counters = observer.streams
        self._limits = limits
        memory, durable = logs
        self._logs = StreamLogs(clock, epoch, memory, durable, limits.stream_window, observer, backpressure.committed)
        self._cancel = cancel
        self._backpressure = backpressure
        self._quotas = quotas
        self._streams: dict[str, Stream] = {}
        self._windows = Windows(limits, self.forget)

    def read(self) -> list[Stream]:
        """The streams that somebody reads now."""
        return [stream for stream in self._streams.values() if stream.reader is not None]

    def __len__(self) -> int:
        """How many streams are known here, those that are over too."""
        return len(self._streams)

    @property
    def held_bytes(self) -> int:
        """What all windows together count for."""
        return self._windows.held_bytes

    # the agent's side

    def open(self, call: Call, exchange: Exchange, reader: Reader) -> Stream:
        """A stream for a call that is about to be handed to its agent."""
        stream = self._logs.new(call, exchange, reader)
        self._add(stream, exchange)
        return stream

    def open_here(self, call: Call, reader: Reader, on_left: Callable[[Stream], None]) -> Stream:
        """A stream that the relay itself feeds, for a call that no agent has been handed yet."""
        stream = self._logs.new(call, None, reader)
        stream.on_left = on_left
        self._add(stream, None)
        return stream

    def begin(self, stream: Stream, exchange: Exchange) -> None:
        """A stream that the relay has opened, and fed nothing so far, is its agent's from now on."""
        session = exchange.session
        stream.exchange, exchange.stream, stream.on_left = exchange, stream, None
        stream.head = stream.head._replace(exchange_id=exchange.id)
        if session.dialect.has_credit:
            stream.credit = self._limits.stream_window
            stream.grant(stream.last)
        if stream.reader is None:
            self._set_timer(stream, self._limits.detach_grace_seconds, self._stop)

    def feed(self, stream: Stream, body: bytes) -> None:
        """An event of the relay's own."""
        if stream.head.id in self._streams and not stream.is_over:
            self._take(stream, body, NO_HEADERS)

    def _add(self, stream: Stream, exchange: Exchange | None) -> None:
        stream.exchange = exchange
        if exchange is not None:
            exchange.stream = stream
        self._streams[stream.head.id] = stream
        self._count(stream)

    def event(self, stream: Stream, exchange: Exchange, event: StreamEvent) -> None:
        """Take the agent's next event. One that was seen is dropped; a stream with one missing has failed."""
        _, seq, body, headers = event
        offset = stream.last
        if seq is not None and seq != offset + 1:
            if seq > offset + 1:
                self._cancel(exchange, Refused(Reason.INVALID_AGENT_RESPONSE, "events of the stream are missing"))
        elif stream.cursor == offset or self._backpressure.may_go_on(stream, exchange, len(body)):
            self._take(stream, body, headers)

    def _take(self, stream: Stream, body: bytes, headers: Mapping[str, str]) -> None:
        offset, reader = stream.last + 1, stream.reader
        if stream.on_body is not None:
            body = stream.on_body(body)
        if headers is not NO_HEADERS:
            stream.headers = headers
        event = tuple.__new__(Event, (b"%b%d" % (stream.prefix, offset), body))
        stream.window.append(event)
        stream.last = offset
        size = stream.last_bytes = stream.last_bytes + len(body)
        if stream.has_room and stream.cursor + 1 == offset and reader is not None:
            stream.cursor = stream.taken = offset
            stream.taken_bytes = size
            stream.has_room = reader.event(event, stream.headers)
        elif stream.cursor >= offset or (reader is None and self._windows.has_room(stream)):
            stream.take()
        if offset >= stream.check_at or size >= stream.check_bytes:
            self._check(stream)

    def _check(self, stream: Stream) -> None:
        """What need not be done for each event: give credit, and count what has come."""
        if self._quotas.is_set and stream.principal is not None:
            self._pace(stream, stream.principal)
        else:
            self._backpressure.give_credit(stream)
        self._count(stream)
        if stream.is_durable and stream.exchange is not None:
            self._backpressure.require_written(stream, stream.exchange)

    def _pace(self, stream: Stream, principal: Principal) -> None:
        """Give credit unless the reader's party has had its bytes for now; then a little later."""
        self._charge(stream, principal)
        wait = self._quotas.stream_wait(principal)
        if not wait:
            self._backpressure.give_credit(stream)
        elif not stream.is_held_back:
            stream.is_held_back = True
            self._clock.call_later(min(wait, _PACE_SECONDS), partial(self._go_on, stream))

    def _charge(self, stream: Stream, principal: Principal) -> None:
        self._quotas.count_streamed(principal, stream.last_bytes - stream.paced_bytes)
        stream.paced_bytes = stream.last_bytes

    def _go_on(self, stream: Stream) -> None:
        stream.is_held_back = False
        exchange = stream.exchange
        if exchange is not None and not stream.is_over:
            exchange.expires_at = self._clock.monotonic() + exchange.idle_seconds  # it was the relay that has waited
            self._check(stream)

    def _count(self, stream: Stream) -> None:
        counters = self._counters
        counters.events += stream.last - stream.counted_events
        counters.bytes += stream.last_bytes - stream.counted_bytes
        stream.counted_events, stream.counted_bytes = stream.last, stream.last_bytes
        self._windows.count(stream)
        stream.check_at = min(stream.due, stream.last + self._windows.step_events)
        stream.check_bytes = min(stream.due_bytes, stream.last_bytes + self._windows.step_bytes)

    def answered(self, stream: Stream, outcome: Outcome) -> None:
        """The call has one answer and no events: an error, or a result that is the only event."""
        reader = stream.reader
        if isinstance(outcome, Result):
            self._take(stream, outcome.body, outcome.headers)
            self.ended(stream, None)
        elif reader is not None:
            stream.reader = None
            self._note_end(stream, outcome)
            stream.is_over, stream.failure = True, outcome
            self._report(stream, outcome)
            self.forget(stream)
            reader.answer(outcome)
        else:
            self.ended(stream, outcome)

    def last_event(self, stream: Stream, result: Result) -> None:
        """A result behind events: the last one of them."""
        self._take(stream, result.body, result.headers)

    def ended(self, stream: Stream, failure: Failure) -> None:
        """Nothing more will come from the agent."""
        self._note_end(stream, failure)
        stream.is_over, stream.failure = True, failure
        if self._quotas.is_set and stream.principal is not None:
            self._charge(stream, stream.principal)
        stream.window.close(_stored(failure))
        self._count(stream)
        if stream.window.is_end_committed:
            self._backpressure.acknowledge_end(stream)
        self._report(stream, failure)
        reader = stream.reader
        self._rest(stream)
        if reader is not None and (stream.cursor >= stream.last or _is_at_once(failure)):
            self._finish(stream, reader)

    def _note_end(self, stream: Stream, outcome: Outcome | None) -> None:
        """What the agent itself has ended it may forget, once it is told so; of all else it is told otherwise."""
        exchange, stream.exchange = stream.exchange, None
        if exchange is not None and not isinstance(outcome, Refused):
            stream.end_due = exchange.session

    def leave_all(self, refused: Refused) -> None:
        """This process ends: whoever still reads is told so."""
        for stream in list(self._streams.values()):
            reader, stream.reader = stream.reader, None
            if reader is not None:
                reader.end(refused)

    def suspend(self, stream: Stream, refused: Refused) -> None:
        """This process leaves a durable stream, which another one will go on with."""
        reader, stream.reader, stream.exchange = stream.reader, None, None
        self._let_go(stream)
        if reader is not None:
            reader.end(refused)

    def _report(self, stream: Stream, failure: Failure) -> None:
        reason = failure.reason if isinstance(failure, Refused) else None
        if reason is Reason.STREAM_TOO_SLOW:
            self._counters.slow_ended += 1
        self._observer.stream_ended(
            StreamReport(
                stream.head.address,
                stream.head.method,
                stream.last,
                stream.last_bytes,
                stream.was_full,
                stream.resumes,
                reason,
                isinstance(failure, AgentError),
            )
        )

    # the reader's side

    def find(self, principal: Principal, address: Address, position: Position) -> Stream:
        """The stream that a position is in. Raises STREAM_GONE: unknown, forgotten and foreign look alike."""
        stream = self._streams.get(position.stream) or self._load(position.stream)
        if (
            stream is None
            or not stream.may_be_read_by(principal, address)
            or position.epoch not in ("", stream.head.epoch)
            or (position.offset > stream.last and (stream.is_over or not stream.is_durable))
        ):
            raise Refused(Reason.STREAM_GONE)
        return stream

    def resume(self, stream: Stream, offset: int, reader: Reader) -> None:
        """Go on reading behind an offset. Another reader of this stream is sent away."""
        replaced, stream.reader = stream.reader, None
        if replaced is not None:
            replaced.end(Refused(Reason.STREAM_RESUMED))
        if not stream.is_over and stream.exchange is not None:
            call_off(stream.slot, stream)
        self._windows.is_read(stream)
        self._counters.resumes += 1
        stream.resumes += 1
        stream.reader, stream.cursor = reader, offset
        stream.take_through(offset)
        first = stream.window.first
        if offset + 1 < first:
            self._counters.gaps += 1
            reader.gap(offset + 1, Event(b"%b%d" % (stream.prefix, first - 1), b""))
            stream.cursor = first - 1
        self.read_on(stream, reader)

    def read_on(self, stream: Stream, reader: Reader) -> None:
        """A reader has room again."""
        if stream.reader is not reader:
            return
        stream.has_room = True
        if stream.cursor < stream.last and stream.exchange is not None:  # its agent may have had to wait for this
            stream.exchange.expires_at = self._clock.monotonic() + stream.exchange.idle_seconds
        while stream.has_room and stream.cursor < stream.last:
            for event in stream.window.after(stream.cursor, _BATCH):
                stream.cursor += 1
                if stream.cursor > stream.taken:
                    stream.taken = stream.cursor
                    stream.taken_bytes += len(event.body)
                stream.has_room = reader.event(event, stream.headers)
                if not stream.has_room:
                    break
        self._check(stream)
        if stream.is_over and stream.cursor >= stream.last and stream.reader is reader:
            self._finish(stream, reader)

    def leave(self, stream: Stream, reader: Reader) -> None:
        """A reader is gone: the stream is detached from it, and goes on for a while (decision 19)."""
        if stream.reader is not reader:
            return
        stream.reader, stream.has_room = None, False
        self._windows.is_unread(stream)
        if stream.is_over or (stream.exchange is None and stream.on_left is None):
            return
        if not self._limits.detach_grace_seconds:
            self._stop(stream)
            return
        self._set_timer(stream, self._limits.detach_grace_seconds, self._stop)
        self._count(stream)  # what was read makes room for what will not be
        if self._windows.has_room(stream):
            stream.take()
            self._check(stream)

    def unread_for(self, stream: Stream, refused: Refused) -> None:
        """A reader may not read any more: it is told so, and the stream goes on as when a reader goes away."""
        reader = stream.reader
        if reader is not None:
            self.leave(stream, reader)
            reader.end(refused)

    def stop_one_unread(self, session: Session) -> None:
        """An agent that has its fill of streams lets the oldest that nobody reads go for a new one."""
        for exchange in session.exchanges.values():
            if exchange.stream is not None and exchange.stream.reader is None:
                self._stop(exchange.stream)
                return

    def _stop(self, stream: Stream) -> None:
        """Nobody came back to read."""
        if stream.exchange is not None:
            self._cancel(stream.exchange, Refused(Reason.CLIENT_GONE))
        elif stream.on_left is not None:
            self.forget(stream)

    def _finish(self, stream: Stream, reader: Reader) -> None:
        stream.reader = None
        self._windows.is_unread(stream)
        if not stream.last or not self._limits.replay_seconds:
            self.forget(stream)
        reader.end(stream.failure)

    # what is kept, and for how long

    def _rest(self, stream: Stream) -> None:
        """A stream that is over stays for a while, and in any case for as long as its reader may take for the rest."""
        if stream.head.id not in self._streams:
            return  # it had to make room for others as soon as it was over
        seconds = self._limits.replay_seconds
        if stream.reader is None:
            self._windows.is_unread(stream)
        else:
            seconds = max(seconds, _REST_SECONDS)
        self._set_timer(stream, seconds, self._overdue)

    def _overdue(self, stream: Stream) -> None:
        reader, stream.reader = stream.reader, None
        self.forget(stream)
        if reader is not None:
            self._counters.slow_ended += 1
            reader.end(Refused(Reason.STREAM_TOO_SLOW))

    def forget(self, stream: Stream) -> None:
        """Let go of a stream: nobody can read it any more."""
        if self._let_go(stream):
            self._backpressure.acknowledge_end(stream)
            stream.window.drop()

    def _let_go(self, stream: Stream) -> bool:
        """A stream is none of this process's any more. False when it was not before."""
        call_off(stream.slot, stream)
        if self._streams.pop(stream.head.id, None) is None:
            return False
        self._windows.give_back(stream)
        on_left, stream.on_left = stream.on_left, None
        if on_left is not None:
            on_left(stream)
        return True

    def _set_timer(self, stream: Stream, seconds: float, callback: Callable[[Stream], None]) -> None:
        call_off(stream.slot, stream)
        stream.slot = self._wheel.put(stream, self._clock.monotonic() + seconds, callback)

    # streams that an earlier process has left

    def _load(self, id: str) -> Stream | None:
        stream = self._logs.load(id)
        if stream is None:
            return None
        self._add(stream, None)
        self._windows.is_unread(stream)
        if stream.is_over:
            self._rest(stream)
        else:
            self._set_timer(stream, self._limits.resume_grace_seconds, self._agent_stayed_away)
        return stream

    def _agent_stayed_away(self, stream: Stream) -> None:
        if stream.exchange is None and not stream.is_over:
            self.ended(stream, Refused(Reason.AGENT_DISCONNECTED, metadata={"delivered": "unknown"}))

    def left_by_earlier(self, address: Address, exchange_ids: Sequence[str]) -> dict[str, Stream]:
        """Those of an agent's streams that were handed over by an earlier process and still wait for it."""
        found = self._logs.find_exchanges(address, exchange_ids)
        streams = {exchange_id: self._streams.get(id) or self._load(id) for exchange_id, id in found.items()}
        return {
            exchange_id: stream
            for exchange_id, stream in streams.items()
            if stream is not None and not stream.is_over and stream.exchange is None
        }

    def go_on(self, stream: Stream, exchange: Exchange) -> int:
        """The agent of a stream is back; the event from behind which it is to go on.

        One that nobody reads has as long for its reader as it had: agents that come and go do not prolong it.
        """
        if stream.exchange is None:
            call_off(stream.slot, stream)
            if stream.reader is None:
                self._set_timer(stream, self._limits.detach_grace_seconds, self._stop)
        stream.exchange, exchange.stream = exchange, stream
        through = stream.grantable
        stream.grant(through)
        return through


def _stored(failure: Failure) -> bytes | None:
    """A failure as it is kept: a JSON-RPC error object."""
    return jsonrpc.refusal(failure) if isinstance(failure, Refused) else failure and failure.body


def _is_at_once(failure: Failure) -> bool:
    return isinstance(failure, Refused) and failure.reason in _AT_ONCE
