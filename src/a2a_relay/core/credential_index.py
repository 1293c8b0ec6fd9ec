"""Tenants and keys as a process knows them, found by whatever they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from a2a_relay.core.address import Address
from a2a_relay.core.keys import KeyRecord, KeySecret
from a2a_relay.core.tenants import LegacyUse, TenantRecord
from a2a_relay.errors import Reason, Refused

MINUTE = 60.0
MAX_LEGACY_USES = 10_000
"""Users of the shared secret that are remembered; the one that was met first goes first."""


class CredentialIndex:
    """The reading half of `ports.credentials.CredentialStore`, in dicts, and who is told of changes.

    Stores build on it: what they have changed, or found changed, they put here, and then say so with `changed`.
    """

    def __init__(self) -> None:
        self._tenants: dict[str, TenantRecord] = {}
        self._keys: dict[str, KeyRecord] = {}
        self._by_digest: dict[bytes, str] = {}
        self._of_tenant: dict[str, dict[str, str]] = {}
        """Ids by tenant and name."""
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
        keys = (self._keys[id] for id in self._of_tenant.get(tenant, {}).values())
        return sorted(keys, key=lambda key: (key.created_at, key.id))

    def keys_of_agent(self, address: Address) -> Sequence[KeyRecord]:
        return [self._keys[id] for id in self._of_agent.get(address, ())]

    def legacy_uses(self, tenant: str | None = None) -> Sequence[LegacyUse]:
        return [use for use in self._legacy.values() if tenant in (None, use.tenant)]

    # what stores put here

    def require_name(self, record: KeyRecord) -> None:
        """Refuse a name that another key of its tenant has. Raises NAME_TAKEN."""
        if self._of_tenant.get(record.tenant, {}).get(record.name, record.id) != record.id:
            raise Refused(Reason.NAME_TAKEN)

    def place_tenant(self, record: TenantRecord) -> None:
        self._tenants[record.name] = record

    def place_key(self, record: KeyRecord) -> None:
        """Add or replace a key, as `merged` makes it."""
        before = self._keys.get(record.id)
        if before is not None:
            record = merged(before, record)
            self._remove(before)
        self._keys[record.id] = record
        self._by_digest.update((secret.digest, record.id) for secret in record.secrets)
        self._of_tenant.setdefault(record.tenant, {})[record.name] = record.id
        if record.agent:
            self._of_agent.setdefault(Address(record.tenant, record.agent), []).append(record.id)

    def remove_tenant(self, name: str) -> None:
        """Forget a tenant, its keys, and who used its legacy tokens."""
        self._tenants.pop(name, None)
        for key in self.keys_of(name):
            self._remove(key)
        self._legacy = {who: use for who, use in self._legacy.items() if use.tenant != name}

    def clear(self) -> None:
        """Forget everything."""
        for known in (self._tenants, self._keys, self._by_digest, self._of_tenant, self._of_agent, self._legacy):
            known.clear()

    def place_legacy(self, uses: Iterable[LegacyUse]) -> None:
        self._legacy.update(((use.tenant, use.identity, use.role), use) for use in uses)

    def mark_use(self, key: str, now: float) -> bool:
        """Note that a key was used; False when that was known to the minute."""
        record = self._keys.get(key)
        if record is None or now - (record.last_used_at or 0) < MINUTE:
            return False
        self._keys[key] = record._replace(last_used_at=now)
        return True

    def mark_legacy(self, tenant: str, identity: str, role: str, now: float) -> LegacyUse | None:
        """Note that a token of the shared secret was used; None when that was known to the minute."""
        who = (tenant, identity, role)
        use = self._legacy.get(who)
        if use is not None and now - use.last_at < MINUTE:
            return None
        if use is None and len(self._legacy) >= MAX_LEGACY_USES:
            self._legacy.pop(next(iter(self._legacy)))
        use = self._legacy[who] = LegacyUse(tenant, identity, role, use.first_at if use else now, now)
        return use

    def changed(self) -> None:
        """Count a change, and tell of it."""
        self._generation += 1
        for watcher in self._watchers:
            watcher()

    def _remove(self, record: KeyRecord) -> None:
        del self._keys[record.id]
        for secret in record.secrets:
            self._by_digest.pop(secret.digest, None)
        names = self._of_tenant[record.tenant]
        names.pop(record.name, None)
        if not names:
            del self._of_tenant[record.tenant]
        if record.agent:
            address = Address(record.tenant, record.agent)
            self._of_agent[address].remove(record.id)
            if not self._of_agent[address]:
                del self._of_agent[address]


def merged(before: KeyRecord, record: KeyRecord) -> KeyRecord:
    """A key as it is after it was put again: what was revoked stays revoked, and what was used was used."""
    uses = [at for at in (before.last_used_at, record.last_used_at) if at is not None]
    revoked_at = before.revoked_at if before.revoked_at is not None else record.revoked_at
    return record._replace(revoked_at=revoked_at, last_used_at=max(uses, default=None))
