"""Tenants and keys in SQLite: all of them in memory, every change through the file."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from a2a_relay.core.audit import AuditFact
from a2a_relay.core.credential_index import MAX_LEGACY_USES, CredentialIndex, merged
from a2a_relay.core.keys import KeyRecord, KeySecret
from a2a_relay.core.tenants import LegacyUse, TenantRecord
from a2a_relay.errors import Reason, Refused, StoreError
from a2a_relay.stores.sqlite.audit import append
from a2a_relay.stores.sqlite.credential_rows import key_row, read_key, read_tenant, secret_rows, tenant_row
from a2a_relay.stores.sqlite.database import Database
from a2a_relay.stores.sqlite.queries import load_queries
from a2a_relay.stores.sqlite.writer import Statement

SQL = load_queries("credentials.sql")

GATHER_SECONDS = 5.0
"""What was used is written so long after the first use that is not written yet."""


class SqliteCredentials(CredentialIndex):
    """Reads what is in memory; a change is in the file, with its audit entry, before it is there.

    What another process has changed is read on the loop's thread when the file was seen to have a newer number.
    """

    def __init__(
        self,
        database: Database,
        now: Callable[[], float],
        call_soon: Callable[[Callable[[], None]], object],
        call_later: Callable[[float, Callable[[], None]], object],
    ) -> None:
        """`now` is wall time in seconds. `call_soon` runs what it is given on the loop's thread, from any other.

        Raises StoreError.
        """
        super().__init__()
        self._database = database
        self._now = now
        self._call_soon = call_soon
        self._call_later = call_later
        self._known = -1  # the number of the last change that is in memory
        self._is_stale = False  # set on the writer's thread when somebody else has written
        self._used: dict[str, float] = {}
        self._legacy_used: dict[tuple[str, str, str], LegacyUse] = {}
        self._is_gathering = False
        self._is_closed = False
        self._read_on()
        database.watch(self._distrust)
        # The writer sees what others commit from when it has begun; what they did before that is looked for once.
        database.write(Statement("SELECT 1", (), self._distrust, is_awaited=True))

    @property
    def generation(self) -> int:
        if self._is_stale:
            self._look_again()
        return self._generation

    async def put_tenant(self, record: TenantRecord, fact: AuditFact) -> None:
        change = await self._database.carry_out(partial(_put_tenant, record, (self._now(), fact)))
        self._settle(change, lambda: self.place_tenant(record))

    async def delete_tenant(self, name: str, fact: AuditFact) -> None:
        self._forget_uses(name)
        change = await self._database.carry_out(partial(_delete_tenant, name, (self._now(), fact)))
        self._settle(change, lambda: self.remove_tenant(name))

    async def put_key(self, record: KeyRecord, fact: AuditFact) -> None:
        change = await self._database.carry_out(partial(_put_key, record, (self._now(), fact)))
        self._settle(change, lambda: self.place_key(record))

    def note_use(self, key: str, now: float) -> None:
        if self.mark_use(key, now):
            self._used[key] = now
            self._gather()

    def note_legacy(self, tenant: str, identity: str, role: str, now: float) -> None:
        use = self.mark_legacy(tenant, identity, role, now)
        if use is not None:
            self._legacy_used[tenant, identity, role] = use
            self._gather()

    def flush(self) -> None:
        """Hand what was used to the writer."""
        self._is_gathering = False
        used, self._used = self._used, {}
        legacy, self._legacy_used = self._legacy_used, {}
        statements = []
        if used:
            rows = [(now, key) for key, now in used.items()]
            statements.append(Statement(SQL["note_use"], rows, is_many=True))
        if legacy:
            statements.append(Statement(SQL["note_legacy"], list(legacy.values()), is_many=True))
            statements.append(Statement(SQL["trim_legacy"], (MAX_LEGACY_USES,)))
        if statements:
            self._database.write_together(statements)

    def close(self) -> None:
        """Hand over what is left to be written; the database stays open."""
        self._is_closed = True
        self.flush()

    def _gather(self) -> None:
        if not self._is_gathering:
            self._is_gathering = True
            self._call_later(GATHER_SECONDS, self.flush)

    def _forget_uses(self, tenant: str) -> None:
        """What is still to be written of a tenant that goes must not come behind its removal."""
        self._legacy_used = {who: use for who, use in self._legacy_used.items() if use.tenant != tenant}

    # what is in memory

    def _settle(self, change: int, apply: Callable[[], None]) -> None:
        """A change of ours is in the file."""
        if change == self._known + 1:
            self._known = change
            apply()
            self.changed()
        elif change > self._known:  # somebody else has changed something in between
            self._look_again()

    def _distrust(self) -> None:
        """On the writer's thread: somebody else has written, and perhaps not here."""
        self._is_stale = True
        with suppress(RuntimeError):  # without a loop, whoever asks next looks
            self._call_soon(self._look_again)

    def _look_again(self) -> None:
        if self._is_closed:
            return
        before = self._known
        self._is_stale = False
        try:
            self._read_on()
        except StoreError:
            self._is_stale = True
            raise
        if self._known != before:
            self.changed()

    def _read_on(self) -> None:
        """Read what has changed, as of one moment; everything, when something was removed."""
        if self._known >= 0 and self._database.read(SQL["versions"])[0][0] == self._known:
            return
        with self._database.snapshot():
            changed, removed = self._database.read(SQL["versions"])[0]
            is_anew = removed > self._known
            if is_anew:
                self._known = -1
            tenants = self._database.read(SQL["tenants"], (self._known,))
            secrets = _by_key(self._database.read(SQL["secrets"], (self._known,)))
            keys = self._database.read(SQL["keys"], (self._known,))
            uses = self._database.read(SQL["legacy_uses"]) if is_anew else ()
        if is_anew:
            self.clear()
        self.place_legacy(LegacyUse(*row) for row in uses)
        for row in tenants:
            self.place_tenant(read_tenant(row))
        for row in keys:
            self.place_key(read_key(row, secrets[row[0]]))
        self._known = changed


