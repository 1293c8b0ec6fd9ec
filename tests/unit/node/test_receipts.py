"""Who is told what happens to letters, and for how long."""

from __future__ import annotations

import asyncio

import pytest

from a2a_relay.core.address import Address
from a2a_relay.core.letter import Entry, LetterEvent, Receipt
from a2a_relay.core.principal import Principal, Role
from a2a_relay.errors import Reason, Refused
from a2a_relay.node.receipts import Receipts

ANN = Principal("acme", Role.SENDER, "ann")
BOB = Principal("acme", Role.SENDER, "bob")
AGENT_ANN = Principal("acme", Role.AGENT, "ann")
ADMIN = Principal("acme", Role.ADMIN, "admin:sam")
STRANGER = Principal("other", Role.ADMIN, "admin:sam")
STRANGE_ANN = Principal("other", Role.SENDER, "ann")


def receipt(id: str = "rly-1", owner: str = "sender:ann", agent: str = "zaf", tenant: str = "acme") -> Receipt:
    return Receipt(id, Address(tenant, agent), owner, Entry(1.0, LetterEvent.ACCEPTED))


def test_a_sender_follows_its_own_and_an_admin_all_of_its_tenant() -> None:
    receipts = Receipts(10, 10)
    feeds = {who: receipts.follow(who, who.tenant) for who in (ANN, BOB, AGENT_ANN, ADMIN, STRANGER, STRANGE_ANN)}
    receipts.publish(receipt())
    assert [who for who, feed in feeds.items() if feed.take() == [receipt()]] == [ANN, ADMIN]


def test_one_agent_or_one_letter_can_be_followed() -> None:
    receipts = Receipts(10, 10)
    of_agent, of_letter = receipts.follow(ANN, "acme", agent="zaf"), receipts.follow(ADMIN, "acme", id="rly-2")
    told = [receipt("rly-1"), receipt("rly-2", agent="zoe"), receipt("rly-3")]
    for each in told:
        receipts.publish(each)
    assert of_agent.take() == [told[0], told[2]]
    assert of_letter.take() == [told[1]]


def test_a_feed_that_is_read_too_slowly_is_ended_and_costs_the_others_nothing() -> None:
    receipts = Receipts(10, 2)
    slow, quick = receipts.follow(ANN, "acme"), receipts.follow(ADMIN, "acme")
    for number in range(3):
        receipts.publish(receipt(f"rly-{number}"))
        quick.take()
    assert slow.failure is not None
    assert slow.failure.reason is Reason.STREAM_TOO_SLOW
    assert [item.id for item in slow.take()] == ["rly-0", "rly-1"]
    receipts.publish(receipt())
    assert slow.take() == []
    assert (quick.failure, len(receipts)) == (None, 1)


def test_a_party_has_so_many_feeds_and_gets_its_room_back() -> None:
    receipts = Receipts(2, 10)
    feeds = [receipts.follow(ANN, "acme"), receipts.follow(ANN, "acme", id="rly-1")]
    with pytest.raises(Refused) as refused:
        receipts.follow(ANN, "acme")
    assert refused.value.reason is Reason.RATE_LIMITED
    receipts.follow(AGENT_ANN, "acme").close()
    receipts.follow(STRANGE_ANN, STRANGE_ANN.tenant).close()
    feeds[0].close()
    feeds[0].close()
    feeds.append(receipts.follow(ANN, "acme"))
    with pytest.raises(Refused):
        receipts.follow(ANN, "acme")
    for feed in feeds:
        feed.close()
    assert len(receipts) == 0
    assert (receipts._by_owner, receipts._by_tenant, receipts._counts) == ({}, {}, {})


async def test_a_reader_waits_for_the_next_receipt() -> None:
    receipts = Receipts(10, 1)
    feed = receipts.follow(ANN, "acme")
    assert not await feed.wait(0.001)
    waiting = asyncio.ensure_future(feed.wait(5))
    await asyncio.sleep(0)
    receipts.publish(receipt())
    assert await waiting
    assert await feed.wait(0)
    receipts.publish(receipt())
    feed.take()
    assert await feed.wait(0)  # for its end
