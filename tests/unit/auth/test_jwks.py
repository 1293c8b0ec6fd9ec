"""Sets of keys as issuers publish them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from a2a_relay.auth.jwks import read_key_set

KEY = {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", "kid": "one"}


def names(**said: Any) -> list[str]:
    """The names of the keys that are taken from a set of one."""
    found = read_key_set(json.dumps({"keys": [{**KEY, **said}]}).encode())
    return [key.id for key in found]


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"use": "sig"},
        {"alg": "EdDSA"},
        {"alg": "Ed25519"},
        {"key_ops": ["verify"]},
        {"key_ops": ["sign", "verify"]},
    ],
)
def test_a_key_that_is_for_this_is_taken_whether_it_says_so_or_not(said: dict[str, Any]) -> None:
    assert names(**said) == ["one"]


@pytest.mark.parametrize(
    "said",
    [
        {"use": "enc"},
        {"use": "SIG"},
        {"alg": "ES256"},
        {"alg": "HS256"},
        {"alg": "ed25519"},
        {"alg": None},
        {"key_ops": ["sign"]},
        {"key_ops": []},
        {"key_ops": "verify"},
    ],
)
def test_a_key_that_is_for_something_else_is_not(said: dict[str, Any]) -> None:
    assert names(**said) == []
