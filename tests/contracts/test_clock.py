"""The clock's contract (`ports/clock.py`), kept by the real one and by the fake."""

from __future__ import annotations

import asyncio

import pytest

from a2a_relay.node.clock import LoopClock
from a2a_relay.ports.clock import Clock
from a2a_relay.testing import FakeClock


@pytest.fixture(params=["fake", "loop"])
def clock(request: pytest.FixtureRequest) -> Clock:
    return FakeClock() if request.param == "fake" else LoopClock()


async def pass_time(clock: Clock) -> None:
    """Let at least 20 ms pass."""
    if isinstance(clock, FakeClock):
        clock.advance(0.02)
    else:
        await asyncio.sleep(0.03)


async def test_timers_fire_in_the_order_of_their_instants(clock: Clock) -> None:
    fired: list[str] = []
    clock.call_later(0.015, lambda: fired.append("late"))
    clock.call_later(0, lambda: fired.append("early"))
    clock.call_later(0.005, lambda: fired.append("middle"))
    assert fired == []
    while len(fired) < 3:
        await pass_time(clock)
    assert fired == ["early", "middle", "late"]


async def test_a_timer_that_is_called_off_does_not_fire(clock: Clock) -> None:
    fired: list[str] = []
    timer = clock.call_later(0, lambda: fired.append("x"))
    timer.cancel()
    timer.cancel()
    await pass_time(clock)
    assert fired == []


async def test_a_timer_never_fires_early(clock: Clock) -> None:
    fired: list[float] = []
    due = clock.monotonic() + 0.01
    clock.call_later(0.01, lambda: fired.append(clock.monotonic()))
    while not fired:
        await pass_time(clock)
    assert fired[0] >= due - 1e-3


async def test_monotonic_time_never_goes_back(clock: Clock) -> None:
    seen = [clock.monotonic()]
    for _ in range(3):
        await pass_time(clock)
        seen.append(clock.monotonic())
    assert seen == sorted(seen)


class TestTheFake:
    def test_fires_each_timer_at_its_own_instant(self) -> None:
        clock = FakeClock(1_000.0)
        seen: list[tuple[float, float]] = []
        for seconds in (3, 1, 2):
            clock.call_later(seconds, lambda: seen.append((clock.monotonic(), clock.now())))
        clock.advance(10)
        assert seen == [(1, 1_001.0), (2, 1_002.0), (3, 1_003.0)]
        assert (clock.monotonic(), clock.now(), clock.pending) == (10, 1_010.0, 0)

    def test_fires_timers_that_timers_set(self) -> None:
        clock = FakeClock()
        seen: list[float] = []

        def again() -> None:
            seen.append(clock.monotonic())
            clock.call_later(2, again)

        clock.call_later(2, again)
        clock.advance(7)
        assert seen == [2, 4, 6]
        assert clock.pending == 1

    def test_lets_the_wall_clock_jump_alone(self) -> None:
        clock = FakeClock(1_000.0)
        clock.jump(-500)
        assert (clock.now(), clock.monotonic()) == (500.0, 0)
