"""What all windows of a node hold together, and who has to let go when that is too much."""

from __future__ import annotations

from collections.abc import Callable

from a2a_relay.core.limits import EVENT_OVERHEAD_BYTES, WINDOW_OVERHEAD_BYTES, Limits, WindowBudget
from a2a_relay.core.stream import Stream

_STEP_EVENTS = 32
_STEP_BYTES = 8 * 1024


class Windows:
    """Counts windows, for the process and for each tenant.

    When they are too much, those that nobody reads go first, the oldest before others.
    """

    def __init__(self, limits: Limits, forget: Callable[[Stream], None]) -> None:
        self._limits = limits
        self._forget = forget
        self._budget = WindowBudget(limits.replay_total_bytes)
        self.step_events = max(1, min(_STEP_EVENTS, limits.replay_events // 16))
        self.step_bytes = max(1, min(_STEP_BYTES, limits.replay_bytes // 16, limits.replay_total_bytes // 1024))
        """A window is counted again after so many events or bytes of bodies, whichever comes first."""
        self._unread: dict[Stream, None] = {}
        self._unread_of: dict[str, dict[Stream, None]] = {}

    @property
    def held_bytes(self) -> int:
        """What they count for together."""
        return self._budget.held

    def has_room(self, stream: Stream) -> bool:
        """Whether a window may take an event that nobody reads yet."""
        window, limits = stream.window, self._limits
        return window.last - window.first < limits.replay_events and window.size <= limits.replay_bytes

    def count(self, stream: Stream) -> None:
        """Let go of what a window has no room for, and count the rest; others go when that is too much."""
        limits = self._limits
        if stream.reader is None and stream.exchange is not None:
            self.is_unread(stream)  # it grows: its turn may have come before, and must come again
        if not self._shrink(stream, stream.cursor, limits.replay_events, limits.replay_bytes):
            self._make_room(stream)

    def give_back(self, stream: Stream) -> None:
        """Count a window no more."""
        self.is_read(stream)
        self._budget.give_back(stream.head.address.tenant, stream.counted)

    def is_unread(self, stream: Stream) -> None:
        """Nobody reads a stream from now on."""
        self._unread[stream] = None
        self._unread_of.setdefault(stream.head.address.tenant, {})[stream] = None

    def is_read(self, stream: Stream) -> None:
        """A stream is read again, or gone."""
        if stream not in self._unread:
            return
        tenant = stream.head.address.tenant
        del self._unread[stream], self._unread_of[tenant][stream]
        if not self._unread_of[tenant]:
            del self._unread_of[tenant]

    def _shrink(self, stream: Stream, through: int, max_events: int, max_bytes: int) -> bool:
        """Let events of one window go and count it anew; whether everything is within bounds now."""
        window = stream.window
        window.forget(through, max_events, max_bytes)
        held = WINDOW_OVERHEAD_BYTES + window.size + (window.last - window.first + 1) * EVENT_OVERHEAD_BYTES
        more, stream.counted = held - stream.counted, held
        return self._budget.take(stream.head.address.tenant, more)

    def _make_room(self, stream: Stream) -> None:
        """The windows that nobody reads go; then what this stream's own reader has read."""
        tenant = stream.head.address.tenant
        unread = self._unread
        if self._budget.is_tenants_fault(tenant):
            unread = self._unread_of.get(tenant, {})
        while unread:
            other = next(iter(unread))
            self.is_read(other)  # its turn comes again when it is counted once more
            if other.is_over:
                self._forget(other)
                if other is stream:
                    return  # there is nothing left of it to count
            else:
                self._shrink(other, other.taken, 0, 0)
            if self._budget.take(tenant, 0):
                return
        self._shrink(stream, stream.cursor, 0, 0)
