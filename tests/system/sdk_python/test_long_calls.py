"""An agent may think for longer than the stock client waits for a byte: through the relay its answer arrives."""

from __future__ import annotations

import asyncio

import pytest
from a2a.types.a2a_pb2 import TaskState
from dialogues import TEXT
from programs import ReachedTwice

from clients import WAYS, connect, say

UNARY_WAYS = [way for way in WAYS if way.startswith("JSONRPC")]
"""HTTP+JSON has no room for spaces before an answer: there a client sets its own timeout."""


async def last_state(agent: ReachedTwice, way: str, *, streaming: bool) -> str:
    """The state in which a client with its default timeouts sees its task end."""
    async with connect(agent.relayed, way, streaming=streaming) as client:
        events = [event async for event in client.send_message(say(TEXT))]
    status = events[-1].status_update.status if streaming else events[-1].task.status
    return TaskState.Name(status.state)


async def ask_in_every_way(agent: ReachedTwice) -> dict[str, str]:
    """What became of a call in each way, all made at once."""
    unary = {f"{way} unary": last_state(agent, way, streaming=False) for way in UNARY_WAYS}
    calls = unary | {f"{way} streaming": last_state(agent, way, streaming=True) for way in WAYS}
    outcomes = await asyncio.gather(*calls.values(), return_exceptions=True)
    return {name: str(outcome) for name, outcome in zip(calls, outcomes, strict=True)}


@pytest.mark.timeout(180)
async def test_long_thoughts_are_answered(thinker: ReachedTwice) -> None:
    outcomes = await ask_in_every_way(thinker)

    assert outcomes == dict.fromkeys(outcomes, "TASK_STATE_COMPLETED")


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_very_long_thoughts_are_answered(brooder: ReachedTwice) -> None:
    outcomes = await ask_in_every_way(brooder)

    assert outcomes == dict.fromkeys(outcomes, "TASK_STATE_COMPLETED")
