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

    def call_later(self, seconds: float, callback: Callable[[], None]) -> TimerHandle:
        return asyncio.get_running_loop().call_later(seconds, callback)
