"""Calls in flight: opened, fed by frames of their own session, settled once."""

from __future__ import annotations

from collections.abc import Callable

from a2a_relay.core.exchange import AgentError, Exchange, Outcome, Phase, Result
from a2a_relay.core.router import OFFLINE_RETRY_AFTER_SECONDS
from a2a_relay.core.session import Session
from a2a_relay.errors import Reason, Refused
from a2a_relay.node.wheel import Wheel, call_off
from a2a_relay.ports.clock import Clock
from a2a_relay.wire.frames import Nack, Response, StreamEnd, StreamEvent


class Exchanges:
    """The one place that moves exchanges on and calls their sinks."""

    def __init__(self, clock: Clock, wheel: Wheel, tell_agent_to_stop: Callable[[Exchange, Reason], None]) -> None:
        self._clock = clock
        self._wheel = wheel
        self._tell_agent_to_stop = tell_agent_to_stop
        self._in_flight = 0
        self.on_idle: Callable[[], None] | None = None
        """Called whenever the last call in flight is over."""

    def __len__(self) -> int:
        return self._in_flight

    def start(self, exchange: Exchange) -> None:
        """From now on the exchange is in flight; its request is for the caller to send."""
        exchange.session.open(exchange)
        self._in_flight += 1
        exchange.deadline = self._wheel.put(exchange, exchange.expires_at, self._expire)

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
        if not exchange.call.streams:
            self.settle(exchange, Refused(Reason.INVALID_AGENT_RESPONSE, "the agent streamed a unary call"))
            return True
        if not exchange.takes(event.seq):
            return True
        exchange.move(Phase.STREAMING)
        exchange.events += 1
        exchange.expires_at = self._clock.monotonic() + exchange.timeout_seconds
        if not exchange.sink.event(Result(event.result, headers=event.headers)):
            self.cancel(exchange, Refused(Reason.STREAM_TOO_SLOW))
        return True

    def end(self, session: Session, end: StreamEnd) -> bool:
        """Take an end frame. False when this session has no such stream."""
        exchange = session.exchanges.get(end.id)
        if exchange is None:
            return False
        if not exchange.call.streams:
            self.settle(exchange, Refused(Reason.INVALID_AGENT_RESPONSE, "the agent ended a unary call as a stream"))
        else:
            self._finish(exchange, None if end.error is None else AgentError(end.error))
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
        phase = exchange.phase
        if phase is Phase.PENDING:
            self._close(exchange)
            exchange.sink.answer(outcome)
        elif phase is Phase.DONE:
            pass
        elif isinstance(outcome, Result):
            if exchange.sink.event(outcome):
                self._finish(exchange, None)
            else:
                self._finish(exchange, Refused(Reason.STREAM_TOO_SLOW))
        else:
            self._finish(exchange, outcome)

    def cancel(self, exchange: Exchange, refused: Refused) -> None:
        """End an exchange from this side: the reader gets the reason, the agent is told to stop."""
        if exchange.is_done:
            return
        self._tell_agent_to_stop(exchange, refused.reason)
        self.settle(exchange, refused)

    def abandon(self, exchange: Exchange) -> None:
        """The reader is gone: free the state without calling the sink, and tell the agent."""
        if exchange.is_done:
            return
        self._tell_agent_to_stop(exchange, Reason.CLIENT_GONE)
        self._close(exchange)

    def fail_all(self, session: Session, refused: Refused) -> None:
        """The session's link is gone: every call in flight on it ends with an error that says so."""
        for exchange in list(session.exchanges.values()):
            self.settle(exchange, refused)

    def _finish(self, exchange: Exchange, failure: AgentError | Refused | None) -> None:
        self._close(exchange)
        exchange.sink.end(failure)

    def _close(self, exchange: Exchange) -> None:
        exchange.move(Phase.DONE)
        exchange.session.close(exchange)
        call_off(exchange.deadline, exchange)
        self._in_flight -= 1
        if not self._in_flight and self.on_idle is not None:
            self.on_idle()

    def _expire(self, exchange: Exchange) -> None:
        """The deadline: of a call's answer, and of a stream's next event."""
        if exchange.expires_at > self._clock.monotonic() and not exchange.is_done:
            exchange.deadline = self._wheel.put(exchange, exchange.expires_at, self._expire)
        else:
            self.cancel(exchange, Refused(Reason.AGENT_TIMEOUT))
