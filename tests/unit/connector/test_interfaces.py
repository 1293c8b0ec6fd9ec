"""A card says where an agent's bindings are; the user says on which origin."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from a2a_relay.connector import interfaces
from a2a_relay.connector.interfaces import Interfaces


def read(card: Any, base_path: str = "") -> Interfaces:
    return interfaces.read(json.dumps(card).encode(), base_path)


def entry(url: str, binding: str = "JSONRPC", version: str = "1.0") -> dict[str, str]:
    return {"url": url, "protocolBinding": binding, "protocolVersion": version}


def test_a_1_0_card_names_each_binding_and_version() -> None:
    card = {
        "supportedInterfaces": [
            entry("http://x:1/rpc"),
            entry("http://x:1/api/", "HTTP+JSON"),
            entry("http://x:1/old", version="0.3"),
            entry("http://x:1/oldrest", "HTTP+JSON", "0.3.0"),
            entry("x:50051", "GRPC"),
        ]
    }
    assert read(card) == Interfaces("/rpc", "/old", "/api", "/oldrest")


def test_a_0_3_card_names_its_own_in_other_fields() -> None:
    card = {
        "protocolVersion": "0.3.0",
        "url": "http://x/a2a",
        "additionalInterfaces": [{"url": "http://x/rest", "transport": "HTTP+JSON"}],
    }
    assert read(card) == Interfaces(rpc_v03="/a2a", rest_v03="/rest")
    assert read({"url": "http://x/r", "preferredTransport": "HTTP+JSON"}) == Interfaces(rest_v03="/r")


def test_the_first_interface_of_a_kind_is_the_one() -> None:
    assert read({"supportedInterfaces": [entry("http://x/a"), entry("http://x/b")]}).rpc_v10 == "/a"


def test_a_method_goes_to_its_own_version_and_else_to_the_other() -> None:
    both = Interfaces(rpc_v10="/new", rpc_v03="/old")
    assert (both.rpc_for(is_v10=True), both.rpc_for(is_v10=False)) == ("/new", "/old")
    assert Interfaces(rpc_v10="/new").rpc_for(is_v10=False) == "/new"
    assert Interfaces(rpc_v03="/old").rpc_for(is_v10=True) == "/old"


def test_an_agent_without_a_readable_card_is_taken_for_json_rpc_at_its_base() -> None:
    for card in (None, b"nonsense", b"[]", b"{}", b'{"supportedInterfaces":7}', b'{"supportedInterfaces":[{"url":5}]}'):
        found = interfaces.read(card, "/base")
        assert found.rpc_v10 is not None
        assert found.rpc_v10.startswith("/base")
    assert interfaces.read(None, "").rpc_v10 == "/"


def test_other_schemes_and_dot_segments_are_not_followed() -> None:
    for url in ("file:///etc/passwd", "ftp://x/a", "http://x/a/../admin", "gopher:x"):
        assert read({"supportedInterfaces": [entry(url), entry("http://x/ok")]}).rpc_v10 == "/ok"


@given(st.text(max_size=60))
def test_of_any_url_only_path_and_query_are_left(url: str) -> None:
    found = read({"supportedInterfaces": [entry(url)]}).rpc_v10
    assert found is not None
    assert found.startswith("/")
    assert found.isascii()
    assert found.isprintable()
    assert "#" not in found
    assert " " not in found
