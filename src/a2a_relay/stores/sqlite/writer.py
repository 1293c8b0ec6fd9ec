"""The one thread that writes to a file, in groups: a commit is dear, and many share it."""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any, Generic, NamedTuple, TypeVar

from a2a_relay.errors import RelayError, StoreError

RETRY_SECONDS = 1.0
GROUP = 512
"""Most statements and pieces of work in one commit, but for those that are queued together."""
GATHER_SECONDS = 0.02
"""How long a first write that nobody waits for waits for others: a commit is dear."""
WATCH_SECONDS = 0.5
"""How often it looks whether somebody else has written to the file."""
RECORD_IDLE_SECONDS = 0.01
RECORD_SECONDS = 0.1
"""The number of the last letter is recorded when nothing is to be written for a moment, and at least so often."""

P = TypeVar("P")
T = TypeVar("T")


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


class Procedure(NamedTuple):
    """As a statement, in more than one step: run in the transaction, and run again until it is committed."""

    run: Callable[[sqlite3.Connection], object]
    on_commit: Callable[[], None] | None = None
    is_awaited: bool = False


class Work(Generic[T]):
    """Something to do inside of a group's transaction, and the future that learns its result after the commit.

    It may be run more than once: a group that was rolled back is begun anew without its culprit.
    """

    __slots__ = ("error", "future", "loop", "result", "run")

    is_awaited = True

    def __init__(self, run: Callable[[sqlite3.Connection], T]) -> None:
        """On the thread of the loop whose caller is to be told."""
        self.run = run
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[T] = self.loop.create_future()
        self.result: T | None = None
        self.error: Exception | None = None

    def settle(self) -> None:
        """On the loop's thread; whoever waited may be gone."""
        if self.future.done():
            return
        if self.error is not None:
            self.future.set_exception(self.error)
        else:
            self.future.set_result(self.result)  # type: ignore[arg-type]  # T may be None itself


Together = Callable[[sqlite3.Connection, Sequence[P]], Sequence[T | RelayError]]
"""Does many parts of one kind of work at once: each one's result, or the error that is its own."""


class Share(Work[T]):
    """Work that is done together with what stands beside it in its group, when that is of the same kind.

    What fails as a whole is begun anew, each part alone, so that it is known whose error it is.
    """

    __slots__ = ("is_alone", "part", "together")

    def __init__(self, together: Together[P, T], part: P) -> None:
        """On the thread of the loop whose caller is to be told."""
        super().__init__(self._run_alone)
        self.together: Together[Any, T] = together
        self.part = part
        self.is_alone = False

    def joins(self, other: Item) -> bool:
        """Whether both can be done at once."""
        return isinstance(other, Share) and self.together == other.together and not self.is_alone and not other.is_alone

    def _run_alone(self, connection: sqlite3.Connection) -> T:
        (outcome,) = self.together(connection, (self.part,))
        if isinstance(outcome, RelayError):
            raise outcome
        return outcome


Unawaited = Statement | Procedure
Item = Unawaited | Work[Any]


class Chores(NamedTuple):
    """What the writer does beside writing, on its own connection and thread.

    `record` takes note of how far the file has come, after callers were told. `on_foreign_commit` hears that another
    connection has written. `reach` is told, around every commit, of the points that drills break off at.
    """

    record: Callable[[sqlite3.Connection], None]
    on_foreign_commit: Callable[[], None]
    reach: Callable[[str], None]


