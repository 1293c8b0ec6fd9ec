"""The SQLite file itself: opened safely, migrated, written by one thread in groups."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from a2a_relay.errors import StoreError
from a2a_relay.stores.sqlite.opening import migrate, open_file
from a2a_relay.stores.sqlite.queries import in_few_steps, load_queries
from a2a_relay.stores.sqlite.record import AcceptedRecord
from a2a_relay.stores.sqlite.writer import Chores, Procedure, Share, Statement, Together, Work, Writer

_FLUSH_SECONDS = 10.0

QUERIES = load_queries("queries.sql")

P = TypeVar("P")
T = TypeVar("T")


def statements_of(name: str, rows: Sequence[Sequence[Any]]) -> Iterator[Statement]:
    """A named statement over `VALUES (?, ...)`, for many rows in few steps."""
    for sql, parameters in in_few_steps(QUERIES[name], rows):
        yield Statement(sql, parameters)


def _pass_by(_: str) -> None:
    """No point is waited for."""


class Database:
    """One file with one writer. Reads go through `reader`, on the thread that opened it.

    `on_trouble` hears, from other threads too, what an operator has to know: that the file cannot be written, that
    letters are missing, that it is damaged.
    """

    def __init__(
        self,
        path: Path,
        on_trouble: Callable[[str], None] | None = None,
        *,
        is_guest: bool = False,
        reach: Callable[[str], None] = _pass_by,
    ) -> None:
        """A guest is no relay: it leaves alone what a relay keeps beside the file, and does not look after it.

        `reach` is told, from the writer's thread, of the points that drills break off at.
        Raises StoreError.
        """
        self.path = path
        self._on_trouble = on_trouble
        self.reader = open_file(path)
        migrate(self.reader, path)
        self.record = None if is_guest else AcceptedRecord.open(path, self.reader, self._tell)
        self._watchers: list[Callable[[], None]] = []
        self._closing = threading.Event()
        self._lookers: ThreadPoolExecutor | None = None
        self._looker: sqlite3.Connection | None = None
        self._writer = Writer(partial(open_file, path), self._tell, Chores(self._record, self.tell_watchers, reach))

    @property
    def commits(self) -> int:
        """How many groups were committed."""
        return self._writer.commits

    def read(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """All rows of a query. Raises StoreError."""
        try:
            return self.reader.execute(sql, parameters).fetchall()
        except sqlite3.Error as error:
            raise StoreError(f"the store {self.path} cannot be read: {error}") from error

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Reads within see the file as of one moment."""
        self.read("BEGIN")
        try:
            yield
        finally:
            self.read("COMMIT")

    async def look(self, question: Callable[[sqlite3.Connection], T]) -> T:
        """Ask what may take a while, beside the loop. Raises StoreError."""
        self._require_open()
        if self._lookers is None:
            self._lookers = ThreadPoolExecutor(1, "sqlite-reader")
        try:
            return await asyncio.get_running_loop().run_in_executor(self._lookers, self._ask, question)
        except sqlite3.Error as error:
            raise StoreError(f"the store {self.path} cannot be read: {error}") from error

    def write(self, statement: Statement | Procedure) -> None:
        """Queue one write."""
        self._writer.queue((statement,))

    def write_together(self, statements: Sequence[Statement]) -> None:
        """Queue writes of one commit, at least one."""
        self._writer.queue(statements)

    async def carry_out(self, run: Callable[[sqlite3.Connection], T]) -> T:
        """Run something in a transaction, with whatever else is queued, and tell its result when that is on disk.

        It may be run more than once, and writes nothing before it refuses. What it raises of ours is raised here,
        and nothing that it has written is in the file then; StoreError when the store has failed.
        """
        self._require_open()
        work = Work(run)
        self._writer.queue((work,))
        return await work.future

    async def share(self, together: Together[P, T], part: P) -> T:
        """As `carry_out`, of something that is done for all who ask for it at the same time in one go.

        `together` gets the parts of those that stand side by side, and gives each its result or its error. It is
        called with one part at a time where it raises for many.
        """
        self._require_open()
        work = Share(together, part)
        self._writer.queue((work,))
        return await work.future

    def watch(self, on_foreign_commit: Callable[[], None]) -> None:
        """Tell when another connection, of this process or another, has written: within a second, and not of how much.

        It is called on the writer's thread.
        """
        self._watchers.append(on_foreign_commit)

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
        self._writer.close()
        if self._lookers is not None:
            if self._looker is not None:
                self._looker.interrupt()
            self._lookers.shutdown(cancel_futures=True)
            if self._looker is not None:
                self._looker.close()
        if self.record is not None:
            self.record.close(self.reader)
        self.reader.close()

    def _ask(self, question: Callable[[sqlite3.Connection], T]) -> T:
        if self._looker is None:
            self._looker = open_file(self.path)
        return question(self._looker)

    def _record(self, connection: sqlite3.Connection) -> None:
        if self.record is not None:
            self.record.note(connection)

    def tell_watchers(self) -> None:
        """Have everybody distrust what he knows of the file."""
        for watcher in self._watchers:
            with suppress(RuntimeError):  # a loop that is closed takes no more calls
                watcher()

    def _require_open(self) -> None:
        if self._closing.is_set():
            raise StoreError(f"the store {self.path} is closed")

    def _tell(self, what: str) -> None:
        if self._on_trouble is not None:
            self._on_trouble(f"the store {self.path} {what}")
