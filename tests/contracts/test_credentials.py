"""The credential store's contract (`ports/credentials.py`), kept by every store; then what only SQLite promises."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from a2a_relay.core.address import Address
from a2a_relay.core.audit import AuditFact
from a2a_relay.core.keys import KeyForm, KeyRecord, KeySecret, digest_of
from a2a_relay.core.principal import Role
from a2a_relay.core.tenants import Issuer, LegacyUse, TenantRecord, TenantState
from a2a_relay.errors import Reason, Refused, StoreError
from a2a_relay.ports.audit import AuditLog
from a2a_relay.ports.credentials import CredentialStore
from a2a_relay.stores.memory.audit import MemoryAudit
from a2a_relay.stores.memory.credentials import MemoryCredentials
from a2a_relay.stores.sqlite import opening as sqlite_opening
from a2a_relay.stores.sqlite.audit import SqliteAudit
from a2a_relay.stores.sqlite.credentials import SqliteCredentials
from a2a_relay.stores.sqlite.database import Database
from a2a_relay.testing.clock import START_AT, FakeClock

FACT = AuditFact("acme", "store", "keys.create")
PATIENCE_SECONDS = 20
ZAF = Address("acme", "zaf")
ACME = TenantRecord("acme", START_AT)


def key(name: str = "proxy", tenant: str = "acme", **fields: Any) -> KeyRecord:
    """A sender's key; its id is its tenant and name."""
    secret = KeySecret(digest_of(f"{tenant}/{name}"), "rly_sender_abcdef", START_AT)
    fields = {"secrets": (secret,), "role": Role.SENDER, "created_at": START_AT, **fields}
    return KeyRecord(id=fields.pop("id", f"{tenant}-{name}"), tenant=tenant, name=name, **fields)


class Opened:
    """A store of tenants and keys, its log, and its file if it has one."""

    def __init__(self, path: Path | None, clock: FakeClock, *, is_guest: bool = False) -> None:
        self.credentials: CredentialStore
        self.audit: AuditLog
        self._database: Database | None = None
        if path is None:
            self.audit = MemoryAudit(clock.now)
            self.credentials = MemoryCredentials(self.audit)
            return
        self._database = Database(path, is_guest=is_guest)
        self.audit = SqliteAudit(self._database, clock.now)
        self.credentials = SqliteCredentials(self._database, clock.now, self._call_soon, clock.call_later)

    def _call_soon(self, callback: Callable[[], None]) -> None:
        self.loop.call_soon_threadsafe(callback)

    def enter(self) -> Opened:
        """On the loop that is to be told of changes."""
        self.loop = asyncio.get_running_loop()
        return self

    def close(self) -> None:
        if isinstance(self.credentials, SqliteCredentials):
            self.credentials.close()
        self.audit.flush()
        if self._database is not None:
            self._database.close()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "relay.db"


@pytest.fixture
def open_store(path: Path, clock: FakeClock) -> Iterator[Callable[..., Opened]]:
    """Opens SQLite on the one file, and closes what is left open."""
    opened: list[Opened] = []

    def open_(**flags: bool) -> Opened:
        opened.append(Opened(path, clock, **flags).enter())
        return opened[-1]

    yield open_
    for store in opened:
        store.close()


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, path: Path, clock: FakeClock) -> AsyncIterator[Opened]:
    found = Opened(None if request.param == "memory" else path, clock).enter()
    yield found
    found.close()


