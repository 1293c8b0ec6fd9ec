"""Copies of a store: taken while a relay runs, and put back while none does."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from a2a_relay.core.letter import Entry, LetterEvent
from a2a_relay.core.mailbox_rules import lengthen
from a2a_relay.errors import StoreError
from a2a_relay.stores.sqlite.letter_rows import read_history, read_row, write_history
from a2a_relay.stores.sqlite.letters import SQL
from a2a_relay.stores.sqlite.opening import migrate, open_file
from a2a_relay.stores.sqlite.record import renew_epoch
from a2a_relay.stores.sqlite.side_file import Record, SideFile

_CHUNK = 1_000
"""Letters that are marked in one step, so that a large store needs little memory."""


def back_up(source: Path, target: Path, *, verify: bool = False) -> None:
    """Copy a store as of one moment, whoever has it open, into one file that its owner alone may read.

    `verify` reads the whole copy and its indexes. `target` is replaced at the end, whole, or is left as it was.
    Raises StoreError.
    """
    _require_file(source)
    if target.exists() and source.samefile(target):
        raise StoreError(f"{target} is the store itself")
    partial = _begin(target)
    try:
        _copy(source, partial)
        if verify:
            _verify(partial)
        _put_in_place(partial, target)
    finally:
        partial.unlink(missing_ok=True)


def restore(backup: Path, target: Path, now: Callable[[], float] = time.time) -> int:
    """Put a backup in the place of a store; how many letters wait in it. Raises StoreError.

    Refused while a relay runs on it. Every letter that waits is marked: it may have been answered since. Leases are
    void, and the store has a new epoch.
    """
    _require_file(backup)
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    side_file = SideFile.open(target)
    if side_file is None:
        raise StoreError(f"a relay is running on {target}: stop it before a backup is restored")
    partial = _begin(target)
    try:
        _copy(backup, partial)
        _verify(partial)
        waiting, record = _mark(partial, now())
        # A log that is left of the old file would be taken for the new one's.
        for suffix in ("-wal", "-shm"):
            target.with_name(target.name + suffix).unlink(missing_ok=True)
        _put_in_place(partial, target)
        side_file.write(record)
    except OSError as error:
        raise StoreError(f"cannot restore {target}: {error}") from error
    finally:
        side_file.close()
        for suffix in ("", "-wal", "-shm"):
            partial.with_name(partial.name + suffix).unlink(missing_ok=True)
    return waiting


def _require_file(path: Path) -> None:
    if not path.is_file():
        raise StoreError(f"there is no store {path}")


def _begin(target: Path) -> Path:
    """An empty file beside the target. Two backups to one target at once would write into each other's."""
    partial = target.with_name(f"{target.name}.{os.getpid()}.partial")
    try:
        os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    except OSError as error:
        raise StoreError(f"cannot write {partial}: {error}") from error
    return partial


def _copy(source: Path, partial: Path) -> None:
    """In one step: one that is done in several begins again whenever the relay writes. Nobody waits for it."""
    try:
        with closing(sqlite3.connect(source)) as original, closing(sqlite3.connect(partial)) as copy:
            original.backup(copy)
            copy.execute("PRAGMA journal_mode=DELETE")
    except sqlite3.Error as error:
        raise StoreError(f"cannot copy {source}: {error}") from error


def _verify(path: Path) -> None:
    try:
        with closing(sqlite3.connect(path)) as connection:
            wrong = [line for (line,) in connection.execute("PRAGMA integrity_check(10)") if line != "ok"]
    except sqlite3.Error as error:
        wrong = [str(error)]
    if wrong:
        raise StoreError(f"the copy is damaged: {'; '.join(wrong)}")


def _put_in_place(partial: Path, target: Path) -> None:
    try:
        _sync(partial)
        partial.replace(target)
        _sync(target.parent)
    except OSError as error:
        raise StoreError(f"cannot write {target}: {error}") from error


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _mark(path: Path, now: float) -> tuple[int, Record]:
    """Mark the letters that wait; how many, and what the side file is to say."""
    with closing(open_file(path)) as connection:
        migrate(connection, path)
        connection.execute("BEGIN IMMEDIATE")
        waiting = after = 0
        while rows := connection.execute(SQL["restorable"], (after, _CHUNK)).fetchall():
            for row in map(read_row, rows):
                history = lengthen(read_history(row.history), Entry(now, LetterEvent.RESTORED, row.attempt))
                connection.execute(SQL["restore_letter"], (write_history(history), row.number))
                after = row.number
            waiting += len(rows)
        connection.execute(SQL["restore_heads"])
        connection.execute(SQL["restore_counts"])
        epoch = renew_epoch(connection)
        connection.execute("COMMIT")
        connection.execute("PRAGMA journal_mode=DELETE")
        number = connection.execute(SQL["last_number"]).fetchone()[0]
    return waiting, Record(epoch, number, is_clean=True)
