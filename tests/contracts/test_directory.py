"""The directory's contract (`ports/directory.py`), kept by every store; then what only SQLite promises."""

from __future__ import annotations

import os
import signal
import sqlite3
import stat
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from a2a_relay.core.address import Address
from a2a_relay.errors import StoreError
from a2a_relay.ports.directory import AgentRecord, Directory
from a2a_relay.stores.memory.directory import MemoryDirectory
from a2a_relay.stores.sqlite import opening as sqlite_opening
from a2a_relay.stores.sqlite import writer as sqlite_writer
from a2a_relay.stores.sqlite.database import Database
from a2a_relay.stores.sqlite.directory import SqliteDirectory
from a2a_relay.stores.sqlite.writer import Statement

ZAF = Address("acme", "zaf")


def record(address: Address = ZAF, card: bytes | None = b'{ "name":"Zaf" }', **fields: Any) -> AgentRecord:
    return AgentRecord(address, card, fields.pop("dialect", "native"), 1.5, 2.5, **fields)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "new" / "relay.db"


@pytest.fixture(params=["memory", "sqlite"])
def directory(request: pytest.FixtureRequest, path: Path) -> Iterator[Directory]:
    found: Directory = MemoryDirectory() if request.param == "memory" else SqliteDirectory(Database(path))
    yield found
    found.close()


def flush(directory: Directory) -> None:
    """Wait until everything that was written before is on disk."""
    if isinstance(directory, SqliteDirectory):
        import threading

        done = threading.Event()
        directory._database.write(Statement("SELECT 1", (), done.set))
        assert done.wait(10)


@pytest.fixture(params=["pending", "durable"])
def settle(request: pytest.FixtureRequest) -> Callable[[Directory], None]:
    """Read at once, or after the writes are durable: it must not matter."""
    return flush if request.param == "durable" else lambda _: None


Settle = Callable[[Directory], None]


class TestEveryDirectory:
    def test_is_empty_at_first(self, directory: Directory) -> None:
        assert directory.get(ZAF) is None
        assert list(directory.of_tenant("acme")) == []
        assert directory.count("acme") == 0
        assert not directory.forget(ZAF)

    def test_gives_back_what_was_put(self, directory: Directory, settle: Settle) -> None:
        put = record(card=b'{"n":1.50,"s":"\\ud800"}', serves_rest_v03=True, card_changed_at=7.25)
        directory.put(put)
        settle(directory)
        assert directory.get(ZAF) == put
        assert list(directory.of_tenant("acme")) == [put]
        assert directory.count("acme") == 1

    def test_keeps_an_agent_without_a_card(self, directory: Directory, settle: Settle) -> None:
        directory.put(record(card=None))
        settle(directory)
        found = directory.get(ZAF)
        assert found is not None
        assert found.agent_card is None

    def test_replaces_the_whole_record(self, directory: Directory, settle: Settle) -> None:
        directory.put(record())
        settle(directory)
        newer = AgentRecord(ZAF, b"{}", "relay-go", 11.0, 12.0, serves_rest_v03=True, card_changed_at=13.0)
        directory.put(newer)
        settle(directory)
        assert directory.get(ZAF) == newer
        assert directory.count("acme") == 1

    def test_lists_a_tenant_by_name_and_no_other(self, directory: Directory, settle: Settle) -> None:
        names = ["zaf", "Ann", "bob", "_x", "a.b", "10", "9"]
        for name in names:
            directory.put(record(Address("acme", name)))
        for other in (Address("acme2", "zaf"), Address("acm", "ezaf"), Address("zaf", "acme")):
            directory.put(record(other))
        settle(directory)
        assert [found.address.agent for found in directory.of_tenant("acme")] == sorted(names)
        assert directory.count("acme") == 7
        assert directory.count("acme2") == 1

    def test_forgets(self, directory: Directory, settle: Settle) -> None:
        directory.put(record())
        directory.put(record(Address("acme", "ann")))
        settle(directory)
        assert directory.forget(ZAF)
        settle(directory)
        assert directory.get(ZAF) is None
        assert directory.count("acme") == 1
        assert [found.address.agent for found in directory.of_tenant("acme")] == ["ann"]
        assert not directory.forget(ZAF)
        assert directory.count("acme") == 1

    def test_takes_a_forgotten_agent_again(self, directory: Directory, settle: Settle) -> None:
        for number in range(5):
            directory.put(record(card=b"%d" % number))
            assert directory.count("acme") == 1
            assert directory.forget(ZAF)
            assert directory.get(ZAF) is None
        directory.put(record(card=b'"last"'))
        settle(directory)
        found = directory.get(ZAF)
        assert found is not None
        assert found.agent_card == b'"last"'

    def test_keeps_large_and_many(self, directory: Directory, settle: Settle) -> None:
        for number in range(1_200):
            directory.put(record(Address("acme", f"a{number:04}"), card=b'"%b"' % (b"x" * (number % 50))))
        directory.put(record(card=b'"%b"' % (b"x" * 65_000)))
        settle(directory)
        assert directory.count("acme") == len(directory.of_tenant("acme")) == 1_201
        assert directory.get(record().address) is not None


