"""Tenants and keys in memory: gone with their process."""

from __future__ import annotations

from a2a_relay.core.audit import AuditFact
from a2a_relay.core.credential_index import CredentialIndex
from a2a_relay.core.keys import KeyRecord
from a2a_relay.core.tenants import TenantRecord
from a2a_relay.ports.audit import AuditLog


class MemoryCredentials(CredentialIndex):
    """The index is all there is."""

    def __init__(self, audit: AuditLog) -> None:
        super().__init__()
        self._audit = audit

    async def put_tenant(self, record: TenantRecord, fact: AuditFact) -> None:
        self.place_tenant(record)
        self._done(fact)

    async def delete_tenant(self, name: str, fact: AuditFact) -> None:
        self.remove_tenant(name)
        self._done(fact)

    async def put_key(self, record: KeyRecord, fact: AuditFact) -> None:
        self.require_name(record)
        self.place_key(record)
        self._done(fact)

    def note_use(self, key: str, now: float) -> None:
        self.mark_use(key, now)

    def note_legacy(self, tenant: str, identity: str, role: str, now: float) -> None:
        self.mark_legacy(tenant, identity, role, now)

    def _done(self, fact: AuditFact) -> None:
        self._audit.write(fact)
        self.changed()
