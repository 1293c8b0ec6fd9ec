"""Many coarse timers on one: never early, late by at most one slot, gone when called off."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from a2a_relay.node.wheel import RESOLUTION_SECONDS, Wheel, call_off
from a2a_relay.testing import FakeClock


@given(st.lists(st.floats(0, 30), max_size=20), st.floats(0, 5))
def test_timers_fire_in_time(delays: list[float], start: float) -> None:
    clock = FakeClock()
    clock.advance(start)
    wheel = Wheel(clock)
    fired: dict[int, float] = {}
    begun = clock.monotonic()
    for number, delay in enumerate(delays):
        wheel.put(number, begun + delay, lambda number: fired.setdefault(number, clock.monotonic()))
    for _ in range(320):
        clock.advance(RESOLUTION_SECONDS)
    assert len(fired) == len(delays)
    for number, delay in enumerate(delays):
        late = fired[number] - begun - delay
        assert -1e-6 <= late <= 2 * RESOLUTION_SECONDS + 1e-6
    assert len(wheel) == 0


def test_a_timer_that_is_called_off_never_fires_and_is_not_kept() -> None:
    clock = FakeClock()
    wheel = Wheel(clock)
    fired: list[str] = []
    slot = wheel.put("off", clock.monotonic() + 1, fired.append)
    wheel.put("on", clock.monotonic() + 1, fired.append)
    call_off(slot, "off")
    call_off(slot, "off")
    assert len(wheel) == 1
    clock.advance(2)
    assert fired == ["on"]


def test_an_empty_wheel_does_not_turn() -> None:
    clock = FakeClock()
    wheel = Wheel(clock)
    assert clock.pending == 0
    wheel.put("", clock.monotonic() + 0.5, lambda _: None)
    clock.advance(2)
    assert clock.pending == 0


def test_a_timer_may_set_another_one_for_at_once() -> None:
    clock = FakeClock()
    wheel = Wheel(clock)
    fired: list[int] = []

    def again(_: str) -> None:
        fired.append(len(fired))
        if len(fired) < 3:
            wheel.put("", clock.monotonic(), again)

    wheel.put("", clock.monotonic(), again)
    clock.advance(1)
    assert fired == [0, 1, 2]


def test_a_slot_that_was_full_once_takes_no_room_when_it_is_empty() -> None:
    wheel = Wheel(FakeClock())
    slot = wheel.put(0, 600.0, lambda _: None)
    for number in range(1, 1_000):
        wheel.put(number, 600.0, lambda _: None)
    for number in range(1_000):
        call_off(slot, number)
    assert sys.getsizeof(slot) == sys.getsizeof({})


def test_a_timer_for_an_instant_that_is_past_fires_at_the_next_turn() -> None:
    clock = FakeClock()
    clock.advance(100)
    wheel = Wheel(clock)
    fired: list[str] = []
    wheel.put("late", clock.monotonic() - 50, fired.append)
    clock.advance(2 * RESOLUTION_SECONDS)
    assert fired == ["late"]
    assert clock.pending == 0


def test_a_timer_that_fails_takes_no_other_with_it() -> None:
    clock = FakeClock()
    wheel = Wheel(clock)
    fired: list[str] = []

    def fail(_: str) -> None:
        raise ValueError

    wheel.put("good", clock.monotonic() + 1, fired.append)
    wheel.put("bad", clock.monotonic() + 1, fail)
    with pytest.raises(ValueError):
        clock.advance(2)
    clock.advance(2)
    assert fired == ["good"]
    assert len(wheel) == 0
