"""Time, injected."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class TimerHandle(Protocol):
    """A timer that can be called off."""

    def cancel(self) -> None: ...


class Clock(Protocol):
    """The node's only source of time. Timers fire on the node's own thread, never early."""

    def now(self) -> float:
        """Wall time in seconds since the epoch; may jump."""

    def monotonic(self) -> float:
        """Seconds that never go back; for durations."""

    def call_later(self, seconds: float, callback: Callable[[], None]) -> TimerHandle:
        """Call back after `seconds` of monotonic time."""
