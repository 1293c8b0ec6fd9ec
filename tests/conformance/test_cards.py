"""Cards: served at the agent's base, pointing at the relay, otherwise as the agent wrote them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agents import Attach, card
from behaviours import answering
from clients import Client, result_of, until

CARD_PATH = "/.well-known/agent-card.json"
PRIVATE = "192.168.7.7"
RICH: dict[str, Any] = {
    "provider": {"organization": "Acme", "url": "https://acme.example", "since": 1999},
    "documentationUrl": "https://acme.example/docs",
    "futureField": {"z": [1, 2, {"deep": None}], "a": 9007199254740993},
    "capabilities": {
        "streaming": True,
        "pushNotifications": False,
        "extensions": [{"uri": "https://acme.example/ext/1", "required": False, "params": {"k": 1}}],
        "future": True,
    },
    "skills": [{"id": "s", "name": "S", "description": "d", "tags": ["x"], "examples": ["e"], "rank": 0.5}],
    "defaultInputModes": ["text/plain", "application/x-odd"],
    "iconUrl": "https://acme.example/icon.png",
}


@pytest.mark.parametrize("name", ["agent-card.json", "agent.json"])
async def test_a_card_is_served_under_both_names_and_points_at_the_relay(
    attach: Attach, client: Client, name: str
) -> None:
    agent = await attach(agent_card=card("Shown"))
    response = await client.get(f"{client.base(agent.id)}/.well-known/{name}")
    assert response.status_code == 200
    assert "json" in response.headers["content-type"]
    shown = response.json()
    assert (shown["name"], shown["description"], shown["version"]) == ("Shown", "Echoes what it is told", "1.2.3")
    assert [skill["id"] for skill in shown["skills"]] == ["echo"]
    assert shown["capabilities"]["streaming"] is True
    assert shown["url"].rstrip("/").endswith(client.base(agent.id))


async def served(client: Client, id: str) -> Any:
    """An agent's card as the relay serves it."""
    response = await client.get(client.base(id) + CARD_PATH)
    assert response.status_code == 200, response.text
    return response.json()


def interface_urls(shown: Any) -> list[str]:
    """Every URL that a client may take for the agent's."""
    interfaces = [*shown.get("supportedInterfaces", []), *shown.get("additionalInterfaces", [])]
    return [interface["url"] for interface in interfaces] + ([shown["url"]] if "url" in shown else [])


@pytest.mark.capability("cards-lossless")
async def test_what_the_relay_does_not_know_survives(attach: Attach, client: Client) -> None:
    agent = await attach(agent_card=card("Rich", **RICH))
    shown = await served(client, agent.id)
    for name in ("provider", "documentationUrl", "futureField", "skills", "defaultInputModes", "iconUrl"):
        assert shown[name] == RICH[name]
    assert shown["capabilities"]["future"] is True
    assert RICH["capabilities"]["extensions"][0] in shown["capabilities"]["extensions"]


@pytest.mark.capability("cards-lossless")
async def test_every_interface_points_at_the_relay(attach: Attach, client: Client) -> None:
    agent = await attach(agent_card=card())
    shown = await served(client, agent.id)
    urls = interface_urls(shown)
    assert urls
    assert all(url.rstrip("/").endswith(client.base(agent.id)) for url in urls)
    assert PRIVATE not in json.dumps(shown)


@pytest.mark.capability("cards-lossless")
async def test_one_card_serves_clients_of_both_versions(attach: Attach, client: Client) -> None:
    agent = await attach(agent_card=card())
    shown = await served(client, agent.id)
    bindings = {(i["protocolBinding"], i["protocolVersion"]) for i in shown["supportedInterfaces"]}
    assert {("JSONRPC", "1.0"), ("HTTP+JSON", "1.0")} <= bindings
    assert shown["protocolVersion"].startswith("0.3")
    assert shown["preferredTransport"] == "JSONRPC"


