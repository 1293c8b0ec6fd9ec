"""The audit log of a running relay: who was refused and what was done beside it, shipped, published and verifiable."""

from __future__ import annotations

import asyncio
import json
import signal
from pathlib import Path

import httpx
from programs import Relay, running_relay
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from a2a_relay.assembly.stores import open_administration
from a2a_relay.core.audit import FIRST_HASH, AuditFact, AuditRecord
from a2a_relay.core.audit_check import ChainCheck
from a2a_relay.core.tenants import TenantRecord
from a2a_relay.settings import Settings

PATIENCE_SECONDS = 30.0
SEND = {"jsonrpc": "2.0", "id": 1, "method": "SendMessage", "params": {"message": {"messageId": "m"}}}
WRONG = "a-canary-that-is-no-token"


def shipped(file: Path) -> list[AuditRecord]:
    records = []
    for line in file.read_text().splitlines() if file.exists() else ():
        entry = json.loads(line)
        fact = AuditFact(**{name: entry[name] for name in AuditFact._fields})
        records.append(AuditRecord(entry["number"], entry["at"], fact, entry["previous"], entry["hash"]))
    return records


def be_refused(relay: Relay) -> None:
    """Ask with no token that is good, by the plain way, the fast one, and as an agent; and as a foreign tenant."""
    wrong = {"Authorization": f"Bearer {WRONG}"}
    with httpx.Client(trust_env=False) as client:
        for _ in range(3):
            assert client.post(relay.base("zaf"), json=SEND, headers=wrong).status_code == 401
        foreign = {"Authorization": f"Bearer {relay.token(tenant='other')}"}
        assert client.get(f"{relay.url}/t/acme/agents", headers=foreign).status_code == 403
    asyncio.run(be_refused_as_an_agent(relay))


async def be_refused_as_an_agent(relay: Relay) -> None:
    async with connect(f"ws{relay.url.removeprefix('http')}/agent", proxy=None) as link:
        await link.send(json.dumps({"type": "auth", "token": WRONG, "protocol": "a2a-relay/1"}))
        try:
            while True:
                await asyncio.wait_for(link.recv(), PATIENCE_SECONDS)
        except ConnectionClosed:
            return


async def administer_beside(store: str, file: Path) -> None:
    """Register a tenant in the file while the relay runs, and wait until the relay has shipped that."""
    beside = open_administration(Settings.default(store=store))
    await beside.credentials.put_tenant(TenantRecord("acme", 1.0), AuditFact("acme", "store", "tenants.create"))
    beside.close()
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not shipped(file):
            await asyncio.sleep(0.05)


def test_tells_who_was_refused_and_what_was_done_beside_the_relay(tmp_path: Path) -> None:
    store, file = f"sqlite:///{tmp_path}/relay.db", tmp_path / "out" / "audit.jsonl"
    with running_relay(tmp_path, "--audit-ship", str(file), store=store) as relay:
        asyncio.run(administer_beside(store, file))
        be_refused(relay)
        process = relay.program.process
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE_SECONDS)
        output = relay.program.output()
    records = shipped(file)
    assert records[0].fact == AuditFact("acme", "store", "tenants.create")
    check = ChainCheck()
    check.follow(records, 1)
    assert (check.broken_at, records[0].previous) == (None, FIRST_HASH)
    refused = {(each.fact.target, each.fact.outcome): each.fact for each in records[1:]}
    assert refused["rpc zaf", "UNAUTHENTICATED"].times == 3
    assert refused["attach", "UNAUTHENTICATED"].peer == "127.0.0.1"
    assert any(outcome == "TENANT_MISMATCH" for _, outcome in refused)
    assert records[-1].hash in output
    for text in (file.read_text(), output):
        assert WRONG not in text
        assert "Traceback" not in text
