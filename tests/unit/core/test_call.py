"""What an agent is told beside the body."""

from __future__ import annotations

import json
from typing import Any

from a2a_relay.core.call import Meta
from a2a_relay.core.principal import Role
from a2a_relay.testing import make_principal


def told(meta: Meta) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(meta.json)
    return found


def test_the_sender_is_always_told() -> None:
    sender = {"identity": "sam", "role": "sender", "tenant": "acme", "via": []}
    assert told(Meta(make_principal("acme", Role.SENDER, "sam"))) == {"sender": sender}


def test_version_extensions_headers_and_trace_are_told_where_there_are_any() -> None:
    headers = {"a2a-version": "1.0", "x-a2a-extensions": "https://x"}
    meta = told(Meta(make_principal(), "1.0", headers, "00-a-b-01"))
    assert meta["version"] == "1.0"
    assert meta["extensions"] == "https://x"
    assert meta["headers"] == headers
    assert meta["traceparent"] == "00-a-b-01"


def test_the_newer_name_of_the_extensions_counts() -> None:
    headers = {"x-a2a-extensions": "old", "a2a-extensions": "new"}
    assert told(Meta(make_principal(), service_headers=headers))["extensions"] == "new"


def test_nothing_of_the_credential_is_told() -> None:
    assert set(told(Meta(make_principal(identity="sam")))["sender"]) == {"identity", "role", "tenant", "via"}


def test_it_is_written_once() -> None:
    meta = Meta(make_principal())
    assert meta.json is meta.json
