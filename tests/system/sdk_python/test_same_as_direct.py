"""The official Python client is told the same through the relay as by the agent itself, whichever way it speaks."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

import dialogues
import pytest
from a2a.client import Client
from a2a.types.a2a_pb2 import GetTaskRequest
from google.protobuf.json_format import MessageToDict
from programs import ReachedTwice
from sameness import comparable, forgiving_crashes, plain_card

from clients import WAYS, connect, fetch_card, shown

Dialogue = Callable[[Client], Awaitable[list[Any]]]

pytestmark = [
    pytest.mark.timeout(180),  # the first test of a run starts the relay and its agents
    pytest.mark.parametrize("way", WAYS),
]


async def record_both(agent: ReachedTwice, way: str, dialogue: Dialogue, *, streaming: bool = True) -> list[Any]:
    """The records of a dialogue held directly and through the relay, ready to be compared."""
    records = []
    for endpoint in agent.ways:
        async with connect(endpoint, way, streaming=streaming) as client:
            records.append(comparable(await dialogue(client), endpoint.url))
    return list(forgiving_crashes(*records))


@pytest.mark.parametrize(
    "dialogue",
    [
        dialogues.a_task_that_ends_at_once,
        dialogues.a_conversation,
        dialogues.questions_about_nothing,
        dialogues.push_configs,
    ],
)
@pytest.mark.parametrize("streaming", [False, True], ids=["unary", "streaming"])
async def test_a_dialogue_is_the_same(echo: ReachedTwice, way: str, dialogue: Dialogue, streaming: bool) -> None:
    direct, relayed = await record_both(echo, way, dialogue, streaming=streaming)

    assert relayed == direct


async def test_a_stream_is_the_same(echo: ReachedTwice, way: str) -> None:
    direct, relayed = await record_both(echo, way, dialogues.a_stream)

    assert relayed == direct
    assert len(relayed) > 4, "the echo comes in several pieces"
    assert "error" not in relayed[-1]


@pytest.mark.parametrize("streaming", [False, True], ids=["unary", "streaming"])
async def test_an_answer_that_is_a_message_is_the_same(talker: ReachedTwice, way: str, streaming: bool) -> None:
    direct, relayed = await record_both(talker, way, dialogues.a_stream, streaming=streaming)

    assert relayed == direct
    assert [event.keys() for event in relayed] == [{"message"}]


async def test_joining_and_cancelling_a_task_at_work_is_the_same(thinker: ReachedTwice, way: str) -> None:
    direct, relayed = await record_both(thinker, way, dialogues.a_task_that_is_cancelled)

    assert relayed == direct
    assert "TASK_STATE_CANCELED" in str(relayed[-1]), "the second reader saw the end"


async def test_the_extended_card_is_the_same_but_for_its_addresses(echo: ReachedTwice, way: str) -> None:
    [[direct], [relayed]] = await record_both(echo, way, dialogues.the_extended_card)

    assert "error" not in relayed
    assert [skill["id"] for skill in relayed["skills"]] == ["echo", "echo-members"]
    assert unique_interfaces(plain_card(relayed, is_relayed=True)) == plain_card(direct, is_relayed=False)


async def test_the_card_is_the_same_but_for_the_relays_additions(echo: ReachedTwice, way: str) -> None:
    direct, relayed = [comparable(shown(await fetch_card(endpoint)), endpoint.url) for endpoint in echo.ways]

    assert plain_card(relayed, is_relayed=True) == plain_card(direct, is_relayed=False)


async def test_a_task_made_through_the_relay_is_the_agents_own(echo: ReachedTwice, way: str) -> None:
    async with connect(echo.relayed, way, streaming=False) as relayed, connect(echo.direct, way) as direct:
        task = await dialogues.finished_task(relayed)
        found = await direct.get_task(GetTaskRequest(id=task.id))

    assert MessageToDict(found) == MessageToDict(task)


def unique_interfaces(card: dict[str, Any]) -> dict[str, Any]:
    """A card with each interface once: 0.3 may or may not name the preferred one again among the others."""
    interfaces = {json.dumps(interface): interface for interface in card["supportedInterfaces"]}
    return card | {"supportedInterfaces": list(interfaces.values())}
