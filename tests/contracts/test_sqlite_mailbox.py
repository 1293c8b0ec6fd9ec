"""What only the mailbox in SQLite promises: it survives, with others beside it, and no step of it grows slow."""

from __future__ import annotations

import asyncio
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest
from letter_drafts import ACT, ANN, ANSWER, EVERY, KEEP_SECONDS, ROOM, ZAF, accepted, draft, events, key, known, leased

from a2a_relay.core.address import Address
from a2a_relay.core.letter import Alias, Filter, LetterState
from a2a_relay.errors import Reason, Refused, StoreError
from a2a_relay.ports.directory import AgentRecord
from a2a_relay.stores.sqlite import administration
from a2a_relay.stores.sqlite import opening as sqlite_opening
from a2a_relay.stores.sqlite import writer as sqlite_writer
from a2a_relay.stores.sqlite.backup import back_up, restore
from a2a_relay.stores.sqlite.database import Database
from a2a_relay.stores.sqlite.directory import SqliteDirectory
from a2a_relay.stores.sqlite.letters import SQL
from a2a_relay.stores.sqlite.mailbox import SqliteMailbox
from a2a_relay.stores.sqlite.side_file import Record, SideFile
from a2a_relay.stores.sqlite.writer import Statement
from a2a_relay.testing.clock import FakeClock


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "relay.db"


class Relay:
    """One life of a mailbox in SQLite."""

    def __init__(self, path: Path, *, is_guest: bool = False) -> None:
        self.troubles: list[str] = []
        self.clock = FakeClock()
        self.database = Database(path, self.troubles.append, is_guest=is_guest)
        self.mailbox = SqliteMailbox(self.database, self.clock.now)

    async def recorded(self) -> None:
        """Wait until the side file knows everything that was accepted."""
        record = self.database.record
        assert record is not None
        (number,) = self.database.read(SQL["last_number"])[0]
        await until(lambda: record._number == number)

    def close(self) -> None:
        self.database.close()


@pytest.fixture
def relay(path: Path) -> Iterator[Relay]:
    found = Relay(path)
    yield found
    found.close()


