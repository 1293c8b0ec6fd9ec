"""What the official Python client sees when it is the relay that cannot or will not carry its call."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from a2a.client import AgentCardResolutionError, Client
from a2a.types.a2a_pb2 import GetTaskRequest
from a2a.utils.errors import A2AError
from dialogues import NOBODY, TEXT
from programs import Endpoint, ReachedTwice, Relay, running_behind

from clients import WAYS, connect, say

pytestmark = [
    pytest.mark.timeout(180),  # the first test of a run starts the relay and its agents
    pytest.mark.parametrize("way", WAYS),
]


@pytest.fixture(scope="module")
def sleeper(relay: Relay, tmp_path_factory: pytest.TempPathFactory) -> ReachedTwice:
    """An agent that was attached and is not any more; its card is still there."""
    with running_behind(tmp_path_factory.mktemp("sleeper"), relay, "sleeper") as agent:
        pass
    return agent


async def status_of(call: Any) -> int:
    """The HTTP status behind the error that a call raises; the client must not take it for success."""
    with pytest.raises(A2AError) as caught:
        await call
    cause = caught.value.__cause__
    assert isinstance(cause, httpx.HTTPStatusError), f"no HTTP status: {caught.value!r}"
    return cause.response.status_code


async def send(client: Client) -> list[Any]:
    return [event async for event in client.send_message(say(TEXT))]


@pytest.mark.parametrize("streaming", [False, True], ids=["unary", "streaming"])
async def test_what_only_an_agent_that_is_away_could_answer_is_an_error_at_once(
    sleeper: ReachedTwice, way: str, streaming: bool
) -> None:
    async with connect(sleeper.relayed, way, streaming=streaming) as client:
        going_on = client.send_message(say(TEXT, task_id=NOBODY))
        assert await status_of(anext(going_on)) == httpx.codes.SERVICE_UNAVAILABLE
        assert await status_of(client.get_task(GetTaskRequest(id=NOBODY))) == httpx.codes.SERVICE_UNAVAILABLE


async def test_an_agent_that_does_not_exist_has_no_card(relay: Relay, way: str) -> None:
    with pytest.raises((AgentCardResolutionError, httpx.HTTPStatusError)) as caught:
        async with connect(Endpoint(relay.base("nobody"), relay.token()), way):
            pass

    assert "404" in str(caught.value)


@pytest.mark.parametrize("streaming", [False, True], ids=["unary", "streaming"])
@pytest.mark.parametrize("token", ["not-a-token", None], ids=["bad", "none"])
async def test_a_bad_token_is_told_as_401(echo: ReachedTwice, way: str, token: str | None, streaming: bool) -> None:
    async with connect(Endpoint(echo.relayed.url, token), way, streaming=streaming) as client:
        assert await status_of(send(client)) == httpx.codes.UNAUTHORIZED


async def test_a_foreign_tenants_token_finds_no_agent(echo: ReachedTwice, relay: Relay, way: str) -> None:
    foreign = Endpoint(echo.relayed.url, relay.token(tenant="globex"))

    async with connect(foreign, way) as client:
        with pytest.raises(A2AError) as caught:
            await client.get_task(GetTaskRequest(id=NOBODY))

    cause = caught.value.__cause__
    assert isinstance(cause, httpx.HTTPStatusError)
    assert cause.response.status_code == httpx.codes.NOT_FOUND
