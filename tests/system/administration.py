"""What an operator does to tenants and keys beside a running relay, on its store."""

from __future__ import annotations

import asyncio
import secrets
import time
from pathlib import Path

import httpx
from programs import TENANT, Relay

from a2a_relay.assembly.stores import open_administration
from a2a_relay.core.audit import AuditFact
from a2a_relay.core.keys import KeyRecord, KeySecret, digest_of, prefix_of, write_key
from a2a_relay.core.principal import Role
from a2a_relay.core.tenants import TenantRecord
from a2a_relay.settings import Settings

PATIENCE_SECONDS = 25.0


def store_url(path: Path) -> str:
    """A file as a relay's store."""
    return f"sqlite:///{path.as_posix().lstrip('/')}"


class Administration:
    """One store, opened as a guest."""

    def __init__(self, store: Path) -> None:
        self._stores = open_administration(Settings.default(store=store_url(store)))
        self._tenant = TenantRecord(TENANT, time.time())

    def close(self) -> None:
        self._stores.close()

    async def register(self, *, takes_legacy: bool = True) -> None:
        """Register the tenant, or change what it takes."""
        self._tenant = self._tenant._replace(takes_legacy=takes_legacy)
        await self._stores.credentials.put_tenant(self._tenant, AuditFact(TENANT, "store", "tenants.create", TENANT))

    async def make_key(self, role: Role, name: str, *, proof_key: bytes | None = None) -> str:
        """An agent's key, or a sender's."""
        text = write_key(role, secrets.token_bytes(32))
        secret = KeySecret(digest_of(text), prefix_of(text), time.time())
        agent = name if role is Role.AGENT else ""
        id = secrets.token_hex(8)
        record = KeyRecord(id, TENANT, name, role, time.time(), (secret,), agent=agent, proof_key=proof_key)
        await self._stores.credentials.put_key(record, AuditFact(TENANT, "store", "keys.create", id))
        return text


async def until_known(relay: Relay, key: str) -> None:
    """Until the relay has noticed that there is a key."""
    async with httpx.AsyncClient(trust_env=False, headers={"Authorization": f"Bearer {key}"}) as http:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while (await http.get(f"{relay.url}/t/{TENANT}/agents")).status_code == httpx.codes.UNAUTHORIZED:
                await asyncio.sleep(0.1)
