"""The audit log in memory: gone with its process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice

from a2a_relay.core.audit import FIRST_HASH, AuditFact, AuditRecord, chain, is_chained
from a2a_relay.ports.audit import AuditCheck, AuditHead


class MemoryAudit:
    """Entries in a list."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._records: list[AuditRecord] = []

    def write(self, fact: AuditFact) -> None:
        number, previous = self.head
        self._records.append(chain(number + 1, self._now(), fact, previous))

    @property
    def head(self) -> AuditHead:
        if not self._records:
            return AuditHead(0, FIRST_HASH)
        last = self._records[-1]
        return AuditHead(last.number, last.hash)

    async def page(self, tenant: str | None, before: int | None = None, limit: int = 50) -> Sequence[AuditRecord]:
        meant = (
            record
            for record in reversed(self._records)
            if tenant in (None, record.fact.tenant) and (before is None or record.number < before)
        )
        return list(islice(meant, limit))

    async def check(self) -> AuditCheck:
        previous: AuditRecord | None = None
        for record in self._records:
            follows = previous is None or (record.previous, record.number) == (previous.hash, previous.number + 1)
            if not follows or not is_chained(record):
                return AuditCheck(len(self._records), self.head, record.number)
            previous = record
        return AuditCheck(len(self._records), self.head)

    async def purge(self, before: float) -> int:
        kept = [record for record in self._records[:-1] if record.at >= before] + self._records[-1:]
        removed = len(self._records) - len(kept)
        self._records = kept
        return removed
