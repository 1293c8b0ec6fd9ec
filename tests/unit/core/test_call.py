"""What an agent is told beside the body."""

from __future__ import annotations

from a2a_relay.core.principal import Role
from a2a_relay.testing import make_call, make_principal


def test_the_sender_is_always_told() -> None:
    principal = make_principal("acme", Role.SENDER, "sam")
    assert make_call(principal=principal).meta() == {"sender": {"identity": "sam", "role": "sender", "tenant": "acme"}}


def test_version_extensions_headers_and_trace_are_told_where_there_are_any() -> None:
    headers = {"a2a-version": "1.0", "x-a2a-extensions": "https://x"}
    meta = make_call(version="1.0", service_headers=headers, traceparent="00-a-b-01").meta()
    assert meta["version"] == "1.0"
    assert meta["extensions"] == "https://x"
    assert meta["headers"] == headers
    assert meta["traceparent"] == "00-a-b-01"


def test_the_newer_name_of_the_extensions_counts() -> None:
    headers = {"x-a2a-extensions": "old", "a2a-extensions": "new"}
    assert make_call(service_headers=headers).meta()["extensions"] == "new"


def test_nothing_of_the_credential_is_told() -> None:
    principal = make_principal(identity="sam")
    assert set(make_call(principal=principal).meta()["sender"]) == {"identity", "role", "tenant"}  # type: ignore[call-overload]
