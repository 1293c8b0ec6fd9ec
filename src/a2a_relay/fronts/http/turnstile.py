"""Keeps a crowd from stopping the loop: as much of its work in one turn as fits, the rest in later turns, in order."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from time import monotonic

TURN_SECONDS = 0.005
"""What a crowd may take of one turn of the loop; calls are served between turns."""


class Turnstile:
    """Agents come and go through here: one at once when there is no crowd, else in the order of their arrival."""

    def __init__(self, call_soon: Callable[[Callable[[], None]], object] | None = None) -> None:
        """`call_soon` calls back in the loop's next turn; the running loop's unless given."""
        self._call_soon = call_soon or (lambda callback: asyncio.get_running_loop().call_soon(callback))
        self._waiting: deque[Callable[[], None]] = deque()
        self._spent = 0.0
        self._is_turning = False

    def __len__(self) -> int:
        """How much is waiting."""
        return len(self._waiting)

    def enter(self, work: Callable[[], None]) -> None:
        """Do a piece of work now, or as soon as it is its turn."""
        if not self._is_turning:
            self._is_turning = True
            self._call_soon(self._turn)
        if self._waiting or self._spent >= TURN_SECONDS:
            self._waiting.append(work)
        else:
            self._do(work)

    def _turn(self) -> None:
        self._spent = 0.0
        try:
            while self._waiting and self._spent < TURN_SECONDS:
                self._do(self._waiting.popleft())
        finally:  # one that fails does not keep the others waiting
            self._is_turning = bool(self._waiting)
            if self._is_turning:
                self._call_soon(self._turn)

    def _do(self, work: Callable[[], None]) -> None:
        begun = monotonic()
        try:
            work()
        finally:
            self._spent += monotonic() - begun
