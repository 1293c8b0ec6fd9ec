"""The public URLs of an agent."""

from __future__ import annotations

import pytest

from a2a_relay.core.address import Address
from a2a_relay.core.urls import agent_urls, base_path


@pytest.mark.parametrize("public_url", ["https://relay.example", "https://relay.example/"])
def test_json_rpc_ends_in_a_slash_and_rest_does_not(public_url: str) -> None:
    assert agent_urls(public_url, Address("acme", "zaf")) == {
        "JSONRPC": "https://relay.example/t/acme/a2a/zaf/",
        "HTTP+JSON": "https://relay.example/t/acme/a2a/zaf",
    }


def test_a_base_path_has_no_slash_at_its_end() -> None:
    assert base_path(Address("acme", "zaf")) == "/t/acme/a2a/zaf"
