"""The audit log in SQLite: chained inside of the transaction that writes it, whoever else writes to the file."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

from a2a_relay.core.audit import FIRST_HASH, AuditFact, AuditRecord, chain
from a2a_relay.core.audit_check import ChainCheck
from a2a_relay.ports.audit import AuditCheck, AuditHead
from a2a_relay.stores.sqlite.database import Database
from a2a_relay.stores.sqlite.queries import load_queries
from a2a_relay.stores.sqlite.writer import Procedure

SQL = load_queries("audit.sql")

MAX_WAITING = 10_000
"""Entries that wait for a disk that takes none; of more than these only the number is kept."""
_CHUNK = 1_000
"""Entries that are read in one go, so that others have their turn between."""
_LAST = 2**63 - 1


def append(connection: sqlite3.Connection, facts: Iterable[tuple[float, AuditFact]]) -> None:
    """Write entries behind the last one, inside of a transaction that keeps other writers out."""
    last = connection.execute(SQL["last"]).fetchone()
    number, previous = last or (0, FIRST_HASH)
    rows = []
    for at, fact in facts:
        number += 1
        record = chain(number, at, AuditFact(*map(_writable, fact)), previous)
        previous = record.hash
        rows.append((record.number, record.at, *record.fact, record.previous, record.hash))
    connection.executemany(SQL["put"], rows)


class SqliteAudit:
    """Entries in one SQLite file. Each instant is that of `write`, and not of the commit."""

    def __init__(self, database: Database, now: Callable[[], float]) -> None:
        """`now` is wall time in seconds."""
        self._database = database
        self._now = now
        self._lock = threading.Lock()  # the writer's thread takes what waits
        self._waiting: list[tuple[float, AuditFact]] = []
        self._lost = 0
        self._last_known = self.head.number

    def write(self, fact: AuditFact) -> None:
        with self._lock:
            if len(self._waiting) >= MAX_WAITING:
                self._lost += 1
                return
            self._waiting.append((self._now(), fact))
            is_first = len(self._waiting) == 1
        if is_first:
            self._hand_over()

    @property
    def head(self) -> AuditHead:
        rows = self._database.read(SQL["last"])
        if not rows:
            return AuditHead(0, FIRST_HASH)
        self._last_known = rows[0][0]
        return AuditHead(*rows[0])

    async def page(self, tenant: str | None, before: int | None = None, limit: int = 50) -> Sequence[AuditRecord]:
        before = _LAST if before is None else before
        if tenant is None:
            return await self._database.look(partial(_select, SQL["page"], (before, limit)))
        return await self._database.look(partial(_select, SQL["page_of_tenant"], (tenant, before, limit)))

    async def behind(self, number: int, limit: int = 500) -> Sequence[AuditRecord]:
        return await self._database.look(partial(_select, SQL["behind"], (number, limit)))

    async def check(self) -> AuditCheck:
        last_known, check = max(self._last_known, self.head.number), ChainCheck()
        while await self._database.look(partial(_follow, check)):
            pass
        check.end(last_known)
        return AuditCheck(check.entries, AuditHead(check.number, check.hash), check.broken_at)

    async def purge(self, before: float) -> int:
        return await self._database.carry_out(partial(_purge, before))

    def flush(self) -> None:
        while self._waiting and self._database.flush():
            pass

    def _hand_over(self) -> None:
        """Have what waits written, together with whatever else is."""
        taken: list[tuple[float, AuditFact]] = []

        def run(connection: sqlite3.Connection) -> None:
            with self._lock:
                taken[:] = self._waiting
            append(connection, taken)

        self._database.write(Procedure(run, lambda: self._settle(len(taken))))

    def _settle(self, count: int) -> None:
        """On the writer's thread: the first of those that wait are on disk."""
        with self._lock:
            del self._waiting[:count]
            if self._lost:
                self._waiting.append((self._now(), AuditFact("", "relay", "audit.lost", times=self._lost)))
                self._lost = 0
            is_more = bool(self._waiting)
        if is_more:
            self._hand_over()


def _select(sql: str, parameters: Sequence[Any], connection: sqlite3.Connection) -> list[AuditRecord]:
    return [_read(row) for row in connection.execute(sql, parameters)]


def _read(row: Sequence[Any]) -> AuditRecord:
    number, at, *fact, previous, hash = row
    return AuditRecord(number, at, AuditFact(*fact), previous, hash)


def _follow(check: ChainCheck, connection: sqlite3.Connection) -> bool:
    """Check the next entries; whether there were any. What was removed by age meanwhile is not missed."""
    connection.execute("BEGIN")
    try:
        begins_at = connection.execute(SQL["begins_at"]).fetchone()[0]
        records = _select(SQL["behind"], (check.number, _CHUNK), connection)
    finally:
        connection.execute("COMMIT")
    check.follow(records, begins_at)
    return bool(records)


def _purge(before: float, connection: sqlite3.Connection) -> int:
    first = connection.execute(SQL["first_since"], (before,)).fetchone()[0]
    if first is None:
        return 0
    removed = connection.execute(SQL["remove"], (first,)).rowcount
    if removed:
        connection.execute(SQL["set_begin"], (str(first),))
    return removed


def _writable(value: Any) -> Any:
    """A text as a file can hold it: what is half a character stands there as its number."""
    return value if isinstance(value, int) else str(value).encode("utf-8", "backslashreplace").decode()
