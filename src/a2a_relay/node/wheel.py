"""Many coarse timers on one: for deadlines that are nearly always called off."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from a2a_relay.ports.clock import Clock

RESOLUTION_SECONDS = 0.1

Slot = dict[Any, Callable[[Any], None]]
"""Whose time comes together, each with what to call."""


def call_off(slot: Slot, item: Any) -> None:
    """Take an item out of its slot, when it is still there."""
    if slot.pop(item, None) is not None and not slot:
        slot.clear()  # an empty dictionary keeps the room of its fullest hour, and a long deadline has many slots


class Wheel:
    """Timers in slots of `RESOLUTION_SECONDS`: fired never early, and late by at most one slot.

    Setting and calling off are dictionary operations; the clock itself is asked
    for one timer, and only while there is any here.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._slots: dict[int, Slot] = {}
        self._next = 0
        self._is_turning = False

    def __len__(self) -> int:
        """How many timers are set."""
        return sum(map(len, self._slots.values()))

    def put(self, item: Any, instant: float, callback: Callable[[Any], None]) -> Slot:
        """Call back with `item` at an instant of monotonic time, unless it is called off before.

        An item has one timer at a time: it is its own key.
        """
        if not self._is_turning:
            self._is_turning = True
            self._next = int(self._clock.monotonic() / RESOLUTION_SECONDS)
            self._clock.call_later(RESOLUTION_SECONDS, self._turn)
        number = int(instant / RESOLUTION_SECONDS) + 1
        if number < self._next:  # already past: at the next turn
            number = self._next
        slot = self._slots.get(number)
        if slot is None:
            slot = self._slots[number] = {}
        slot[item] = callback
        return slot

    def _turn(self) -> None:
        try:
            self._fire(int(self._clock.monotonic() / RESOLUTION_SECONDS))
        finally:  # one timer that fails takes no other with it
            self._is_turning = bool(self._slots)
            if self._is_turning:
                self._clock.call_later(RESOLUTION_SECONDS, self._turn)

    def _fire(self, now: int) -> None:
        while self._next <= now:
            slot = self._slots.get(self._next)
            while slot:
                item, callback = slot.popitem()
                callback(item)
            self._slots.pop(self._next, None)
            self._next += 1
