"""Streams for the tests of stream logs, and lives of a log in SQLite."""

from __future__ import annotations

import queue
import sqlite3
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

from a2a_relay.core.address import Address
from a2a_relay.core.stream import Event, StreamHead, StreamWindow
from a2a_relay.ports.stream_log import StoredStream
from a2a_relay.stores.sqlite.database import Database
from a2a_relay.stores.sqlite.stream_log import SqliteStreamLog


def head(name: str = "zaf", opened_at: float = 1_000.5) -> StreamHead:
    return StreamHead(
        name.ljust(22, "_"),
        "1f",
        f"rly-{name}",
        Address("acme", "zaf"),
        "user:ann",
        "message/stream",
        b'"1"',
        opened_at,
    )


ZAF = head()


def event(of: StreamHead, number: int, body: bytes | None = None) -> Event:
    return Event(of.prefix + b"%d" % number, b'{"n":%d}' % number if body is None else body)


def extend(window: StreamWindow, of: StreamHead, count: int) -> None:
    for _ in range(count):
        window.append(event(of, window.last + 1))


def numbers(window: StreamWindow, offset: int = 0, limit: int = 100_000) -> list[int]:
    return [int(found.position.rpartition(b"-")[2]) for found in window.after(offset, limit)]


def ignore() -> None:
    """Nobody needs to know."""


class Loop:
    """The node's loop, run by hand on the test's thread."""

    def __init__(self) -> None:
        self.due: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()

    def run_until(self, is_true: Callable[[], bool]) -> None:
        until = time.monotonic() + 10
        while not is_true():
            self.due.get(timeout=max(until - time.monotonic(), 0.001))()


class Process:
    """One life of a log in SQLite."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.loop = Loop()
        self.database = Database(path)
        self.log = SqliteStreamLog(self.database, self.loop.due.put)

    def settle(self) -> None:
        """Run until everything is on disk."""
        self.loop.run_until(lambda: not self.log._is_writing)

    def close(self) -> None:
        self.log.close()
        self.database.close()

    def rows(self, sql: str) -> list[tuple[object, ...]]:
        return self.database.read(sql)

    def segments(self) -> list[tuple[object, ...]]:
        return self.rows("SELECT first, last FROM stream_segments ORDER BY stream, first")


def found(process: Process, of: StreamHead, on_commit: Callable[[], None] = ignore) -> StoredStream:
    stored = process.log.find(of.id, on_commit)
    assert stored is not None
    return stored


def left_behind(path: Path, groups: int = 5, size: int = 10) -> None:
    """A stream in several segments, left by an earlier process."""
    process = Process(path)
    window = process.log.open(ZAF, ignore)
    process.settle()
    for _ in range(groups):
        process.log._is_writing = True  # else the first event would go alone
        extend(window, ZAF, size)
        process.log._write()
        process.settle()
    assert len(process.segments()) == groups
    process.close()


def execute(path: Path, sql: str, *parameters: object) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(sql, parameters)
    connection.close()


APPENDING = textwrap.dedent("""
    import queue, sys
    from pathlib import Path
    from a2a_relay.core.address import Address
    from a2a_relay.core.stream import Event, StreamHead
    from a2a_relay.stores.sqlite.database import Database
    from a2a_relay.stores.sqlite.stream_log import SqliteStreamLog

    due = queue.SimpleQueue()
    log = SqliteStreamLog(Database(Path(sys.argv[1])), due.put)

    def open(name):
        address = Address("acme", "zaf")
        head = StreamHead(name.ljust(22, "_"), "1f", f"rly-{name}", address, "user:ann", "message/stream", b'"1"', 1.0)
        window = log.open(head, lambda: print(name, window.committed, flush=True))
        return head, window

    streams = [open(str(number)) for number in range(8)]
    while True:
        for head, window in streams:
            if window.last - window.committed < 200:
                number = window.last + 1
                window.append(Event(head.prefix + b"%d" % number, b'{"n":%d}' % number))
        while not due.empty():
            due.get()()
""")
"""A process that appends to eight streams and prints each `committed`, until it is killed."""
