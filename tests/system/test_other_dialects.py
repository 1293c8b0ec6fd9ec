"""Agents of relay-elixir and of the proposed WebSocket binding at a real relay, in both lanes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from programs import Relay, running_relay
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Subprotocol

PARAMS = {"message": {"messageId": "m", "role": "ROLE_USER", "parts": [{"text": "hi"}]}}
PATIENCE_SECONDS = 15.0


@pytest.fixture(params=["fast", "plain"])
def relay(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Relay]:
    with running_relay(
        tmp_path, "--relay-elixir-paths", "on", "--detach-grace", "0", "--lane", request.param
    ) as running:
        yield running


def dial(relay: Relay, path: str, token: str | None = None) -> connect:
    """A link; with a token it asks for the subprotocol that takes one."""
    return connect(
        f"ws{relay.url.removeprefix('http')}{path}",
        proxy=None,
        compression=None,
        subprotocols=None if token is None else [Subprotocol("a2a.v1")],
        additional_headers=None if token is None else {"Authorization": f"Bearer {token}"},
    )


async def heard(link: ClientConnection) -> Any:
    """The relay's next frame."""
    return json.loads(await asyncio.wait_for(link.recv(), PATIENCE_SECONDS))


async def say(link: ClientConnection, **members: Any) -> None:
    await link.send(json.dumps(members))


class Client:
    """A client of one agent."""

    def __init__(self, relay: Relay, base: str) -> None:
        self._base = base
        headers = {"Authorization": f"Bearer {relay.token()}"}
        self.http = httpx.AsyncClient(trust_env=False, headers=headers, timeout=PATIENCE_SECONDS)

    async def ask(self, method: str, below: str = "") -> httpx.Response:
        body = {"jsonrpc": "2.0", "id": 7, "method": method, "params": PARAMS}
        return await self.http.post(self._base + below, json=body)

    def asking(self, method: str, below: str = "") -> asyncio.Task[httpx.Response]:
        return asyncio.create_task(self.ask(method, below))


def events(answer: httpx.Response) -> list[Any]:
    """The JSON of a stream's events."""
    assert answer.headers["content-type"].startswith("text/event-stream")
    return [json.loads(line.removeprefix("data:")) for line in answer.text.splitlines() if line.startswith("data:")]


async def test_an_agent_of_a2a_v1_answers_streams_and_fails(relay: Relay) -> None:
    client = Client(relay, relay.base("zaf"))
    async with dial(relay, "/agent", relay.token(role="agent", agent="zaf")) as link, client.http:
        assert link.subprotocol == "a2a.v1"
        answer = client.asking("SendMessage")
        call = await heard(link)
        assert call == {"jsonrpc": "2.0", "id": call["id"], "method": "SendMessage", "params": PARAMS}
        await say(link, jsonrpc="2.0", id=call["id"], result={"n": 1})
        assert (await answer).json() == {"jsonrpc": "2.0", "id": 7, "result": {"n": 1}}

        answer = client.asking("SendStreamingMessage")
        id = (await heard(link))["id"]
        for number in (1, 2, 3):
            await say(link, jsonrpc="2.0", id=id, result={"n": number})
        await say(link, jsonrpc="2.0", id=id, streamEnd=True)
        assert [event["result"] for event in events(await answer)] == [{"n": 1}, {"n": 2}, {"n": 3}]

        answer = client.asking("SendStreamingMessage")
        id = (await heard(link))["id"]
        await say(link, jsonrpc="2.0", id=id, result={"n": 1})
        await say(link, jsonrpc="2.0", id=id, error={"code": -32603, "message": "no more"})
        assert events(await answer)[-1]["error"] == {"code": -32603, "message": "no more"}


async def test_an_agent_of_a2a_v1_is_told_that_a_client_has_gone(relay: Relay) -> None:
    client = Client(relay, relay.base("zaf"))
    async with dial(relay, "/agent", relay.token(role="agent", agent="zaf")) as link, client.http:
        answer = client.asking("SendStreamingMessage")
        id = (await heard(link))["id"]
        answer.cancel()
        assert await heard(link) == {"jsonrpc": "2.0", "id": id, "cancelStream": True}
        await say(link, jsonrpc="2.0", id=id, streamEnd=True)
        again = client.asking("SendMessage")
        await say(link, jsonrpc="2.0", id=(await heard(link))["id"], result={})
        assert (await again).status_code == httpx.codes.OK
    assert "frame_refused" not in relay.program.output()


@pytest.mark.parametrize(("token", "status"), [("bad", 401), (None, 403)])
async def test_the_upgrade_of_a_credential_that_may_not_attach_is_refused(
    relay: Relay, token: str | None, status: int
) -> None:
    with pytest.raises(InvalidStatus) as refused:
        async with dial(relay, "/agent", token or relay.token(role="client")):
            pass
    response = refused.value.response
    assert response.status_code == status
    assert ("WWW-Authenticate" in response.headers) is (status == 401)
    assert "error" in json.loads(response.body or b"")


async def test_an_agent_and_a_client_of_relay_elixir_meet(relay: Relay) -> None:
    client = Client(relay, f"{relay.url}/acme/zaf")
    async with dial(relay, "/ws/agent") as link, client.http:
        await say(link, type="auth", token=relay.token(role="agent", agent="zaf"), agent_card={"name": "Zaf"})
        assert await heard(link) == {"type": "auth_success"}
        card = await client.http.get(f"{relay.url}/acme/zaf/.well-known/agent.json")
        assert card.json()["name"] == "Zaf"

        answer = client.asking("message/send", "/")
        call = await heard(link)
        assert call == {"jsonrpc": "2.0", "id": call["id"], "method": "message/send", "params": PARAMS}
        await say(link, jsonrpc="2.0", id=call["id"], result={"n": 1})
        assert (await answer).json()["result"] == {"n": 1}

        answer = client.asking("message/stream", "/message/stream")
        call = await heard(link)
        assert call["streaming"] is True
        for number in (1, 2, 3):
            await say(link, type="stream_chunk", request_id=call["id"], result={"n": number})
        await say(link, type="stream_end", request_id=call["id"])
        assert [event["result"] for event in events(await answer)] == [{"n": 1}, {"n": 2}, {"n": 3}]

        answer = client.asking("message/stream", "/message/stream")
        call = await heard(link)
        await say(link, type="stream_chunk", request_id=call["id"], result={"n": 1})
        await say(link, type="stream_error", request_id=call["id"], error="it broke")
        assert events(await answer)[-1]["error"] == {"code": -32603, "message": "it broke"}


async def test_relay_elixirs_paths_are_not_there_unless_they_are_switched_on(tmp_path: Path) -> None:
    with running_relay(tmp_path) as relay:
        with pytest.raises(InvalidStatus):
            async with dial(relay, "/ws/agent"):
                pass
        client = Client(relay, f"{relay.url}/acme/zaf")
        async with client.http:
            assert (await client.ask("SendMessage", "/")).status_code == httpx.codes.NOT_FOUND
