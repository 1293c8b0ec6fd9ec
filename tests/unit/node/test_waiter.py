"""A sink that one coroutine waits on."""

from __future__ import annotations

from a2a_relay.core.exchange import AgentError, Result
from a2a_relay.errors import Reason, Refused
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


async def test_events_are_not_wanted() -> None:
    waiter = Waiter()
    assert not waiter.event(Result(b"1"))
    assert not waiter.outcome.done()


async def test_an_end_without_an_answer_is_a_failure() -> None:
    waiter = Waiter()
    waiter.end(None)
    outcome = await waiter.outcome
    assert isinstance(outcome, Refused)
    assert outcome.reason is Reason.INVALID_AGENT_RESPONSE


async def test_an_end_with_an_error_is_that_error() -> None:
    waiter = Waiter()
    waiter.end(AgentError(b'{"code":1}'))
    assert await waiter.outcome == AgentError(b'{"code":1}')
