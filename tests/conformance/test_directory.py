"""The directory, the root document, and what an agent may leave out."""

from __future__ import annotations

import pytest

from agents import Attach, card
from behaviours import message
from clients import Client, MakeClient, error_of, result_of, unique


async def test_a_tenants_agents_are_listed(attach: Attach, client: Client) -> None:
    agent = await attach(agent_card=card("Listed", description="for all to see"))
    response = await client.get(f"/t/{client.tenant}/agents")
    assert response.status_code == 200
    (entry,) = response.json()
    assert (entry["id"], entry["name"], entry["description"]) == (agent.id, "Listed", "for all to see")
    assert entry["connected_at"]


async def test_a_tenant_without_agents_has_an_empty_list(client: Client) -> None:
    assert (await client.get(f"/t/{client.tenant}/agents")).json() == []


async def test_the_well_known_directory_counts_the_callers_agents(attach: Attach, client: Client) -> None:
    agents = {(await attach()).id for _ in range(3)}
    listing = (await client.get("/.well-known/agents")).json()
    assert {entry["id"] for entry in listing["agents"]} == agents
    assert listing["count"] == 3


@pytest.mark.parametrize("path", ["/.well-known/agents", "/t/{tenant}/agents"])
async def test_directories_need_a_token(make_client: MakeClient, tenant: str, path: str) -> None:
    response = await make_client(None).get(path.format(tenant=tenant))
    assert response.status_code == 401


async def test_the_root_says_what_this_is_to_everybody(make_client: MakeClient) -> None:
    document = (await make_client(None).get("/")).json()
    assert document["name"]
    assert document["version"]
    assert document["endpoints"]
    assert not document.get("agents")


async def test_the_root_shows_a_caller_its_tenant_and_agents(attach: Attach, client: Client) -> None:
    agent = await attach()
    document = (await client.get("/")).json()
    assert document["tenant"] == client.tenant
    assert [entry["id"] for entry in document["agents"]] == [agent.id]


async def test_the_root_refuses_a_bad_token(make_client: MakeClient) -> None:
    assert (await make_client("a-bad-token-longer-than-twenty-characters").get("/")).status_code == 401


async def test_an_agent_without_a_card_attaches_serves_and_is_listed(attach: Attach, client: Client) -> None:
    agent = await attach(bare=True)
    result_of(await client.rpc(agent.id, "SendMessage", message("hi")))
    assert await client.listed(agent.id) is not None
    response = await client.get(f"{client.base(agent.id)}/.well-known/agent-card.json")
    assert response.status_code == 404


@pytest.mark.capability("directory-state")
async def test_an_agent_that_has_gone_is_listed_as_away(attach: Attach, client: Client) -> None:
    agent = await attach()
    entry = await client.listed(agent.id)
    assert entry is not None
    assert entry["state"] == "attached"
    await agent.close()
    await client.until_away(agent.id)
    entry = await client.listed(agent.id)
    assert entry is not None
    assert entry["state"] == "away"
    assert entry["last_seen_at"]


@pytest.mark.capability("directory-state")
@pytest.mark.capability("native-link")
async def test_a_paused_agent_is_listed_as_paused(native: Attach, client: Client) -> None:
    agent = await native()
    await agent.send("agent.state", state="paused", reason="upstream_unavailable")
    await client.until_away(agent.id)
    entry = await client.listed(agent.id)
    assert entry is not None
    assert entry["state"] == "paused"


@pytest.mark.capability("directory-state")
async def test_the_root_endpoint_lists_the_agents_when_there_are_several(attach: Attach, client: Client) -> None:
    names = {(await attach()).id for _ in range(2)}
    response = await client.post("/", '{"jsonrpc":"2.0","id":1,"method":"SendMessage","params":{}}')
    assert error_of(response)["code"]
    assert all(name in response.text for name in names)


@pytest.mark.capability("http-auth-status")
async def test_its_owner_is_told_which_agents_there_are_when_a_name_is_mistyped(attach: Attach, client: Client) -> None:
    agent = await attach()
    response = await client.rpc(unique("typo"), "SendMessage", message("hi"))
    assert response.status_code == 404
    assert agent.id in response.text
