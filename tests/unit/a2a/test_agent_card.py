"""Cards: no place but the relay where a client would take its token (security rule S2), every other byte untouched."""

from __future__ import annotations

import json
from typing import Any

import pytest
from a2a.types.a2a_pb2 import AgentCard
from google.protobuf.json_format import Parse
from hypothesis import example, given, settings
from hypothesis import strategies as st

from a2a_relay.a2a import agent_card, jsonbytes
from a2a_relay.a2a.agent_card import RELAY_EXTENSION, served
from a2a_relay.errors import Refused

URLS = {"JSONRPC": "https://relay.example/t/acme/a2a/zaf/", "HTTP+JSON": "https://relay.example/t/acme/a2a/zaf"}
EVIL = "https://evil.example"


def serve(card: dict[str, Any] | str, **options: Any) -> dict[str, Any]:
    data = card.encode() if isinstance(card, str) else json.dumps(card).encode()
    found: dict[str, Any] = json.loads(served(data, URLS, **options).body)
    return found


def interface(url: str, binding: str = "JSONRPC", version: str = "1.0") -> dict[str, str]:
    return {"url": url, "protocolBinding": binding, "protocolVersion": version}


class TestVerbatim:
    @pytest.mark.parametrize(
        "card",
        [
            '{"name":"x", "supportedInterfaces":[{"url":"https://relay.example/t/acme/a2a/zaf/"}],"z":1.50}',
            '{"url":"https://relay.example/t/acme/a2a/zaf","signatures":[{"protected":"p"}]}',
            '{"url":"HTTPS://Relay.Example:443/t/acme/a2a/zaf/"}',
            (
                '{"url":"https://relay.example/t/acme/a2a/zaf","additionalInterfaces":'
                '[{"url":"https://relay.example/t/acme/a2a/zaf/","transport":"JSONRPC"}]}'
            ),
            '{"url":"https://relay.example/t/acme/a2a/zaf","securitySchemes":{"r":{"type":"http","scheme":"Bearer"}}}',
            (
                '{"url":"https://relay.example/t/acme/a2a/zaf","securitySchemes":'
                '{"r":{"httpAuthSecurityScheme":{"scheme":"bearer"}}}}'
            ),
        ],
    )
    def test_is_a_card_all_of_whose_urls_are_its_own(self, card: str) -> None:
        assert served(card.encode(), URLS) == (card.encode(), True)

    @pytest.mark.parametrize(
        "url",
        [
            EVIL,
            "https://relay.example.evil.example/t/acme/a2a/zaf/",
            "https://relay.example@evil.example/t/acme/a2a/zaf/",
            "https://user:pass@relay.example/t/acme/a2a/zaf/",
            "//relay.example/t/acme/a2a/zaf/",
            "/t/acme/a2a/zaf/",
            "",
            "http://relay.example/t/acme/a2a/zaf/",
            "https://relay.example:8443/t/acme/a2a/zaf/",
            "https://relay.example:notaport/t/acme/a2a/zaf/",
            "https://relay.example/t/acme/a2a/other/",
            "https://relay.example/t/acme/a2a/zaf/../other/",
            "https://relay.example/t/acme/a2a/zaf/?x=1",
            "https://relay.example/t/acme/a2a/zaf/#x",
            "https://relay.example/t/acme/a2a/ZAF/",
            "javascript:alert(1)",
            "https://[relay.example/",
            "https:\\\\relay.example\\t\\acme\\a2a\\zaf\\",
        ],
    )
    def test_is_not_a_card_that_names_another_place(self, url: str) -> None:
        own = interface(URLS["JSONRPC"])
        for card in (
            {"supportedInterfaces": [own, interface(url)]},
            {"supportedInterfaces": [own], "url": url},
            {"url": URLS["JSONRPC"], "additionalInterfaces": [{"url": url}]},
        ):
            data = json.dumps(card).encode()
            assert not served(data, URLS).is_verbatim
            assert json.dumps(url) not in served(data, URLS).body.decode()

    @pytest.mark.parametrize(
        "more",
        [
            '"Url":"https://evil.example"',
            '"supported_interfaces":[{"url":"https://evil.example"}]',
            '"SUPPORTEDINTERFACES":[]',
            '"\u017fupportedInterfaces":[]',
            '"additional_interfaces":[{"url":"https://evil.example"}]',
            '"security_schemes":{"x":{"type":"oauth2"}}',
            '"SecuritySchemes":{}',
            '"supportedInterfaces":[{"url":"https://relay.example/t/acme/a2a/zaf/","URL":"https://evil.example"}]',
            '"supportedInterfaces":[{"url":"https://relay.example/t/acme/a2a/zaf/","url":"https://evil.example"}]',
            '"supportedInterfaces":[{"protocolBinding":"JSONRPC"}]',
            '"supportedInterfaces":["https://evil.example"]',
            '"supportedInterfaces":{"url":"https://evil.example"}',
            '"securitySchemes":{"x":{"type":"oauth2","flows":{"clientCredentials":{"tokenUrl":"https://evil.example"}}}}',
            '"securitySchemes":{"x":{"openIdConnectSecurityScheme":{"openIdConnectUrl":"https://evil.example"}}}',
            '"securitySchemes":{"x":{"type":"http","scheme":"bearer","oauth2SecurityScheme":{"flows":{}}}}',
            '"securitySchemes":{"x":{"type":"http","scheme":"bearer","flows":{"tokenUrl":"https://evil.example"}}}',
            '"securitySchemes":{"x":{"type":"oauth2"},"x":{"type":"http","scheme":"bearer"}}',
            '"securitySchemes":{"x":{"type":"oauth2","type":"http","scheme":"bearer"}}',
            '"securitySchemes":{"x":{"type":"http","scheme":"basic"}}',
            '"securitySchemes":{"x":{"httpAuthSecurityScheme":{"scheme":"bearer"},"type":"openIdConnect"}}',
            '"securitySchemes":[]',
            '"securitySchemes":{"x":null}',
        ],
    )
    def test_is_not_a_card_that_can_be_read_in_two_ways(self, more: str) -> None:
        found = served(f'{{"url":"{URLS["JSONRPC"]}",{more}}}'.encode(), URLS)
        assert not found.is_verbatim

    def test_is_not_a_card_without_any_url(self) -> None:
        assert not served(b'{"name":"x"}', URLS).is_verbatim
        assert not served(b'{"supportedInterfaces":[]}', URLS).is_verbatim


