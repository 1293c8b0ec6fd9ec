"""Tenants do not see, reach or disturb each other."""

from __future__ import annotations

import pytest

from agents import Attach, card
from behaviours import answering, message
from clients import Client, MakeClient, is_refused, result_of, unique


async def test_the_same_agent_name_in_two_tenants_is_two_agents(attach: Attach, make_client: MakeClient) -> None:
    tenants = [unique("tenant") for _ in range(2)]
    for tenant in tenants:
        await attach(answering({"of": tenant}), id="shared-name", of=tenant)
    for tenant in tenants:
        response = await make_client(of=tenant).rpc("shared-name", "SendMessage", message("hi"))
        assert result_of(response) == {"of": tenant}


async def test_a_client_cannot_call_into_another_tenant(attach: Attach, make_client: MakeClient) -> None:
    agent = await attach()
    intruder = make_client(of=unique("tenant"))
    base = intruder.base(agent.id, agent.tenant)
    body = '{"jsonrpc":"2.0","id":1,"method":"SendMessage","params":{"message":{"parts":[{"text":"x"}]}}}'
    assert is_refused(await intruder.post(f"{base}/", body))
    assert (await intruder.post(f"{base}/message/send", message("x"))).status_code in (403, 404)
    assert agent.calls == []


async def test_the_directory_shows_the_callers_tenant_alone(attach: Attach, make_client: MakeClient) -> None:
    mine, theirs = await attach(), await attach(of=unique("tenant"))
    response = await make_client().get("/.well-known/agents")
    assert [entry["id"] for entry in response.json()["agents"]] == [mine.id]
    listed = await make_client(of=theirs.tenant).get(f"/t/{theirs.tenant}/agents")
    assert [entry["id"] for entry in listed.json()] == [theirs.id]


async def test_another_tenants_directory_is_forbidden(attach: Attach, make_client: MakeClient) -> None:
    agent = await attach()
    response = await make_client(of=unique("tenant")).get(f"/t/{agent.tenant}/agents")
    assert response.status_code == 403
    assert "tenant mismatch" in response.text


async def test_the_root_endpoint_never_reaches_another_tenant(attach: Attach, make_client: MakeClient) -> None:
    theirs = await attach(of=unique("tenant"))
    body = '{"jsonrpc":"2.0","id":1,"method":"SendMessage","params":{}}'
    assert is_refused(await make_client().post("/", body))
    assert theirs.calls == []


async def test_the_root_card_is_one_of_the_callers_tenant(attach: Attach, make_client: MakeClient) -> None:
    mine, theirs = unique("mine"), unique("theirs")
    await attach(agent_card=card(mine))
    await attach(agent_card=card(theirs), of=unique("tenant"))
    response = await make_client().get("/.well-known/agent-card.json")
    assert response.status_code == 200
    assert response.json()["name"] == mine


@pytest.mark.capability("http-auth-status")
@pytest.mark.parametrize("path", ["/", "/message:send", "/message/send"])
async def test_a_foreign_agent_and_one_that_is_not_there_look_alike(
    attach: Attach, make_client: MakeClient, path: str
) -> None:
    agent = await attach()
    intruder = make_client(of=unique("tenant"))
    body = '{"jsonrpc":"2.0","id":1,"method":"SendMessage","params":{"message":{"parts":[{"text":"x"}]}}}'
    answers = set()
    for tenant, id in [(agent.tenant, agent.id), (agent.tenant, unique("nobody")), (unique("tenant"), agent.id)]:
        response = await intruder.post(intruder.base(id, tenant) + path, body)
        text = response.text.replace(id, "AGENT").replace(tenant, "TENANT")
        answers.add((response.status_code, text, response.headers["content-type"]))
    assert len(answers) == 1
    status, text, _ = answers.pop()
    assert status == 404
    assert "AGENT_NOT_FOUND" in text


async def test_a_token_for_one_tenant_attaches_there_whatever_the_frame_says(
    attach: Attach, make_client: MakeClient, client: Client
) -> None:
    elsewhere = unique("tenant")
    agent = await attach(id="wanderer", tenant=elsewhere)
    assert agent.tenant == client.tenant
    listed = await make_client(of=elsewhere).get(f"/t/{elsewhere}/agents")
    assert listed.json() == []
