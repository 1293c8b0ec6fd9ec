"""Tenants and keys in memory: gone with their process."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from a2a_relay.core.address import Address
from a2a_relay.core.audit import AuditFact
from a2a_relay.core.keys import KeyRecord, KeySecret
from a2a_relay.core.tenants import LegacyUse, TenantRecord
from a2a_relay.errors import Reason, Refused
from a2a_relay.ports.audit import AuditLog

_MINUTE = 60.0
_MAX_LEGACY_USES = 10_000


class MemoryCredentials:
    """Tenants and keys in dicts."""

    def __init__(self, audit: AuditLog) -> None:
        self._audit = audit
        self._tenants: dict[str, TenantRecord] = {}
        self._keys: dict[str, KeyRecord] = {}
        self._by_digest: dict[bytes, str] = {}
        self._of_agent: dict[Address, list[str]] = {}
        self._legacy: dict[tuple[str, str, str], LegacyUse] = {}
        self._watchers: list[Callable[[], None]] = []
        self._generation = 0

    @property
    def generation(self) -> int:
        return self._generation

    def watch(self, on_change: Callable[[], None]) -> None:
        self._watchers.append(on_change)

    def tenant(self, name: str) -> TenantRecord | None:
        return self._tenants.get(name)

    def tenants(self) -> Sequence[TenantRecord]:
        return [self._tenants[name] for name in sorted(self._tenants)]

    def key(self, id: str) -> KeyRecord | None:
        return self._keys.get(id)

    def find(self, digest: bytes) -> tuple[KeyRecord, KeySecret] | None:
        record = self._keys.get(self._by_digest.get(digest, ""))
        if record is None:
            return None
        return next(((record, secret) for secret in record.secrets if secret.digest == digest), None)

    def keys_of(self, tenant: str) -> Sequence[KeyRecord]:
        return sorted((key for key in self._keys.values() if key.tenant == tenant), key=lambda key: key.created_at)

    def keys_of_agent(self, address: Address) -> Sequence[KeyRecord]:
        return [self._keys[id] for id in self._of_agent.get(address, ())]

    def legacy_uses(self, tenant: str | None = None) -> Sequence[LegacyUse]:
        return [use for use in self._legacy.values() if tenant in (None, use.tenant)]

    async def put_tenant(self, record: TenantRecord, fact: AuditFact) -> None:
        self._tenants[record.name] = record
        self._changed(fact)

    async def delete_tenant(self, name: str, fact: AuditFact) -> None:
        self._tenants.pop(name, None)
        for key in self.keys_of(name):
            self._remove(key)
        self._legacy = {who: use for who, use in self._legacy.items() if use.tenant != name}
        self._changed(fact)

    async def put_key(self, record: KeyRecord, fact: AuditFact) -> None:
        if any(key.name == record.name and key.id != record.id for key in self.keys_of(record.tenant)):
            raise Refused(Reason.NAME_TAKEN)
        before = self._keys.get(record.id)
        if before is not None:
            self._remove(before)
        self._keys[record.id] = record
        self._by_digest |= {secret.digest: record.id for secret in record.secrets}
        if record.agent:
            self._of_agent.setdefault(Address(record.tenant, record.agent), []).append(record.id)
        self._changed(fact)

    def note_use(self, key: str, now: float) -> None:
        record = self._keys.get(key)
        if record is not None and now - (record.last_used_at or 0) >= _MINUTE:
            self._keys[key] = record._replace(last_used_at=now)

    def note_legacy(self, tenant: str, identity: str, role: str, now: float) -> None:
        who = (tenant, identity, role)
        use = self._legacy.get(who)
        if use is None and len(self._legacy) >= _MAX_LEGACY_USES:
            self._legacy.pop(next(iter(self._legacy)))
        if use is None or now - use.last_at >= _MINUTE:
            self._legacy[who] = LegacyUse(tenant, identity, role, use.first_at if use else now, now)

    def _remove(self, record: KeyRecord) -> None:
        self._keys.pop(record.id, None)
        for secret in record.secrets:
            self._by_digest.pop(secret.digest, None)
        if record.agent:
            self._of_agent[Address(record.tenant, record.agent)].remove(record.id)

    def _changed(self, fact: AuditFact) -> None:
        self._audit.write(fact)
        self._generation += 1
        for watcher in self._watchers:
            watcher()
