"""The erasure of what a tenant has left in a file, but for the hash-chained log of who did what."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from functools import partial

from a2a_relay.stores.sqlite.database import Database
from a2a_relay.stores.sqlite.queries import load_queries

SQL = load_queries("erasure.sql")

_CHUNK = 100
"""Letters or streams that one transaction removes, so that others have their turn between."""


async def erase(database: Database, tenant: str) -> Mapping[str, int]:
    """Remove a tenant's letters, streams, agents and owners of tasks: how many of each.

    What is removed is overwritten in the file, and the write-ahead log is emptied when no reader is in its way. What
    comes in meanwhile may be missed, so that its credentials are to be void before. Raises StoreError.
    """
    keys = await database.carry_out(partial(_run, "idempotency_keys", (tenant,)))
    letters = await _in_chunks(database, "letters", tenant)
    streams = await _in_chunks(database, "streams", tenant)
    rest = await database.carry_out(partial(_remove_rest, tenant))
    await database.look(_empty_log)
    database.tell_watchers()
    return {"letters": letters, "streams": streams, "idempotency_keys": keys, **rest}


async def _in_chunks(database: Database, query: str, tenant: str) -> int:
    removed = 0
    while count := await database.carry_out(partial(_run, query, (tenant, _CHUNK))):
        removed += count
    return removed


def _run(query: str, parameters: tuple[object, ...], connection: sqlite3.Connection) -> int:
    return connection.execute(SQL[query], parameters).rowcount


def _remove_rest(tenant: str, connection: sqlite3.Connection) -> dict[str, int]:
    names = ("mailboxes", "letter_acts", "agents", "task_owners")
    return {name: _run(name, (tenant,), connection) for name in names}


def _empty_log(connection: sqlite3.Connection) -> None:
    """What was removed still stands in the write-ahead log until that is begun anew."""
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
