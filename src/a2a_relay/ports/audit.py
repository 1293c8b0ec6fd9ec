"""Where the audit log is kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from a2a_relay.core.audit import AuditFact, AuditRecord


class AuditHead(NamedTuple):
    """The end of the log: the number and the hash of its last entry."""

    number: int
    hash: str


class AuditCheck(NamedTuple):
    """What a check of the whole chain has found. `broken_at` is the first number that does not fit, if any."""

    entries: int
    head: AuditHead
    broken_at: int | None = None


class AuditLog(Protocol):
    """The hash-chained log of acts and refusals. Acts on tenants and keys are written with them, by their own store."""

    def write(self, fact: AuditFact) -> None:
        """Write an entry when there is time: within a second, in order. Never waits."""

    def flush(self) -> None:
        """Wait until everything that was written is in the log; for the end of a process, which it may hold up."""

    @property
    def head(self) -> AuditHead:
        """The last entry that is known to this process."""

    async def page(self, tenant: str | None, before: int | None = None, limit: int = 50) -> Sequence[AuditRecord]:
        """Entries, the newest first; of one tenant, or of all."""

    async def behind(self, number: int, limit: int = 500) -> Sequence[AuditRecord]:
        """Entries behind a number, the oldest first: what whoever has read up to there has not seen."""

    async def check(self) -> AuditCheck:
        """Read the whole chain."""

    async def purge(self, before: float) -> int:
        """Remove entries that were written before an instant; the chain begins anew at the first that is left."""
