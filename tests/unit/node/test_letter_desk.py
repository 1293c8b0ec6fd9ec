"""What senders and operators may ask about letters, and who they are not told from."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from a2a_relay.core.address import Address
from a2a_relay.core.letter import DeadReason, Draft, Entry, Filter, Letter, LetterEvent, LetterState, Receipt, Room
from a2a_relay.core.mail_rules import AgentMailRule, MailPolicy
from a2a_relay.core.principal import Principal, Role
from a2a_relay.errors import Reason, Refused
from a2a_relay.node.letter_desk import LetterDesk, LetterParts
from a2a_relay.node.receipts import Receipts
from a2a_relay.ports.mailbox import Mailbox
from a2a_relay.stores.memory.mailbox import MemoryMailbox
from a2a_relay.stores.sqlite.database import Database
from a2a_relay.stores.sqlite.mailbox import SqliteMailbox

ZAF = Address("acme", "zaf")
ZOE = Address("acme", "zoe")
ANN = Principal("acme", Role.SENDER, "ann")
BOB = Principal("acme", Role.SENDER, "bob")
ADMIN = Principal("acme", Role.ADMIN, "admin:sam")
STRANGER = Principal("other", Role.ADMIN, "admin:sam")
WHY = "the agent was broken"


class World:
    """A desk over letters of two agents, and who was woken."""

    def __init__(self, relay: Any, mailbox: Mailbox) -> None:
        for address in (ZAF, ZOE):
            relay.node.agents.expect(address, None)
        self.relay, self.woken = relay, list[Address]()
        self.mailbox = mailbox
        policy = MailPolicy(
            agents=(AgentMailRule("acme", "*", ttl_seconds=77), AgentMailRule("acme", "zaf", ttl_seconds=7))
        )
        self.receipts = Receipts(10, 10)
        self.desk = LetterDesk(
            LetterParts(self.mailbox, self.receipts, relay.node.agents, policy, relay.observer, self.woken.append)
        )
        self._numbers = itertools.count(1)

    async def letter(self, address: Address = ZAF, owner: Principal = ANN) -> str:
        id = f"rly-{next(self._numbers)}"
        draft = Draft(id, address, f"{owner.role}:{owner.identity}", id, id, f"c-{id}", b"{}", b'{"a":1}', 3600)
        await self.mailbox.accept(draft, Room())
        return id

    async def dead_letter(self, address: Address = ZAF) -> str:
        id = await self.letter(address)
        (leased,) = await self.mailbox.lease(address, "s1", 1)
        assert await self.mailbox.bury(address, leased.id, "s1", DeadReason.TOO_LARGE, 3600)
        return id

    async def find(self, id: str) -> Letter:
        found = await self.mailbox.find("acme", id)
        assert found is not None
        return found


@pytest.fixture(params=["memory", "sqlite"])
def world(request: pytest.FixtureRequest, relay: Any, tmp_path: Path) -> Iterator[World]:
    if request.param == "memory":
        yield World(relay, MemoryMailbox(relay.clock.now))
        return
    database = Database(tmp_path / "relay.db")
    yield World(relay, SqliteMailbox(database, relay.clock.now))
    database.close()


async def reason_of(asking: Awaitable[object]) -> Reason:
    with pytest.raises(Refused) as refused:
        await asking
    return refused.value.reason


# reading


async def test_a_letter_is_shown_to_its_sender_and_to_the_admin(world: World) -> None:
    id = await world.letter()
    for principal in (ANN, ADMIN):
        assert (await world.desk.show(principal, "acme", id)).id == id


async def test_a_letter_of_another_does_not_exist_for_anybody_else(world: World) -> None:
    id = await world.letter()
    told = []
    for principal, tenant, asked in (
        (BOB, "acme", id),
        (Principal("acme", Role.AGENT, "ann"), "acme", id),
        (STRANGER, "acme", id),
        (STRANGER, "other", id),
        (ANN, "acme", "rly-none"),
    ):
        with pytest.raises(Refused) as refused:
            await world.desk.show(principal, tenant, asked)
        told.append((refused.value.reason, refused.value.message, refused.value.metadata))
    assert told == [(Reason.LETTER_NOT_FOUND, "no such letter", {})] * 5


async def test_a_sender_lists_its_own_whatever_it_asks_for(world: World) -> None:
    own, other = await world.letter(), await world.letter(owner=BOB)
    for filter in (Filter(), Filter(owner="sender:bob")):
        assert [letter.id for letter in (await world.desk.list(ANN, "acme", filter)).letters] == [own]
    assert [letter.id for letter in (await world.desk.list(ADMIN, "acme", Filter())).letters] == [other, own]
    assert (await world.desk.list(ADMIN, "acme", Filter(owner="sender:bob"))).total == 1
    assert await reason_of(world.desk.list(STRANGER, "acme", Filter())) is Reason.TENANT_MISMATCH


async def test_a_page_has_a_bound(world: World) -> None:
    for _ in range(3):
        await world.letter()
    page = await world.desk.list(ADMIN, "acme", Filter(), limit=2)
    assert (len(page.letters), page.total) == (2, 3)
    rest = await world.desk.list(ADMIN, "acme", Filter(), page.next, limit=2)
    assert (len(rest.letters), rest.next) == (1, None)


async def test_feeds_are_of_ones_own_tenant(world: World) -> None:
    for follow, reason in (
        (world.desk.follow, Reason.TENANT_MISMATCH),
        (lambda who, tenant: world.desk.follow_one(who, tenant, "rly-1"), Reason.LETTER_NOT_FOUND),
    ):
        with pytest.raises(Refused) as refused:
            follow(STRANGER, "acme")
        assert refused.value.reason is reason
    assert len(world.receipts) == 0


# changing

Change = Callable[[LetterDesk, Principal, str], Awaitable[object]]
CHANGES: dict[str, Change] = {
    "redrive": lambda desk, who, why: desk.redrive(who, "acme", Filter(agent="zaf"), why),
    "purge": lambda desk, who, why: desk.purge(who, "acme", Filter(agent="zaf"), why),
    "pause": lambda desk, who, why: desk.pause(who, ZAF, why),
    "resume": lambda desk, who, why: desk.resume(who, ZAF, why),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
async def test_only_the_tenants_admin_changes_anything(change: Change, world: World) -> None:
    assert await reason_of(change(world.desk, ANN, WHY)) is Reason.PERMISSION_DENIED
    assert await reason_of(change(world.desk, Principal("acme", Role.AGENT, "zaf"), WHY)) is Reason.PERMISSION_DENIED
    assert await reason_of(change(world.desk, STRANGER, WHY)) is Reason.TENANT_MISMATCH
    assert (await world.desk.audit(ADMIN, "acme", 10), world.relay.observer.notices) == ((), [])


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
async def test_whoever_changes_something_says_why(change: Change, world: World) -> None:
    for why in ("", "  ", "x" * 501):
        assert await reason_of(change(world.desk, ADMIN, why)) is Reason.INVALID_PARAMS
    await change(world.desk, ADMIN, "x" * 500)


@pytest.mark.parametrize("action", CHANGES)
async def test_what_was_done_is_written_down_in_the_store_and_in_the_log(action: str, world: World) -> None:
    await world.dead_letter()
    await CHANGES[action](world.desk, ADMIN, WHY)
    (entry,) = await world.desk.audit(ADMIN, "acme", 10)
    touched = {"redrive": 1, "purge": 1}.get(action, 0)
    assert (entry.actor, entry.action, entry.reason) == ("admin:admin:sam", action, WHY)
    assert world.relay.observer.notices == [
        (
            "audit",
            {
                "tenant": "acme",
                "actor": "admin:admin:sam",
                "action": action,
                "target": "agent=zaf" if touched else "zaf",
                "touched": touched,
                "reason": WHY,
            },
        )
    ]


@pytest.mark.parametrize("action", ["redrive", "purge"])
async def test_all_letters_are_meant_only_when_that_is_said(action: str, world: World) -> None:
    await world.dead_letter()
    change = getattr(world.desk, action)
    assert await reason_of(change(ADMIN, "acme", Filter(), WHY)) is Reason.INVALID_PARAMS
    assert await change(ADMIN, "acme", Filter(), WHY, is_all=True) == 1


async def test_what_is_redriven_lives_by_the_rules_and_its_agents_are_woken(world: World) -> None:
    first, second, third = await world.dead_letter(), await world.dead_letter(), await world.dead_letter(ZOE)
    assert await world.desk.redrive(ADMIN, "acme", Filter(agent="zaf", state="dead"), WHY) == 2
    assert world.woken == [ZAF]
    assert [(await world.find(id)).state for id in (first, second, third)] == ["queued", "queued", "dead"]
    assert (await world.find(first)).expires_at == world.relay.clock.now() + 7
    assert await world.desk.redrive(ADMIN, "acme", Filter(state="dead"), WHY) == 1
    assert (await world.find(third)).expires_at == world.relay.clock.now() + 77


async def test_a_purge_leaves_what_is_in_delivery_and_wakes_who_may_have_waited_for_it(world: World) -> None:
    leased = await world.letter()
    await world.mailbox.lease(ZAF, "s1", 1)
    await world.letter()
    assert await world.desk.purge(ADMIN, "acme", Filter(agent="zaf"), WHY) == 1
    assert (await world.find(leased)).state is LetterState.LEASED
    assert world.woken == [ZAF]
    assert await world.desk.purge(ADMIN, "acme", Filter(agent="zaf"), WHY) == 0
    assert world.woken == [ZAF]


async def test_a_paused_mailbox_hands_out_nothing_until_it_is_resumed(world: World) -> None:
    await world.letter()
    await world.desk.pause(ADMIN, ZAF, WHY)
    assert [view.is_paused for view in await world.desk.mailboxes(ADMIN, "acme")] == [True]
    assert list(await world.mailbox.lease(ZAF, "s1", 1)) == []
    await world.desk.resume(ADMIN, ZAF, WHY)
    assert world.woken == [ZAF]
    assert len(await world.mailbox.lease(ZAF, "s1", 1)) == 1


async def test_a_mailbox_that_is_nobodys_cannot_be_paused(world: World) -> None:
    assert await reason_of(world.desk.pause(ADMIN, Address("acme", "nobody"), WHY)) is Reason.AGENT_NOT_FOUND


async def test_mailboxes_and_what_was_done_to_them_are_for_the_admin(world: World) -> None:
    for ask in (world.desk.mailboxes, lambda who, tenant: world.desk.audit(who, tenant, 10)):
        assert await reason_of(ask(ANN, "acme")) is Reason.PERMISSION_DENIED
        assert await reason_of(ask(STRANGER, "acme")) is Reason.TENANT_MISMATCH


async def test_each_redrive_tells_its_own_count(world: World) -> None:
    for _ in range(3):
        await world.dead_letter()
    await world.dead_letter(ZOE)
    counts = [await world.desk.redrive(ADMIN, "acme", Filter(agent=agent), WHY) for agent in ("zaf", "zoe", "zoe")]
    assert counts == [3, 1, 0]


# who may see some of it


OPERATOR = Principal("", Role.OPERATOR, "operator:ops", manages=True)
OF_ZOE = replace(ADMIN, agents=frozenset({"zoe"}))
UNSCOPED = replace(ANN, scopes=frozenset({"message:send"}))


async def test_an_operator_sees_letters_of_every_tenant_and_no_bodies(world: World) -> None:
    id = await world.letter()
    shown = await world.desk.show(OPERATOR, "acme", id)
    assert (shown.id, shown.params, shown.answer) == (id, b"", None)
    assert await reason_of(world.desk.poll(OPERATOR, "acme", id)) is Reason.PERMISSION_DENIED
    assert (await world.desk.list(OPERATOR, "acme", Filter())).total == 1
    feed = world.desk.follow(OPERATOR, "acme")
    world.receipts.publish(Receipt(id, ZAF, "sender:ann", Entry(0.0, LetterEvent.ACCEPTED)))
    assert [receipt.id for receipt in feed.take()] == [id]


async def test_letters_to_an_agent_that_is_hidden_do_not_exist(world: World) -> None:
    hidden, seen = await world.letter(ZAF), await world.letter(ZOE)
    assert await reason_of(world.desk.show(OF_ZOE, "acme", hidden)) is Reason.LETTER_NOT_FOUND
    page = await world.desk.list(OF_ZOE, "acme", Filter())
    assert ([letter.id for letter in page.letters], page.total) == ([seen], 1)
    assert (await world.desk.list(OF_ZOE, "acme", Filter(agent="zaf"))).total == 0
    assert [view.address for view in await world.desk.mailboxes(OF_ZOE, "acme")] == [ZOE]
    assert await reason_of(world.desk.pause(OF_ZOE, ZAF, WHY)) is Reason.AGENT_NOT_FOUND
    assert await reason_of(world.desk.audit(OF_ZOE, "acme", 10)) is Reason.PERMISSION_DENIED
    assert await world.desk.purge(OF_ZOE, "acme", Filter(), WHY, is_all=True) == 1
    assert (await world.find(hidden)).id == hidden
    feed = world.desk.follow(OF_ZOE, "acme")
    world.receipts.publish(Receipt(hidden, ZAF, "sender:ann", Entry(0.0, LetterEvent.ACCEPTED)))
    assert feed.take() == []


async def test_letters_need_their_scope(world: World) -> None:
    id = await world.letter()
    for asking in (
        world.desk.show(UNSCOPED, "acme", id),
        world.desk.poll(UNSCOPED, "acme", id),
        world.desk.list(UNSCOPED, "acme", Filter()),
    ):
        assert await reason_of(asking) is Reason.PERMISSION_DENIED
    for follow in (lambda: world.desk.follow(UNSCOPED, "acme"), lambda: world.desk.follow_one(UNSCOPED, "acme", id)):
        with pytest.raises(Refused, match="letters:read"):
            follow()
    assert (await world.desk.poll(replace(ANN, scopes=frozenset({"tasks:read"})), "acme", id)).id == id