class Writer:
    """Writes what is queued, in order, until it is closed.

    A group that cannot be committed (the file is locked, the disk is full) leaves nothing in the file: its work fails
    at once, with StoreError, and its statements and procedures are tried again until they can be committed; `tell`
    hears of it once. One of these that can never be carried out is left out, and told as well.
    """

    def __init__(self, open_connection: Callable[[], sqlite3.Connection], tell: Callable[[str], None], chores: Chores):
        self.commits = 0
        self._open_connection = open_connection
        self._tell = tell
        self._chores = chores
        self._queue: queue.SimpleQueue[Sequence[Item]] = queue.SimpleQueue()
        self._hurry = threading.Event()  # set before an awaited write is queued, so that none is waited past
        self._unsettled: list[Unawaited] = []  # could not be committed yet
        self._retry_at = 0.0
        self._unrecorded_since: float | None = None
        self._watched_at = 0.0
        self._data_version = 0
        self._thread = threading.Thread(target=self._run, name="sqlite-writer", daemon=True)
        self._thread.start()

    def queue(self, items: Sequence[Item]) -> None:
        """Queue what is to be in one commit, at least one."""
        if any(item.is_awaited for item in items):
            self._hurry.set()
        self._queue.put(items)

    def close(self) -> None:
        """Write what is queued, with one try more for what could not be committed."""
        self._hurry.set()
        self._queue.put(())
        self._thread.join()

    def _run(self) -> None:
        connection = self._open_connection()
        try:
            self._data_version = _data_version(connection)
            is_last = False
            while not is_last:
                group, is_last = self._next_group()
                if group or self._unsettled:
                    self._write(connection, group, is_last=is_last)
                self._do_chores(connection, is_idle=not group or is_last)
            if self._unsettled:
                self._write(connection, [], is_last=True)
        finally:
            connection.close()

    # what comes next

    def _next_group(self) -> tuple[list[Item], bool]:
        """What is queued, up to a bound, perhaps nothing; and whether that was the last."""
        try:
            items = self._queue.get(timeout=self._patience())
        except queue.Empty:
            self._hurry.clear()
            return [], False
        group = list(items)
        if group and not any(item.is_awaited for item in group):
            self._hurry.wait(GATHER_SECONDS)
        self._hurry.clear()
        while items and not self._queue.empty():
            if len(group) >= GROUP:
                self._hurry.set()
                break
            items = self._queue.get()
            group += items
        return group, not items

    def _patience(self) -> float:
        """How long nothing may come before there is something else to do."""
        patience = WATCH_SECONDS
        if self._unrecorded_since is not None:
            patience = RECORD_IDLE_SECONDS
        if self._unsettled:
            patience = min(patience, max(self._retry_at - time.monotonic(), 0.0))
        return patience

    def _do_chores(self, connection: sqlite3.Connection, *, is_idle: bool) -> None:
        now = time.monotonic()
        since = self._unrecorded_since
        if since is not None and (is_idle or now - since >= RECORD_SECONDS):
            self._unrecorded_since = None
            self._chores.record(connection)
        if now - self._watched_at >= WATCH_SECONDS:
            self._watched_at = now
            with suppress(sqlite3.Error):
                version = _data_version(connection)
                if version != self._data_version:
                    self._data_version = version
                    self._unrecorded_since = now
                    self._chores.on_foreign_commit()

    # writing

    def _write(self, connection: sqlite3.Connection, group: list[Item], *, is_last: bool) -> None:
        """Commit a group and what is unsettled, and tell; or take care that nothing is lost but time."""
        works = [item for item in group if isinstance(item, Work)]
        if self._unsettled and not works and not is_last and time.monotonic() < self._retry_at:
            self._unsettled += (item for item in group if not isinstance(item, Work))
            return
        items: list[Item] = [*self._unsettled, *group]
        error = self._commit(connection, items)
        if error is not None and not isinstance(error, sqlite3.OperationalError):
            items, error = self._commit_one_by_one(connection, items)
        statements = [item for item in items if not isinstance(item, Work)]
        if error is None:
            self._unsettled = []
            for statement in statements:
                if statement.on_commit is not None:
                    statement.on_commit()
        else:
            if not self._unsettled:
                self._tell(f"cannot be written: {error}")
            self._unsettled = statements
            self._retry_at = time.monotonic() + RETRY_SECONDS
        _settle(works)

    def _commit(self, connection: sqlite3.Connection, items: Sequence[Item]) -> Exception | None:
        """Commit all of it, or nothing and say why. Work that has failed by itself is left out, and has its error."""
        for item in items:
            if isinstance(item, Work):
                item.error = None
        try:
            connection.execute("BEGIN IMMEDIATE")
            while not _run_all(connection, items):
                connection.execute("ROLLBACK")
                connection.execute("BEGIN IMMEDIATE")
            self._chores.reach("commit.before")
            connection.execute("COMMIT")
            self._chores.reach("commit.after")
        except Exception as error:  # noqa: BLE001  whatever a value is, it must not end the only writer
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            for item in items:
                if isinstance(item, Work):
                    item.error = StoreError(f"the store cannot be written: {error}")
            return error
        self.commits += 1
        if self._unrecorded_since is None and any(isinstance(item, Work) for item in items):
            self._unrecorded_since = time.monotonic()
        return None

    def _commit_one_by_one(
        self, connection: sqlite3.Connection, items: Sequence[Item]
    ) -> tuple[list[Item], Exception | None]:
        """Leave out the statements that can never be carried out.

        What is committed now, without an error; or what is still to be tried, with it.
        """
        done: list[Item] = []
        for at, item in enumerate(items):
            error = self._commit(connection, [item])
            if error is None:
                done.append(item)
            elif isinstance(error, sqlite3.OperationalError) and not isinstance(item, Work):
                for statement in done:
                    if not isinstance(statement, Work) and statement.on_commit is not None:
                        statement.on_commit()
                _fail(items[at:], error)
                return list(items[at:]), error
            elif not isinstance(item, Work):
                self._tell(f"cannot take a write, which is left out: {error}")
        return done, None


