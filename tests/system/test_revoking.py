"""A key that somebody revokes in the store, beside a running relay, ends what lives by it."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import httpx
from programs import running_relay
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from a2a_relay.assembly.stores import open_administration
from a2a_relay.core.audit import AuditFact
from a2a_relay.core.keys import KeyRecord, KeySecret, digest_of, prefix_of, write_key
from a2a_relay.core.principal import Role
from a2a_relay.core.tenants import TenantRecord
from a2a_relay.settings import Settings

PATIENCE_SECONDS = 20.0
FACT = AuditFact("acme", "store", "keys.put")


def make_key(role: Role, name: str, **settled: Any) -> tuple[str, KeyRecord]:
    text = write_key(role, digest_of(name))
    secret = KeySecret(digest_of(text), prefix_of(text), time.time())
    return text, KeyRecord(f"key_{name}", "acme", name, role, time.time(), (secret,))._replace(**settled)


async def attach(url: str, key: str) -> tuple[ClientConnection, str]:
    """A link that has said who it is, and what the relay says to that."""
    link = await connect(f"ws{url.removeprefix('http')}/agent", proxy=None)
    await link.send(json.dumps({"type": "auth", "token": key, "protocol": "a2a-relay/1"}))
    return link, json.loads(await asyncio.wait_for(link.recv(), PATIENCE_SECONDS))["type"]


async def close_code(link: ClientConnection) -> int | None:
    try:
        while True:
            await asyncio.wait_for(link.recv(), PATIENCE_SECONDS)
    except ConnectionClosed as error:
        return error.rcvd.code if error.rcvd else None


async def status(url: str, key: str) -> int:
    async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE_SECONDS) as client:
        answer = await client.get(f"{url}/t/acme/agents", headers={"Authorization": f"Bearer {key}"})
        return answer.status_code


async def until(url: str, key: str, expected: int) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while await status(url, key) != expected:
            await asyncio.sleep(0.05)


async def test_a_key_is_good_and_then_not_for_a_running_relay(tmp_path: Path) -> None:
    agent, agents = make_key(Role.AGENT, "zaf", agent="zaf")
    sender, senders = make_key(Role.SENDER, "proxy")
    store = f"sqlite:///{str(tmp_path).lstrip('/')}/relay.db"
    with running_relay(tmp_path, store=store) as relay:
        stores = open_administration(Settings.default(store=store))
        try:
            await stores.credentials.put_tenant(TenantRecord("acme", time.time()), FACT)
            for record in (agents, senders):
                await stores.credentials.put_key(record, FACT)
            await until(relay.url, sender, 200)
            link, said = await attach(relay.url, agent)
            assert said == "auth_ok"
            refused, said = await attach(relay.url, relay.token(role="agent", agent="zaf"))
            assert (said, await close_code(refused)) == ("error", 4001)

            for record in (agents, senders):
                await stores.credentials.put_key(record._replace(revoked_at=time.time()), FACT)
            assert await close_code(link) == 4001
            await until(relay.url, sender, 401)
        finally:
            stores.close()