class TestARewrittenCard:
    def test_names_the_relay_alone(self) -> None:
        card = serve({"name": "x", "supportedInterfaces": [interface(EVIL), interface(EVIL, "GRPC")]})
        assert card["supportedInterfaces"] == [
            interface(URLS["JSONRPC"]),
            interface(URLS["HTTP+JSON"], "HTTP+JSON"),
        ]

    def test_of_0_3_is_a_hybrid(self) -> None:
        card = serve({"url": EVIL, "protocolVersion": "0.3.1", "preferredTransport": "GRPC"})
        assert card["supportedInterfaces"] == [interface(URLS["JSONRPC"], version="0.3")]
        assert (card["url"], card["preferredTransport"], card["protocolVersion"]) == (
            URLS["JSONRPC"],
            "JSONRPC",
            "0.3.1",
        )
        assert card["additionalInterfaces"] == [{"url": URLS["JSONRPC"], "transport": "JSONRPC"}]

    def test_of_0_3_offers_rest_only_where_it_is_served(self) -> None:
        card = serve({"url": EVIL, "protocolVersion": "0.3.0"}, rest_v03=True)
        assert [item["transport"] for item in card["additionalInterfaces"]] == ["JSONRPC", "HTTP+JSON"]
        assert interface(URLS["HTTP+JSON"], "HTTP+JSON", "0.3") in card["supportedInterfaces"]

    def test_of_both_versions_serves_both(self) -> None:
        card = serve({"url": EVIL, "protocolVersion": "0.3.0", "supportedInterfaces": [interface(EVIL)]})
        assert {item["protocolVersion"] for item in card["supportedInterfaces"]} == {"1.0", "0.3"}
        assert card["url"] == URLS["JSONRPC"]

    @pytest.mark.parametrize("legacy, has_url", [("1.0", False), ("0.3", True)])
    def test_without_a_version_is_taken_for_the_legacy_one(self, legacy: str, has_url: bool) -> None:
        card = serve({"name": "x"}, legacy_version=legacy)
        assert {item["protocolVersion"] for item in card["supportedInterfaces"]} == {legacy}
        assert ("url" in card) == has_url

    def test_has_no_signature(self) -> None:
        card = serve({"url": EVIL, "signatures": [{"jku": EVIL}], "Signatures": [{"jku": EVIL}]})
        assert not {"signatures", "Signatures"} & set(card)

    def test_asks_for_the_relays_bearer_token_alone(self) -> None:
        schemes = {"o": {"type": "oauth2", "flows": {"clientCredentials": {"tokenUrl": EVIL}}}}
        card = serve({"url": EVIL, "securitySchemes": schemes, "security": [{"o": []}], "securityRequirements": []})
        assert list(card["securitySchemes"]) == ["relay"]
        assert card["security"] == [{"relay": []}]
        assert card["securityRequirements"] == [{"schemes": {"relay": {"list": []}}}]

    def test_keeps_what_the_agent_said_of_security_in_the_relays_extension(self) -> None:
        card = serve({"url": EVIL, "securitySchemes": {"o": {"n": 1.0}}, "capabilities": {"streaming": True}})
        extension = card["capabilities"]["extensions"][-1]
        assert card["capabilities"]["streaming"] is True
        assert extension["uri"] == RELAY_EXTENSION
        assert extension["params"] == {"agentSecurity": {"securitySchemes": {"o": {"n": 1.0}}}}

    def test_keeps_the_agents_own_extensions(self) -> None:
        card = serve({"url": EVIL, "capabilities": {"extensions": [{"uri": "x"}]}})
        assert [item["uri"] for item in card["capabilities"]["extensions"]] == ["x", RELAY_EXTENSION]

    def test_has_the_relays_extension_once_with_what_the_agent_asked_by_it(self) -> None:
        asked = {"uri": RELAY_EXTENSION, "params": {"streamWindow": "durable", "agentSecurity": "made up"}}
        card = serve({"url": EVIL, "capabilities": {"extensions": [asked, {"uri": "x"}]}, "security": [{"o": []}]})
        other, extension = card["capabilities"]["extensions"]
        assert other == {"uri": "x"}
        assert extension["uri"] == RELAY_EXTENSION
        assert extension["params"] == {"streamWindow": "durable", "agentSecurity": {"security": [{"o": []}]}}

    @pytest.mark.parametrize("said", [{}, {"params": None}, {"params": []}, {"params": {}}])
    def test_has_no_params_where_the_agent_has_said_nothing_by_them(self, said: dict[str, object]) -> None:
        card = serve({"url": EVIL, "capabilities": {"extensions": [{"uri": RELAY_EXTENSION, **said}, "odd", {}]}})
        *others, extension = card["capabilities"]["extensions"]
        assert others == ["odd", {}]
        assert "params" not in extension

    def test_keeps_the_agents_own_tenant_for_1_0(self) -> None:
        card = serve({"supportedInterfaces": [{**interface(EVIL), "tenant": "org"}]})
        assert {item["tenant"] for item in card["supportedInterfaces"]} == {"org"}

    def test_of_an_sdk_agent_is_read_by_the_sdk(self) -> None:
        card = {
            "name": "x",
            "version": "1",
            "supportedInterfaces": [interface(EVIL)],
            "capabilities": {"streaming": True},
        }
        data = served(json.dumps(card).encode(), URLS).body
        found = Parse(data, AgentCard(), ignore_unknown_fields=True)
        assert [item.url for item in found.supported_interfaces] == list(URLS.values())
        assert list(found.security_schemes) == ["relay"]

    def test_is_made_by_a_rewrite_too(self) -> None:
        rewrite = agent_card.Rewrite(URLS, "0.3", rest_v03=True)
        assert rewrite(b"{}") == served(b"{}", URLS, legacy_version="0.3", rest_v03=True)


