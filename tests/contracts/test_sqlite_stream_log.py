"""What only the stream log in SQLite promises: it survives, in few rows, and says so."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from log_processes import APPENDING, ZAF, Process, event, execute, extend, found, head, ignore, left_behind, numbers

from a2a_relay.core.address import Address
from a2a_relay.core.limits import EVENT_OVERHEAD_BYTES
from a2a_relay.ports.directory import AgentRecord
from a2a_relay.ports.stream_log import StoredStream
from a2a_relay.stores.sqlite import database as sqlite_database
from a2a_relay.stores.sqlite import opening as sqlite_opening
from a2a_relay.stores.sqlite import writer as sqlite_writer
from a2a_relay.stores.sqlite.database import Database
from a2a_relay.stores.sqlite.directory import SqliteDirectory
from a2a_relay.stores.sqlite.stream_log import SqliteStreamLog
from a2a_relay.stores.sqlite.writer import Statement


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "relay.db"


class TestAfterAReopening:
    def test_everything_is_found(self, path: Path) -> None:
        first = Process(path)
        window = first.log.open(ZAF, ignore)
        bodies = (b"{}", b"", b"\0\xff" * 9, b"x" * 70_000)
        for number, body in enumerate(bodies, 1):
            window.append(event(ZAF, number, body))
        first.close()
        second = Process(path)
        stored = found(second, ZAF)
        assert stored.head == ZAF
        assert (stored.is_over, stored.failure) == (False, None)
        assert list(stored.window.after(0, 9)) == [event(ZAF, number, body) for number, body in enumerate(bodies, 1)]
        assert (stored.window.first, stored.window.last, stored.window.committed) == (1, 4, 4)
        second.close()

    def test_the_streams_of_an_agents_calls_are_found_whoever_has_found_them_before(self, path: Path) -> None:
        left_behind(path)
        second = Process(path)
        wanted = ["unknown", ZAF.exchange_id, *map(str, range(300))]
        assert second.log.find_exchanges(Address("other", "zaf"), wanted) == {}
        assert second.log.find_exchanges(ZAF.address, wanted) == {ZAF.exchange_id: ZAF.id}
        stored = found(second, ZAF)
        assert second.log.find_exchanges(ZAF.address, wanted) == {ZAF.exchange_id: ZAF.id}
        assert stored.window.last > 0
        second.close()

    def test_what_waits_for_the_disk_is_known_when_the_window_has_let_it_go(self, path: Path) -> None:
        process = Process(path)
        window = process.log.open(ZAF, ignore)
        process.settle()
        process.log._is_writing = True  # the disk is slow
        extend(window, ZAF, 100)
        window.forget(100, 0, 0)
        assert (window.size, window.waiting_bytes > 100 * EVENT_OVERHEAD_BYTES) == (0, True)
        process.log._write()
        process.settle()
        assert (window.committed, window.waiting_bytes) == (100, 0)
        process.close()

    def test_a_call_over_rest_has_no_id(self, path: Path) -> None:
        first = Process(path)
        first.log.open(ZAF._replace(rpc_id=None), ignore)
        first.close()
        second = Process(path)
        assert found(second, ZAF).head.rpc_id is None
        second.close()

    def test_a_stream_without_events_is_found_empty(self, path: Path) -> None:
        first = Process(path)
        first.log.open(ZAF, ignore)
        first.close()
        second = Process(path)
        window = found(second, ZAF).window
        assert (window.first, window.last, window.committed) == (1, 0, 0)
        second.close()

    @pytest.mark.parametrize("failure", [None, b'{"code":-32603,"message":"no"}'])
    def test_its_end_is_known(self, path: Path, failure: bytes | None) -> None:
        first = Process(path)
        window = first.log.open(ZAF, ignore)
        extend(window, ZAF, 3)
        window.close(failure)
        first.close()
        second = Process(path)
        stored = found(second, ZAF)
        assert (stored.is_over, stored.failure, numbers(stored.window)) == (True, failure, [1, 2, 3])
        second.close()

    def test_a_found_stream_goes_on_durably(self, path: Path) -> None:
        left_behind(path)
        for turn in range(1, 4):
            process = Process(path)
            window = found(process, ZAF).window
            extend(window, ZAF, 5)
            process.close()
            assert window.last == 50 + 5 * turn
        last = Process(path)
        assert numbers(found(last, ZAF).window) == list(range(1, 66))
        last.close()

    def test_how_far_it_had_come_is_known_when_everything_was_forgotten(self, path: Path) -> None:
        first = Process(path)
        window = first.log.open(ZAF, ignore)
        extend(window, ZAF, 7)
        first.settle()
        window.forget(7, 0, 0)
        first.close()
        second = Process(path)
        window = found(second, ZAF).window
        assert window.last == 7
        assert numbers(window) == list(range(window.first, 8))
        second.close()

    def test_a_dropped_stream_is_gone_at_once_and_for_good(self, path: Path) -> None:
        left_behind(path)
        first = Process(path)
        found(first, ZAF).window.drop()
        assert first.log.find(ZAF.id, ignore) is None
        assert first.log.find_exchanges(ZAF.address, [ZAF.exchange_id]) == {}
        first.close()
        second = Process(path)
        assert second.log.find(ZAF.id, ignore) is None
        assert second.rows("SELECT 1 FROM streams UNION ALL SELECT 1 FROM stream_segments") == []
        second.close()

    def test_what_was_opened_before_is_purged(self, path: Path) -> None:
        first = Process(path)
        for name, opened_at in (("old", 10.0), ("older", 5.0), ("young", 20.0), ("read", 1.0)):
            extend(first.log.open(head(name, opened_at), ignore), head(name), 3)
        first.close()
        second = Process(path)
        reading = found(second, head("read", 1.0)).window
        assert second.log.purge(20.0) == 2
        assert second.log.purge(20.0) == 0
        assert second.log.find(head("old").id, ignore) is None
        extend(reading, head("read"), 1)
        second.close()
        third = Process(path)
        assert third.rows("SELECT id FROM streams ORDER BY id") == [(head("read").id,), (head("young").id,)]
        assert numbers(found(third, head("read", 1.0)).window) == [1, 2, 3, 4]
        assert len(third.rows("SELECT DISTINCT stream FROM stream_segments")) == 2
        third.close()


class TestCommits:
    def test_are_told_on_the_thread_of_the_node(self, process: Process) -> None:
        told: list[tuple[int, int]] = []
        window = process.log.open(ZAF, lambda: told.append((threading.get_ident(), window.committed)))
        extend(window, ZAF, 100)
        assert window.committed == 0
        process.loop.run_until(lambda: window.committed == 100)
        process.settle()
        assert {thread for thread, _ in told} == {threading.get_ident()}
        assert [through for _, through in told] == sorted({through for _, through in told})
        assert told[-1][1] == 100

    def test_of_a_burst_are_few(self, process: Process) -> None:
        window = process.log.open(ZAF, ignore)
        extend(window, ZAF, 1_000)
        process.loop.run_until(lambda: window.committed == 1_000)
        assert len(process.segments()) <= 3

    def test_do_not_wait_for_company(self, process: Process, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sqlite_writer, "GATHER_SECONDS", 30.0)
        window = process.log.open(ZAF, ignore)
        SqliteDirectory(process.database).put(AgentRecord(ZAF.address, None, "native", 1.0, 2.0))
        extend(window, ZAF, 1)
        process.loop.run_until(lambda: window.committed == 1)
        assert process.rows("SELECT agent FROM agents") == [("zaf",)]

    def test_of_an_end_are_told_when_it_is_on_disk(self, process: Process) -> None:
        told: list[bool] = []
        window = process.log.open(ZAF, lambda: told.append(window.is_end_committed))
        extend(window, ZAF, 1)
        process.loop.run_until(lambda: window.committed == 1)
        told.clear()
        window.close(b"{}")
        process.loop.run_until(lambda: bool(told))
        assert told == [True]
        assert process.rows("SELECT is_over, failure FROM streams") == [(1, b"{}")]

    def test_that_fail_move_nothing_until_they_succeed(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sqlite_opening, "BUSY_SECONDS", 0.05)
        monkeypatch.setattr(sqlite_writer, "RETRY_SECONDS", 0.05)
        process = Process(path)
        window = process.log.open(ZAF, ignore)
        process.settle()
        blocker = sqlite3.connect(path, isolation_level=None)
        blocker.execute("BEGIN IMMEDIATE")
        extend(window, ZAF, 10)
        time.sleep(0.3)
        assert process.loop.due.empty()
        assert window.committed == 0
        blocker.execute("ROLLBACK")
        blocker.close()
        process.loop.run_until(lambda: window.committed == 10)
        process.close()

    def test_are_not_told_to_a_loop_that_is_closed(self, path: Path) -> None:
        def closed(_: Callable[[], None]) -> None:
            raise RuntimeError("Event loop is closed")

        database = Database(path)
        log = SqliteStreamLog(database, closed)
        extend(log.open(ZAF, ignore), ZAF, 3)
        log.close()
        database.close()
        second = Process(path)
        assert numbers(found(second, ZAF).window) == [1, 2, 3]
        second.close()


class TestRows:
    def test_of_forgotten_events_go(self, process: Process) -> None:
        window = process.log.open(ZAF, ignore)
        for _ in range(5):
            extend(window, ZAF, 10)
            process.loop.run_until(lambda: window.committed == window.last)
        window.forget(25, 0, 0)
        process.settle()
        kept = process.segments()
        assert all(isinstance(last, int) and last >= 26 for _, last in kept)
        assert kept[-1][1] == 50
        window.forget(50, 0, 0)
        process.settle()
        assert process.segments() == kept[-1:]

    def test_are_trimmed_once_a_group_however_often_a_window_forgets(
        self, process: Process, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        statements: list[Statement] = []
        write = process.database.write_together
        monkeypatch.setattr(process.database, "write_together", lambda given: (statements.extend(given), write(given)))
        window = process.log.open(ZAF, ignore)
        for _ in range(500):
            extend(window, ZAF, 1)
            window.forget(window.last, 10, 10_000)
        process.loop.run_until(lambda: window.committed == 500)
        process.settle()
        assert sum(statement.sql.startswith("DELETE") for statement in statements) <= 3
        assert numbers(window) == list(range(491, 501))

    def test_of_a_dropped_stream_are_not_written_afterwards(self, process: Process) -> None:
        told: list[int] = []
        windows = {name: process.log.open(head(name), lambda: told.append(1)) for name in ("stored", "queued")}
        extend(windows["stored"], head("stored"), 10)
        process.loop.run_until(lambda: windows["stored"].committed == 10)
        process.settle()
        told.clear()
        for name, window in windows.items():
            extend(window, head(name), 10)
            window.close(None)
            window.drop()
        process.settle()
        assert told == []
        assert process.rows("SELECT 1 FROM streams UNION ALL SELECT 1 FROM stream_segments") == []

    def test_of_a_stream_that_somebody_else_removed_hold_nobody_up(self, process: Process) -> None:
        windows = [process.log.open(head(name), ignore) for name in ("a", "b")]
        process.settle()
        execute(process.path, "DELETE FROM streams WHERE id = ?", head("a").id)
        for name, window in zip("ab", windows, strict=True):
            extend(window, head(name), 5)
        process.loop.run_until(lambda: windows[1].committed == 5)
        process.settle()
        assert process.rows("SELECT id FROM streams") == [(head("b").id,)]
        assert len(process.rows("SELECT DISTINCT stream FROM stream_segments")) == 1

    def test_of_an_exchange_belong_to_its_last_stream(self, process: Process) -> None:
        process.log.open(head("a"), ignore)
        process.settle()
        process.log.open(head("b")._replace(exchange_id=head("a").exchange_id), ignore)
        process.settle()
        assert process.rows("SELECT id FROM streams") == [(head("b").id,)]

    def test_of_many_streams_are_written_together(self, process: Process) -> None:
        windows = [process.log.open(head(f"s{number}"), ignore) for number in range(333)]
        for turn in range(1, 4):
            for number, window in enumerate(windows):
                window.append(event(head(f"s{number}"), turn))
        process.loop.run_until(lambda: all(window.committed == 3 for window in windows))
        process.settle()
        for number in (0, 1, 127, 128, 331, 332):
            rows = process.database.read(sqlite_database.QUERIES["segments_of_stream"], (head(f"s{number}").id,))
            assert [(first, last) for first, last, _ in rows][-1][1] == 3


class TestDamage:
    def of_the_third_segment(self, path: Path, sql: str) -> StoredStream:
        left_behind(path)
        execute(path, sql)
        process = Process(path)
        stored = found(process, ZAF)
        extend(stored.window, ZAF, 1)
        process.close()
        return stored

    @pytest.mark.parametrize(
        "sql",
        [
            "DELETE FROM stream_segments WHERE first = 21",
            "UPDATE stream_segments SET bodies = substr(bodies, 1, length(bodies) - 1) WHERE first = 21",
            "UPDATE stream_segments SET bodies = X'FFFFFFFF' WHERE first = 21",
            "UPDATE stream_segments SET bodies = X'00' WHERE first = 21",
            "UPDATE stream_segments SET bodies = X'' WHERE first = 21",
            "UPDATE stream_segments SET bodies = 'text' WHERE first = 21",
            "UPDATE stream_segments SET last = 29 WHERE first = 21",
            "UPDATE stream_segments SET first = 22 WHERE first = 21",
            "UPDATE stream_segments SET first = 20 WHERE first = 21",
        ],
    )
    def test_in_the_middle_leaves_the_last_contiguous_run(self, path: Path, sql: str) -> None:
        window = self.of_the_third_segment(path, sql).window
        assert (window.first, window.last) == (31, 51)
        assert numbers(window) == list(range(31, 52))

    def test_at_the_end_does_not_turn_back_the_count(self, path: Path) -> None:
        window = self.of_the_third_segment(path, "UPDATE stream_segments SET bodies = X'00' WHERE first = 41").window
        assert (window.first, window.last) == (51, 51)


class TestFiles:
    def test_of_the_release_before_are_migrated(self, path: Path) -> None:
        first = (Path(sqlite_database.__file__).parent / "migrations" / "0001_agents.sql").read_text()
        connection = sqlite3.connect(path)
        connection.executescript(f"PRAGMA journal_mode=WAL; {first}; PRAGMA user_version=1;")
        connection.execute("INSERT INTO agents VALUES ('acme', 'zaf', X'7B7D', 'native', 1.5, 2.5, 3.5, 1)")
        connection.commit()
        connection.close()
        process = Process(path)
        assert SqliteDirectory(process.database).get(ZAF.address) is not None
        extend(process.log.open(ZAF, ignore), ZAF, 3)
        process.close()
        second = Process(path)
        assert numbers(found(second, ZAF).window) == [1, 2, 3]
        assert second.rows("PRAGMA user_version") == [(sqlite_opening.migrations()[-1][0],)]
        second.close()

    def test_are_shared_with_a_directory_and_with_another_process(self, path: Path) -> None:
        relay, cli = Process(path), Process(path)
        directory = SqliteDirectory(relay.database)
        window = relay.log.open(ZAF, ignore)
        for number in range(20):
            extend(window, ZAF, 1)
            directory.put(AgentRecord(Address("acme", f"a{number}"), None, "native", 1.0, 2.0))
            cli.log.open(head(f"other{number}"), ignore)
        relay.log.close()
        directory.close()
        relay.database.close()
        cli.close()
        third = Process(path)
        assert SqliteDirectory(third.database).count("acme") == 20
        assert numbers(found(third, ZAF).window) == list(range(1, 21))
        assert third.rows("SELECT count(*) FROM streams") == [(21,)]
        third.close()

    def test_keep_what_was_told_when_the_process_is_killed(self, path: Path) -> None:
        process = subprocess.Popen([sys.executable, "-c", APPENDING, str(path)], stdout=subprocess.PIPE, text=True)
        told = dict.fromkeys(range(8), 0)
        try:
            assert process.stdout is not None
            for line in process.stdout:
                name, through = map(int, line.split())
                told[name] = through
                if sum(told.values()) > 4_000:
                    process.send_signal(signal.SIGKILL)
                    break
            for line in process.stdout:
                if line.endswith("\n"):
                    name, through = map(int, line.split())
                    told[name] = through
        finally:
            process.kill()
            process.wait(20)
            if process.stdout is not None:
                process.stdout.close()
        after = Process(path)
        for name, through in told.items():
            of = head(str(name))
            window = found(after, of).window
            assert window.last >= through > 0
            assert list(window.after(0, 1_000_000)) == [event(of, number) for number in range(1, window.last + 1)]
        after.close()
