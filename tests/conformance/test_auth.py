"""Who may attach, who may call, and what a bad credential gets."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import pytest

from agents import PATIENCE_SECONDS, Attach, Refusal, auth_frame, card, closing, dial
from behaviours import message
from clients import Client, MakeClient, Relay, error_info, error_of, is_refused, mint, result_of, unique

DAY = 24 * 3600


def bad_tokens(relay: Relay, **claims: Any) -> dict[str, str]:
    """Tokens that no relay may take, by what is wrong with them."""
    now = int(time.time())
    good = relay.token(**claims)
    head, body, signature = good.split(".")
    return {
        "not a token": "garbage",
        "foreign secret": mint("x" * 40, "HS256", exp=now + 60, **claims),
        "no exp": relay.token(exp=None, **claims),
        "expired": relay.token(exp=now - 3600, **claims),
        "exp beyond a day": relay.token(exp=now + 3 * DAY, **claims),
        "unsigned": mint("", "none", exp=now + 60, **claims),
        "signature cut off": f"{head}.{body}.",
        "signature changed": f"{head}.{body}.{'A' if signature[0] != 'A' else 'B'}{signature[1:]}",
        "not yet valid": relay.token(nbf=now + 3600, **claims),
    }


BAD = sorted(bad_tokens(Relay("http://nowhere", "s" * 32)))


@pytest.mark.parametrize("wrong", BAD)
async def test_a_bad_token_gets_an_error_frame_and_the_link_is_closed(relay: Relay, tenant: str, wrong: str) -> None:
    token = bad_tokens(relay, tenant=tenant, agent_id="a")[wrong]
    with pytest.raises(Refusal) as refused:
        await attach_once(relay, token)
    assert refused.value.frame is not None
    assert refused.value.frame["type"] == "error"
    assert "token" in refused.value.frame["message"]


@pytest.mark.parametrize("wrong", BAD)
async def test_a_bad_token_cannot_call(
    relay: Relay, tenant: str, attach: Attach, make_client: MakeClient, wrong: str
) -> None:
    agent = await attach()
    client = make_client(bad_tokens(relay, tenant=tenant, user_id="u")[wrong])
    assert is_refused(await client.rpc(agent.id, "SendMessage", message("hi")))
    assert (await client.post(f"{client.base(agent.id)}/message/send", message("hi"))).status_code == 401
    assert (await client.get(f"/t/{tenant}/agents")).status_code == 401
    assert agent.calls == []


async def test_without_a_token_nothing_is_relayed(attach: Attach, make_client: MakeClient) -> None:
    agent = await attach()
    client = make_client(None)
    assert is_refused(await client.rpc(agent.id, "SendMessage", message("hi")))
    assert (await client.post(f"{client.base(agent.id)}/message/send", message("hi"))).status_code == 401
    assert agent.calls == []


@pytest.mark.parametrize("alg", ["HS256", "HS384", "HS512"])
async def test_every_hmac_algorithm_is_taken(
    relay: Relay, tenant: str, attach: Attach, make_client: MakeClient, alg: str
) -> None:
    agent = await attach(token=relay.token(alg, tenant=tenant, agent_id="a"))
    client = make_client(relay.token(alg, tenant=tenant, user_id="u", role="client"))
    result_of(await client.rpc(agent.id, "SendMessage", message("hi")))


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": "somebody-else"},
        {"sub": 7, "jti": 8},
        {"iat": int(time.time()) + 600},
        {"exp": int(time.time()) + DAY - 60},
        {"role": None, "user_id": None},
    ],
    ids=["foreign aud", "integer sub and jti", "iat ahead", "a day long", "tenant alone"],
)
async def test_what_relay_go_accepts_is_accepted(
    relay: Relay, tenant: str, attach: Attach, make_client: MakeClient, claims: dict[str, Any]
) -> None:
    agent = await attach()
    token = relay.token(**{"tenant": tenant, "user_id": "u", "role": "client", **claims})
    result_of(await make_client(token).rpc(agent.id, "SendMessage", message("hi")))


async def test_one_token_without_a_role_serves_as_agent_and_as_client(
    relay: Relay, tenant: str, attach: Attach, make_client: MakeClient
) -> None:
    token = relay.token(tenant=tenant, agent_id="both")
    agent = await attach(token=token)
    assert agent.id == "both"
    result_of(await make_client(token).rpc("both", "SendMessage", message("hi")))


async def test_a_raw_token_without_bearer_is_taken(
    relay: Relay, tenant: str, attach: Attach, make_client: MakeClient
) -> None:
    agent = await attach()
    raw = {"Authorization": relay.token(tenant=tenant, user_id="u")}
    client = make_client(None)
    result_of(await client.rpc(agent.id, "SendMessage", message("hi"), headers=raw))
    assert (await client.get(f"/t/{tenant}/agents", headers=raw)).status_code == 200


async def test_agent_and_tenant_come_from_the_token_alone(relay: Relay, tenant: str, attach: Attach) -> None:
    token = relay.token(tenant=tenant, agent_id="honest")
    agent = await attach(token=token, agent_id="somebody-else", tenant="elsewhere")
    assert (agent.id, agent.tenant) == ("honest", tenant)


@pytest.mark.parametrize(("missing", "named"), [("agent_id", "agent_id"), ("tenant", "tenant")])
async def test_an_agents_token_must_name_agent_and_tenant(relay: Relay, tenant: str, missing: str, named: str) -> None:
    claims: dict[str, Any] = {"tenant": tenant, "agent_id": "a", missing: None}
    with pytest.raises(Refusal) as refused:
        await attach_once(relay, relay.token(**claims), agent_id="a", tenant=tenant)
    assert refused.value.frame is not None
    assert refused.value.frame["type"] == "error"
    assert named in refused.value.frame["message"]


@pytest.mark.parametrize("first", ['{"type":"ping"}', '{"type":"a2a.response","payload":{"id":"x"}}', "not json"])
async def test_the_first_frame_must_be_auth(relay: Relay, first: str) -> None:
    async with await dial(relay.ws_url) as link:
        await link.send(first)
        frame = json.loads(await asyncio.wait_for(link.recv(), PATIENCE_SECONDS))
        assert frame["type"] == "error"
        await closing(link)


@pytest.mark.capability("roles")
async def test_a_clients_token_cannot_attach(relay: Relay, tenant: str) -> None:
    with pytest.raises(Refusal) as refused:
        await attach_once(relay, relay.token(tenant=tenant, agent_id="a", role="client"))
    assert refused.value.frame is not None
    assert refused.value.frame["type"] == "error"


@pytest.mark.capability("roles")
async def test_an_agents_token_attaches_and_may_call_others(
    relay: Relay, tenant: str, attach: Attach, make_client: MakeClient
) -> None:
    token = relay.token(tenant=tenant, agent_id="caller", role="agent")
    caller = await attach(token=token)
    other = await attach()
    assert caller.id == "caller"
    result_of(await make_client(token).rpc(other.id, "SendMessage", message("hi")))
    assert caller.calls == []


@pytest.mark.capability("http-auth-status")
@pytest.mark.parametrize("token", [None, "garbage"])
async def test_json_rpc_answers_401_with_a_challenge_and_an_error_body(
    attach: Attach, make_client: MakeClient, token: str | None
) -> None:
    agent = await attach()
    response = await make_client(token).rpc(agent.id, "SendMessage", message("hi"))
    assert response.status_code == 401
    assert response.headers["www-authenticate"].startswith("Bearer")
    assert response.json()["jsonrpc"] == "2.0"
    assert isinstance(error_of(response)["code"], int)


@pytest.mark.capability("http-auth-status")
async def test_rest_answers_401_with_a_challenge_and_an_error_body(attach: Attach, make_client: MakeClient) -> None:
    agent = await attach()
    client = make_client(None)
    response = await client.post(f"{client.base(agent.id)}/message:send", message("hi"))
    assert response.status_code == 401
    assert response.headers["www-authenticate"].startswith("Bearer")
    assert error_of(response)["status"] == "UNAUTHENTICATED"


@pytest.mark.capability("http-auth-status")
async def test_the_credential_is_looked_at_before_the_body(attach: Attach, make_client: MakeClient) -> None:
    agent = await attach()
    client = make_client(None)
    assert (await client.post(f"{client.base(agent.id)}/", "not json")).status_code == 401
    assert (await client.rpc(unique("nobody"), "SendMessage", message("hi"))).status_code == 401


@pytest.mark.capability("http-auth-status")
async def test_the_root_tells_strangers_nothing(attach: Attach, make_client: MakeClient) -> None:
    name = unique("secret-name")
    await attach(agent_card=card(name))
    stranger = make_client(None)
    assert (await stranger.post("/", "{}")).status_code == 401
    shown = await stranger.get("/.well-known/agent-card.json")
    assert shown.status_code in (401, 403, 404)
    assert name not in shown.text + (await stranger.get("/")).text


@pytest.mark.capability("http-auth-status")
async def test_an_unknown_agent_is_404(client: Client, attach: Attach) -> None:
    response = await client.rpc(unique("nobody"), "SendMessage", message("hi"))
    assert response.status_code == 404
    assert error_info(response)["reason"] == "AGENT_NOT_FOUND"
    rest = await client.post(f"{client.base(unique('nobody'))}/message:send", message("hi"))
    assert rest.status_code == 404
    assert error_info(rest)["reason"] == "AGENT_NOT_FOUND"


async def attach_once(relay: Relay, token: str, **fields: Any) -> None:
    """Attach, send nothing more and detach; raises `Refusal`."""
    async with await dial(relay.ws_url) as link:
        await link.send(auth_frame(token, card(), **fields))
        frame = json.loads(await asyncio.wait_for(link.recv(), PATIENCE_SECONDS))
        if frame["type"] != "auth_ok":
            raise Refusal(frame, await closing(link))
