"""The directory in SQLite: reads from the file, writes through the writer thread.

A write that is not on disk yet is answered from `_pending`, so that every read
sees every earlier write of this node.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import partial
from typing import Any

from a2a_relay.core.address import Address
from a2a_relay.ports.directory import AgentRecord
from a2a_relay.stores.sqlite.database import QUERIES, Database
from a2a_relay.stores.sqlite.writer import Statement


class SqliteDirectory:
    """Registered agents in one SQLite file."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()  # the writer's thread settles what it has committed
        self._pending: dict[Address, _Pending] = {}
        self._counts: dict[str, int] = dict(database.read(QUERIES["count_agents"]))
        self._are_counts_stale = False  # set on the writer's thread when somebody else has written
        database.watch(self._distrust_counts)

    def get(self, address: Address) -> AgentRecord | None:
        with self._lock:
            if address in self._pending:
                return self._pending[address].record
        rows = self._database.read(QUERIES["get_agent"], address)
        return _record(rows[0]) if rows else None

    def of_tenant(self, tenant: str) -> Sequence[AgentRecord]:
        with self._lock:
            pending = {address: item.record for address, item in self._pending.items() if address.tenant == tenant}
        rows = self._database.read(QUERIES["agents_of_tenant"], (tenant,))
        found = {record.address: record for record in map(_record, rows)}
        for address, record in pending.items():
            if record is None:
                found.pop(address, None)
            else:
                found[address] = record
        return [found[address] for address in sorted(found)]

    def count(self, tenant: str) -> int:
        if self._are_counts_stale:
            self._count_anew()
        return self._counts.get(tenant, 0)

    def put(self, record: AgentRecord) -> None:
        if self.get(record.address) is None:
            self._counts[record.address.tenant] = self.count(record.address.tenant) + 1
        self._write(record.address, record, QUERIES["put_agent"], _row(record))

    def forget(self, address: Address) -> bool:
        if self.get(address) is None:
            return False
        self._counts[address.tenant] = self.count(address.tenant) - 1
        self._write(address, None, QUERIES["forget_agent"], address)
        return True

    def close(self) -> None:
        """Close the database too; whoever shares it has closed before, and may close it again."""
        self._database.close()

    def _distrust_counts(self) -> None:
        self._are_counts_stale = True

    def _count_anew(self) -> None:
        """Count what is in the file, and what is on its way there, as of one moment."""
        self._are_counts_stale = False
        with self._lock, self._database.snapshot():
            counts: dict[str, int] = dict(self._database.read(QUERIES["count_agents"]))
            for address, pending in self._pending.items():
                is_there = bool(self._database.read(QUERIES["get_agent"], address))
                change = int(pending.record is not None) - int(is_there)
                counts[address.tenant] = counts.get(address.tenant, 0) + change
            self._counts = counts

    def _write(self, address: Address, record: AgentRecord | None, sql: str, parameters: Sequence[Any]) -> None:
        pending = _Pending(record)
        with self._lock:
            self._pending[address] = pending
        self._database.write(Statement(sql, parameters, partial(self._settle, address, pending)))

    def _settle(self, address: Address, pending: _Pending) -> None:
        with self._lock:
            if self._pending.get(address) is pending:
                del self._pending[address]


class _Pending:
    """One write that is not on disk yet, told apart from every other; None is a removal."""

    __slots__ = ("record",)

    def __init__(self, record: AgentRecord | None) -> None:
        self.record = record


def _row(record: AgentRecord) -> tuple[Any, ...]:
    return (
        record.address.tenant,
        record.address.agent,
        record.agent_card,
        record.dialect,
        record.registered_at,
        record.last_seen_at,
        int(record.serves_rest_v03),
        record.card_changed_at,
    )


def _record(row: tuple[Any, ...]) -> AgentRecord:
    tenant, agent, card, dialect, registered_at, last_seen_at, serves_rest_v03, card_changed_at = row
    return AgentRecord(
        address=Address(tenant, agent),
        agent_card=card,
        dialect=dialect,
        registered_at=registered_at,
        last_seen_at=last_seen_at,
        serves_rest_v03=bool(serves_rest_v03),
        card_changed_at=card_changed_at,
    )
