"""The erasure of a tenant, by every store: nothing of it is left, and nothing of others is touched."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from letter_drafts import ACT, ANSWER, EVERY, KEEP_SECONDS, ROOM, draft, key, leased

from a2a_relay.assembly.stores import Stores, open_administration, open_stores
from a2a_relay.core.address import Address
from a2a_relay.core.audit import AuditFact
from a2a_relay.core.letter import Alias
from a2a_relay.core.stream import Event, StreamHead
from a2a_relay.errors import SettingsError
from a2a_relay.node.clock import LoopClock
from a2a_relay.ports.directory import AgentRecord
from a2a_relay.settings import Settings
from a2a_relay.stores.sqlite import erasure

CANARY = "c4n4ry-of-a-tenant"
PATIENCE_SECONDS = 20


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "relay.db"


@pytest.fixture(params=["memory", "sqlite"])
async def stores(request: pytest.FixtureRequest, path: Path) -> AsyncIterator[Stores]:
    url = "memory:" if request.param == "memory" else f"sqlite://{path}"
    found = open_stores(Settings.default(store=url), LoopClock())
    yield found
    found.close()


async def plant(stores: Stores, tenant: str, letters: int = 3) -> None:
    """Have a tenant leave something everywhere."""
    agent = Address(tenant, "zaf")
    secret = f"{CANARY}/{tenant}"
    stores.directory.put(AgentRecord(agent, f'{{"name":"{secret}"}}'.encode(), "native", 1.0, 2.0))
    stores.task_index.learn(agent, [f"task/{secret}"], f"owner/{secret}")
    for number in range(letters):
        await stores.mailbox.accept(
            draft(
                f"{tenant}-{number}",
                agent,
                owner=f"owner/{secret}",
                params=f'{{"text":"{secret}"}}'.encode() * 200,
                idempotency=key(f"{tenant}/{number}"),
            ),
            ROOM,
        )
    first, *_ = await leased(stores.mailbox, "s1", 1, agent)
    await stores.mailbox.ack(agent, first, "s1", ANSWER._replace(body=secret.encode()), Alias(), KEEP_SECONDS)
    await stores.mailbox.pause(agent, True, ACT._replace(reason=secret))
    if stores.durable_log is not None:
        written = asyncio.Event()
        head = StreamHead(f"s-{tenant}", "e", f"x-{tenant}", agent, secret, "SendMessage", b"1", 1.0)
        window = stores.durable_log.open(head, written.set)
        window.append(Event(1, secret.encode()))
        async with asyncio.timeout(PATIENCE_SECONDS):
            await written.wait()


async def test_leaves_nothing_of_a_tenant_and_everything_of_others(stores: Stores) -> None:
    for tenant in ("acme", "other"):
        await plant(stores, tenant)
    counts = await stores.erase("acme")
    durable = {"streams": 1} if stores.durable_log is not None else {}
    expected = {"letters": 3, "idempotency_keys": 3, "mailboxes": 1, "letter_acts": 1, "agents": 1, "task_owners": 1}
    assert counts == expected | durable
    gone, kept = Address("acme", "zaf"), Address("other", "zaf")
    assert stores.directory.get(gone) is None
    assert (stores.directory.count("acme"), stores.directory.count("other")) == (0, 1)
    assert not stores.task_index.knows("acme")
    assert stores.task_index.owner(gone, f"task/{CANARY}/acme") is None
    assert stores.task_index.owner(kept, f"task/{CANARY}/other") == f"owner/{CANARY}/other"
    assert dict(stores.mailbox.backlog()) == {kept: 2}
    assert (await stores.mailbox.list("acme", EVERY, None, 10)).total == 0
    assert (await stores.mailbox.list("other", EVERY, None, 10)).total == 3
    assert list(await stores.mailbox.mailboxes("acme")) == []
    assert list(await stores.mailbox.audit("acme", 10)) == []
    assert len(await stores.mailbox.audit("other", 10)) == 1
    assert set((await stores.erase("acme")).values()) == {0}


async def test_takes_letters_and_keys_anew_afterwards(stores: Stores) -> None:
    await plant(stores, "acme")
    await stores.erase("acme")
    await plant(stores, "acme")
    assert (await stores.mailbox.list("acme", EVERY, None, 10)).total == 3
    assert stores.directory.count("acme") == 1


async def test_leaves_the_audit_log_whole(stores: Stores) -> None:
    stores.audit.write(AuditFact("acme", "store", "tenants.create"))
    await plant(stores, "acme")
    await stores.erase("acme")
    async with asyncio.timeout(PATIENCE_SECONDS):
        while (await stores.audit.check()).entries < 1:
            await asyncio.sleep(0.01)
    assert (await stores.audit.check()).broken_at is None
    assert [entry.fact.action for entry in await stores.audit.page("acme")] == ["tenants.create"]


async def test_leaves_no_byte_in_the_file_or_its_log(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(erasure, "_CHUNK", 7)
    stores = open_stores(Settings.default(store=f"sqlite://{path}"), LoopClock())
    await plant(stores, "acme", letters=30)
    await plant(stores, "other", letters=1)
    files = [path, path.with_name(path.name + "-wal")]
    assert any(f"{CANARY}/acme".encode() in file.read_bytes() for file in files)
    await stores.erase("acme")
    for file in files:
        assert f"{CANARY}/acme".encode() not in file.read_bytes(), file.name
    assert any(f"{CANARY}/other".encode() in file.read_bytes() for file in files)
    stores.close()
    assert f"{CANARY}/acme".encode() not in path.read_bytes()


async def test_by_another_process_is_seen_by_a_running_relay(path: Path) -> None:
    settings = Settings.default(store=f"sqlite://{path}")
    stores = open_stores(settings, LoopClock())
    await plant(stores, "acme")
    stores.task_index.flush()  # type: ignore[attr-defined]
    beside = open_administration(settings)
    assert (await beside.erase("acme"))["letters"] == 3
    async with asyncio.timeout(PATIENCE_SECONDS):
        while stores.directory.count("acme"):
            await asyncio.sleep(0.02)
    assert stores.directory.get(Address("acme", "zaf")) is None
    beside.close()
    stores.close()


async def test_administration_beside_a_relay_is_written_down_in_its_log(path: Path) -> None:
    from a2a_relay.core.tenants import TenantRecord

    settings = Settings.default(store=f"sqlite://{path}")
    stores = open_stores(settings, LoopClock())
    beside = open_administration(settings)
    await beside.credentials.put_tenant(TenantRecord("acme", 1.0), AuditFact("acme", "store", "tenants.create"))
    beside.audit.write(AuditFact("acme", "store", "tenants.disable"))
    beside.close()
    assert [entry.fact.action for entry in await stores.audit.behind(0)] == ["tenants.create", "tenants.disable"]
    async with asyncio.timeout(PATIENCE_SECONDS):
        while stores.credentials.tenant("acme") is None:
            await asyncio.sleep(0.02)
            assert stores.credentials.generation >= 0
    stores.close()


def test_a_store_in_memory_cannot_be_administered_from_beside() -> None:
    with pytest.raises(SettingsError, match="memory:"):
        open_administration(Settings.default(store="memory:"))


async def test_tells_whoever_watches_the_store(stores: Stores) -> None:
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    stores.watch(lambda: loop.call_soon_threadsafe(told.set))
    await stores.erase("acme")
    async with asyncio.timeout(PATIENCE_SECONDS):
        await told.wait()
