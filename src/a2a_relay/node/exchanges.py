"""Calls in flight: opened, fed by frames of their own session, settled once."""

from __future__ import annotations

from collections.abc import Callable

from a2a_relay.core.exchange import AgentError, Exchange, Outcome, Phase, Result
from a2a_relay.core.router import OFFLINE_RETRY_AFTER_SECONDS
from a2a_relay.core.session import Session
from a2a_relay.errors import Reason, Refused
from a2a_relay.node.streams import Streams
from a2a_relay.node.wheel import Wheel, call_off
from a2a_relay.ports.clock import Clock
from a2a_relay.wire.frames import Nack, Response, StreamEnd, StreamEvent


class Exchanges:
    """The one place that moves exchanges on; their answers go to their sinks, their events to `streams`."""

    def __init__(
        self,
        clock: Clock,
        wheel: Wheel,
        streams: Streams,
        tell_agent_to_stop: Callable[[Exchange, Reason], None],
        is_late: Callable[[Exchange], bool],
    ) -> None:
        """`is_late` is asked at the deadline of a unary call: whether its answer is still awaited after that."""
        self._clock = clock
        self._wheel = wheel
        self._streams = streams
        self._tell_agent_to_stop = tell_agent_to_stop
        self._is_late = is_late
        self._in_flight = 0
        self.on_idle: Callable[[], None] | None = None
        """Called whenever the last call in flight is over."""

    def __len__(self) -> int:
        return self._in_flight

    def start(self, exchange: Exchange) -> None:
        """From now on the exchange is in flight; its request is for the caller to send."""
        exchange.session.open(exchange)
        self._in_flight += 1
        expires_at, ends_at = exchange.expires_at, exchange.ends_at
        exchange.deadline = self._wheel.put(exchange, expires_at if expires_at < ends_at else ends_at, self._expire)

    def adopt(self, exchange: Exchange, session: Session) -> None:
        """The agent has come back over another link: an exchange goes on there."""
        exchange.session.close(exchange)
        exchange.session = session
        session.open(exchange)

    def answer(self, session: Session, response: Response) -> bool:
        """Take a response frame. False when this session has no such call."""
        exchange = session.exchanges.get(response.id)
        if exchange is None:
            return False
        _, result, error, http_status, headers = response
        if error is not None:
            self.settle(exchange, AgentError(error))
        elif result is not None and exchange.call.streams and session.dialect.results_are_events:
            return self.event(session, StreamEvent(response.id, None, result, headers))
        elif result is not None:
            self.settle(exchange, tuple.__new__(Result, (result, http_status, headers)))
        return True

    def event(self, session: Session, event: StreamEvent) -> bool:
        """Take an event frame. False when this session has no such stream."""
        exchange = session.exchanges.get(event.id)
        if exchange is None:
            return False
        stream = exchange.stream
        if stream is None:
            self.settle(exchange, Refused(Reason.INVALID_AGENT_RESPONSE, "the agent streamed a unary call"))
            return True
        exchange.phase = Phase.STREAMING
        exchange.expires_at = self._clock.monotonic() + exchange.idle_seconds
        self._streams.event(stream, exchange, event)
        return True

    def end(self, session: Session, end: StreamEnd) -> bool:
        """Take an end frame. False when this session has no such stream."""
        exchange = session.exchanges.get(end.id)
        if exchange is None:
            return False
        stream = exchange.stream
        if stream is None:
            self.settle(exchange, Refused(Reason.INVALID_AGENT_RESPONSE, "the agent ended a unary call as a stream"))
        else:
            self._close(exchange)
            self._streams.ended(stream, None if end.error is None else AgentError(end.error))
        return True

    def nack(self, session: Session, nack: Nack) -> bool:
        """Take a nack: the call is refused as if the agent were away. False when this session has no such call."""
        exchange = session.exchanges.get(nack.id)
        if exchange is None:
            return False
        after = nack.retry_after_seconds or OFFLINE_RETRY_AFTER_SECONDS
        message = f"the agent has not taken the call: {nack.reason or 'no reason given'}"
        self.settle(exchange, Refused(Reason.AGENT_OFFLINE, message, retry_after_seconds=after))
        return True

    def settle(self, exchange: Exchange, outcome: Outcome) -> None:
        """Give the only answer; to a stream that has begun, as its end."""
        if exchange.phase is Phase.DONE:
            return
        is_begun = exchange.phase is Phase.STREAMING
        self._close(exchange)
        stream = exchange.stream
        if stream is None:
            if exchange.sink is not None:
                exchange.sink.answer(outcome)
        elif not is_begun:
            self._streams.answered(stream, outcome)
        elif isinstance(outcome, Result):
            self._streams.last_event(stream, outcome)
            self._streams.ended(stream, None)
        else:
            self._streams.ended(stream, outcome)

    def cancel(self, exchange: Exchange, refused: Refused) -> None:
        """End an exchange from this side: the reader gets the reason, the agent is told to stop."""
        if exchange.is_done:
            return
        self._tell_agent_to_stop(exchange, refused.reason)
        self.settle(exchange, refused)

    def abandon(self, exchange: Exchange) -> None:
        """Whoever awaited a unary call is gone: free the state without calling the sink, and tell the agent."""
        if exchange.is_done:
            return
        self._tell_agent_to_stop(exchange, Reason.CLIENT_GONE)
        self._close(exchange)

    def fail_all(self, session: Session, refused: Refused) -> None:
        """The session's link is gone: every call in flight on it ends with an error that says so."""
        for exchange in list(session.exchanges.values()):
            self.settle(exchange, refused)

    def suspend(self, exchange: Exchange, refused: Refused) -> None:
        """Let go of a call whose durable stream another process will go on with; its agent is not told to stop."""
        self._close(exchange)
        if exchange.stream is not None:
            self._streams.suspend(exchange.stream, refused)

    def _close(self, exchange: Exchange) -> None:
        exchange.move(Phase.DONE)
        exchange.session.close(exchange)
        call_off(exchange.deadline, exchange)
        self._in_flight -= 1
        if not self._in_flight and self.on_idle is not None:
            self.on_idle()

    def _expire(self, exchange: Exchange) -> None:
        """The deadline: of a call's answer, of a stream's next event, and of everything."""
        if exchange.is_done:
            return
        now, due = self._clock.monotonic(), min(exchange.expires_at, exchange.ends_at)
        if due > now:
            exchange.deadline = self._wheel.put(exchange, due, self._expire)
            return
        stream = exchange.stream
        if stream is None and self._is_late(exchange):
            exchange.deadline = self._wheel.put(exchange, exchange.expires_at, self._expire)
            return
        is_unread = stream is not None and stream.reader is not None and stream.cursor < stream.last
        if is_unread and now < exchange.ends_at:
            self.cancel(exchange, Refused(Reason.STREAM_TOO_SLOW))
        else:
            limit = "total" if now >= exchange.ends_at else "idle"
            self.cancel(exchange, Refused(Reason.AGENT_TIMEOUT, metadata={"limit": limit} if stream else {}))
