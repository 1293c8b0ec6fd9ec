"""The SQLite file itself: opened safely, migrated, written by one thread in groups."""

from __future__ import annotations

import os
import queue
import re
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from importlib import resources
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from a2a_relay.errors import StoreError

_BUSY_SECONDS = 5.0
_RETRY_SECONDS = 1.0
_GROUP = 512
"""Most statements in one commit."""
_GATHER_SECONDS = 0.02
"""How long a first write that nobody waits for waits for others: a commit is dear."""
_FLUSH_SECONDS = 10.0
_WIDTHS = (128, 64, 32, *range(16, 0, -1))
"""Rows in one statement: few widths, so that each is prepared once."""
_VALUES = re.compile(r"VALUES (\(\?(?:, \?)*\))")


class Statement(NamedTuple):
    """One write, and whom to tell when it is on disk (from the writer's thread).

    `is_many`: the parameters are those of many rows. `is_awaited`: somebody waits for it, so that it does not wait
    for company.
    """

    sql: str
    parameters: Sequence[Any]
    on_commit: Callable[[], None] | None = None
    is_many: bool = False
    is_awaited: bool = False


def load_queries() -> dict[str, str]:
    """The named statements of `queries.sql`."""
    text = resources.files(__package__).joinpath("queries.sql").read_text("utf-8")
    parts = re.split(r"^-- (\w+)\n", text, flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], (sql.strip() for sql in parts[1::2]), strict=True))


QUERIES = load_queries()


def statements_of(name: str, rows: Sequence[Sequence[Any]]) -> Iterator[Statement]:
    """A named statement over `VALUES (?, ...)`, for many rows in few steps.

    A step lets go of the interpreter and takes it again, and beside a busy node that takes its time.
    """
    start = 0
    while start < len(rows):
        count = next(width for width in _WIDTHS if width <= len(rows) - start)
        parameters = tuple(chain.from_iterable(rows[start : start + count]))
        yield Statement(_widened(name, count), parameters)
        start += count


@cache
def _widened(name: str, count: int) -> str:
    """A named statement with `count` rows of values instead of one."""
    return _VALUES.sub(lambda found: "VALUES " + ", ".join([found[1]] * count), QUERIES[name])


