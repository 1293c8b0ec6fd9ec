"""The audit log's contract (`ports/audit.py`), kept by every store; then what only SQLite promises."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from a2a_relay.core.audit import FIRST_HASH, AuditFact, AuditRecord, chain
from a2a_relay.core.audit_check import ChainCheck
from a2a_relay.ports.audit import AuditHead, AuditLog
from a2a_relay.stores.memory import audit as memory_audit
from a2a_relay.stores.memory.audit import MemoryAudit
from a2a_relay.stores.sqlite import audit as sqlite_audit
from a2a_relay.stores.sqlite import opening as sqlite_opening
from a2a_relay.stores.sqlite import writer as sqlite_writer
from a2a_relay.stores.sqlite.audit import SqliteAudit
from a2a_relay.stores.sqlite.database import Database
from a2a_relay.testing.clock import START_AT, FakeClock

PATIENCE_SECONDS = 20


def fact(number: int = 0, tenant: str = "acme") -> AuditFact:
    return AuditFact(tenant, "key:k1", "keys.create", f"k-{number}", "done", "because", "10.0.0.1", 3)


class Opened:
    """A log, and its database if it has one."""

    def __init__(self, clock: FakeClock, path: Path | None = None, *, is_guest: bool = False) -> None:
        self.database = None if path is None else Database(path, is_guest=is_guest)
        self.log: AuditLog = MemoryAudit(clock.now) if self.database is None else SqliteAudit(self.database, clock.now)

    def write(self, *facts: AuditFact) -> None:
        """Write, and wait until it can be read."""
        for fact in facts:
            self.log.write(fact)
        self.settle()

    def settle(self) -> None:
        self.log.flush()

    def close(self) -> None:
        self.settle()
        if self.database is not None:
            self.database.close()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "relay.db"


@pytest.fixture(params=["memory", "sqlite"])
async def opened(request: pytest.FixtureRequest, clock: FakeClock, path: Path) -> AsyncIterator[Opened]:
    found = Opened(clock, None if request.param == "memory" else path)
    yield found
    found.close()


class TestEveryLog:
    async def test_begins_with_nothing(self, opened: Opened) -> None:
        assert opened.log.head == AuditHead(0, FIRST_HASH)
        assert list(await opened.log.page(None)) == []
        assert await opened.log.purge(START_AT + 1) == 0
        assert await opened.log.check() == (0, AuditHead(0, FIRST_HASH), None)

    async def test_chains_each_entry_to_the_one_before(self, opened: Opened, clock: FakeClock) -> None:
        opened.log.write(fact(1))
        clock.advance(1.2345)
        opened.write(fact(2, tenant="other"))
        first = chain(1, START_AT, fact(1), FIRST_HASH)
        second = chain(2, START_AT + 1.2345, fact(2, tenant="other"), first.hash)
        assert list(await opened.log.behind(0)) == [first, second]
        assert opened.log.head == AuditHead(2, second.hash)
        assert await opened.log.check() == (2, AuditHead(2, second.hash), None)

    async def test_shows_the_newest_first_a_page_at_a_time(self, opened: Opened) -> None:
        opened.write(*(fact(number) for number in range(1, 8)))
        assert [entry.number for entry in await opened.log.page(None, limit=3)] == [7, 6, 5]
        assert [entry.number for entry in await opened.log.page(None, before=5, limit=3)] == [4, 3, 2]
        assert [entry.number for entry in await opened.log.page(None, before=1)] == []

    async def test_shows_a_tenant_its_own_entries_alone(self, opened: Opened) -> None:
        opened.write(*(fact(number, tenant) for number, tenant in enumerate(["acme", "other", "", "acme", "acme2"])))
        assert [entry.number for entry in await opened.log.page("acme")] == [4, 1]
        assert [entry.number for entry in await opened.log.page("acme", before=4)] == [1]
        assert [entry.number for entry in await opened.log.page("")] == [3]

    async def test_reads_on_behind_a_number(self, opened: Opened) -> None:
        opened.write(*(fact(number) for number in range(1, 8)))
        assert [entry.number for entry in await opened.log.behind(2, 3)] == [3, 4, 5]
        assert [entry.number for entry in await opened.log.behind(7)] == []

    async def test_begins_anew_at_the_first_that_is_not_too_old(self, opened: Opened, clock: FakeClock) -> None:
        for number in range(6):
            opened.write(fact(number))
            clock.advance(10)
        assert await opened.log.purge(START_AT + 25) == 3
        assert [entry.number for entry in await opened.log.behind(0)] == [4, 5, 6]
        check = await opened.log.check()
        assert (check.entries, check.head, check.broken_at) == (3, opened.log.head, None)
        assert [entry.number for entry in await opened.log.behind(4)] == [5, 6]

    async def test_keeps_the_last_however_old_so_that_the_next_follows_it(self, opened: Opened) -> None:
        opened.write(fact(1), fact(2))
        head = opened.log.head
        assert await opened.log.purge(START_AT + 1000) == 1
        assert await opened.log.purge(START_AT + 1000) == 0
        opened.write(fact(3))
        assert [(entry.number, entry.previous) for entry in await opened.log.behind(2)] == [(3, head.hash)]
        assert (await opened.log.check()).broken_at is None

    async def test_removes_no_entry_from_between_others_when_the_clock_was_set_back(
        self, opened: Opened, clock: FakeClock
    ) -> None:
        opened.write(fact(1))
        clock.jump(-1000)
        opened.write(fact(2))
        clock.jump(+1000)
        opened.write(fact(3))
        assert await opened.log.purge(START_AT - 500) == 0
        assert (await opened.log.check()).entries == 3

    async def test_takes_whatever_text_it_is_given(self, opened: Opened) -> None:
        opened.write(AuditFact("täg", "a\ud800b", "x\n\x00y", "😀" * 50))
        check = await opened.log.check()
        assert (check.entries, check.broken_at) == (1, None)


async def test_in_memory_keeps_a_bounded_number(clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_audit, "MAX_ENTRIES", 100)
    log = MemoryAudit(clock.now)
    for number in range(1_000):
        log.write(fact(number))
    check = await log.check()
    assert 100 <= check.entries <= 110
    assert (check.head.number, check.broken_at) == (1_000, None)


# --- SQLite alone ---


@pytest.fixture
async def relay(clock: FakeClock, path: Path) -> AsyncIterator[Opened]:
    found = Opened(clock, path)
    yield found
    found.close()


Tamper = Callable[[str, tuple[object, ...]], Awaitable[int | None]]


@pytest.fixture
def tamper(relay: Opened, path: Path) -> Tamper:
    """Changes the file past the log, asks for a check, and undoes the change; where the chain was broken."""

    async def carry_out(sql: str, parameters: tuple[object, ...] = ()) -> int | None:
        with closing(sqlite3.connect(path)) as connection:
            before = connection.execute("SELECT * FROM audit_chain").fetchall()
            with connection:
                connection.execute(sql, parameters)
            found = (await relay.log.check()).broken_at
            with connection:
                connection.execute("DELETE FROM audit_chain")
                marks = ", ".join("?" * len(before[0]))
                connection.executemany(f"INSERT INTO audit_chain VALUES ({marks})", before)
        return found

    return carry_out


FORGERIES: dict[str, object] = {
    "at": START_AT + 0.001,
    "tenant": "other",
    "actor": "key:k2",
    "action": "keys.list",
    "target": "k-9",
    "outcome": "PERMISSION_DENIED",
    "reason": "",
    "peer": "10.0.0.2",
    "times": 4,
    "previous": "0" * 64,
    "hash": "f" * 64,
}


class TestSqlite:
    async def test_finds_every_changed_field_of_every_entry(self, relay: Opened, tamper: Tamper) -> None:
        relay.write(*(fact(number) for number in range(4)))
        assert set(AuditRecord._fields) - {"fact", "number"} | set(AuditFact._fields) == set(FORGERIES)
        for field, value in FORGERIES.items():
            for number in range(1, 5):
                if (field, number) != ("previous", 1):  # that is what it says
                    assert await tamper(f"UPDATE audit_chain SET {field} = ? WHERE number = ?", (value, number)), field
        assert await tamper("UPDATE audit_chain SET at = 'never' WHERE number = 2", ()) == 2
        assert (await relay.log.check()).broken_at is None

    async def test_finds_every_removed_moved_and_inserted_entry(self, relay: Opened, tamper: Tamper) -> None:
        relay.write(*(fact(number) for number in range(4)))
        for number in range(1, 5):
            broken_at = await tamper("DELETE FROM audit_chain WHERE number = ?", (number,))
            assert broken_at == (4 if number == 4 else number + 1)
        assert await tamper("DELETE FROM audit_chain WHERE number > 2", ()) == 3
        assert await tamper("DELETE FROM audit_chain", ()) == 1
        assert await tamper("UPDATE audit_chain SET number = 9 WHERE number = 2", ()) == 3
        copied = "INSERT INTO audit_chain SELECT 5, at, tenant, actor, action, target, outcome, reason, peer, times,"
        assert await tamper(f"{copied} previous, hash FROM audit_chain WHERE number = 4", ()) == 5

    async def test_finds_an_entry_that_was_removed_behind_those_that_are_too_old(
        self, relay: Opened, tamper: Tamper, clock: FakeClock
    ) -> None:
        for number in range(6):
            relay.write(fact(number))
            clock.advance(10)
        assert await relay.log.purge(START_AT + 15) == 2
        assert await tamper("DELETE FROM audit_chain WHERE number = 3", ()) == 4

    async def test_keeps_one_chain_when_two_processes_write(self, relay: Opened, clock: FakeClock, path: Path) -> None:
        guest = Opened(clock, path, is_guest=True)

        def write(log: AuditLog, tenant: str) -> None:
            for number in range(300):
                log.write(fact(number, tenant))

        threads = [threading.Thread(target=write, args=(each.log, name)) for each, name in ((relay, "a"), (guest, "b"))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        relay.settle()
        guest.close()
        check = await relay.log.check()
        assert (check.entries, check.broken_at) == (600, None)
        for tenant in ("a", "b"):
            targets = [entry.fact.target for entry in await relay.log.page(tenant, limit=1000)]
            assert targets == [f"k-{number}" for number in reversed(range(300))]

    async def test_goes_on_with_the_chain_after_a_close(self, relay: Opened, clock: FakeClock, path: Path) -> None:
        relay.log.write(fact(1))
        relay.close()
        second = Opened(clock, path)
        second.write(fact(2))
        check = await second.log.check()
        assert (check.entries, check.broken_at) == (2, None)
        second.close()

    async def test_reads_a_long_chain_in_pieces(self, relay: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sqlite_audit, "_CHUNK", 3)
        relay.write(*(fact(number) for number in range(10)))
        assert (await relay.log.check()).entries == 10

    async def test_misses_nothing_of_what_is_removed_by_age_while_it_checks(
        self, relay: Opened, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sqlite_audit, "_CHUNK", 2)
        for number in range(8):
            relay.write(fact(number))
            clock.advance(10)
        check, database = ChainCheck(), relay.database
        assert database is not None
        await database.look(lambda connection: sqlite_audit._follow(check, connection))
        assert await relay.log.purge(START_AT + 45) == 5
        while await database.look(lambda connection: sqlite_audit._follow(check, connection)):
            pass
        assert (check.number, check.broken_at) == (8, None)

    async def test_writes_what_a_locked_file_did_not_take(
        self, path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sqlite_opening, "BUSY_SECONDS", 0.05)
        monkeypatch.setattr(sqlite_writer, "RETRY_SECONDS", 0.05)
        is_troubled = threading.Event()
        database = Database(path, on_trouble=lambda _: is_troubled.set())
        log = SqliteAudit(database, clock.now)
        with closing(sqlite3.connect(path, isolation_level=None)) as blocker:
            blocker.execute("BEGIN IMMEDIATE")
            for number in range(5):
                log.write(fact(number))
            assert is_troubled.wait(PATIENCE_SECONDS)
            log.write(fact(5))
            assert log.head.number == 0
            blocker.execute("ROLLBACK")
        log.flush()
        assert [entry.fact.target for entry in await log.behind(0)] == [f"k-{number}" for number in range(6)]
        assert (await log.check()).broken_at is None
        database.close()

    async def test_counts_what_there_is_no_room_for(
        self, relay: Opened, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sqlite_audit, "MAX_WAITING", 3)
        with closing(sqlite3.connect(path, isolation_level=None)) as blocker:
            blocker.execute("BEGIN IMMEDIATE")
            for number in range(10):
                relay.log.write(fact(number))
            blocker.execute("ROLLBACK")
        relay.settle()
        entries = await relay.log.behind(0)
        assert [entry.fact.action for entry in entries] == ["keys.create"] * 3 + ["audit.lost"]
        assert entries[-1].fact.times == 7

    async def test_begins_empty_in_a_file_of_the_release_before(self, path: Path, clock: FakeClock) -> None:
        connection = sqlite3.connect(path, isolation_level=None)
        for number, script in sqlite_opening.migrations()[:4]:
            connection.executescript(f"{script}; PRAGMA user_version={number};")
        connection.execute(
            "INSERT INTO audit (at, tenant, actor, action, target, touched, reason) VALUES (1, 'a', 'b', '', '', 1, '')"
        )
        connection.close()
        opened = Opened(clock, path)
        opened.write(fact())
        assert (await opened.log.check()).entries == 1
        opened.close()
        with closing(sqlite3.connect(path)) as connection:
            assert connection.execute("SELECT count(*) FROM audit").fetchone() == (1,)


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
facts = st.builds(AuditFact, texts, texts, texts, texts, texts, texts, texts, st.integers(1, 2**40))


class TestCheck:
    @settings(max_examples=60, deadline=None)
    @given(st.lists(facts, min_size=1, max_size=8), st.data())
    def test_finds_any_single_change(self, written: list[AuditFact], data: st.DataObject) -> None:
        records, previous = [], FIRST_HASH
        for number, each in enumerate(written, 1):
            records.append(chain(number, START_AT + number, each, previous))
            previous = records[-1].hash
        at = data.draw(st.integers(0, len(records) - 1))
        other = data.draw(facts.filter(lambda fact: fact != written[at]))
        forged = records[at]._replace(fact=other)
        if data.draw(st.booleans()):  # with a hash that fits
            forged = chain(forged.number, forged.at, other, forged.previous)
        check = ChainCheck()
        check.follow([*records[:at], forged, *records[at + 1 :]], 1)
        is_seen_by_head = at == len(records) - 1 and check.hash != records[-1].hash
        assert check.broken_at is not None or is_seen_by_head

    def test_takes_no_start_that_is_not_the_chains(self) -> None:
        second = chain(2, START_AT, fact(), "f" * 64)
        for begins_at, broken_at in ((1, 2), (2, None), (3, 2)):
            check = ChainCheck()
            check.follow([second], begins_at)
            assert check.broken_at == broken_at
