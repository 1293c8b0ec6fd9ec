"""The official JavaScript clients, of A2A 1.0 and 0.3, are told the same through the relay as by the agent itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest
from installed import NotInstallable, node_modules
from programs import Endpoint, ReachedTwice, Relay, record_of, running_agent, running_connector, until_queued
from sameness import comparable, forgiving_crashes, plain_card

HERE = Path(__file__).parent / "js"

pytestmark = [
    pytest.mark.timeout(400),  # the first time it installs the clients
    pytest.mark.parametrize("binding", ["JSONRPC", "HTTP+JSON"]),
    pytest.mark.parametrize("sdk", ["1", "0.3"]),
]


@pytest.fixture(scope="session")
def node(unavailable: Callable[[str], NoReturn]) -> Path:
    """Node, with the clients installed."""
    try:
        return node_modules(HERE)
    except NotInstallable as why:
        unavailable(f"the JavaScript clients cannot be installed: {why}")


async def run_script(node: Path, script: str, *words: str, token: str | None) -> Any:
    """What a script prints, as JSON."""
    return await record_of(node, HERE / script, *words, token=token)


async def test_every_dialogue_is_the_same(
    node: Path, echo: ReachedTwice, thinker: ReachedTwice, sdk: str, binding: str
) -> None:
    direct, relayed = await asyncio.gather(
        *(
            run_script(node, "dialogues.mjs", sdk, binding, at_echo.url, at_thinker.url, token=at_echo.token)
            for at_echo, at_thinker in zip(echo.ways, thinker.ways, strict=True)
        )
    )

    for name in direct:
        bases = echo.ways if name != "a task that is cancelled" else thinker.ways
        records = [comparable(record[name], base.url) for record, base in zip((direct, relayed), bases, strict=True)]
        if name == "the card":
            records = [
                [plain_card(card, is_relayed=is_relayed) for card in cards]
                for cards, is_relayed in zip(records, (False, True), strict=True)
            ]
        direct_record, relayed_record = forgiving_crashes(*records)
        assert relayed_record == direct_record, name


async def test_an_agent_that_is_away_answers_when_it_is_back(
    node: Path, relay: Relay, tmp_path: Path, sdk: str, binding: str
) -> None:
    name = f"js-laptop-{sdk[0]}-{binding.partition('+')[0]}"
    with running_agent(tmp_path, name, "--chunk", "0.01") as upstream:
        with running_connector(tmp_path, relay, name, upstream):
            pass
        endpoint = Endpoint(relay.base(name), relay.token())
        sending = asyncio.create_task(run_script(node, "away.mjs", sdk, binding, endpoint.url, token=endpoint.token))
        await until_queued(relay, name)
        with running_connector(tmp_path, relay, name, upstream):
            record = await sending

    assert record["sent"]["id"].startswith("rly-")
    assert "SUBMITTED" in record["sent"]["status"]["state"].upper()
    assert record["done"]["id"] == record["sent"]["id"]
    assert record["done"]["contextId"] == record["sent"]["contextId"]
    assert record["done"]["artifacts"][0]["parts"][0]["text"]
    assert record["streamed"] == ["task", "completed"]


@pytest.mark.parametrize("token", ["not-a-token", None], ids=["bad", "none"])
async def test_a_bad_token_is_an_error_that_says_so(
    node: Path, echo: ReachedTwice, sdk: str, binding: str, token: str | None
) -> None:
    refused = Endpoint(echo.relayed.url, token)

    record = await run_script(node, "one_call.mjs", sdk, binding, refused.url, token=refused.token)

    assert "token" in record["sent"]["error"]["message"]
    assert "token" in record["streamed"][-1]["error"]["message"]
