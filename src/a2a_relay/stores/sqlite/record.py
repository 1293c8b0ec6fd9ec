"""What a relay finds out about its store when it starts, and keeps up to date while it runs."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from a2a_relay.stores.sqlite.opening import open_file
from a2a_relay.stores.sqlite.queries import load_queries
from a2a_relay.stores.sqlite.side_file import Record, SideFile

_SQL = load_queries("mailbox.sql")


class AcceptedRecord:
    """How far acceptance has come, in a side file that only one relay has.

    `missing`: how many letters had been accepted that the store did not have when it was opened; each got the store a
    new epoch. `was_clean`: whether the last relay had left in order.
    """

    def __init__(self, path: Path, side_file: SideFile, connection: sqlite3.Connection, tell: Callable[[str], None]):
        self._side_file = side_file
        self._tell = tell
        self._is_troubled = False
        self.epoch: str = connection.execute(_SQL["get_epoch"]).fetchone()[0]
        number = _last_number(connection)
        found = side_file.read()
        is_known = found is not None and found.epoch == self.epoch
        self.missing = max(found.number - number, 0) if found is not None and is_known else 0
        self.was_clean = found.is_clean and is_known if found is not None else number == 0
        if self.missing:
            self.epoch = renew_epoch(connection)
            tell(f"has lost the last {self.missing} letters it had accepted: its end was damaged; its epoch is new")
        self._write(Record(self.epoch, number, is_clean=False))
        self._check = None if self.was_clean else QuickCheck(path, tell)

    @classmethod
    def open(cls, path: Path, connection: sqlite3.Connection, tell: Callable[[str], None]) -> AcceptedRecord | None:
        """The record of a store; None while another relay keeps it. Raises StoreError."""
        side_file = SideFile.open(path)
        return None if side_file is None else cls(path, side_file, connection, tell)

    def note(self, connection: sqlite3.Connection) -> None:
        """Record how far acceptance has come, when it has come further."""
        number = _last_number(connection)
        if number != self._number:
            self._write(Record(self.epoch, number, is_clean=False))

    def close(self, connection: sqlite3.Connection) -> None:
        """The relay leaves in order."""
        if self._check is not None:
            self._check.stop()
        self._write(Record(self.epoch, _last_number(connection), is_clean=True))
        self._side_file.close()

    def _write(self, record: Record) -> None:
        try:
            self._side_file.write(record)
        except OSError as error:
            if not self._is_troubled:
                self._tell(f"cannot record beside it what it has accepted: {error}")
            self._is_troubled = True
        else:
            self._is_troubled = False
        self._number = record.number


class QuickCheck:
    """A look at the whole structure of a file, on a thread and a connection of its own."""

    def __init__(self, path: Path, tell: Callable[[str], None]) -> None:
        self._path = path
        self._tell = tell
        self._connection: sqlite3.Connection | None = None
        self._is_stopped = False
        self._thread = threading.Thread(target=self._run, name="sqlite-check", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Leave it, however far it has come."""
        self._is_stopped = True
        while self._thread.is_alive():
            connection = self._connection
            if connection is not None:
                with suppress(sqlite3.ProgrammingError):  # it has just been closed
                    connection.interrupt()
            self._thread.join(0.01)

    def _run(self) -> None:
        try:
            connection = open_file(self._path)
        except Exception as error:  # noqa: BLE001  a thread that dies would say nothing
            self._tell(f"could not be checked: {error}")
            return
        try:
            self._connection = connection
            found = [] if self._is_stopped else connection.execute("PRAGMA quick_check(10)").fetchall()
            wrong = [line for (line,) in found if line != "ok"]
            if wrong:
                self._tell(f"is damaged: {'; '.join(wrong)}")
        except sqlite3.Error as error:
            if not self._is_stopped:
                self._tell(f"is damaged: {error}")
        finally:
            self._connection = None
            connection.close()


def renew_epoch(connection: sqlite3.Connection) -> str:
    """Begin a new epoch: positions and numbers of the old one may mean other letters now."""
    epoch: str = connection.execute("SELECT lower(hex(randomblob(8)))").fetchone()[0]
    connection.execute(_SQL["put_epoch"], (epoch,))
    return epoch


def _last_number(connection: sqlite3.Connection) -> int:
    found: int = connection.execute(_SQL["last_number"]).fetchone()[0]
    return found