def _run_all(connection: sqlite3.Connection, items: Sequence[Item]) -> bool:
    """Run everything inside of a transaction; False when it is spoilt by work that has failed after it had written.

    That work has its error then, and is left out the next time; or, if it was run together, is run alone.
    """
    for run in _side_by_side(items):
        item = run[0]
        if isinstance(item, Statement):
            execute = connection.executemany if item.is_many else connection.execute
            execute(item.sql, item.parameters)
        elif isinstance(item, Procedure):
            item.run(connection)
        elif len(run) == 1:
            if not _run_alone(connection, item):
                return False
        elif not _run_together(connection, [share for share in run if isinstance(share, Share)]):
            return False
    return True


def _side_by_side(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    """What is to be run, in its order: alone, or several shares of the same work."""
    run: list[Item] = []
    for item in items:
        if isinstance(item, Work) and item.error is not None:
            continue
        if run and not (isinstance(item, Share) and item.joins(run[0])):
            yield run
            run = []
        run.append(item)
    if run:
        yield run


def _run_alone(connection: sqlite3.Connection, work: Work[Any]) -> bool:
    changes = connection.total_changes
    try:
        work.result = work.run(connection)
    except sqlite3.OperationalError:
        raise
    except Exception as error:  # noqa: BLE001  it is its caller's
        work.error = error if isinstance(error, RelayError) else StoreError(f"the store has failed: {error!r}")
        return connection.total_changes == changes
    return True


def _run_together(connection: sqlite3.Connection, shares: Sequence[Share[Any]]) -> bool:
    try:
        outcomes = shares[0].together(connection, [share.part for share in shares])
    except sqlite3.OperationalError:
        raise
    except Exception:  # noqa: BLE001  alone it is met again, by the one that it belongs to
        for share in shares:
            share.is_alone = True
        return False
    for share, outcome in zip(shares, outcomes, strict=True):
        if isinstance(outcome, RelayError):
            share.error = outcome
        else:
            share.result = outcome
    return True


def _fail(items: Sequence[Item], error: Exception) -> None:
    for item in items:
        if isinstance(item, Work):
            item.error = StoreError(f"the store cannot be written: {error}")


def _settle(works: Sequence[Work[Any]]) -> None:
    """Tell everybody who waits, with one hop to each loop. A loop that is closed has nobody left who waits."""
    loops = {work.loop for work in works}
    for loop in loops:
        of_loop = [work for work in works if work.loop is loop]

        def settle(of_loop: Sequence[Work[Any]] = of_loop) -> None:
            for work in of_loop:
                work.settle()

        with suppress(RuntimeError):
            loop.call_soon_threadsafe(settle)


def _data_version(connection: sqlite3.Connection) -> int:
    """Changes when another connection has committed, and only then."""
    found: int = connection.execute("PRAGMA data_version").fetchone()[0]
    return found
