"""How far agents may go on with their streams: what they are told, and what becomes of a stream that goes further.

Agents that heed credit are told what has been taken. All others are held to what is kept for a reader that is behind,
and everybody to what the disk has not taken yet.
"""

from __future__ import annotations

from collections.abc import Callable

from a2a_relay.core.exchange import Exchange
from a2a_relay.core.limits import Limits
from a2a_relay.core.session import Session
from a2a_relay.core.stream import Stream
from a2a_relay.errors import Reason, Refused
from a2a_relay.ports.observer import StreamCounters


class Backpressure:
    """Gives credit, and ends streams that come faster than they are taken."""

    def __init__(
        self,
        limits: Limits,
        counters: StreamCounters,
        cancel: Callable[[Exchange, Refused], None],
        tell: Callable[[Session, bytes | None], None],
        on_violation: Callable[[Session], None],
    ) -> None:
        """`tell` writes a frame to an agent; `on_violation` hears of one that has sent more than its credit."""
        self._limits = limits
        self._counters = counters
        self._cancel = cancel
        self._tell = tell
        self._on_violation = on_violation

    def give_credit(self, stream: Stream) -> None:
        """Tell the agent how far it may go on, when enough has been taken since it was told."""
        exchange, through = stream.exchange, stream.credit_due()
        if through is None or exchange is None or stream.credit is None:
            return
        stream.grant(through)
        self._tell(exchange.session, exchange.session.dialect.credit(exchange.id, stream.credit, through))

    def acknowledge_end(self, stream: Stream) -> None:
        """Tell the agent that it may forget the stream: by the number after the last event's."""
        session, stream.end_due = stream.end_due, None
        if session is not None and stream.credit is not None:
            self._tell(session, session.dialect.credit(stream.head.exchange_id, stream.credit, stream.last + 1))

    def committed(self, stream: Stream) -> None:
        """More of a durable window is on disk."""
        self.give_credit(stream)
        if stream.window.is_end_committed:
            self.acknowledge_end(stream)

    def may_go_on(self, stream: Stream, exchange: Exchange, size: int) -> bool:
        """Whether an event is welcome though its reader is behind; if not, the stream has been ended."""
        credit, limits = stream.credit, self._limits
        if credit is not None and exchange.session.heeds_credit:
            held, held_bytes = stream.last - stream.granted, stream.last_bytes - stream.granted_bytes
            if not credit.has_room(held, held_bytes, size):
                self._cancel(exchange, Refused(Reason.CREDIT_EXCEEDED))
                self._on_violation(exchange.session)
                return False
            if not credit.has_room(held + 1, held_bytes + size, 1):
                self._counters.windows_full += 1
                stream.was_full += 1
            return True
        behind, behind_bytes = stream.last - stream.taken + 1, stream.last_bytes - stream.taken_bytes + size
        if behind <= limits.stream_buffer_events and (behind == 1 or behind_bytes <= limits.stream_buffer_bytes):
            return True
        self._cancel(exchange, Refused(Reason.STREAM_TOO_SLOW))
        return False

    def require_written(self, stream: Stream, exchange: Exchange) -> None:
        """End a durable stream that comes faster than the disk takes it, however fast its reader is."""
        if stream.window.waiting_bytes <= self._limits.unwritten_bytes or exchange.is_done:
            return
        if exchange.session.heeds_credit:
            self._cancel(exchange, Refused(Reason.CREDIT_EXCEEDED))
            self._on_violation(exchange.session)
        else:
            self._cancel(exchange, Refused(Reason.RELAY_BUSY, "the relay's store is behind"))
