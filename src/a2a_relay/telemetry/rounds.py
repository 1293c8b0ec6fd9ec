"""What is done again and again beside the calls: one round at a time, and a failure ends none of the next."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from a2a_relay.ports.clock import Clock, TimerHandle


class Rounds:
    """Does `step` at once, and again so many seconds after each time it has ended.

    `tell` hears of a failure, and not of the next ones until a round has done well again.
    """

    def __init__(
        self, clock: Clock, seconds: float, step: Callable[[], Awaitable[None]], tell: Callable[[Exception], None]
    ) -> None:
        self._clock = clock
        self._seconds = seconds
        self._step = step
        self._tell = tell
        self._timer: TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self._is_failing = False
        self._is_over = False

    def begin(self) -> None:
        """Start, on the running loop."""
        self._task = asyncio.get_running_loop().create_task(self._round())

    async def close(self) -> None:
        """Let the round that is under way end, and begin no other."""
        self._is_over = True
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None:
            await asyncio.wait({self._task})

    async def _round(self) -> None:
        try:
            await self._step()
        except Exception as error:  # noqa: BLE001  the next round may do better
            if not self._is_failing:
                self._tell(error)
            self._is_failing = True
        else:
            self._is_failing = False
        if not self._is_over:
            self._timer = self._clock.call_later(self._seconds, self.begin)
