"""The programs that look for what should not be there find it."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from a2a_relay.core import keys
from a2a_relay.core.principal import Role

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, SCRIPTS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_key_of_a_relay_and_a_private_key_are_found_and_not_repeated() -> None:
    find = script("find_secrets").find_secrets
    key = keys.write_key(Role.SENDER, bytes(range(32)))
    assert find(f"one\ntoken: {key}\n") == ["line 2: a key of a relay"]
    assert find("-----BEGIN EC " + "PRIVATE KEY-----\n" + "A" * 64) == ["line 1: a private key"]
    assert find(key[:-1] + ("0" if key[-1] != "0" else "1")) == []
    assert find("-----BEGIN " + "PRIVATE KEY-----\n...") == []


def test_the_tree_holds_none() -> None:
    assert script("find_secrets").main() == 0


@pytest.mark.parametrize(
    ("exit_code", "said", "tolerant", "strict"),
    [
        (0, "No known vulnerabilities found", 0, 0),
        (1, "Found 1 known vulnerability in 1 package", 1, 1),
        (1, "Found 1 known vulnerability in 1 package; x: ConnectionError", 1, 1),
        (1, "requests.exceptions.ConnectionError: Max retries exceeded", 0, 1),
        (2, "usage: pip-audit", 2, 2),
    ],
)
def test_only_a_service_that_cannot_be_reached_is_forgiven(
    exit_code: int, said: str, tolerant: int, strict: int
) -> None:
    verdict = script("audit_packages").verdict
    assert verdict(exit_code, said, is_tolerant=True) == tolerant
    assert verdict(exit_code, said, is_tolerant=False) == strict
