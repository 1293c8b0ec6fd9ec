"""Many coarse timers on one: for deadlines that are nearly always called off."""

from __future__ import annotations

from collections.abc import Callable

from a2a_relay.ports.clock import Clock

RESOLUTION_SECONDS = 0.1


class WheelTimer:
    """One timer of a wheel."""

    __slots__ = ("_slot", "callback")

    def __init__(self, callback: Callable[[], None], slot: dict[WheelTimer, None]) -> None:
        self.callback = callback
        self._slot = slot

    def cancel(self) -> None:
        """Call the timer off; does nothing when it has fired."""
        self._slot.pop(self, None)


class Wheel:
    """Timers in slots of `RESOLUTION_SECONDS`: fired never early, and late by at most one slot.

    Setting and calling off are dictionary operations; the clock itself is asked
    for one timer, and only while there is any here.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._slots: dict[int, dict[WheelTimer, None]] = {}
        self._next = 0
        self._is_turning = False

    def __len__(self) -> int:
        """How many timers are set."""
        return sum(len(slot) for slot in self._slots.values())

    def call_later(self, seconds: float, callback: Callable[[], None]) -> WheelTimer:
        """Call back after `seconds` of monotonic time."""
        number = int((self._clock.monotonic() + seconds) / RESOLUTION_SECONDS) + 1
        slot = self._slots.get(number)
        if slot is None:
            slot = self._slots[number] = {}
        timer = WheelTimer(callback, slot)
        slot[timer] = None
        if not self._is_turning:
            self._is_turning = True
            self._next = int(self._clock.monotonic() / RESOLUTION_SECONDS)
            self._clock.call_later(RESOLUTION_SECONDS, self._turn)
        return timer

    def _turn(self) -> None:
        now = int(self._clock.monotonic() / RESOLUTION_SECONDS)
        while self._next <= now:
            slot = self._slots.pop(self._next, None)
            self._next += 1
            while slot:
                timer, _ = slot.popitem()
                timer.callback()
        self._is_turning = bool(self._slots)
        if self._is_turning:
            self._clock.call_later(RESOLUTION_SECONDS, self._turn)
