"""Every index of tasks keeps what its port promises."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from a2a_relay.core.address import Address
from a2a_relay.ports.task_index import TaskIndex
from a2a_relay.stores.memory.task_index import MemoryTaskIndex
from a2a_relay.stores.sqlite.database import Database
from a2a_relay.stores.sqlite.task_index import GATHER_SECONDS, SqliteTaskIndex
from a2a_relay.testing.clock import FakeClock

ZAF = Address("acme", "zaf")
KEPT_SECONDS = 86_400.0
LIMIT = 3


def open_sqlite(path: Path, clock: FakeClock) -> tuple[SqliteTaskIndex, Database]:
    database = Database(path)
    return SqliteTaskIndex(database, clock.now, clock.call_later, LIMIT, KEPT_SECONDS), database


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(params=["memory", "sqlite"])
def index(request: pytest.FixtureRequest, tmp_path: Path, clock: FakeClock) -> Iterator[TaskIndex]:
    if request.param == "memory":
        yield MemoryTaskIndex()
        return
    found, database = open_sqlite(tmp_path / "relay.db", clock)
    yield found
    database.close()


def test_an_owner_is_found_as_soon_as_he_was_learned(index: TaskIndex) -> None:
    index.learn(ZAF, ["a1", "c1"], "sender:ann")
    assert index.owner(ZAF, "a1") == index.owner(ZAF, "c1") == "sender:ann"


def test_the_first_owner_stays(index: TaskIndex) -> None:
    index.learn(ZAF, ["a1"], "sender:ann")
    index.learn(ZAF, ["a1"], "sender:bob")
    assert index.owner(ZAF, "a1") == "sender:ann"


def test_the_same_id_at_another_agent_or_tenant_is_another_task(index: TaskIndex) -> None:
    index.learn(ZAF, ["a1"], "sender:ann")
    assert index.owner(Address("acme", "bob"), "a1") is None
    assert index.owner(Address("evil", "zaf"), "a1") is None


def test_nobody_owns_what_was_never_learned(index: TaskIndex) -> None:
    assert index.owner(ZAF, "a1") is None


def test_a_tenant_is_known_by_its_tasks(index: TaskIndex) -> None:
    assert not index.knows("acme")
    index.learn(ZAF, ["a1"], "sender:ann")
    assert index.knows("acme")
    assert not index.knows("evil")


class TestMemory:
    def test_the_oldest_go_when_there_are_too_many(self) -> None:
        index = MemoryTaskIndex(limit=2)
        index.learn(ZAF, ["a1", "a2", "a3"], "sender:ann")
        assert [index.owner(ZAF, id) for id in ("a1", "a2", "a3")] == [None, "sender:ann", "sender:ann"]


class TestSqlite:
    @pytest.fixture
    def reopened(self, tmp_path: Path, clock: FakeClock) -> Iterator[Callable[[], SqliteTaskIndex]]:
        databases: list[Database] = []

        def open_again() -> SqliteTaskIndex:
            for database in databases:
                database.close()
            index, database = open_sqlite(tmp_path / "relay.db", clock)
            databases.append(database)
            return index

        yield open_again
        for database in databases:
            database.close()

    def test_what_was_gathered_survives_the_process(
        self, reopened: Callable[[], SqliteTaskIndex], clock: FakeClock
    ) -> None:
        reopened().learn(ZAF, ["a1"], "sender:ann")
        clock.advance(2 * GATHER_SECONDS)
        index = reopened()
        assert index.owner(ZAF, "a1") == "sender:ann"
        assert index.knows("acme")

    def test_more_than_memory_holds_is_found_in_the_file(
        self, reopened: Callable[[], SqliteTaskIndex], clock: FakeClock
    ) -> None:
        index = reopened()
        ids = [f"a{number}" for number in range(2 * LIMIT)]
        index.learn(ZAF, ids, "sender:ann")
        clock.advance(2 * GATHER_SECONDS)
        index._database.flush()
        assert {index.owner(ZAF, id) for id in ids} == {"sender:ann"}

    def test_the_first_owner_stays_in_the_file_too(
        self, reopened: Callable[[], SqliteTaskIndex], clock: FakeClock
    ) -> None:
        reopened().learn(ZAF, ["a1"], "sender:ann")
        clock.advance(2 * GATHER_SECONDS)
        reopened().learn(ZAF, ["a1"], "sender:bob")
        clock.advance(2 * GATHER_SECONDS)
        assert reopened().owner(ZAF, "a1") == "sender:ann"

    def test_what_was_learned_too_long_ago_is_forgotten(
        self, reopened: Callable[[], SqliteTaskIndex], clock: FakeClock
    ) -> None:
        index = reopened()
        index.learn(ZAF, ["old"], "sender:ann")
        clock.advance(2 * GATHER_SECONDS)
        clock.jump(KEPT_SECONDS + 7200)
        index.learn(ZAF, ["new"], "sender:ann")
        clock.advance(2 * GATHER_SECONDS)
        index.purge()
        index = reopened()
        assert index.owner(ZAF, "old") is None
        assert index.owner(ZAF, "new") == "sender:ann"