class TestEveryStore:
    async def test_is_empty_at_first(self, store: Opened) -> None:
        known = store.credentials
        assert known.tenant("acme") is None
        assert known.key("acme-proxy") is None
        assert known.find(digest_of("anything")) is None
        assert [*known.tenants(), *known.keys_of("acme"), *known.keys_of_agent(ZAF), *known.legacy_uses()] == []

    async def test_gives_back_a_tenant_with_everything_that_was_settled(self, store: Opened) -> None:
        issuer = Issuer(
            "https://id.example", ("relay",), "https://id.example/jwks", "", ("EdDSA",), ("sender", "admin")
        )
        offline = Issuer("https://other.example", (), "", '{"keys":[]}')
        record = TenantRecord(
            "acme", 1.25, TenantState.DISABLED, False, ("10.0.0.0/8", "::1"), {"calls": 2.5}, (issuer, offline),
            "refuse", 30.5,
        )  # fmt: skip
        await store.credentials.put_tenant(record, FACT)
        await store.credentials.put_tenant(TenantRecord("a", 2.0), FACT)
        assert store.credentials.tenant("acme") == record
        assert [found.name for found in store.credentials.tenants()] == ["a", "acme"]

    async def test_replaces_a_tenant_as_a_whole(self, store: Opened) -> None:
        await store.credentials.put_tenant(ACME._replace(limits={"calls": 1.0}, networks=("10.0.0.1",)), FACT)
        await store.credentials.put_tenant(ACME, FACT)
        assert store.credentials.tenant("acme") == ACME

    async def test_finds_a_key_by_each_of_its_secrets(self, store: Opened) -> None:
        new = KeySecret(digest_of("new"), "rly_agent_newnew", START_AT + 5, None, b"\x00sealed\xff")
        old = KeySecret(digest_of("old"), "rly_agent_oldold", START_AT, START_AT + 60)
        record = key(
            "zaf", role=Role.AGENT, agent="zaf", form=KeyForm.HS256, secrets=(new, old), scopes=frozenset(),
            agents=frozenset({"zaf", "bob"}), networks=("10.0.0.0/8",), limits={"calls": 3.0}, created_by="store",
            expires_at=START_AT + 99, proof_key=b"\x01" * 32,
        )  # fmt: skip
        await store.credentials.put_key(record, FACT)
        assert store.credentials.find(new.digest) == (record, new)
        assert store.credentials.find(old.digest) == (record, old)
        assert store.credentials.find(digest_of("other")) is None
        assert store.credentials.key(record.id) == record
        assert list(store.credentials.keys_of_agent(ZAF)) == [record]

    async def test_tells_no_scopes_from_all_that_the_role_may(self, store: Opened) -> None:
        await store.credentials.put_key(key("none", scopes=frozenset(), agents=frozenset()), FACT)
        await store.credentials.put_key(key("all"), FACT)
        none, every = store.credentials.key("acme-none"), store.credentials.key("acme-all")
        assert none is not None
        assert every is not None
        assert (none.scopes, none.agents) == (frozenset(), frozenset())
        assert (every.scopes, every.agents) == (None, None)

    async def test_forgets_a_secret_that_a_key_does_not_have_any_more(self, store: Opened) -> None:
        await store.credentials.put_key(key(), FACT)
        newer = key(secrets=(KeySecret(digest_of("newer"), "p", START_AT),))
        await store.credentials.put_key(newer, FACT)
        assert store.credentials.find(digest_of("acme/proxy")) is None
        assert store.credentials.find(digest_of("newer")) == (newer, newer.secrets[0])
        assert list(store.credentials.keys_of("acme")) == [newer]

    async def test_lists_the_keys_of_a_tenant_by_age_and_no_others(self, store: Opened) -> None:
        for name, at in (("b", 3.0), ("a", 2.0), ("c", 1.0)):
            await store.credentials.put_key(key(name, created_at=at), FACT)
        await store.credentials.put_key(key("a", "other"), FACT)
        await store.credentials.put_key(key("root", "", role=Role.OPERATOR), FACT)
        assert [found.name for found in store.credentials.keys_of("acme")] == ["c", "a", "b"]
        assert [found.name for found in store.credentials.keys_of("")] == ["root"]

    async def test_keeps_a_revoked_key_of_an_agent_where_it_is_asked_for(self, store: Opened) -> None:
        record = key("zaf", role=Role.AGENT, agent="zaf")
        await store.credentials.put_key(record, FACT)
        await store.credentials.put_key(record._replace(revoked_at=5.0), FACT)
        assert list(store.credentials.keys_of_agent(ZAF)) == [record._replace(revoked_at=5.0)]

    async def test_leaves_revoked_what_was_revoked(self, store: Opened) -> None:
        """Somebody who rotates a key has read it before another has revoked it."""
        await store.credentials.put_key(key(revoked_at=5.0), FACT)
        await store.credentials.put_key(key(limits={"calls": 1.0}), FACT)
        found = store.credentials.key("acme-proxy")
        assert found is not None
        assert (found.revoked_at, dict(found.limits)) == (5.0, {"calls": 1.0})

    async def test_refuses_a_name_that_another_key_of_its_tenant_has(self, store: Opened) -> None:
        await store.credentials.put_key(key(revoked_at=5.0), FACT)
        before = store.credentials.generation
        with pytest.raises(Refused) as refused:
            await store.credentials.put_key(key(id="another"), FACT)
        assert refused.value.reason is Reason.NAME_TAKEN
        assert store.credentials.key("another") is None
        assert store.credentials.generation == before
        assert len(await store.audit.page(None)) == 1
        await store.credentials.put_key(key(tenant="other", id="another"), FACT)

    async def test_gives_a_name_that_was_given_up_to_another(self, store: Opened) -> None:
        await store.credentials.put_key(key("old"), FACT)
        await store.credentials.put_key(key("new", id="acme-old"), FACT)
        await store.credentials.put_key(key("old", id="another"), FACT)
        assert {found.name: found.id for found in store.credentials.keys_of("acme")} == {
            "new": "acme-old",
            "old": "another",
        }

    async def test_deletes_a_tenant_with_its_keys_and_no_other(self, store: Opened, clock: FakeClock) -> None:
        for tenant in ("acme", "acme2"):
            await store.credentials.put_tenant(TenantRecord(tenant, 1.0), FACT)
            await store.credentials.put_key(key("zaf", tenant, role=Role.AGENT, agent="zaf"), FACT)
            store.credentials.note_legacy(tenant, "zaf", "agent", clock.now())
        await store.credentials.delete_tenant("acme", FACT)
        known = store.credentials
        assert known.tenant("acme") is None
        assert [*known.keys_of("acme"), *known.keys_of_agent(ZAF), *known.legacy_uses("acme")] == []
        assert known.find(digest_of("acme/zaf")) is None
        assert known.find(digest_of("acme2/zaf")) is not None
        assert [use.tenant for use in known.legacy_uses()] == ["acme2"]
        await known.delete_tenant("never was", FACT)

    async def test_counts_and_tells_of_every_change(self, store: Opened) -> None:
        told: list[int] = []
        store.credentials.watch(lambda: told.append(store.credentials.generation))
        start = store.credentials.generation
        await store.credentials.put_tenant(ACME, FACT)
        await store.credentials.put_key(key(), FACT)
        await store.credentials.delete_tenant("acme", FACT)
        assert told == [start + 1, start + 2, start + 3]
        store.credentials.note_use("acme-proxy", START_AT)
        store.credentials.note_legacy("acme", "zaf", "agent", START_AT)
        assert store.credentials.generation == start + 3

    async def test_writes_every_change_down(self, store: Opened) -> None:
        facts = [AuditFact("acme", "store", action) for action in ("tenants.create", "keys.create", "tenants.delete")]
        await store.credentials.put_tenant(ACME, facts[0])
        await store.credentials.put_key(key(), facts[1])
        await store.credentials.delete_tenant("acme", facts[2])
        assert [entry.fact for entry in await store.audit.behind(0)] == facts
        assert (await store.audit.check()).broken_at is None

    async def test_keeps_the_last_use_to_the_minute(self, store: Opened) -> None:
        await store.credentials.put_key(key(), FACT)
        for at, kept in ((100.0, 100.0), (159.0, 100.0), (160.0, 160.0), (90.0, 160.0)):
            store.credentials.note_use("acme-proxy", at)
            found = store.credentials.key("acme-proxy")
            assert found is not None
            assert found.last_used_at == kept
        store.credentials.note_use("never was", 100.0)
        await store.credentials.put_key(key(revoked_at=5.0), FACT)
        assert store.credentials.keys_of("acme")[0].last_used_at == 160.0

    async def test_remembers_who_uses_the_shared_secret(self, store: Opened) -> None:
        for at in (100.0, 130.0, 200.0):
            store.credentials.note_legacy("acme", "zaf", "agent", at)
        store.credentials.note_legacy("other", "bob", "admin", 5.0)
        assert list(store.credentials.legacy_uses("acme")) == [LegacyUse("acme", "zaf", "agent", 100.0, 200.0)]
        assert len(store.credentials.legacy_uses()) == 2

    async def test_remembers_a_bounded_number_of_them(self, store: Opened) -> None:
        for number in range(10_005):
            store.credentials.note_legacy("acme", f"a{number}", "agent", 100.0)
        assert len(store.credentials.legacy_uses()) == 10_000