_Dated = tuple[float, AuditFact]


def _put_tenant(record: TenantRecord, fact: _Dated, connection: sqlite3.Connection) -> int:
    change = _count_change(connection)
    connection.execute(SQL["put_tenant"], (*tenant_row(record), change))
    append(connection, (fact,))
    return change


def _delete_tenant(name: str, fact: _Dated, connection: sqlite3.Connection) -> int:
    change = _count_change(connection)
    connection.execute(SQL["note_removal"])
    for query in ("remove_keys", "remove_tenant", "remove_legacy_uses"):
        connection.execute(SQL[query], (name,))
    append(connection, (fact,))
    return change


def _put_key(record: KeyRecord, fact: _Dated, connection: sqlite3.Connection) -> int:
    if connection.execute(SQL["is_name_taken"], (record.tenant, record.name, record.id)).fetchone():
        raise Refused(Reason.NAME_TAKEN)
    row = connection.execute(SQL["key"], (record.id,)).fetchone()
    if row is not None:
        record = merged(read_key(row, ()), record)
        connection.execute(SQL["remove_key"], (record.id,))
    change = _count_change(connection)
    connection.execute(SQL["put_key"], (*key_row(record), change))
    connection.executemany(SQL["put_secret"], secret_rows(record))
    append(connection, (fact,))
    return change


def _count_change(connection: sqlite3.Connection) -> int:
    """The number of this change."""
    connection.execute(SQL["count_change"])
    found: int = connection.execute(SQL["versions"]).fetchone()[0]
    return found


def _by_key(rows: list[tuple[Any, ...]]) -> dict[str, list[KeySecret]]:
    """The secrets of each key, in their order."""
    found: dict[str, list[KeySecret]] = defaultdict(list)
    for key, *secret in rows:
        found[key].append(KeySecret(*secret))
    return found
