"""What the relay tells about itself and its agents, and to whom."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from a2a_relay.a2a import jsonbytes

BASE = "/t/acme/a2a/zaf"
CARD = f"{BASE}/.well-known/agent-card.json"
ORIGINAL = f"{BASE}/.well-known/agent-card.original.json"


async def test_health_and_readiness_need_no_credential(front: Any) -> None:
    front.agent()
    health = (await front.ask("GET", "/health")).json
    assert (health["status"], health["agents_connected"], health["pending_requests"]) == ("ok", 1, 0)
    for target in ("/livez", "/readyz"):
        assert (await front.ask("GET", target)).json == {"status": "ok"}


async def test_a_relay_that_leaves_is_not_ready(front: Any) -> None:
    await front.app.node.leave(0)
    assert (await front.ask("GET", "/readyz")).status == 503
    assert (await front.ask("GET", "/livez")).status == 200


async def test_the_front_page_lists_agents_to_a_token_alone(front: Any) -> None:
    front.agent()
    assert "agents" not in (await front.ask("GET", "/")).json
    assert [agent["id"] for agent in (await front.ask("GET", "/", token=front.token())).json["agents"]] == ["zaf"]


async def test_a_directory_is_of_the_callers_tenant(front: Any) -> None:
    front.agent("zaf", card='{"name":"Zaf","description":"d","skills":[{"id":"s"}]}')
    front.agent("ann").play("xx")
    front.agent("zoe", "other")
    listed = (await front.ask("GET", "/t/acme/agents", token=front.token())).json
    assert [(agent["id"], agent["state"]) for agent in listed] == [("ann", "away"), ("zaf", "attached")]
    assert "connected_at" not in listed[0]
    assert (listed[1]["name"], listed[1]["skills"]) == ("Zaf", [{"id": "s"}])
    assert listed[1]["url"] == f"http://relay.example{BASE}/"
    assert (await front.ask("GET", "/.well-known/agents", token=front.token())).json["count"] == 2
    assert (await front.ask("GET", "/t/acme/agents", token=front.token(tenant="other"))).status == 403
    assert (await front.ask("GET", "/t/acme/agents")).status == 401


@pytest.mark.parametrize("value", ["1e400", "[-1e999]", "9" * 6_000, '{"a":1,"a":2}', '"\\ud800"', "NaN"])
@pytest.mark.parametrize("name", ["skills", "capabilities", "name", "description"])
async def test_no_card_breaks_its_tenants_directory(front: Any, name: str, value: str) -> None:
    front.agent("ann")
    link = front.agent("zaf")
    link.link.receive(f'{{"type":"card.update","payload":{{"agent_card":{{"{name}":{value}}}}}}}'.encode())
    found = await front.ask("GET", "/t/acme/agents", token=front.token())
    assert found.status == 200
    jsonbytes.check(found.body)
    assert len(jsonbytes.elements(found.body)) == 2


async def test_an_agent_is_forgotten_by_the_admin_alone(front: Any) -> None:
    link = front.agent()
    target = "/t/acme/agents/zaf"
    assert (await front.ask("DELETE", target, token=front.token("client"))).status == 403
    assert (await front.ask("DELETE", target, token=front.token(tenant="other"))).status == 403
    assert (await front.ask("DELETE", target, token=front.token())).status == 403
    link.play("xx")
    assert (await front.ask("DELETE", target, token=front.token())).status == 204
    assert (await front.ask("DELETE", target, token=front.token())).status == 404


async def test_a_card_is_served_while_its_agent_is_away(front: Any) -> None:
    front.agent(card='{"name":"Zaf","url":"http://192.168.1.7:9999"}').play("xx")
    found = await front.ask("GET", CARD)
    assert (found.status, found.json["name"]) == (200, "Zaf")
    assert b"192.168" not in found.body
    again = await front.ask("GET", CARD, if_none_match=found.headers["etag"])
    assert (again.status, again.body) == (304, b"")
    assert (await front.ask("HEAD", CARD)).status == 200


@pytest.mark.parametrize("public_url, shared", [("https://relay.example", True), ("", False)])
async def test_only_a_card_that_depends_on_nobody_may_be_shared(
    make_front: Callable[..., Any], public_url: str, shared: bool
) -> None:
    front = make_front(public_url=public_url)
    front.agent()
    assert ("public" in (await front.ask("GET", CARD)).headers["cache-control"]) == shared


async def test_a_tenants_card_is_for_the_tenant(make_front: Callable[..., Any]) -> None:
    front = make_front(public_url="https://relay.example", visibility="tenant")
    front.agent()
    assert (await front.ask("GET", CARD)).status == 401
    assert (await front.ask("GET", CARD, token=front.token(tenant="other"))).status == 404
    found = await front.ask("GET", CARD, token=front.token("client"))
    assert (found.status, found.headers["vary"]) == (200, "Authorization")


async def test_the_original_is_for_the_tenants_admin(front: Any) -> None:
    front.agent(card='{ "name":"Zaf" }')
    assert (await front.ask("GET", ORIGINAL)).status == 401
    assert (await front.ask("GET", ORIGINAL, token=front.token("client"))).status == 403
    assert (await front.ask("GET", ORIGINAL, token=front.token(tenant="other"))).status == 404
    assert (await front.ask("GET", ORIGINAL, token=front.token())).body == b'{ "name":"Zaf" }'


async def test_the_root_card_never_crosses_tenants(front: Any) -> None:
    front.agent("zaf", card='{"name":"Zaf"}')
    front.agent("zoe", "other", card='{"name":"Zoe"}')
    for tenant, name in (("acme", "Zaf"), ("other", "Zoe")):
        found = await front.ask("GET", "/.well-known/agent-card.json", token=front.token(tenant=tenant))
        assert found.json["name"] == name
        assert found.headers["cache-control"].startswith("private")
    assert (await front.ask("GET", "/.well-known/agent-card.json")).status == 401


async def test_no_agent_and_no_card_are_told_apart(front: Any) -> None:
    front.agent("ann", card="null")
    assert (await front.ask("GET", CARD)).status == 404
    found = await front.ask("GET", "/t/acme/a2a/ann/.well-known/agent-card.json")
    assert (found.status, found.json["error"]) == (404, "agent has published no card")


@pytest.mark.parametrize("host", ["a b", "u@relay.example", "relay.example/x", ""])
async def test_a_host_that_is_none_is_refused(front: Any, host: str) -> None:
    front.agent()
    assert (await front.ask("GET", CARD, host=host)).status == 400


async def test_an_agent_can_be_made_known_before_it_attaches(front: Any) -> None:
    target = "/t/acme/agents/zaf"
    made = await front.ask("PUT", target, b'{"card": { "name":"Zaf" }}', token=front.token())
    assert (made.status, made.json["id"], made.json["state"], made.json["name"]) == (201, "zaf", "away", "Zaf")
    assert "last_seen_at" not in made.json
    assert (await front.ask("GET", ORIGINAL, token=front.token())).body == b'{ "name":"Zaf" }'
    assert (await front.ask("PUT", target, token=front.token())).status == 200
    front.agent(card='{"name":"Own"}')
    assert (await front.ask("PUT", target, b'{"card":{"name":"Other"}}', token=front.token())).json["name"] == "Own"


async def test_an_agent_is_made_known_by_the_admin_alone(front: Any) -> None:
    target = "/t/acme/agents/zaf"
    assert (await front.ask("PUT", target)).status == 401
    assert (await front.ask("PUT", target, token=front.token("client"))).status == 403
    assert (await front.ask("PUT", target, token=front.token("agent", agent="zaf"))).status == 403
    assert (await front.ask("PUT", target, token=front.token(tenant="other"))).status == 403
    assert (await front.ask("GET", "/t/acme/agents", token=front.token())).json == []


@pytest.mark.parametrize(
    "name, body, status",
    [
        ("a.b", b"", 400),
        ("-a", b"", 400),
        ("a" * 64, b"", 400),
        ("zaf", b"[]", 400),
        ("zaf", b"{", 400),
        ("zaf", b'{"card":[]}', 400),
        ("zaf", b'{"card":{"name":"' + b"x" * 64 * 1024 + b'"}}', 413),
        ("zaf", b'{"card":{"name":"' + b"x" * 66 * 1024 + b'"}}', 413),
        ("zaf", b"{}", 201),
    ],
)
async def test_a_name_and_a_card_are_checked(front: Any, name: str, body: bytes, status: int) -> None:
    made = await front.ask("PUT", f"/t/acme/agents/{name}", body, token=front.token())
    assert made.status == status
    assert len((await front.ask("GET", "/t/acme/agents", token=front.token())).json) == (status == 201)


async def test_a_relay_that_signs_nothing_has_no_keys(front: Any) -> None:
    assert (await front.ask("GET", "/.well-known/jwks.json")).status == 404


async def test_names_that_only_the_relay_may_set_are_counted_and_its_options_are_not(front: Any) -> None:
    front.agent()
    forged = {"a2a-relay-sender": "admin", "x-a2a-relay-letter": "l", "a2a-relay-ttl": "60", "a2a-relay-timeout": "1"}
    await front.ask("POST", "/t/acme/a2a/zaf/", b"no call", token=front.token("client"), **forged)
    assert front.observer.stripped_headers == [("a2a-relay-sender", "x-a2a-relay-letter")]
