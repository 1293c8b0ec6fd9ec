"""Where tenants and keys are kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from a2a_relay.core.address import Address
from a2a_relay.core.audit import AuditFact
from a2a_relay.core.keys import KeyRecord, KeySecret
from a2a_relay.core.tenants import LegacyUse, TenantRecord


class CredentialStore(Protocol):
    """Tenants and keys.

    Reads answer at once, from what this process knows. Changes are awaited until they are durable; each is written
    down in the audit log by the same step. Another process's change is known within a second.
    """

    @property
    def generation(self) -> int:
        """A number that changes with every change, whoever has made it: what was cached before is not good any more."""

    def watch(self, on_change: Callable[[], None]) -> None:
        """Tell of every change of the generation, on the loop's thread."""

    def tenant(self, name: str) -> TenantRecord | None: ...

    def tenants(self) -> Sequence[TenantRecord]:
        """All registered tenants, by name."""

    def key(self, id: str) -> KeyRecord | None: ...

    def find(self, digest: bytes) -> tuple[KeyRecord, KeySecret] | None:
        """The key that has a secret with this SHA-256, and that secret; whether either is still good is not asked."""

    def keys_of(self, tenant: str) -> Sequence[KeyRecord]:
        """All keys of a tenant (empty: the operators'), revoked ones too, by the time they were made."""

    def keys_of_agent(self, address: Address) -> Sequence[KeyRecord]:
        """The keys that attach as this agent, revoked ones too: where there is one, nothing else attaches."""

    def legacy_uses(self, tenant: str | None = None) -> Sequence[LegacyUse]:
        """Who has come with a token of the shared secret lately."""

    # changes

    async def put_tenant(self, record: TenantRecord, fact: AuditFact) -> None: ...

    async def delete_tenant(self, name: str, fact: AuditFact) -> None:
        """Forget a tenant, its keys, and whoever used its legacy tokens. What else it has is erased by others."""

    async def put_key(self, record: KeyRecord, fact: AuditFact) -> None:
        """Add or change a key. Raises Refused (NAME_TAKEN) for a name that another key of its tenant has."""

    # what is written when there is time

    def note_use(self, key: str, now: float) -> None:
        """A key was used; kept to the minute."""

    def note_legacy(self, tenant: str, identity: str, role: str, now: float) -> None:
        """A token of the shared secret was used; kept to the minute."""
