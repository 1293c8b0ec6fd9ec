"""Whoever waits for an agent that is away."""

from __future__ import annotations

import asyncio

import pytest

from a2a_relay.core.address import Address
from a2a_relay.node.mail.presence import MAX_WAITING, Expected
from a2a_relay.node.wheel import Wheel
from a2a_relay.testing import FakeClock

ZAF = Address("acme", "zaf")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def wheel(clock: FakeClock) -> Wheel:
    return Wheel(clock)


@pytest.fixture
def expected(clock: FakeClock, wheel: Wheel) -> Expected:
    return Expected(clock, wheel)


async def waiting(expected: Expected, seconds: float = 3) -> asyncio.Task[bool]:
    task = asyncio.ensure_future(expected.wait(ZAF, seconds))
    await asyncio.sleep(0)
    return task


async def test_is_told_when_the_agent_comes(expected: Expected, wheel: Wheel) -> None:
    task = await waiting(expected)
    expected.arrived(ZAF)
    assert await task
    assert not len(wheel)


async def test_is_told_when_it_has_not_come_in_time(expected: Expected, clock: FakeClock) -> None:
    task = await waiting(expected)
    clock.advance(2.9)
    await asyncio.sleep(0)
    assert not task.done()
    clock.advance(0.3)
    assert not await task


async def test_is_told_also_when_it_began_to_wait_just_after_another_was_told(expected: Expected) -> None:
    first = await waiting(expected)
    second = asyncio.ensure_future(expected.wait(ZAF, 3))  # begins before the first one goes on
    expected.arrived(ZAF)
    assert await first
    expected.arrived(ZAF)
    await asyncio.sleep(0)
    assert second.done()


async def test_hears_nothing_of_other_agents(expected: Expected) -> None:
    task = await waiting(expected)
    expected.arrived(Address("acme", "bob"))
    await asyncio.sleep(0)
    assert not task.done()
    expected.give_up()
    assert not await task


async def test_waits_no_more_when_the_relay_leaves_nor_begins_to(expected: Expected) -> None:
    task = await waiting(expected)
    expected.give_up()
    assert not await task
    assert not await expected.wait(ZAF, 3)


async def test_does_not_wait_behind_too_many(expected: Expected) -> None:
    tasks = [await waiting(expected) for _ in range(MAX_WAITING)]
    assert not await expected.wait(ZAF, 3)
    expected.arrived(ZAF)
    assert all(await asyncio.gather(*tasks))


async def test_leaves_nothing_behind_when_it_is_gone(expected: Expected, wheel: Wheel) -> None:
    task = await waiting(expected)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not len(wheel)
    expected.arrived(ZAF)
