"""The clock of a running loop."""

from __future__ import annotations

import asyncio
import time

from a2a_relay.node.clock import LoopClock


async def test_timers_fire_unless_they_are_called_off() -> None:
    clock, fired = LoopClock(), asyncio.Event()
    clock.call_later(0, fired.set)
    off = clock.call_later(0, lambda: (_ for _ in ()).throw(AssertionError))
    off.cancel()
    await asyncio.wait_for(fired.wait(), 10)


def test_time_is_the_systems() -> None:
    clock = LoopClock()
    before = time.time()
    assert before <= clock.now()
    assert clock.monotonic() <= clock.monotonic()
