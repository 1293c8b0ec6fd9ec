"""`relay keys` and `relay limits` on a store, without a relay."""

from __future__ import annotations

import json
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from a2a_relay.assembly.stores import open_administration
from a2a_relay.cli import main
from a2a_relay.settings import Settings


class Store:
    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self.url = f"sqlite:///{folder}/relay.db"
        self._capsys = capsys
        stores = open_administration(Settings.default(store=self.url, data_dir=folder))
        stores.close()

    def code(self, *arguments: str) -> int:
        return main([*arguments, "--store", self.url, "--data-dir", str(self.folder), "--json"])

    def run(self, *arguments: str) -> Any:
        assert self.code(*arguments) == 0
        return json.loads(self._capsys.readouterr().out)


@pytest.fixture
def store(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Store:
    return Store(tmp_path, capsys)


AGENT = ("keys", "create", "--tenant", "tck", "--name", "zaf", "--role", "agent", "--agent", "zaf")


def test_a_key_can_ask_for_the_proof_of_another(store: Store, tmp_path: Path) -> None:
    public = Ed25519PrivateKey.from_private_bytes(bytes(32)).public_key()
    file = tmp_path / "proof.pem"
    file.write_bytes(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    made = store.run(*AGENT, "--proof-key", str(file))
    assert made["needs_proof"] is True
    assert b64encode(public.public_bytes_raw()).decode() not in json.dumps(made)
    assert store.run("keys", "show", made["id"])["needs_proof"] is True


def test_no_key_is_made_for_the_proof_of_something_else(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "proof.pem"
    private = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    other = X25519PrivateKey.generate().public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    for content in (private, other, b"nothing"):
        file.write_bytes(content)
        assert store.code(*AGENT, "--proof-key", str(file)) == 2
    assert store.code(*AGENT, "--proof-key", str(tmp_path / "missing.pem")) == 2
    assert store.code("keys", "list", "--tenant", "tck") == 1


def test_limits_of_one_key_are_set_and_taken_away(store: Store) -> None:
    id = store.run(*AGENT)["id"]
    assert store.run("limits", "set", "calls_per_second=5", "calls_burst=9", "--key", id) == {
        "calls_per_second": 5.0,
        "calls_burst": 9.0,
    }
    assert store.run("limits", "set", "calls_burst=", "--key", id) == {"calls_per_second": 5.0}
    assert store.run("limits", "show", "--key", id) == {"calls_per_second": 5.0}
    assert store.run("limits", "show", "--tenant", "tck") == {}