# --- hostile cards ---

OWN_OR_EVIL = st.sampled_from([*URLS.values(), EVIL, "https://evil.example/t/acme/a2a/zaf/", "//evil.example", ""])
CALLED = ["url", "URL", "Url", "u_rl", "supportedInterfaces", "supported_interfaces", "additionalInterfaces"]
CALLED += ["SupportedInterfaces", "additional_interfaces", "ADDITIONALINTERFACES", "\u017fupportedInterface\u017f"]
SECURITY = ["securitySchemes", "security_schemes", "security", "securityRequirements", "SecuritySchemes"]
OTHER = [
    "name",
    "skills",
    "capabilities",
    "iconUrl",
    "x-own",
    "Capabilities",
    "signatures",
    "protocolVersion",
    "version",
]

places = st.lists(
    st.dictionaries(st.sampled_from(["url", "URL", "Url", "protocolVersion", "transport"]), OWN_OR_EVIL, max_size=3),
    max_size=3,
)
schemes = st.dictionaries(
    st.sampled_from(["a", "relay"]),
    st.fixed_dictionaries(
        {},
        optional={
            "type": st.sampled_from(["http", "oauth2", "openIdConnect"]),
            "scheme": st.sampled_from(["bearer", "basic"]),
            "openIdConnectUrl": OWN_OR_EVIL,
            "oauth2SecurityScheme": st.just({"flows": {"clientCredentials": {"tokenUrl": EVIL}}}),
            "httpAuthSecurityScheme": st.just({"scheme": "bearer"}),
            "flows": st.just({"clientCredentials": {"tokenUrl": EVIL}}),
        },
    ),
    max_size=2,
)
loose = st.sampled_from([None, 1, "x", [], {}, [1.5], {"a": EVIL}, {"extensions": [{"uri": "u"}]}, "0.3.0", "1.0"])
member = st.one_of(
    st.tuples(st.sampled_from(CALLED), st.one_of(OWN_OR_EVIL, places, places, loose)),
    st.tuples(st.sampled_from(SECURITY), st.one_of(schemes, loose)),
    st.tuples(st.sampled_from(OTHER), loose),
)


