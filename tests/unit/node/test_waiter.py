"""A sink that one coroutine waits on."""

from __future__ import annotations

from a2a_relay.core.exchange import Result
from a2a_relay.node.waiter import Waiter


async def test_the_first_answer_counts() -> None:
    waiter = Waiter()
    waiter.answer(Result(b"1"))
    waiter.answer(Result(b"2"))
    assert await waiter.outcome == Result(b"1")


async def test_an_answer_to_nobody_is_dropped() -> None:
    waiter = Waiter()
    waiter.outcome.cancel()
    waiter.answer(Result(b"1"))
    assert waiter.outcome.cancelled()