async def until(is_true: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not is_true():
        assert time.monotonic() < end
        await asyncio.sleep(0.005)


@asynccontextmanager
async def one_group(relay: Relay) -> AsyncIterator[None]:
    """What is awaited within, all at once, is one group: the writer is kept busy until it is queued."""
    is_busy, go_on = threading.Event(), threading.Event()

    def hold(_: sqlite3.Connection) -> None:
        is_busy.set()
        go_on.wait(10)

    held = asyncio.create_task(relay.database.carry_out(hold))
    await until(is_busy.is_set)
    asyncio.get_running_loop().call_later(0, go_on.set)  # after the tasks that are made now have begun
    yield
    await held


def copy_of(path: Path, folder: str) -> Path:
    """The files of a store that is open, as they lie on the disk."""
    target = path.parent / folder / path.name
    target.parent.mkdir()
    for suffix in ("", "-wal", "-accepted"):
        shutil.copyfile(path.with_name(path.name + suffix), target.with_name(target.name + suffix))
    return target


class TestReopening:
    async def test_everything_is_there(self, path: Path) -> None:
        first = Relay(path)
        held, queued = await accepted(first.mailbox, "c1"), await accepted(first.mailbox, "c1")
        await leased(first.mailbox)
        before = [await known(first.mailbox, id) for id in (held.id, queued.id)]
        first.close()
        second = Relay(path)
        assert [await known(second.mailbox, id) for id in (held.id, queued.id)] == before
        assert second.mailbox.backlog() == {ZAF: 2}
        assert await second.mailbox.take_over(ZAF, held.id, "s1", "s2")
        assert second.troubles == []
        second.close()

    async def test_numbers_are_never_given_twice(self, path: Path) -> None:
        first = Relay(path)
        number = (await accepted(first.mailbox)).number
        await first.mailbox.purge("acme", EVERY, ACT)
        first.close()
        second = Relay(path)
        assert (await accepted(second.mailbox)).number > number
        second.close()

    async def test_every_file_is_its_owners_alone(self, path: Path, relay: Relay) -> None:
        await accepted(relay.mailbox)
        await relay.recorded()
        names = {file.name for file in path.parent.iterdir()}
        assert names == {path.name + suffix for suffix in ("", "-wal", "-shm", "-accepted")}
        for file in path.parent.iterdir():
            assert stat.S_IMODE(file.stat().st_mode) == 0o600, file.name

    async def test_what_is_removed_is_overwritten(self, path: Path) -> None:
        first = Relay(path)
        await accepted(first.mailbox, params=b"a secret of somebody else" * 400)
        await first.mailbox.purge("acme", EVERY, ACT)
        first.close()
        assert b"a secret of somebody else" not in path.read_bytes()

    async def test_of_the_release_before_is_migrated_with_all_its_rows(self, path: Path) -> None:
        connection = sqlite3.connect(path)
        for number, script in sqlite_opening.migrations()[:2]:
            connection.executescript(f"{script}; PRAGMA user_version={number};")
        connection.execute("INSERT INTO agents VALUES ('acme', 'zaf', X'7B7D', 'native', 1.5, 2.5, 3.5, 1)")
        connection.execute(
            "INSERT INTO streams (id, exchange_id, tenant, agent, epoch, owner, method, opened_at)"
            " VALUES ('s', 'x', 'acme', 'zaf', '1f', 'user:ann', 'message/stream', 9.0)"
        )
        connection.execute("INSERT INTO stream_segments VALUES (1, 1, 1, X'00000000')")
        connection.commit()
        connection.close()
        relay = Relay(path)
        assert relay.database.read("SELECT count(*) FROM stream_segments") == [(1,)]
        record = SqliteDirectory(relay.database).get(ZAF)
        assert record == AgentRecord(ZAF, b"{}", "native", 1.5, 2.5, serves_rest_v03=True, card_changed_at=3.5)
        letter = await accepted(relay.mailbox)
        assert await leased(relay.mailbox) == [letter.id]
        relay.close()
        assert relay.troubles == []


class TestWork:
    async def test_of_many_callers_shares_commits(self, relay: Relay) -> None:
        before = relay.database.commits
        await asyncio.gather(*(accepted(relay.mailbox) for _ in range(300)))
        assert relay.database.commits - before < 100

    async def test_that_refuses_does_not_disturb_its_group(self, relay: Relay) -> None:
        no_room = ROOM._replace(letters=0)
        found = await asyncio.gather(
            accepted(relay.mailbox),
            relay.mailbox.accept(draft(), no_room),
            accepted(relay.mailbox),
            return_exceptions=True,
        )
        assert isinstance(found[1], Refused)
        assert found[1].reason is Reason.MAILBOX_FULL
        assert relay.mailbox.backlog() == {ZAF: 2}

    async def test_that_fails_after_it_has_written_leaves_nothing_and_does_not_disturb_its_group(
        self, relay: Relay
    ) -> None:
        def fail(connection: sqlite3.Connection) -> None:
            connection.execute("INSERT INTO mailboxes (tenant, agent) VALUES ('acme', 'ghost')")
            raise ZeroDivisionError

        found = await asyncio.gather(
            accepted(relay.mailbox), relay.database.carry_out(fail), accepted(relay.mailbox), return_exceptions=True
        )
        assert isinstance(found[1], StoreError)
        assert relay.mailbox.backlog() == {ZAF: 2}
        assert relay.database.read("SELECT 1 FROM mailboxes WHERE agent = 'ghost'") == []

    async def test_that_breaks_a_rule_of_the_file_is_a_store_error(self, relay: Relay) -> None:
        letter = await accepted(relay.mailbox)
        with pytest.raises(StoreError):
            await accepted(relay.mailbox, id=letter.id)
        assert relay.mailbox.backlog() == {ZAF: 1}

    async def test_of_one_kind_is_run_together_and_each_is_told_its_own(self, relay: Relay) -> None:
        runs: list[list[int]] = []

        def double(connection: sqlite3.Connection, parts: Sequence[int]) -> list[int | Refused]:
            runs.append(list(parts))
            return [part * 2 if part != 2 else Refused(Reason.MAILBOX_FULL) for part in parts]

        async with one_group(relay):
            found = await asyncio.gather(
                *(relay.database.share(double, part) for part in (1, 2)),
                relay.database.carry_out(lambda _: runs.append([])),
                *(relay.database.share(double, part) for part in (3, 4)),
                return_exceptions=True,
            )
        assert runs == [[1, 2], [], [3, 4]]
        assert isinstance(found[1], Refused)
        assert [found[0], *found[3:]] == [2, 6, 8]

    async def test_that_fails_together_is_begun_anew_each_alone(self, relay: Relay) -> None:
        runs: list[list[str]] = []

        def put(connection: sqlite3.Connection, parts: Sequence[str]) -> list[str]:
            runs.append(list(parts))
            for part in parts:
                connection.execute("INSERT INTO mailboxes (tenant, agent) VALUES ('acme', ?)", (part,))
            return list(parts)

        async with one_group(relay):
            found = await asyncio.gather(
                *(relay.database.share(put, part) for part in ("a", "b", "a", "c")), return_exceptions=True
            )
        assert runs[0] == ["a", "b", "a", "c"]
        assert all(len(run) == 1 for run in runs[1:])
        assert isinstance(found[2], StoreError)
        assert [found[0], found[1], found[3]] == ["a", "b", "c"]
        assert relay.database.read("SELECT agent FROM mailboxes ORDER BY agent") == [("a",), ("b",), ("c",)]

    async def test_whose_caller_has_gone_is_carried_out_all_the_same(self, relay: Relay) -> None:
        task = asyncio.create_task(accepted(relay.mailbox))
        await asyncio.sleep(0)
        task.cancel()
        await until(lambda: relay.mailbox.backlog() == {ZAF: 1})

    async def test_fails_at_once_when_the_file_is_locked_while_statements_wait(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sqlite_opening, "BUSY_SECONDS", 0.05)
        monkeypatch.setattr(sqlite_writer, "RETRY_SECONDS", 0.05)
        relay = Relay(path)
        written = threading.Event()
        with closing(sqlite3.connect(path, isolation_level=None)) as blocker:
            blocker.execute("BEGIN IMMEDIATE")
            relay.database.write(Statement("DELETE FROM agents", (), written.set))
            for _ in range(3):
                with pytest.raises(StoreError, match="locked"):
                    await accepted(relay.mailbox)
            assert not written.is_set()
            blocker.execute("ROLLBACK")
        await until(written.is_set)
        letter = await accepted(relay.mailbox)
        assert relay.mailbox.backlog() == {ZAF: 1}
        assert (await known(relay.mailbox, letter.id)).state is LetterState.QUEUED
        assert sum("cannot be written" in trouble for trouble in relay.troubles) == 1
        relay.close()

    async def test_of_a_closed_store_is_refused(self, path: Path) -> None:
        relay = Relay(path)
        relay.close()
        with pytest.raises(StoreError, match="closed"):
            await accepted(relay.mailbox)

    def test_that_meets_a_full_disk_fails_and_later_work_does_not(self, path: Path) -> None:
        report = subprocess.run(
            [sys.executable, "-c", FULL_DISK, str(path)], capture_output=True, text=True, timeout=50, check=False
        )
        assert report.returncode == 0, report.stderr
        refused, kept, found = map(int, report.stdout.split())
        assert refused > 0
        assert kept == found


class TestAGroup:
    async def test_of_letters_takes_few_statements(self, path: Path) -> None:
        relay = Relay(path)
        steps: list[str] = []
        await asyncio.gather(*(accepted(relay.mailbox, address=address) for address in (ZAF, ANN)))
        await relay.database.carry_out(lambda connection: connection.set_trace_callback(steps.append))
        async with one_group(relay):
            steps.clear()
            await asyncio.gather(
                *(accepted(relay.mailbox, f"c{n % 5}", (ZAF, ANN)[n % 2], idempotency=key(f"{n}")) for n in range(64))
            )
        relay.close()
        inserts = [step for step in steps if step.startswith("INSERT")]
        assert [step.split()[step.split().index("INTO") + 1] for step in inserts] == [
            "letters",
            "letter_bodies",
            "mailboxes",
            "idempotency_keys",
        ]
        assert sum("AS (VALUES" in step for step in steps) == 2

    async def test_holds_a_letter_whose_id_is_taken(self, relay: Relay) -> None:
        taken = await accepted(relay.mailbox)
        ids = ["rly-a", taken.id, "rly-b", "rly-a", "rly-c"]
        async with one_group(relay):
            found = await asyncio.gather(*(accepted(relay.mailbox, id=id) for id in ids), return_exceptions=True)
        assert [isinstance(one, StoreError) for one in found] == [False, True, False, True, False]
        assert relay.mailbox.backlog() == {ZAF: 4}
        assert await leased(relay.mailbox) == [taken.id, "rly-a", "rly-b", "rly-c"]

    async def test_of_large_letters_keeps_all_their_bytes(self, relay: Relay) -> None:
        bodies = [bytes([n]) * size for n, size in enumerate((400_000, 700_000, 10, 3_000_000, 1, 1_048_576, 0))]
        async with one_group(relay):
            found = await asyncio.gather(*(accepted(relay.mailbox, params=body) for body in bodies))
        assert [(await known(relay.mailbox, letter.id)).params for letter in found] == bodies

    async def test_goes_on_behind_what_was_redriven(self, relay: Relay) -> None:
        """A letter that is redriven has a new number, which no letter of a group is given again."""
        first = await accepted(relay.mailbox, ttl_seconds=1.0)
        relay.clock.advance(2)
        await relay.mailbox.sweep(10, KEEP_SECONDS)
        await relay.mailbox.redrive("acme", EVERY, 900.0, ACT)
        async with one_group(relay):
            found = await asyncio.gather(*(accepted(relay.mailbox) for _ in range(3)))
        again = (await known(relay.mailbox, first.id)).number
        assert [letter.number for letter in found] == [again + 1, again + 2, again + 3]
        assert relay.database.read(SQL["last_number"]) == [(again + 3,)]


FULL_DISK = textwrap.dedent("""
    import asyncio, resource, signal, sys, time
    from pathlib import Path
    from a2a_relay.core.address import Address
    from a2a_relay.core.letter import Draft, Room
    from a2a_relay.errors import StoreError
    from a2a_relay.stores.sqlite.database import Database
    from a2a_relay.stores.sqlite.mailbox import SqliteMailbox

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    async def main():
        database = Database(Path(sys.argv[1]))
        mailbox = SqliteMailbox(database, time.time)
        kept, refused = [], 0

        async def accept(number):
            id = f"rly-{number}"
            wanted = Draft(id, Address("acme", "zaf"), "u", id, id, id, b"{}", b"x" * 20_000, 900.0)
            await mailbox.accept(wanted, Room())
            kept.append(id)

        await accept(0)
        resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, resource.RLIM_INFINITY))
        for number in range(1, 60):
            try:
                await accept(number)
            except StoreError:
                refused += 1
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        for number in range(60, 70):
            await accept(number)
        assert len(kept) > 11, kept
        found = sum(mailbox.backlog().values())
        for id in kept:
            assert (await mailbox.find("acme", id)) is not None
        database.close()
        print(refused, len(kept), found)

    asyncio.run(main())
""")
"""A process whose files may not grow for a while. Prints what was refused, what was accepted, and what is there."""

ACCEPTING = textwrap.dedent("""
    import asyncio, sys, time
    from pathlib import Path
    from a2a_relay.core.address import Address
    from a2a_relay.core.letter import Draft, Room
    from a2a_relay.stores.sqlite.database import Database
    from a2a_relay.stores.sqlite.mailbox import SqliteMailbox

    async def main():
        mailbox = SqliteMailbox(Database(Path(sys.argv[1])), time.time)

        async def accept(caller):
            for number in range(10**9):
                id = f"{sys.argv[2]}-{caller}-{number}"
                context, agent = str(number % 3), Address("acme", f"a{caller}")
                wanted = Draft(id, agent, "u", id, context, id, b"{}", b"x" * 300, 900.0)
                await mailbox.accept(wanted, Room(letters=10**9, bytes=10**12))
                print(id, flush=True)

        await asyncio.gather(*(accept(caller) for caller in range(8)))

    asyncio.run(main())
""")
"""A process that accepts letters of eight callers and prints each id, until it is killed."""


def accepted_until_killed(path: Path, life: str, count: int) -> list[str]:
    process = subprocess.Popen([sys.executable, "-c", ACCEPTING, str(path), life], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    printed = [process.stdout.readline().strip() for _ in range(count)]
    process.send_signal(signal.SIGKILL)
    printed += [line.strip() for line in process.stdout if line.endswith("\n")]
    process.stdout.close()
    process.wait(20)
    return printed


class TestAKill:
    async def test_loses_nothing_that_was_printed(self, path: Path) -> None:
        printed: list[str] = []
        for life in range(5):
            printed += accepted_until_killed(path, f"rly-{life}", 60 + 37 * life)
        relay = Relay(path)
        assert len(set(printed)) == len(printed) > 500
        for id in printed:
            assert await relay.mailbox.find("acme", id) is not None
        assert sum(relay.mailbox.backlog().values()) >= len(printed)
        assert relay.database.record is not None
        assert not relay.database.record.was_clean
        relay.close()
        assert relay.troubles == []

    async def test_a_relay_that_has_left_in_order_is_known_by_it(self, path: Path) -> None:
        Relay(path).close()
        relay = Relay(path)
        assert relay.database.record is not None
        assert relay.database.record.was_clean
        relay.close()


class TestADamagedEnd:
    async def test_is_told_with_how_many_are_missing(self, path: Path, relay: Relay) -> None:
        ids = [(await accepted(relay.mailbox)).id for _ in range(20)]
        await relay.recorded()
        epoch = relay.database.record.epoch if relay.database.record is not None else ""
        copy = copy_of(path, "damaged")
        log = copy.with_name(copy.name + "-wal")
        size = log.stat().st_size
        with log.open("r+b") as file:
            file.seek(size - size // 4)
            file.write(b"\xff" * 512)
        second = Relay(copy)
        found = [await second.mailbox.find("acme", id) for id in ids]
        missing = found.count(None)
        assert 0 < missing < 20
        assert found[-missing:] == [None] * missing
        assert second.database.record is not None
        assert second.database.record.missing == missing
        assert second.database.record.epoch != epoch
        assert any(f"lost the last {missing} letters" in trouble for trouble in second.troubles)
        second.close()
        third = Relay(copy)
        assert third.database.record is not None
        assert third.database.record.missing == 0
        third.close()
        assert third.troubles == []

    async def test_an_undamaged_copy_misses_nothing(self, path: Path, relay: Relay) -> None:
        for _ in range(20):
            await accepted(relay.mailbox)
        await relay.recorded()
        second = Relay(copy_of(path, "whole"))
        assert second.mailbox.backlog() == {ZAF: 20}
        second.close()
        assert second.troubles == []

    async def test_a_damaged_page_is_told_by_the_check_after_a_kill(self, path: Path) -> None:
        accepted_until_killed(path, "rly", 300)
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            sql = "SELECT rootpage FROM sqlite_schema WHERE name = 'letters_of_tenant'"
            (root,) = connection.execute(sql).fetchone()
        with path.open("r+b") as file:
            file.seek((root - 1) * 4096)
            file.write(b"\xff" * 2000)
        relay = Relay(path)
        await until(lambda: any("is damaged" in trouble for trouble in relay.troubles))
        relay.close()

    def test_of_the_side_file_is_no_reason_not_to_start(self, path: Path) -> None:
        Relay(path).close()
        path.with_name(path.name + "-accepted").write_bytes(b"\xff" * 64)
        relay = Relay(path)
        assert relay.database.record is not None
        assert relay.database.record.missing == 0
        relay.close()

    def test_the_side_file_gives_back_what_was_written(self, path: Path) -> None:
        side_file = SideFile.open(path)
        assert side_file is not None
        assert side_file.read() is None
        for record in (Record("0f" * 8, 123_456_789_012, is_clean=False), Record("0f" * 8, 1, is_clean=True)):
            side_file.write(record)
            assert side_file.read() == record
        side_file.close()


class TestTwoProcesses:
    async def test_neither_is_locked_out_and_foreign_commits_are_noticed(self, path: Path, relay: Relay) -> None:
        noticed = threading.Event()
        relay.database.watch(noticed.set)
        for _ in range(3):
            await accepted(relay.mailbox)
        await asyncio.sleep(1.2)
        assert not noticed.is_set(), "its own commits are not foreign"
        other = await asyncio.to_thread(accepted_until_killed, path, "rly-other", 50)
        await until(noticed.is_set)
        for id in other:
            assert await relay.mailbox.find("acme", id) is not None
        assert (await accepted(relay.mailbox)).number > 53
        assert relay.troubles == []

    async def test_the_directory_counts_anew(self, path: Path, relay: Relay) -> None:
        directory = SqliteDirectory(relay.database)
        guest = Relay(path, is_guest=True)
        theirs = SqliteDirectory(guest.database)
        theirs.put(AgentRecord(ZAF, None, "native", 1.0, 1.0))
        theirs.put(AgentRecord(ANN, None, "native", 1.0, 1.0))
        guest.close()
        await until(lambda: directory.count("acme") == 2)
        directory.put(AgentRecord(Address("acme", "bob"), None, "native", 1.0, 1.0))
        assert directory.count("acme") == 3

    async def test_a_guest_leaves_the_record_alone(self, path: Path) -> None:
        relay = Relay(path)
        guest = Relay(path, is_guest=True)
        assert guest.database.record is None
        await guest.mailbox.pause(ZAF, True, ACT)
        guest.close()
        await accepted(relay.mailbox)
        assert await leased(relay.mailbox) == []
        relay.close()
        assert relay.troubles == []


class TestBackups:
    async def test_are_taken_while_a_relay_writes(self, path: Path, relay: Relay) -> None:
        first = await accepted(relay.mailbox)
        target = path.with_name("backup.db")
        writing = asyncio.create_task(self.write_on(relay))
        await asyncio.to_thread(back_up, path, target, verify=True)
        writing.cancel()
        assert stat.S_IMODE(target.stat().st_mode) == 0o600
        assert [file.name for file in path.parent.glob("*partial*")] == []
        with closing(sqlite3.connect(target)) as connection:
            assert connection.execute("SELECT 1 FROM letters WHERE id = ?", (first.id,)).fetchone()

    @staticmethod
    async def write_on(relay: Relay) -> None:
        while True:
            await accepted(relay.mailbox, ttl_seconds=1e6)

    async def test_are_restored_with_a_mark_on_what_waits(self, path: Path) -> None:
        relay = Relay(path)
        done = (await accepted(relay.mailbox, "c0")).id
        await leased(relay.mailbox)
        await relay.mailbox.ack(ZAF, done, "s1", ANSWER, Alias(), KEEP_SECONDS)
        held, behind = [(await accepted(relay.mailbox, "c1")).id for _ in range(2)]
        late = (await accepted(relay.mailbox, "c1", leased_by="s1")).id
        await leased(relay.mailbox)
        target = path.with_name("backup.db")
        back_up(path, target)
        await accepted(relay.mailbox)
        relay.close()
        assert restore(target, path) == 3
        relay = Relay(path)
        assert relay.mailbox.backlog() == {ZAF: 3}
        for id in (held, behind, late):
            letter = await known(relay.mailbox, id)
            assert (letter.state, letter.lease, letter.is_restored) == (LetterState.QUEUED, "", True)
            assert letter.history[-1].event == "restored"
        assert not (await known(relay.mailbox, done)).is_restored
        for id in (held, behind, late):
            assert await leased(relay.mailbox) == [id]
            assert await relay.mailbox.ack(ZAF, id, "s1", ANSWER, Alias(), KEEP_SECONDS)
        assert (await events(relay.mailbox, held))[-4:] == ["restored", "leased", "acked", "done"]
        relay.close()
        assert relay.troubles == []

    async def test_begin_a_new_epoch(self, path: Path) -> None:
        relay = Relay(path)
        assert relay.database.record is not None
        epoch = relay.database.record.epoch
        back_up(path, path.with_name("backup.db"))
        relay.close()
        restore(path.with_name("backup.db"), path)
        relay = Relay(path)
        assert relay.database.record is not None
        assert relay.database.record.epoch != epoch
        relay.close()

    def test_are_not_restored_under_a_running_relay(self, path: Path, relay: Relay) -> None:
        target = path.with_name("backup.db")
        back_up(path, target)
        with pytest.raises(StoreError, match="a relay is running"):
            restore(target, path)

    def test_that_are_damaged_leave_the_store_as_it_was(self, path: Path) -> None:
        Relay(path).close()
        before = path.read_bytes()
        backup = path.with_name("backup.db")
        backup.write_bytes(before[: len(before) // 2])
        with pytest.raises(StoreError):
            restore(backup, path)
        assert path.read_bytes() == before

    def test_of_nothing_are_refused(self, path: Path) -> None:
        with pytest.raises(StoreError, match="no store"):
            back_up(path, path.with_name("backup.db"))
        Relay(path).close()
        with pytest.raises(StoreError, match="itself"):
            back_up(path, path)


HOT = [
    "prepare_accept",
    "get_key",
    "get_keys",
    "find_letter",
    "find_context",
    "is_waiting",
    "lease",
    "next_due",
    "leased",
    "get_held",
    "get_queued",
    "hand_on",
    "step_down",
    "give_back",
    "end_letter",
    "lease_letter",
    "expiring",
    "unswept",
    "removable",
    "remove_letter",
    "remove_mailbox",
    "remove_keys",
    "redrive_letter",
    "trim_audit",
    "audit",
]

FULLY_READ = ("INDEX letters_unswept", "CONSTANT ROW", "asked", "sqlite_sequence")
"""What is meant to be read from end to end: an index of what is asked for, what was given, and two rows of SQLite's."""


class TestQueryPlans:
    @pytest.mark.parametrize("name", HOT)
    def test_no_step_reads_a_whole_table_or_sorts(self, relay: Relay, name: str) -> None:
        plan = self.plan(relay, SQL[name], (0,) * SQL[name].count("?"))
        whole = [line for line in plan if line.startswith("SCAN") and not line.endswith(FULLY_READ)]
        assert not whole, plan
        is_small = name == "find_context"  # it sorts the letters of one context that are waiting
        assert is_small or not [line for line in plan if "TEMP B-TREE" in line], plan

    @pytest.mark.parametrize(
        ("filter", "index"),
        [
            (EVERY, "letters_of_tenant"),
            (Filter(agent="zaf"), "letters_of_mailbox"),
            (Filter(owner="u"), "letters_of_tenant"),
            (Filter(state="dead"), "letters_dead"),
        ],
    )
    def test_lists_walk_an_index_in_their_order(self, relay: Relay, filter: Filter, index: str) -> None:
        where, parameters = administration._where("acme", filter)
        plan = self.plan(
            relay, f"SELECT * FROM letter_heads WHERE {where} ORDER BY number DESC LIMIT 10", tuple(parameters)
        )
        assert any(index in line for line in plan), plan
        assert filter.agent or not [line for line in plan if "TEMP B-TREE" in line], plan

    @staticmethod
    def plan(relay: Relay, sql: str, parameters: tuple[object, ...]) -> list[str]:
        return [str(row[3]) for row in relay.database.read(f"EXPLAIN QUERY PLAN {sql}", parameters)]