class Database:
    """One file with one writer. Reads go through `reader`, on the thread that opened it.

    A group that cannot be committed (the file is locked, the disk is full) is tried
    again until it can; `on_trouble` hears of it once, from the writer's thread. A
    statement that can never be carried out is left out, and told as well.
    """

    def __init__(self, path: Path, on_trouble: Callable[[str], None] | None = None) -> None:
        self.path = path
        self.reader = _open(path)
        _migrate(self.reader, path)
        self._on_trouble = on_trouble
        self._writes: queue.SimpleQueue[Sequence[Statement]] = queue.SimpleQueue()
        self._hurry = threading.Event()  # set before an awaited write is queued, so that none is waited past
        self._closing = threading.Event()
        self._writer = threading.Thread(target=self._write_groups, name="sqlite-writer", daemon=True)
        self._writer.start()

    def read(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """All rows of a query. Raises StoreError."""
        try:
            return self.reader.execute(sql, parameters).fetchall()
        except sqlite3.Error as error:
            raise StoreError(f"the store {self.path} cannot be read: {error}") from error

    def write(self, statement: Statement) -> None:
        """Queue one write."""
        self.write_together((statement,))

    def write_together(self, statements: Sequence[Statement]) -> None:
        """Queue writes of one commit, at least one."""
        if any(statement.is_awaited for statement in statements):
            self._hurry.set()
        self._writes.put(statements)

    def flush(self) -> bool:
        """Wait until every queued write is durable; False when that takes too long, or the store is closed."""
        if self._closing.is_set():
            return False
        is_durable = threading.Event()
        self.write(Statement("SELECT 1", (), is_durable.set, is_awaited=True))
        return is_durable.wait(_FLUSH_SECONDS)

    def close(self) -> None:
        """Make every queued write durable, and let go. A second time it does nothing."""
        if self._closing.is_set():
            return
        self._closing.set()
        self._hurry.set()
        self._writes.put(())
        self._writer.join()
        self.reader.close()

    def _write_groups(self) -> None:
        connection = _open(self.path)
        try:
            while group := self._next_group():
                self._commit_at_last(connection, group)
        finally:
            connection.close()

    def _next_group(self) -> list[Statement]:
        """All that is queued, up to a bound; empty when the last was taken."""
        group = list(self._writes.get())
        if group and not any(statement.is_awaited for statement in group):
            self._hurry.wait(_GATHER_SECONDS)
        self._hurry.clear()
        while group and not self._writes.empty():
            if len(group) >= _GROUP:
                self._hurry.set()
                break
            statements = self._writes.get()
            if not statements:
                self._writes.put(())
                break
            group += statements
        return group

    def _commit_at_last(self, connection: sqlite3.Connection, group: list[Statement]) -> None:
        """Commit one group, however often that takes; only a closing store gives up, after one more try."""
        is_told = is_last_try = False
        while (error := _commit(connection, group)) is not None:
            if not is_told:
                self._tell(f"cannot be written: {error}")
            is_told = True
            if not isinstance(error, sqlite3.OperationalError):
                group = self._without_the_impossible(connection, group)
                break
            if is_last_try:
                return
            is_last_try = self._closing.wait(_RETRY_SECONDS)
        for statement in group:
            if statement.on_commit is not None:
                statement.on_commit()

    def _without_the_impossible(self, connection: sqlite3.Connection, group: list[Statement]) -> list[Statement]:
        """Commit the statements of a group one by one; those that were committed."""
        done = []
        for statement in group:
            error = _commit(connection, [statement])
            while isinstance(error, sqlite3.OperationalError) and not self._closing.wait(_RETRY_SECONDS):
                error = _commit(connection, [statement])
            if error is None:
                done.append(statement)
            else:
                self._tell(f"cannot take a write, which is left out: {error}")
        return done

    def _tell(self, what: str) -> None:
        if self._on_trouble is not None:
            self._on_trouble(f"the store {self.path} {what}")


def _commit(connection: sqlite3.Connection, group: list[Statement]) -> Exception | None:
    """Commit one group whole, or not at all and say why."""
    try:
        connection.execute("BEGIN IMMEDIATE")
        for statement in group:
            run = connection.executemany if statement.is_many else connection.execute
            run(statement.sql, statement.parameters)
        connection.execute("COMMIT")
    except Exception as error:  # noqa: BLE001  whatever a value is, it must not end the only writer
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        return error
    return None


def _open(path: Path) -> sqlite3.Connection:
    """A connection with the durability that the relay promises. Raises StoreError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not path.exists():
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        connection = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA fullfsync=1")  # macOS: fsync alone does not reach the disk there
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute("PRAGMA temp_store=MEMORY")
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    except (sqlite3.Error, OSError) as error:
        raise StoreError(f"cannot open the store {path}: {error}") from error
    return connection


def _migrations() -> list[tuple[int, str]]:
    folder = resources.files(__package__).joinpath("migrations")
    found = [(int(item.name[:4]), item.read_text("utf-8")) for item in folder.iterdir() if item.name.endswith(".sql")]
    return sorted(found)


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    """Bring the file to this release's schema, one numbered step at a time."""
    migrations = _migrations()
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > migrations[-1][0]:
        raise StoreError(f"the store {path} was written by a newer release (schema {version})")
    for number, script in migrations:
        if number > version:
            try:
                connection.executescript(f"BEGIN IMMEDIATE;\n{script}\nPRAGMA user_version={number};\nCOMMIT;")
            except sqlite3.Error as error:
                raise StoreError(f"cannot bring the store {path} to schema {number}: {error}") from error
