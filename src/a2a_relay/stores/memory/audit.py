"""The audit log in memory: gone with its process, and of no more than so many entries."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import dropwhile, islice

from a2a_relay.core.audit import FIRST_HASH, AuditFact, AuditRecord, chain
from a2a_relay.core.audit_check import ChainCheck
from a2a_relay.ports.audit import AuditCheck, AuditHead

MAX_ENTRIES = 10_000


class MemoryAudit:
    """Entries in a list; the oldest go when there are too many."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._records: list[AuditRecord] = []
        self._begins_at = 1

    def write(self, fact: AuditFact) -> None:
        number, previous = self.head
        self._records.append(chain(number + 1, self._now(), fact, previous))
        if len(self._records) > MAX_ENTRIES * 1.1:
            self._keep(self._records[-MAX_ENTRIES:])

    def flush(self) -> None:
        """Everything is there already."""

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

    async def behind(self, number: int, limit: int = 500) -> Sequence[AuditRecord]:
        start = max(number + 1 - self._begins_at, 0)
        return self._records[start : start + limit]

    async def check(self) -> AuditCheck:
        check = ChainCheck()
        check.follow(self._records, self._begins_at)
        return AuditCheck(check.entries, AuditHead(check.number, check.hash), check.broken_at)

    async def purge(self, before: float) -> int:
        old = len(self._records)
        kept = list(dropwhile(lambda record: record.at < before, self._records)) or self._records[-1:]
        self._keep(kept)
        return old - len(kept)

    def _keep(self, records: list[AuditRecord]) -> None:
        self._records = records
        if records:
            self._begins_at = records[0].number