async def until(is_true: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not is_true():
            await asyncio.sleep(0.02)


OpenStore = Callable[..., Opened]


class TestSqlite:
    async def test_keeps_everything_over_a_close(self, open_store: OpenStore) -> None:
        first = open_store()
        await first.credentials.put_tenant(ACME, FACT)
        for name in ("a", "b"):
            await first.credentials.put_key(key(name, agent=name, role=Role.AGENT), FACT)
        first.credentials.note_use("acme-a", 160.0)
        first.credentials.note_legacy("acme", "zaf", "agent", 100.0)
        before = [first.credentials.tenants(), first.credentials.keys_of("acme"), first.credentials.legacy_uses()]
        first.close()
        second = open_store().credentials
        assert [second.tenants(), second.keys_of("acme"), second.legacy_uses()] == before
        assert second.keys_of_agent(Address("acme", "b"))[0].name == "b"
        assert second.keys_of("acme")[0].last_used_at == 160.0

    async def test_writes_uses_when_there_is_time(self, open_store: OpenStore, clock: FakeClock, path: Path) -> None:
        store = open_store()
        await store.credentials.put_key(key(), FACT)
        store.credentials.note_use("acme-proxy", 100.0)
        assert clock.pending == 1
        clock.advance(5.0)
        with closing(sqlite3.connect(path)) as connection:
            await until(lambda: connection.execute("SELECT last_used_at FROM keys").fetchone() == (100.0,))

    async def test_tells_of_what_another_process_has_changed(self, open_store: OpenStore) -> None:
        relay, guest = open_store(), open_store(is_guest=True)
        told: list[int] = []
        relay.credentials.watch(lambda: told.append(relay.credentials.generation))
        await guest.credentials.put_tenant(ACME, FACT)
        await guest.credentials.put_key(key(), FACT)
        await until(lambda: relay.credentials.key("acme-proxy") == key())
        assert relay.credentials.tenant("acme") == ACME
        assert told
        count = len(told)
        await guest.credentials.put_key(key(revoked_at=5.0), FACT)
        await until(lambda: len(told) > count)
        assert relay.credentials.keys_of("acme")[0].revoked_at == 5.0
        await guest.credentials.delete_tenant("acme", FACT)
        await until(lambda: relay.credentials.tenant("acme") is None)
        assert list(relay.credentials.keys_of("acme")) == []

    async def test_changes_nothing_when_another_process_has_written_something_else(self, open_store: OpenStore) -> None:
        relay, guest = open_store(), open_store(is_guest=True)
        await relay.credentials.put_key(key(), FACT)
        before = relay.credentials.generation
        distrusted = asyncio.Event()
        credentials = relay.credentials
        assert isinstance(credentials, SqliteCredentials)
        relay._database.watch(lambda: relay.loop.call_soon_threadsafe(distrusted.set))  # type: ignore[union-attr]
        guest.audit.write(FACT)
        async with asyncio.timeout(PATIENCE_SECONDS):
            await distrusted.wait()
        assert credentials.generation == before

    async def test_looks_by_itself_when_there_was_no_loop_to_be_told(self, path: Path, clock: FakeClock) -> None:
        def no_loop(_: Callable[[], None]) -> None:
            raise RuntimeError

        database, other = Database(path), Database(path, is_guest=True)
        credentials = SqliteCredentials(database, clock.now, no_loop, clock.call_later)
        before = credentials.generation
        await SqliteCredentials(other, clock.now, no_loop, clock.call_later).put_tenant(ACME, FACT)
        await until(lambda: credentials.generation > before)
        assert credentials.tenant("acme") == ACME
        other.close()
        database.close()

    async def test_lets_one_of_two_processes_have_a_name(self, open_store: OpenStore) -> None:
        stores = [open_store(), open_store(is_guest=True)]
        puts = [
            store.credentials.put_key(key(f"n{number}", id=f"{at}-{number}"), FACT)
            for number in range(20)
            for at, store in enumerate(stores)
        ]
        outcomes = await asyncio.gather(*puts, return_exceptions=True)
        refused = [outcome for outcome in outcomes if isinstance(outcome, Refused)]
        assert len(refused) == 20
        assert {found.reason for found in refused} == {Reason.NAME_TAKEN}
        for store in stores:
            await until(lambda store=store: len(store.credentials.keys_of("acme")) == 20)  # type: ignore[misc]
        first, second = ({key.name: key.id for key in store.credentials.keys_of("acme")} for store in stores)
        assert first == second
        check = await stores[0].audit.check()
        assert (check.entries, check.broken_at) == (20, None)

    async def test_puts_the_revocation_of_one_and_the_rotation_of_another_together(self, open_store: OpenStore) -> None:
        relay, guest = open_store(), open_store(is_guest=True)
        await relay.credentials.put_key(key(), FACT)
        await guest.credentials.put_key(key(revoked_at=5.0), FACT)
        await relay.credentials.put_key(key(secrets=()), FACT)
        assert relay.credentials.keys_of("acme")[0].revoked_at == 5.0

    async def test_writes_a_change_and_its_entry_or_neither(self, open_store: OpenStore, path: Path) -> None:
        store = open_store()
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("DROP TABLE audit_chain")
        with pytest.raises(StoreError):
            await store.credentials.put_key(key(), FACT)
        assert store.credentials.key("acme-proxy") is None
        with closing(sqlite3.connect(path)) as connection:
            assert connection.execute("SELECT count(*) FROM keys").fetchone() == (0,)

    async def test_has_no_secret_in_its_file(self, open_store: OpenStore, path: Path) -> None:
        store = open_store()
        await store.credentials.put_key(key("a-long-canary"), FACT)
        store.close()
        assert b"acme/a-long-canary" not in path.read_bytes()

    async def test_of_the_release_before_is_migrated_with_all_its_rows(self, open_store: OpenStore, path: Path) -> None:
        connection = sqlite3.connect(path, isolation_level=None)
        for number, script in sqlite_opening.migrations()[:4]:
            connection.executescript(f"{script}; PRAGMA user_version={number};")
        connection.execute("INSERT INTO task_owners VALUES ('acme', 'zaf', 't-1', 'admin:a', 1)")
        connection.close()
        store = open_store()
        await store.credentials.put_key(key(), FACT)
        assert store.audit.head.number == 1
        with closing(sqlite3.connect(path)) as connection:
            assert connection.execute("SELECT owner FROM task_owners").fetchall() == [("admin:a",)]
            assert connection.execute("PRAGMA user_version").fetchone()[0] >= 6