def written(members: list[tuple[str, Any]]) -> bytes:
    return ("{" + ", ".join(f"{json.dumps(key)}: {json.dumps(value)}" for key, value in members) + "}").encode()


def strings(document: Any) -> list[str]:
    if isinstance(document, dict):
        return [text for item in document.items() for part in item for text in strings(part)]
    if isinstance(document, list):
        return [text for item in document for text in strings(item)]
    return [document] if isinstance(document, str) else []


def folded(name: str) -> str:
    return name.casefold().replace("_", "")


ASKED = {folded(name) for name in [*CALLED, *SECURITY]}


@settings(max_examples=200, deadline=None)
@given(st.lists(member, max_size=7).map(written))
@example(b'{"url":"https://relay.example/t/acme/a2a/zaf/","supportedInterfaces":[{"URL":"https://evil.example"}]}')
def test_no_served_card_takes_a_token_elsewhere(card: bytes) -> None:
    try:
        agent_card.require_servable(card)
    except Refused:
        return
    found = served(card, URLS)
    document = json.loads(found.body)
    for name, said in document.items():
        if folded(name) in ASKED:
            assert not any("evil" in text for text in strings(said)), name
    if not found.is_verbatim:
        assert [name for name in document if folded(name) == "supportedinterfaces"] == ["supportedInterfaces"]
        assert {item["url"] for item in document["supportedInterfaces"]} <= set(URLS.values())
        assert "signatures" not in document


REPLACED = ASKED | {"preferredtransport", "protocolversion", "signatures", "capabilities"}


@settings(max_examples=100, deadline=None)
@given(
    st.dictionaries(
        st.text(max_size=6) | st.sampled_from(OTHER),
        st.sampled_from(["1.50", "[ 1 ]", '{"a" :1}', '"\\u00e9"', "1e400", "9" * 30, '"\\ud800"', "null"]),
        max_size=6,
    )
)
def test_every_other_member_of_a_rewritten_card_keeps_its_bytes(members: dict[str, str]) -> None:
    data = "{" + ",".join(f"{json.dumps(key)}: {value}" for key, value in members.items()) + "}"
    try:
        agent_card.require_servable(data.encode())
    except Refused:
        return
    kept = jsonbytes.members(served(data.encode(), URLS).body)
    assert [key for key in kept if key in members and folded(key) not in REPLACED] == [
        key for key in members if folded(key) not in REPLACED
    ]
    for key, value in members.items():
        if folded(key) not in REPLACED:
            assert kept[key] == value.encode()


@pytest.mark.parametrize(
    "value", ["1e400", "[-1e999]", "9" * 6_000, '{"a":1,"a":2}', '"\\ud800"', "[[" * 40 + "]]" * 40]
)
@pytest.mark.parametrize("name", ["capabilities", "securitySchemes", "skills", "security", "protocolVersion"])
def test_a_card_that_is_taken_is_served_as_json(name: str, value: str) -> None:
    card = f'{{"name":"x","url":"{EVIL}","{name}":{value}}}'.encode()
    try:
        agent_card.require_servable(card)
    except Refused:
        return
    jsonbytes.check(served(card, URLS).body)