# --- SQLite alone ---


def reopened(path: Path) -> SqliteDirectory:
    return SqliteDirectory(Database(path))


class TestSqlite:
    def test_keeps_everything_over_a_close(self, path: Path) -> None:
        first = reopened(path)
        for name in ("zaf", "ann", "gone"):
            first.put(record(Address("acme", name), card_changed_at=3.5))
        first.forget(Address("acme", "gone"))
        first.close()
        second = reopened(path)
        assert [found.address.agent for found in second.of_tenant("acme")] == ["ann", "zaf"]
        assert second.get(ZAF) == record(card_changed_at=3.5)
        assert second.count("acme") == 2
        second.close()

    def test_is_readable_by_its_owner_alone(self, path: Path) -> None:
        directory = reopened(path)
        directory.put(record())
        flush(directory)
        for file in path.parent.iterdir():
            assert stat.S_IMODE(file.stat().st_mode) == 0o600, file.name
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        directory.close()

    def test_keeps_what_was_durable_when_the_process_is_killed(self, path: Path) -> None:
        program = textwrap.dedent("""
            import sys, threading, time
            from pathlib import Path
            from a2a_relay.core.address import Address
            from a2a_relay.ports.directory import AgentRecord
            from a2a_relay.stores.sqlite.database import Database
            from a2a_relay.stores.sqlite.writer import Statement
            from a2a_relay.stores.sqlite.directory import SqliteDirectory

            database = Database(Path(sys.argv[1]))
            directory = SqliteDirectory(database)
            for number in range(300):
                directory.put(AgentRecord(Address("acme", f"a{number:03}"), b"{}", "native", 1.0, 2.0))
            done = threading.Event()
            database.write(Statement("SELECT 1", (), done.set))
            done.wait(20)
            print("durable", flush=True)
            time.sleep(60)
        """)
        process = subprocess.Popen([sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE, text=True)
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "durable\n"
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait(20)
            if process.stdout is not None:
                process.stdout.close()
        directory = reopened(path)
        assert directory.count("acme") == len(directory.of_tenant("acme")) == 300
        directory.put(record())
        directory.close()

    def test_is_migrated_from_nothing(self, path: Path) -> None:
        path.parent.mkdir()
        sqlite3.connect(path).close()
        directory = reopened(path)
        directory.put(record())
        directory.close()
        with sqlite3.connect(path) as connection:
            assert connection.execute("PRAGMA user_version").fetchone()[0] >= 1
            assert connection.execute("SELECT count(*) FROM agents").fetchone()[0] == 1
        connection.close()

    def test_survives_two_that_open_it_at_once(self, path: Path) -> None:
        relay, cli = reopened(path), reopened(path)
        relay.put(record())
        flush(relay)
        assert cli.get(ZAF) == record()
        cli.close()
        relay.close()

    def test_of_a_newer_release_is_refused(self, path: Path) -> None:
        reopened(path).close()
        with sqlite3.connect(path) as connection:
            connection.execute("PRAGMA user_version=9999")
        connection.close()
        with pytest.raises(StoreError, match="newer release"):
            Database(path)

    def test_that_is_no_database_is_refused_in_one_line(self, path: Path) -> None:
        path.parent.mkdir()
        path.write_bytes(b"this is no database at all, but long enough to be one" * 50)
        assert_one_line(path)
        assert path.read_bytes().startswith(b"this is no database")

    def test_that_is_a_folder_is_refused_in_one_line(self, path: Path) -> None:
        path.mkdir(parents=True)
        assert_one_line(path)

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
    def test_that_may_not_be_read_is_refused_in_one_line(self, path: Path) -> None:
        reopened(path).close()
        path.chmod(0)
        assert_one_line(path)

    def test_that_cannot_be_made_is_refused_in_one_line(self, path: Path) -> None:
        path.parent.write_text("a file where the folder should be")
        assert_one_line(path)

    def test_that_cannot_be_migrated_is_refused_in_one_line(self, path: Path) -> None:
        path.parent.mkdir()
        with sqlite3.connect(path) as connection:
            connection.execute("CREATE TABLE agents (other TEXT)")
        connection.close()
        assert_one_line(path)

    def test_leaves_out_what_can_never_be_written_and_nothing_else(self, path: Path) -> None:
        troubles: list[str] = []
        database = Database(path, on_trouble=troubles.append)
        directory = SqliteDirectory(database)
        told: list[str] = []
        impossible = [
            Statement("INSERT INTO agents (tenant) VALUES (?)", ("\ud800",), lambda: told.append("surrogate")),
            Statement("INSERT INTO agents (tenant) VALUES (?)", (None,), lambda: told.append("null")),
        ]
        directory.put(record())
        database.write_together([*impossible, Statement("SELECT 1", (), lambda: told.append("good"))])
        directory.put(record(Address("acme", "other")))
        directory.close()
        assert told == ["good"]
        assert sum("left out" in trouble for trouble in troubles) == 2
        assert SqliteDirectory(Database(path)).count("acme") == 2

    def test_goes_on_when_a_lock_that_was_held_too_long_is_gone(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sqlite_opening, "BUSY_SECONDS", 0.05)
        troubles: list[str] = []
        directory = SqliteDirectory(Database(path, on_trouble=troubles.append))
        blocker = sqlite3.connect(path, isolation_level=None)
        blocker.execute("BEGIN IMMEDIATE")
        directory.put(record())
        wait_for(lambda: bool(troubles))
        blocker.execute("ROLLBACK")
        blocker.close()
        directory.put(record(Address("acme", "ann")))
        directory.put(replace(record(), last_seen_at=9.0))
        directory.close()
        second = reopened(path)
        assert [found.address.agent for found in second.of_tenant("acme")] == ["ann", "zaf"]
        second.close()

    def test_that_is_closed_while_a_commit_is_retried_tries_once_more(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sqlite_opening, "BUSY_SECONDS", 0.05)
        monkeypatch.setattr(sqlite_writer, "RETRY_SECONDS", 60.0)
        troubles: list[str] = []
        directory = SqliteDirectory(Database(path, on_trouble=troubles.append))
        blocker = sqlite3.connect(path, isolation_level=None)
        blocker.execute("BEGIN IMMEDIATE")
        directory.put(record())
        wait_for(lambda: bool(troubles))
        blocker.execute("ROLLBACK")
        blocker.close()
        directory.close()
        second = reopened(path)
        assert second.get(ZAF) == record()
        second.close()


class SteppingDatabase(Database):
    """Commits one statement at a time, when it is told to."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.held: list[Statement] = []

    def write(self, statement: Statement) -> None:
        self.held.append(statement)

    def step(self) -> None:
        """Make the oldest write durable."""
        statement = self.held.pop(0)
        self.reader.execute(statement.sql, statement.parameters)
        assert statement.on_commit is not None
        statement.on_commit()


def test_a_pending_write_is_seen_whatever_is_durable_already(path: Path) -> None:
    database = SteppingDatabase(path)
    directory = SqliteDirectory(database)
    directory.put(record(card=b"1"))
    directory.forget(ZAF)
    directory.put(record(card=b"2"))
    directory.forget(ZAF)
    while database.held:
        assert directory.get(ZAF) is None
        assert list(directory.of_tenant("acme")) == []
        database.step()
    assert directory.get(ZAF) is None
    directory.close()


def assert_one_line(path: Path) -> None:
    with pytest.raises(StoreError) as refused:
        Database(path)
    assert str(path) in str(refused.value)
    assert "\n" not in str(refused.value)


def wait_for(is_true: Callable[[], bool]) -> None:
    import time

    until = time.monotonic() + 10
    while not is_true():
        assert time.monotonic() < until
        time.sleep(0.005)
