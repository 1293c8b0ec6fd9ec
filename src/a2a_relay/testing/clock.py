"""A clock that stands still until it is told to go on."""

from __future__ import annotations

import heapq
from collections.abc import Callable

START_AT = 1_700_000_000.0
"""The wall time at which a fake clock begins, in seconds since the epoch."""


class FakeTimer:
    """One timer of a `FakeClock`."""

    def __init__(self, callback: Callable[[], None]) -> None:
        self._callback: Callable[[], None] | None = callback

    @property
    def is_pending(self) -> bool:
        """Whether it has neither fired nor been called off."""
        return self._callback is not None

    def cancel(self) -> None:
        """Call it off; after it has fired this means nothing."""
        self._callback = None

    def fire(self) -> None:
        """Call back, once."""
        callback, self._callback = self._callback, None
        if callback is not None:
            callback()


class FakeClock:
    """Implements `ports.clock.Clock`. Wall and monotonic time go on together, by `advance` alone."""

    def __init__(self, now: float = START_AT) -> None:
        self._now = now
        self._monotonic = 0.0
        self._timers: list[tuple[float, int, FakeTimer]] = []
        self._made = 0

    def now(self) -> float:
        """Wall time in seconds since the epoch."""
        return self._now

    def monotonic(self) -> float:
        """Seconds since this clock was made."""
        return self._monotonic

    def call_later(self, seconds: float, callback: Callable[[], None]) -> FakeTimer:
        """A timer that fires inside of `advance`; equal instants fire in the order they were asked for."""
        timer = FakeTimer(callback)
        self._made += 1
        heapq.heappush(self._timers, (self._monotonic + seconds, self._made, timer))
        return timer

    @property
    def pending(self) -> int:
        """How many timers are still to fire."""
        return sum(timer.is_pending for _, _, timer in self._timers)

    def advance(self, seconds: float) -> None:
        """Let time pass. Timers fire in order, each at its own instant, those that a timer sets too."""
        end = self._monotonic + seconds
        while self._timers and self._timers[0][0] <= end:
            at, _, timer = heapq.heappop(self._timers)
            self._go_to(max(at, self._monotonic))
            timer.fire()
        self._go_to(end)

    def jump(self, seconds: float) -> None:
        """Let the wall clock alone jump, as a correction of the system's time does."""
        self._now += seconds

    def _go_to(self, monotonic: float) -> None:
        self._now += monotonic - self._monotonic
        self._monotonic = monotonic
