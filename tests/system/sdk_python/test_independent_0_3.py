"""The 0.3 client that knows nothing of A2A 1.0 (a2a-sdk 0.3.26) is told the same through the relay as by the agent."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest
from installed import NotInstallable, python_with
from programs import ReachedTwice, Relay, record_of, running_agent, running_connector, until_queued
from sameness import comparable, forgiving_crashes, plain_card

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def client_python(unavailable: Callable[[str], NoReturn]) -> Path:
    """A Python with that client."""
    try:
        return python_with(HERE / "client_0_3.lock")
    except NotInstallable as why:
        unavailable(f"a2a-sdk 0.3 cannot be installed: {why}")


async def hold_dialogues(python: Path, binding: str, echo_url: str, thinker_url: str, token: str | None) -> Any:
    """All dialogues' records, by name."""
    return await record_of(python, HERE / "client_0_3.py", binding, echo_url, thinker_url, token=token)


@pytest.mark.timeout(400)  # the first time it installs the client
@pytest.mark.parametrize("binding", ["JSONRPC", "HTTP+JSON"])
async def test_every_dialogue_is_the_same(
    client_python: Path, echo: ReachedTwice, thinker: ReachedTwice, binding: str
) -> None:
    direct, relayed = await asyncio.gather(
        *(
            hold_dialogues(client_python, binding, at_echo.url, at_thinker.url, at_echo.token)
            for at_echo, at_thinker in zip(echo.ways, thinker.ways, strict=True)
        )
    )

    for name in direct:
        bases = echo.ways if name != "a task that is cancelled" else thinker.ways
        records = [comparable(record[name], base.url) for record, base in zip((direct, relayed), bases, strict=True)]
        if name == "the extended card":
            [[direct_card], [relayed_card]] = records
            records = [plain_card(direct_card, is_relayed=False), plain_card(relayed_card, is_relayed=True)]
        direct_record, relayed_record = forgiving_crashes(*records)
        assert relayed_record == direct_record, name


@pytest.mark.timeout(400)
@pytest.mark.parametrize("binding", ["JSONRPC", "HTTP+JSON"])
async def test_an_agent_that_is_away_answers_when_it_is_back(
    client_python: Path, relay: Relay, tmp_path: Path, binding: str
) -> None:
    name = f"laptop-0-3-{binding.partition('+')[0]}"
    with running_agent(tmp_path, name, "--chunk", "0.01") as upstream:
        with running_connector(tmp_path, relay, name, upstream):
            pass
        words = (binding, relay.base(name))
        sending = asyncio.create_task(record_of(client_python, HERE / "away_0_3.py", *words, token=relay.token()))
        await until_queued(relay, name, letters=1)
        with running_connector(tmp_path, relay, name, upstream):
            record = await sending

    assert record["sent"]["status"]["state"] == "submitted"
    assert record["sent"]["id"].startswith("rly-")
    assert (record["done"]["id"], record["done"]["contextId"]) == (record["sent"]["id"], record["sent"]["contextId"])
    assert record["done"]["artifacts"][0]["parts"]
