"""The clock of a running event loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from a2a_relay.ports.clock import TimerHandle


class LoopClock:
    """Wall time from the system, durations and timers from the running loop."""

    now = staticmethod(time.time)
    monotonic = staticmethod(time.monotonic)

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None

    def begin(self) -> None:
        """The loop runs: `call_soon` finds it from now on. Call it on the running loop."""
        self._loop = asyncio.get_running_loop()

    def call_later(self, seconds: float, callback: Callable[[], None]) -> TimerHandle:
        self._loop = asyncio.get_running_loop()
        return self._loop.call_later(seconds, callback)

    def call_soon(self, callback: Callable[[], None]) -> None:
        """Call back on the loop's thread, from any other. Raises RuntimeError when there is no loop (any more)."""
        if self._loop is None:
            raise RuntimeError("the loop is not known: neither `begin` nor `call_later` was called")
        self._loop.call_soon_threadsafe(callback)
