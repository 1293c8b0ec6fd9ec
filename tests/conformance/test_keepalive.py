"""Links and calls stay alive through silence, and the relay says that it is well."""

from __future__ import annotations

import asyncio
import json

import httpx
import pytest

from agents import PATIENCE_SECONDS, Attach
from behaviours import message, slow
from clients import Client, envelope, result_of


async def test_a_ping_frame_is_answered_with_a_pong_frame(attach: Attach) -> None:
    agent = await attach()
    for _ in range(3):
        await agent.send("ping")
        assert await agent.next_frame("pong") == {"type": "pong"}


async def test_a_websocket_ping_is_answered(attach: Attach) -> None:
    agent = await attach()
    await asyncio.wait_for(await agent.link.ping(), PATIENCE_SECONDS)


async def test_pings_are_answered_while_a_call_is_in_hand(attach: Attach, client: Client) -> None:
    agent = await attach(slow(0.5))
    waiting = asyncio.create_task(client.rpc(agent.id, "SendMessage", message("hi")))
    await agent.next_call()
    await agent.send("ping")
    await agent.next_frame("pong")
    result_of(await waiting)


async def test_a_call_waits_for_an_agent_that_thinks(attach: Attach, client: Client) -> None:
    agent = await attach(slow(2))
    assert result_of(await client.rpc(agent.id, "SendMessage", message("slow")))["message"]


async def test_health_says_ok(client: Client) -> None:
    response = await client.get("/health")
    assert response.status_code == 200
    assert response.json()["status"] == "ok"


@pytest.mark.capability("livez-readyz")
@pytest.mark.parametrize("path", ["/livez", "/readyz"])
async def test_probes_answer_without_a_token(relay_url: str, path: str) -> None:
    async with httpx.AsyncClient(trust_env=False) as anonymous:
        assert (await anonymous.get(relay_url + path)).status_code == 200


@pytest.fixture
def relay_url(client: Client) -> str:
    """The relay's address."""
    return client.relay.url


@pytest.mark.capability("unary-keepalive")
async def test_a_client_that_gives_up_after_five_silent_seconds_gets_its_answer(attach: Attach, client: Client) -> None:
    agent = await attach(slow(7))
    body = envelope("SendMessage", message("patience"))
    headers = {"Authorization": f"Bearer {client.token}", "Content-Type": "application/json"}
    url = f"{client.relay.url}{client.base(agent.id)}/"
    async with httpx.AsyncClient(timeout=5, trust_env=False) as impatient:
        response = await impatient.post(url, content=body, headers=headers)
    assert result_of(response)["message"]["parts"] == [{"text": "Echo: patience"}]
    assert response.text.startswith(" ")
    assert json.loads(response.text) == response.json()


@pytest.mark.capability("unary-keepalive")
async def test_a_quick_answer_has_no_padding(attach: Attach, client: Client) -> None:
    agent = await attach()
    response = await client.rpc(agent.id, "SendMessage", message("quick"))
    assert response.text.startswith("{")