@pytest.mark.capability("cards-lossless")
async def test_a_foreign_url_beside_the_relays_own_is_not_served(native: Attach, client: Client) -> None:
    agent = await native()
    own = agent.welcome["public_urls"]["JSONRPC"]
    trap = [
        {"url": "https://evil.example/steal", "protocolBinding": "JSONRPC", "protocolVersion": "1.0"},
        {"url": own, "protocolBinding": "JSONRPC", "protocolVersion": "1.0"},
        {"url": f"{own}@evil.example/", "protocolBinding": "HTTP+JSON", "protocolVersion": "1.0"},
        {"url": "//evil.example/", "protocolBinding": "HTTP+JSON", "protocolVersion": "1.0"},
    ]
    schemes = {
        "bait": {"oauth2SecurityScheme": {"flows": {"clientCredentials": {"tokenUrl": "https://evil.example/t"}}}}
    }
    trapped = card("Trapped", url=own, supportedInterfaces=trap, securitySchemes=schemes)
    await native(id=agent.id, agent_card=trapped)

    async def replaced() -> bool:
        return bool((await served(client, agent.id))["name"] == "Trapped")

    await until(replaced)
    shown = await served(client, agent.id)
    assert not [url for url in interface_urls(shown) if "evil.example" in url]
    assert "evil.example" not in json.dumps(shown.get("securitySchemes", {}))


@pytest.mark.capability("cards-lossless")
async def test_the_relays_own_credential_is_declared(attach: Attach, client: Client) -> None:
    agent = await attach(agent_card=card())
    shown = await served(client, agent.id)
    assert "bearer" in json.dumps(shown["securitySchemes"]).lower()
    assert shown["securityRequirements"]


@pytest.mark.capability("cards-lossless")
async def test_a_signature_that_no_longer_fits_is_not_served(attach: Attach, client: Client) -> None:
    stale = [{"protected": "eyJhbGciOiJFUzI1NiJ9", "signature": "c3RhbGUtc2lnbmF0dXJl"}]
    agent = await attach(agent_card=card(signatures=stale))
    assert stale[0]["signature"] not in json.dumps(await served(client, agent.id))


@pytest.mark.capability("cards-lossless")
@pytest.mark.capability("native-link")
async def test_a_card_that_names_only_its_public_urls_is_served_byte_for_byte(native: Attach, client: Client) -> None:
    agent = await native()
    urls = agent.welcome["public_urls"]
    own = card(
        "Verbatim",
        url=urls["JSONRPC"],
        supportedInterfaces=[
            {"url": url, "protocolBinding": binding, "protocolVersion": "1.0"} for binding, url in urls.items()
        ],
        signatures=[{"protected": "eyJhbGciOiJFUzI1NiJ9", "signature": "Zml0cw"}],
        zUnknown={"b": 1, "a": 2},
    )
    text = json.dumps(own, separators=(" , ", " : "))
    await agent.send_text(f'{{"type":"card.update","payload":{{"agent_card":{text}}}}}')

    async def verbatim() -> bool:
        return (await client.get(client.base(agent.id) + CARD_PATH)).content == text.encode()

    await until(verbatim)


@pytest.mark.capability("cards-lossless")
async def test_a_card_is_cached_by_its_etag(native: Attach, client: Client) -> None:
    agent = await native()
    path = client.base(agent.id) + CARD_PATH
    first = await client.get(path)
    assert "max-age" in first.headers["cache-control"]
    assert first.headers["last-modified"]
    tag = first.headers["etag"]
    again = await client.get(path, headers={"If-None-Match": tag})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    assert (await client.get(path, headers={"If-None-Match": '"another"'})).status_code == 200
    await agent.send("card.update", agent_card=card("Renewed"))

    async def renewed() -> bool:
        return (await client.get(path, headers={"If-None-Match": tag})).status_code == 200

    await until(renewed)
    assert (await served(client, agent.id))["name"] == "Renewed"


@pytest.mark.capability("cards-lossless")
@pytest.mark.parametrize("method", ["GetExtendedAgentCard", "agent/getAuthenticatedExtendedCard"])
async def test_the_extended_card_points_at_the_relay_too(native: Attach, client: Client, method: str) -> None:
    agent = await native(answering(card("Extended", **RICH)))
    shown = result_of(await client.rpc(agent.id, method, {}))
    assert shown["name"] == "Extended"
    assert shown["futureField"] == RICH["futureField"]
    assert all(url.rstrip("/").endswith(client.base(agent.id)) for url in interface_urls(shown))
    assert PRIVATE not in json.dumps(shown)


@pytest.mark.capability("openclaw")
async def test_an_openclaw_card_becomes_one_that_sdk_clients_can_use(attach: Attach, client: Client) -> None:
    old = card("Claw", url="a2a-relay://relay.example/t/acme/claw")
    del old["supportedInterfaces"], old["protocolVersion"], old["preferredTransport"]
    agent = await attach(agent_card=old)
    shown = await served(client, agent.id)
    assert "a2a-relay://" not in json.dumps(interface_urls(shown))
    assert ("JSONRPC", "1.0") in {(i["protocolBinding"], i["protocolVersion"]) for i in shown["supportedInterfaces"]}
