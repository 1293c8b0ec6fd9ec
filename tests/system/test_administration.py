"""Administration as an operator does it: the first key beside the running relay, and then everything through it."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from programs import running_relay

from a2a_relay.cli import main

PATIENCE_SECONDS = 30.0


def test_the_first_key_is_made_beside_the_relay_and_the_rest_through_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(*arguments: str) -> Any:
        assert main([*arguments, "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    store = f"sqlite:///{tmp_path}/relay.db"
    with running_relay(tmp_path, store=store) as relay, httpx.Client(trust_env=False) as client:
        beside = ("--store", store, "--data-dir", str(tmp_path))
        monkeypatch.setenv("RELAY_TOKEN", run("keys", "create", "--role", "operator", "--name", "root", *beside)["key"])
        there = ("--relay", relay.url)
        end = time.monotonic() + PATIENCE_SECONDS
        while main(["tenants", "list", *there]) != 0 and time.monotonic() < end:
            time.sleep(0.05)
        capsys.readouterr()
        assert run("tenants", "create", "tck", *there)["state"] == "active"
        key = run("keys", "create", "--tenant", "tck", "--name", "p", "--role", "sender", "--expires", "90d", *there)
        directory = f"{relay.url}/t/tck/agents"
        headers = {"Authorization": f"Bearer {key['key']}"}
        assert client.get(directory, headers=headers).status_code == 200
        run("keys", "revoke", key["id"], "--reason", "lost", *there)
        assert client.get(directory, headers=headers).status_code == 401
        assert run("limits", "set", "calls_in_flight=9", "--tenant", "tck", *there) == {"calls_in_flight": 9.0}
        assert run("legacy", "off", "--tenant", "tck", *there)["takes_legacy"] is False
        assert run("issuers", "list", "--tenant", "tck", *there) == {"issuers": []}
        assert run("tenants", "delete", "tck", *there)["erased"]["keys"] == 1
        assert run("audit", "verify", *there)["broken_at"] is None
        assert main(["tenants", "show", "tck", *there]) == 1
        assert "NOT_FOUND" in capsys.readouterr().err
