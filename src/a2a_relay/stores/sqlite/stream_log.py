"""Windows of streams in SQLite: read from memory, written through the writer thread in groups.

Events are in memory as long as they are in the window, as in any other; the file has
them for the process after this one. A group gathers for a moment; while it is on its
way to the disk, what all windows take gathers for the next, so that a slow disk makes
groups larger and never the node slower. Everything here but `_tell` runs on the node's thread.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any
from weakref import WeakValueDictionary

from a2a_relay.core.address import Address
from a2a_relay.core.limits import EVENT_OVERHEAD_BYTES
from a2a_relay.core.stream import Event, ReplayWindow, StreamHead
from a2a_relay.ports.stream_log import StoredStream
from a2a_relay.stores.sqlite.database import QUERIES, Database, statements_of
from a2a_relay.stores.sqlite.segments import join_bodies, last_run
from a2a_relay.stores.sqlite.writer import Statement

GATHER_SECONDS = 0.005
"""How long a group gathers: a commit is dear, and readers have their events before it."""


class SqliteStreamLog:
    """Windows that survive the process, in a file that others may use as well."""

    is_durable = True

    def __init__(
        self,
        database: Database,
        call_soon: Callable[[Callable[[], None]], object],
        call_later: Callable[[float, Callable[[], None]], object] | None = None,
    ) -> None:
        """`call_soon` is called from the writer's thread and runs what it is given on the node's.

        `call_later` runs it after so many seconds; without it a group does not gather. The database is not closed
        with the log, and outlives it.
        """
        self._database = database
        self._call_soon = call_soon
        self._call_later = call_later
        self._windows: WeakValueDictionary[str, SqliteWindow] = WeakValueDictionary()
        self._waiting: list[SqliteWindow] = []
        self._drops: list[str] = []
        self._unsettled_drops: set[str] = set()
        self._is_writing = False
        self._is_closed = False

    def open(self, head: StreamHead, on_commit: Callable[[], None]) -> SqliteWindow:
        window = SqliteWindow(self, head, on_commit)
        self._windows[head.id] = window
        window.wait()
        return window

    def find(self, id: str, on_commit: Callable[[], None]) -> StoredStream | None:
        """A stream that an earlier process has left, from its last contiguous run of events on. Raises StoreError."""
        rows = [] if self._is_taken(id) else self._database.read(QUERIES["get_stream"], (id,))
        if not rows:
            return None
        head, is_over, failure = _stored(rows[0])
        last, bodies = last_run(self._database.read(QUERIES["segments_of_stream"], (id,)))
        window = SqliteWindow(self, head, on_commit, last, bodies, is_stored=True)
        window.is_end_committed = is_over
        self._windows[id] = window
        return StoredStream(head, window, is_over, failure)

    def find_exchanges(self, address: Address, exchange_ids: Sequence[str]) -> dict[str, str]:
        """Of calls of an agent: the ids of the streams that an earlier process has left. Raises StoreError."""
        found: dict[str, str] = {}
        for query in statements_of("streams_of_exchanges", [(exchange_id,) for exchange_id in exchange_ids]):
            for exchange_id, id, *of in self._database.read(query.sql, query.parameters):
                window = self._windows.get(id)
                was_left = window is None or window.was_left
                if was_left and id not in self._unsettled_drops and Address(*of) == address:
                    found[exchange_id] = id
        return found

    def purge(self, opened_before: float) -> int:
        """Drop what was opened before this wall time and has no window here; how many streams. Raises StoreError."""
        rows = self._database.read(QUERIES["streams_opened_before"], (opened_before,))
        ids = [id for (id,) in rows if not self._is_taken(id)]
        if ids:
            self._unsettled_drops.update(ids)
            self._database.write_together(_many("drop_stream", [(id,) for id in ids]))
        return len(ids)

    def close(self) -> None:
        """Wait until everything that was appended is on disk; the database stays open."""
        self._is_closed = True
        self._write()
        self._database.flush()

    def wait(self, window: SqliteWindow) -> None:
        """The next group takes what this window has by then."""
        if not self._is_closed:
            self._waiting.append(window)
            self._gather()

    def drop(self, ids: Sequence[str]) -> None:
        """The next group removes these streams."""
        if not self._is_closed:
            self._drops += ids
            self._unsettled_drops.update(ids)
            self._gather()

    def _is_taken(self, id: str) -> bool:
        """Whether no earlier process has left this: it has a window here, or had one that was dropped."""
        return id in self._windows or id in self._unsettled_drops

    def _gather(self) -> None:
        """There is something for a next group."""
        if self._is_writing:
            return
        if self._call_later is None:
            self._write()
        else:
            self._is_writing = True
            self._call_later(GATHER_SECONDS, self._write)

    def _write(self) -> None:
        """Send what has gathered to the disk."""
        self._is_writing = False
        group = _Group(self._drops)
        for window in self._waiting:
            window.write_to(group)
        self._waiting, self._drops = [], []
        statements = group.statements(partial(self._tell, group))
        if statements:
            self._is_writing = True
            self._database.write_together(statements)

    def _tell(self, group: _Group) -> None:
        """On the writer's thread: a group is on disk. The node's loop may be closed by now."""
        with suppress(RuntimeError):
            self._call_soon(partial(self._settle, group))

    def _settle(self, group: _Group) -> None:
        """The next group goes before anybody hears of the last one, so that the disk need not wait for them."""
        self._is_writing = False
        self._unsettled_drops.difference_update(group.drops)
        if self._waiting or self._drops:
            self._gather()
        for window, through, is_end in group.reached:
            window.committed = through
            window.is_end_committed |= is_end
        for window, _, _ in group.reached:
            window.tell()


class SqliteWindow(ReplayWindow):
    """A window in memory whose events are also in the file, or on their way to it."""

    __slots__ = (
        "__weakref__",
        "_end",
        "_head",
        "_is_dropped",
        "_is_stored",
        "_is_waiting",
        "_kept",
        "_log",
        "_on_commit",
        "_unwritten",
        "committed",
        "is_end_committed",
        "waiting_bytes",
        "was_left",
    )

    committed: int
    is_end_committed: bool
    waiting_bytes: int

    def __init__(
        self,
        log: SqliteStreamLog,
        head: StreamHead,
        on_commit: Callable[[], None],
        last: int = 0,
        bodies: Sequence[bytes] = (),
        *,
        is_stored: bool = False,
    ) -> None:
        super().__init__(head.prefix, last, bodies)
        self._log = log
        self._head = head
        self._on_commit = on_commit
        self._is_stored = self.was_left = is_stored
        self._is_dropped = self._is_waiting = False
        self._unwritten: list[bytes] = []
        self.waiting_bytes = 0
        self._kept = self.first  # the first that the file is to have
        self._end: tuple[bytes | None] | None = None
        self.committed = last
        self.is_end_committed = False

    def append(self, event: Event) -> None:
        super().append(event)
        self._unwritten.append(event.body)
        self.waiting_bytes += len(event.body) + EVENT_OVERHEAD_BYTES
        if not self._is_waiting:
            self.wait()

    def forget(self, through: int, max_events: int, max_bytes: int) -> int:
        size = super().forget(through, max_events, max_bytes)
        if self.first > self._kept and not self._is_waiting:
            self.wait()
        return size

    def close(self, failure: bytes | None) -> None:
        """Record the end, behind every event; `on_commit` is called and `is_end_committed` set when it is on disk."""
        self._end = (failure,)
        if not self._is_waiting:
            self.wait()

    def drop(self) -> None:
        super().drop()
        self._unwritten.clear()
        self.waiting_bytes = 0
        self._is_dropped = True
        if self._is_stored:
            self._log.drop((self._head.id,))

    def wait(self) -> None:
        """Have the next group take what is not in the file yet."""
        self._is_waiting = True
        self._log.wait(self)

    def write_to(self, group: _Group) -> None:
        """Hand over what is not in the file yet."""
        self._is_waiting = False
        if self._is_dropped:
            return
        id = self._head.id
        if not self._is_stored:
            group.heads.append(_row(self._head))
            self._is_stored = True
        if self._unwritten:
            first = self.last - len(self._unwritten) + 1
            group.segments.append((id, first, self.last, join_bodies(self._unwritten)))
        if self.first > self._kept:
            # The last segment stays when everything is forgotten: it tells how far the stream had come.
            group.trims.append((id, min(self.first, self.last)))
            self._kept = self.first
        if self._end is not None:
            group.ends.append((*self._end, id))
        if self._unwritten or self._end is not None:
            group.reached.append((self, self.last, self._end is not None))
        self._unwritten.clear()
        self.waiting_bytes = 0
        self._end = None

    def tell(self) -> None:
        """What was handed over is on disk."""
        if not self._is_dropped:
            self._on_commit()


class _Group:
    """What goes to the disk in one commit: rows for each statement, and how far each window comes with it."""

    __slots__ = ("drops", "ends", "heads", "reached", "segments", "trims")

    def __init__(self, drops: list[str]) -> None:
        self.heads: list[tuple[Any, ...]] = []
        self.segments: list[tuple[Any, ...]] = []
        self.trims: list[tuple[Any, ...]] = []
        self.ends: list[tuple[Any, ...]] = []
        self.drops = drops
        self.reached: list[tuple[SqliteWindow, int, bool]] = []

    def statements(self, on_commit: Callable[[], None]) -> list[Statement]:
        """What there is to write, in order; a stream's end behind its events, and drops behind everything."""
        found = [
            *_many("put_stream", self.heads),
            *statements_of("put_segments", self.segments),
            *statements_of("trim_streams", self.trims),
            *_many("end_stream", self.ends),
            *_many("drop_stream", [(id,) for id in self.drops]),
        ]
        if found:
            found[-1] = found[-1]._replace(on_commit=on_commit, is_awaited=True)
        return found


def _many(name: str, rows: Sequence[tuple[Any, ...]]) -> Sequence[Statement]:
    return (Statement(QUERIES[name], rows, is_many=True),) if rows else ()


def _row(head: StreamHead) -> tuple[Any, ...]:
    return (
        head.id,
        head.epoch,
        head.exchange_id,
        *head.address,
        head.owner,
        head.method,
        head.rpc_id,
        head.opened_at,
    )


def _stored(row: Sequence[Any]) -> tuple[StreamHead, bool, bytes | None]:
    """A stream's head, whether it is over, and how it failed."""
    id, epoch, exchange_id, tenant, agent, owner, method, rpc_id, opened_at, is_over, failure = row
    head = StreamHead(id, epoch, exchange_id, Address(tenant, agent), owner, method, rpc_id, opened_at)
    return head, bool(is_over), failure
