"""The mailbox's contract (`ports/mailbox.py`), kept by every store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from letter_drafts import (
    ACT,
    ANN,
    ANSWER,
    EVERY,
    KEEP_SECONDS,
    ROOM,
    TTL_SECONDS,
    ZAF,
    accepted,
    draft,
    events,
    key,
    known,
    leased,
)

from a2a_relay.core.address import Address
from a2a_relay.core.letter import Alias, DeadReason, Filter, LetterEvent, LetterState, MailboxView, Room
from a2a_relay.core.mailbox_rules import HISTORY_LIMIT, MAX_DELAY_SECONDS
from a2a_relay.errors import Reason, Refused
from a2a_relay.ports.mailbox import Mailbox
from a2a_relay.stores.memory.mailbox import MemoryMailbox
from a2a_relay.stores.sqlite.database import Database
from a2a_relay.stores.sqlite.mailbox import SqliteMailbox
from a2a_relay.testing.clock import FakeClock

LIVE = LetterState.QUEUED, LetterState.LEASED


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(params=["memory", "sqlite"])
async def mailbox(request: pytest.FixtureRequest, tmp_path: Path, clock: FakeClock) -> AsyncIterator[Mailbox]:
    if request.param == "memory":
        yield MemoryMailbox(clock.now)
        return
    database = Database(tmp_path / "relay.db")
    yield SqliteMailbox(database, clock.now)
    database.close()


async def give_back(mailbox: Mailbox, id: str, delay: float = 0.0, lease: str = "s1", *, counts: bool = True) -> bool:
    return await mailbox.give_back(ZAF, id, lease, delay, "lost", is_attempt=counts)


async def ack(mailbox: Mailbox, id: str, lease: str = "s1") -> bool:
    return await mailbox.ack(ZAF, id, lease, ANSWER, Alias(), KEEP_SECONDS)


async def bury(mailbox: Mailbox, id: str, lease: str = "s1") -> bool:
    return await mailbox.bury(ZAF, id, lease, DeadReason.ATTEMPTS_EXHAUSTED, KEEP_SECONDS)


async def dead(mailbox: Mailbox, context: str = "", **fields: object) -> str:
    letter = await accepted(mailbox, context, **fields)
    assert letter.id in await leased(mailbox)
    assert await bury(mailbox, letter.id)
    return letter.id


class TestAccepting:
    async def test_gives_the_letter_with_its_instants_and_its_bytes(self, mailbox: Mailbox, clock: FakeClock) -> None:
        wanted = draft("c1", params=b"\0\xff{ }", envelope=b"[1]")
        letter, is_new = await mailbox.accept(wanted, ROOM)
        assert is_new
        assert (letter.id, letter.address, letter.owner, letter.task_id) == (
            wanted.id,
            ZAF,
            wanted.owner,
            wanted.task_id,
        )
        assert (letter.context, letter.context_id) == ("c1", "ctx-c1")
        assert (letter.envelope, letter.params) == (b"[1]", b"\0\xff{ }")
        assert (letter.state, letter.attempt, letter.lease) == (LetterState.QUEUED, 0, "")
        assert (letter.accepted_at, letter.expires_at) == (clock.now(), clock.now() + TTL_SECONDS)
        assert [(entry.at, entry.event) for entry in letter.history] == [(clock.now(), LetterEvent.ACCEPTED)]
        assert await mailbox.find("acme", letter.id) == letter._replace(position=None)

    async def test_counts_those_before_it_in_its_mailbox(self, mailbox: Mailbox) -> None:
        await accepted(mailbox, address=ANN)
        assert [(await accepted(mailbox)).position for _ in range(3)] == [0, 1, 2]
        await ack(mailbox, (await leased(mailbox, limit=1))[0])
        assert (await accepted(mailbox)).position == 2

    async def test_numbers_rise_over_all_mailboxes(self, mailbox: Mailbox) -> None:
        numbers = [(await accepted(mailbox, address=address)).number for address in (ZAF, ANN, ZAF)]
        assert numbers == sorted(set(numbers))

    async def test_refuses_one_letter_too_many(self, mailbox: Mailbox) -> None:
        room = Room(letters=2)
        await mailbox.accept(draft(), room)
        first = (await leased(mailbox))[0]
        await mailbox.accept(draft(), room)
        with pytest.raises(Refused) as refused:
            await mailbox.accept(draft(), room)
        assert refused.value.reason is Reason.MAILBOX_FULL
        assert refused.value.retry_after_seconds == 60
        assert refused.value.metadata == {"limit": "2", "unit": "letters"}
        await mailbox.accept(draft(address=ANN), room)
        await ack(mailbox, first)
        await mailbox.accept(draft(), room)

    async def test_refuses_one_byte_too_many(self, mailbox: Mailbox) -> None:
        one = draft()
        room = Room(bytes=2 * one.size)
        for _ in range(2):
            letter, _ = await mailbox.accept(draft(params=one.params), room)
        with pytest.raises(Refused) as refused:
            await mailbox.accept(draft(params=b"", envelope=b"1"), room)
        assert refused.value.metadata["unit"] == "bytes"
        await mailbox.cancel("acme", letter.id, KEEP_SECONDS)
        await mailbox.accept(draft(params=one.params), room)

    async def test_a_refused_one_leaves_nothing(self, mailbox: Mailbox) -> None:
        wanted = draft(idempotency=key())
        with pytest.raises(Refused):
            await mailbox.accept(wanted, Room(letters=0))
        assert await mailbox.find("acme", wanted.id) is None
        assert mailbox.backlog() == {}
        assert (await mailbox.accept(wanted, ROOM)).is_new

    async def test_a_late_one_is_leased_from_the_beginning_and_blocks_nobody(self, mailbox: Mailbox) -> None:
        late, _ = await mailbox.accept(draft("c1", leased_by="s1"), Room(letters=0, bytes=0))
        assert (late.state, late.attempt, late.lease) == (LetterState.LEASED, 1, "s1")
        assert not await mailbox.is_waiting(ZAF, "c1")
        assert mailbox.backlog() == {ZAF: 1}
        assert await mailbox.count() == 1
        next_one, _ = await mailbox.accept(draft("c1"), Room(letters=1))
        assert await leased(mailbox, "s2") == [next_one.id]
        assert [letter.id for letter in await mailbox.leased(ZAF)] == [late.id, next_one.id]
        assert await ack(mailbox, late.id)
        assert await leased(mailbox, "s2") == []

    async def test_a_late_one_that_is_given_back_takes_its_place_by_number(self, mailbox: Mailbox) -> None:
        late = await accepted(mailbox, "c1", leased_by="s1")
        later = await accepted(mailbox, "c1")
        assert await give_back(mailbox, late.id)
        assert await mailbox.is_waiting(ZAF, "c1")
        assert await leased(mailbox, "s2") == [late.id]
        assert await leased(mailbox, "s2") == []
        assert await ack(mailbox, late.id, "s2")
        assert await leased(mailbox, "s2") == [later.id]


class TestKeys:
    async def test_the_same_key_gives_the_same_letter_whatever_has_become_of_it(self, mailbox: Mailbox) -> None:
        first = await accepted(mailbox, idempotency=key())
        again, is_new = await mailbox.accept(draft(idempotency=key()), Room(letters=0))
        assert (again.id, is_new) == (first.id, False)
        await leased(mailbox)
        await ack(mailbox, first.id)
        again, is_new = await mailbox.accept(draft(idempotency=key()), ROOM)
        assert (again.id, again.state, again.answer, is_new) == (first.id, LetterState.DONE, ANSWER, False)

    async def test_with_another_body_it_is_a_conflict(self, mailbox: Mailbox) -> None:
        await accepted(mailbox, idempotency=key())
        with pytest.raises(Refused) as refused:
            await accepted(mailbox, idempotency=key(digest=b"other"))
        assert refused.value.reason is Reason.IDEMPOTENCY_CONFLICT
        assert mailbox.backlog() == {ZAF: 1}

    async def test_many_at_once_make_one_letter(self, mailbox: Mailbox) -> None:
        found = await asyncio.gather(*(mailbox.accept(draft(idempotency=key()), ROOM) for _ in range(40)))
        assert len({letter.id for letter, _ in found}) == 1
        assert sum(is_new for _, is_new in found) == 1
        assert mailbox.backlog() == {ZAF: 1}

    async def test_is_forgotten_in_time_and_not_before(self, mailbox: Mailbox, clock: FakeClock) -> None:
        first = await accepted(mailbox, idempotency=key(seconds=50))
        clock.advance(49.5)
        assert not (await mailbox.accept(draft(idempotency=key()), ROOM)).is_new
        clock.advance(0.5)
        again = await mailbox.accept(draft(idempotency=key(digest=b"other")), ROOM)
        assert again.is_new
        assert again.letter.id != first.id

    async def test_a_letter_is_there_as_long_as_its_key(self, mailbox: Mailbox, clock: FakeClock) -> None:
        first = await accepted(mailbox, idempotency=key(seconds=500))
        await leased(mailbox)
        await ack(mailbox, first.id)
        clock.advance(499)
        await mailbox.sweep(10, KEEP_SECONDS)
        again, is_new = await mailbox.accept(draft(idempotency=key()), ROOM)
        assert (again.id, is_new) == (first.id, False)
        clock.advance(1)
        await mailbox.sweep(10, KEEP_SECONDS)
        assert await mailbox.find("acme", first.id) is None

    async def test_of_a_purged_letter_makes_no_second_one(self, mailbox: Mailbox) -> None:
        await accepted(mailbox, idempotency=key())
        assert await mailbox.purge("acme", EVERY, ACT) == 1
        with pytest.raises(Refused) as refused:
            await accepted(mailbox, idempotency=key())
        assert refused.value.reason is Reason.IDEMPOTENCY_CONFLICT


class TestFinding:
    async def test_is_by_tenant(self, mailbox: Mailbox) -> None:
        letter = await accepted(mailbox)
        assert await mailbox.find("acme2", letter.id) is None
        assert await mailbox.find("acme", "rly-unknown") is None

    async def test_the_newest_of_a_context(self, mailbox: Mailbox) -> None:
        await accepted(mailbox, context_id="x")
        newest = await accepted(mailbox, context_id="x")
        await accepted(mailbox, context_id="y")
        await accepted(mailbox, address=ANN, context_id="x")
        found = await mailbox.find_context(ZAF, "x")
        assert found is not None
        assert found.id == newest.id
        assert await mailbox.find_context(ZAF, "z") is None
        assert await mailbox.find_context(Address("acme2", "zaf"), "x") is None

    async def test_a_context_is_waiting_until_its_last_letter_has_ended(self, mailbox: Mailbox) -> None:
        for _ in range(2):
            await accepted(mailbox, "c1")
        assert not await mailbox.is_waiting(ANN, "c1")
        for is_left in (True, False):
            assert await mailbox.is_waiting(ZAF, "c1")
            id = (await leased(mailbox))[0]
            assert await mailbox.is_waiting(ZAF, "c1")
            await ack(mailbox, id)
            assert await mailbox.is_waiting(ZAF, "c1") is is_left


class TestCancelling:
    async def test_ends_a_queued_letter_and_lets_the_next_go(self, mailbox: Mailbox, clock: FakeClock) -> None:
        first = await accepted(mailbox, "c1")
        second = await accepted(mailbox, "c1")
        found = await mailbox.cancel("acme", first.id, KEEP_SECONDS)
        assert found is not None
        assert (found.state, found.ended_at) == (LetterState.CANCELED, clock.now())
        assert found.history[-1].event is LetterEvent.CANCELED
        assert await mailbox.find("acme", first.id) == found
        assert await leased(mailbox) == [second.id]

    async def test_touches_nothing_else(self, mailbox: Mailbox) -> None:
        letter = await accepted(mailbox)
        assert await mailbox.cancel("acme2", letter.id, KEEP_SECONDS) is None
        assert await mailbox.cancel("acme", "rly-unknown", KEEP_SECONDS) is None
        await leased(mailbox)
        assert await mailbox.cancel("acme", letter.id, KEEP_SECONDS) is None
        await ack(mailbox, letter.id)
        assert await mailbox.cancel("acme", letter.id, KEEP_SECONDS) is None
        assert (await known(mailbox, letter.id)).state is LetterState.DONE


class TestLeasing:
    async def test_is_in_the_order_of_acceptance_and_one_of_each_context(self, mailbox: Mailbox) -> None:
        ids = [(await accepted(mailbox, context)).id for context in ("a", "b", "a", "c", "b")]
        assert await leased(mailbox, limit=2) == [ids[0], ids[1]]
        assert await leased(mailbox, limit=2) == [ids[3]]
        assert await leased(mailbox) == []
        await ack(mailbox, ids[1])
        await ack(mailbox, ids[0])
        assert await leased(mailbox) == [ids[2], ids[4]]

    async def test_counts_attempts_and_tells_all_of_the_letter(self, mailbox: Mailbox, clock: FakeClock) -> None:
        letter = await accepted(mailbox)
        for attempt in (1, 2):
            clock.advance(1)
            (found,) = await mailbox.lease(ZAF, "s1", 5)
            assert (found.state, found.attempt, found.lease) == (LetterState.LEASED, attempt, "s1")
            assert found.params == letter.params
            assert found.history[-1] == (clock.now(), LetterEvent.LEASED, attempt, "")
            assert await mailbox.find("acme", letter.id) == found
            await give_back(mailbox, letter.id)

    async def test_hands_out_none_that_has_expired(self, mailbox: Mailbox, clock: FakeClock) -> None:
        await accepted(mailbox, ttl_seconds=10)
        lasting = await accepted(mailbox, ttl_seconds=10.5)
        clock.advance(10)
        assert await leased(mailbox) == [lasting.id]

    async def test_hands_out_none_of_a_paused_mailbox(self, mailbox: Mailbox) -> None:
        await mailbox.pause(ZAF, True, ACT)
        letter = await accepted(mailbox)
        assert await leased(mailbox) == []
        assert await mailbox.next_due(ZAF) is None
        await mailbox.pause(ZAF, False, ACT)
        assert await leased(mailbox) == [letter.id]

    async def test_of_an_unknown_agent_is_nothing(self, mailbox: Mailbox) -> None:
        assert await leased(mailbox) == []
        assert list(await mailbox.leased(ZAF)) == []
        assert await mailbox.next_due(ZAF) is None

    async def test_waits_for_a_delay_and_so_does_the_context(self, mailbox: Mailbox, clock: FakeClock) -> None:
        first = await accepted(mailbox, "c1")
        await accepted(mailbox, "c1")
        await leased(mailbox)
        assert await give_back(mailbox, first.id, 30)
        clock.advance(29.5)
        assert await leased(mailbox) == []
        assert await mailbox.next_due(ZAF) == pytest.approx(0.5)
        clock.advance(0.5)
        assert await mailbox.next_due(ZAF) is None
        assert await leased(mailbox) == [first.id]

    async def test_next_due_leaves_out_what_expires_before(self, mailbox: Mailbox) -> None:
        letter = await accepted(mailbox, ttl_seconds=20)
        await leased(mailbox)
        await give_back(mailbox, letter.id, 30)
        assert await mailbox.next_due(ZAF) is None

    async def test_a_clock_that_jumps_back_delays_nothing_for_ever(self, mailbox: Mailbox, clock: FakeClock) -> None:
        letter = await accepted(mailbox, ttl_seconds=90_000)
        await leased(mailbox)
        await give_back(mailbox, letter.id, 300)
        clock.jump(-86_400)
        assert await leased(mailbox) == [letter.id]

    async def test_no_delay_is_longer_than_the_longest(self, mailbox: Mailbox, clock: FakeClock) -> None:
        letter = await accepted(mailbox, ttl_seconds=90_000)
        await leased(mailbox)
        await give_back(mailbox, letter.id, 1e9)
        assert await leased(mailbox) == []
        assert await mailbox.next_due(ZAF) == pytest.approx(MAX_DELAY_SECONDS)
        clock.advance(MAX_DELAY_SECONDS + 1)
        assert await leased(mailbox) == [letter.id]

    async def test_one_letter_goes_to_one_of_many_at_once(self, mailbox: Mailbox) -> None:
        ids = [(await accepted(mailbox)).id for _ in range(30)]
        found = await asyncio.gather(*(leased(mailbox, f"s{number}", 5) for number in range(10)))
        assert sorted(id for ids_of_one in found for id in ids_of_one) == sorted(ids)


class TestALease:
    async def test_is_needed_to_move_a_letter_on(self, mailbox: Mailbox) -> None:
        letter = await accepted(mailbox)
        for is_leased in (False, True):
            before = await mailbox.find("acme", letter.id)
            assert not await mailbox.take_over(ZAF, letter.id, "other", "new")
            assert not await mailbox.bind(ZAF, letter.id, "other", Alias("t"))
            assert not await ack(mailbox, letter.id, "other")
            assert not await give_back(mailbox, letter.id, lease="other")
            assert not await bury(mailbox, letter.id, "other")
            assert not await mailbox.bind(ANN, letter.id, "s1", Alias("t"))
            assert await mailbox.find("acme", letter.id) == before
            if not is_leased:
                await leased(mailbox)

    async def test_is_void_when_the_letter_was_given_back(self, mailbox: Mailbox) -> None:
        letter = await accepted(mailbox)
        await leased(mailbox, "s1")
        assert await give_back(mailbox, letter.id)
        assert not await ack(mailbox, letter.id, "s1")
        assert not await ack(mailbox, letter.id, "")
        await leased(mailbox, "s2")
        assert not await ack(mailbox, letter.id, "s1")
        assert await ack(mailbox, letter.id, "s2")
        assert not await ack(mailbox, letter.id, "s2")

    async def test_is_taken_over_without_another_attempt(self, mailbox: Mailbox) -> None:
        letter = await accepted(mailbox)
        await leased(mailbox, "s1")
        assert await mailbox.take_over(ZAF, letter.id, "s1", "s2")
        found = await known(mailbox, letter.id)
        assert (found.attempt, found.lease) == (1, "s2")
        assert not await ack(mailbox, letter.id, "s1")
        assert await ack(mailbox, letter.id, "s2")


class TestMovingOn:
    async def test_binding_notes_the_agents_ids_once(self, mailbox: Mailbox) -> None:
        letter = await accepted(mailbox)
        await leased(mailbox)
        assert await mailbox.bind(ZAF, letter.id, "s1", Alias(context_id="c-9"))
        assert await events(mailbox, letter.id) == ["accepted", "leased"]
        assert await mailbox.bind(ZAF, letter.id, "s1", Alias("t-9"))
        assert await mailbox.bind(ZAF, letter.id, "s1", Alias("t-9"))
        assert (await known(mailbox, letter.id)).alias == Alias("t-9", "c-9")
        assert await events(mailbox, letter.id) == ["accepted", "leased", "working"]

    async def test_an_answer_ends_it_and_removes_its_params(self, mailbox: Mailbox, clock: FakeClock) -> None:
        letter = await accepted(mailbox)
        await leased(mailbox)
        clock.advance(TTL_SECONDS + 1)  # an answer is taken however late it is
        assert await mailbox.ack(ZAF, letter.id, "s1", ANSWER, Alias("t-9", "c-9"), KEEP_SECONDS)
        found = await known(mailbox, letter.id)
        assert (found.state, found.params, found.answer) == (LetterState.DONE, b"", ANSWER)
        assert (found.alias, found.ended_at, found.lease) == (Alias("t-9", "c-9"), clock.now(), "")
        assert found.envelope == letter.envelope
        assert await events(mailbox, letter.id) == ["accepted", "leased", "acked", "done"]
        assert mailbox.backlog() == {}

    async def test_what_was_bound_stays_when_the_answer_names_nothing(self, mailbox: Mailbox) -> None:
        letter = await accepted(mailbox)
        await leased(mailbox)
        await mailbox.bind(ZAF, letter.id, "s1", Alias("t-9"))
        await ack(mailbox, letter.id)
        assert (await known(mailbox, letter.id)).alias == Alias("t-9")

    async def test_given_back_it_has_its_old_place(self, mailbox: Mailbox) -> None:
        ids = [(await accepted(mailbox)).id for _ in range(3)]
        await leased(mailbox, limit=1)
        assert await give_back(mailbox, ids[0])
        assert await events(mailbox, ids[0]) == ["accepted", "leased", "returned"]
        assert (await known(mailbox, ids[0])).history[-1].reason == "lost"
        assert await leased(mailbox) == ids

    async def test_what_was_not_delivered_is_no_attempt(self, mailbox: Mailbox) -> None:
        letter = await accepted(mailbox)
        for counts, attempts in ((False, 0), (True, 1), (False, 1)):
            await leased(mailbox)
            await give_back(mailbox, letter.id, counts=counts)
            assert (await known(mailbox, letter.id)).attempt == attempts

    async def test_given_back_too_late_it_is_expired_and_told_by_the_next_sweep(
        self, mailbox: Mailbox, clock: FakeClock
    ) -> None:
        letter = await accepted(mailbox)
        await leased(mailbox)
        clock.advance(TTL_SECONDS)
        assert await give_back(mailbox, letter.id, 5)
        assert (await known(mailbox, letter.id)).state is LetterState.EXPIRED
        assert await events(mailbox, letter.id) == ["accepted", "leased", "expired"]
        assert mailbox.backlog() == {}
        assert [found.id for found in await mailbox.sweep(10, KEEP_SECONDS)] == [letter.id]
        assert list(await mailbox.sweep(10, KEEP_SECONDS)) == []
        clock.advance(KEEP_SECONDS)
        await mailbox.sweep(10, KEEP_SECONDS)
        assert await mailbox.find("acme", letter.id) is None

    async def test_buried_it_keeps_its_params_and_says_why(self, mailbox: Mailbox) -> None:
        letter = await accepted(mailbox, "c1")
        following = await accepted(mailbox, "c1")
        await leased(mailbox)
        assert await bury(mailbox, letter.id)
        found = await known(mailbox, letter.id)
        assert (found.state, found.reason) == (LetterState.DEAD, "attempts_exhausted")
        assert found.params == letter.params
        assert found.history[-1][1:] == (LetterEvent.DEAD, 1, "attempts_exhausted")
        assert await leased(mailbox) == [following.id]

    async def test_no_history_grows_for_ever(self, mailbox: Mailbox) -> None:
        letter = await accepted(mailbox)
        for _ in range(HISTORY_LIMIT):
            await leased(mailbox)
            await mailbox.give_back(ZAF, letter.id, "s1", 0, "x" * 10_000, is_attempt=True)
        history = (await known(mailbox, letter.id)).history
        assert len(history) == HISTORY_LIMIT
        assert history[0].event is LetterEvent.ACCEPTED
        assert history[-1].attempt == HISTORY_LIMIT
        assert max(len(entry.reason) for entry in history) <= 200


class TestSweeping:
    async def test_expires_what_is_queued_at_its_instant(self, mailbox: Mailbox, clock: FakeClock) -> None:
        held = await accepted(mailbox, ttl_seconds=5)
        await leased(mailbox)
        first = await accepted(mailbox, "c1", ttl_seconds=10)
        second = await accepted(mailbox, "c1", ttl_seconds=11)
        clock.advance(9.5)
        assert list(await mailbox.sweep(10, KEEP_SECONDS)) == []
        clock.advance(0.5)
        (found,) = await mailbox.sweep(10, KEEP_SECONDS)
        assert (found.id, found.state, found.ended_at) == (first.id, LetterState.EXPIRED, clock.now())
        assert await events(mailbox, first.id) == ["accepted", "expired"]
        assert await mailbox.find("acme", first.id) == found
        assert (await known(mailbox, held.id)).state is LetterState.LEASED
        assert await leased(mailbox) == [second.id]

    async def test_what_is_leased_and_overdue_is_told_and_stays(self, mailbox: Mailbox, clock: FakeClock) -> None:
        first = await accepted(mailbox, ttl_seconds=5)
        await accepted(mailbox, ttl_seconds=50)
        assert len(await leased(mailbox)) == 2
        await accepted(mailbox, ttl_seconds=5)
        assert list(await mailbox.overdue(10)) == []
        clock.advance(5)
        assert [letter.id for letter in await mailbox.overdue(10)] == [first.id]
        assert list(await mailbox.overdue(0)) == []
        assert (await known(mailbox, first.id)).state is LetterState.LEASED

    async def test_expires_so_many_at_once(self, mailbox: Mailbox, clock: FakeClock) -> None:
        for _ in range(5):
            await accepted(mailbox)
        clock.advance(TTL_SECONDS)
        assert [len(await mailbox.sweep(2, KEEP_SECONDS)) for _ in range(4)] == [2, 2, 1, 0]
        assert mailbox.backlog() == {}

    async def test_expires_neighbours_of_a_context_together_and_lets_the_next_go(
        self, mailbox: Mailbox, clock: FakeClock
    ) -> None:
        for _ in range(2):
            await accepted(mailbox, "c1", ttl_seconds=10)
        following = await accepted(mailbox, "c1", ttl_seconds=20)
        clock.advance(10)
        assert len(await mailbox.sweep(10, KEEP_SECONDS)) == 2
        assert await leased(mailbox) == [following.id]

    async def test_purged_neighbours_of_a_context_let_the_next_go(self, mailbox: Mailbox, clock: FakeClock) -> None:
        for _ in range(2):
            await accepted(mailbox, "c1")
        clock.advance(1)
        following = await accepted(mailbox, "c1")
        assert await mailbox.purge("acme", Filter(before=following.accepted_at), ACT) == 2
        assert await leased(mailbox) == [following.id]

    async def test_removes_what_was_kept_for_long_enough(self, mailbox: Mailbox, clock: FakeClock) -> None:
        done, cancelled, buried, queued = [(await accepted(mailbox, ttl_seconds=9_000)).id for _ in range(4)]
        await mailbox.cancel("acme", cancelled, KEEP_SECONDS)
        await leased(mailbox, limit=2)
        await ack(mailbox, done)
        await bury(mailbox, buried)
        clock.advance(KEEP_SECONDS - 0.5)
        await mailbox.sweep(10, KEEP_SECONDS)
        assert (await mailbox.list("acme", EVERY, None, 10)).total == 4
        clock.advance(0.5)
        await mailbox.sweep(2, KEEP_SECONDS)
        assert (await mailbox.list("acme", EVERY, None, 10)).total == 2
        await mailbox.sweep(2, KEEP_SECONDS)
        assert [letter.id for letter in (await mailbox.list("acme", EVERY, None, 10)).letters] == [queued]
        assert [view.dead for view in await mailbox.mailboxes("acme")] == [0]


class TestListing:
    async def test_is_newest_first_in_pages_without_bodies(self, mailbox: Mailbox) -> None:
        ids = [(await accepted(mailbox)).id for _ in range(5)]
        await accepted(mailbox, address=Address("acme2", "zaf"))
        found, after, pages = [], None, 0
        while True:
            page = await mailbox.list("acme", EVERY, after, 2)
            assert page.total == 5
            assert all((letter.params, letter.answer) == (b"", None) for letter in page.letters)
            found += [letter.id for letter in page.letters]
            pages, after = pages + 1, page.next
            if after is None:
                break
        assert (found, pages) == (ids[::-1], 3)

    async def test_by_every_filter(self, mailbox: Mailbox, clock: FakeClock) -> None:
        buried = await dead(mailbox)
        of_ann = (await accepted(mailbox, address=ANN)).id
        clock.advance(1)
        carls = (await accepted(mailbox, owner="user:carl", context_id="x")).id

        async def listed(**fields: object) -> list[str]:
            page = await mailbox.list("acme", Filter(**fields), None, 10)  # type: ignore[arg-type]
            assert page.total == len(page.letters)
            return [letter.id for letter in page.letters]

        assert await listed() == [carls, of_ann, buried]
        assert await listed(agent="ann") == [of_ann]
        assert await listed(agent="zaf") == [carls, buried]
        assert await listed(agent="nobody") == []
        assert await listed(owner="user:carl") == [carls]
        assert await listed(state="dead") == [buried]
        assert await listed(state="nonsense") == []
        assert await listed(reason="attempts_exhausted", agent="zaf") == [buried]
        assert await listed(context_id="x") == [carls]
        assert await listed(id=of_ann) == [of_ann]
        assert await listed(id=of_ann, agent="zaf") == []
        assert await listed(before=clock.now()) == [of_ann, buried]

    async def test_mailboxes_are_counted(self, mailbox: Mailbox, clock: FakeClock) -> None:
        assert list(await mailbox.mailboxes("acme")) == []
        await dead(mailbox)
        oldest_at = clock.now()
        first = await accepted(mailbox, "c1")
        await leased(mailbox)
        clock.advance(5)
        second = await accepted(mailbox, "c1")
        await accepted(mailbox, address=Address("acme2", "zaf"))
        await mailbox.pause(ANN, True, ACT)
        size = draft().size
        assert list(await mailbox.mailboxes("acme")) == [
            MailboxView(ANN, 0, 0, 0, 0, None, is_paused=True),
            MailboxView(ZAF, 1, 1, 1, 2 * size, oldest_at, is_paused=False),
        ]
        await ack(mailbox, first.id)
        assert (await mailbox.mailboxes("acme"))[1] == MailboxView(
            ZAF, 1, 0, 1, size, second.accepted_at, is_paused=False
        )


class TestRedriving:
    async def test_queues_the_dead_and_the_expired_anew_behind_what_waits(
        self, mailbox: Mailbox, clock: FakeClock
    ) -> None:
        buried = await dead(mailbox, "c1")
        expired = (await accepted(mailbox, "c2", ttl_seconds=1)).id
        clock.advance(1)
        await mailbox.sweep(10, KEEP_SECONDS)
        waiting = (await accepted(mailbox, "c1")).id
        untouched = (await accepted(mailbox, "c3", address=ANN)).id
        assert list(await mailbox.redrive("acme", EVERY, 77, ACT)) == [ZAF]
        found = await known(mailbox, buried)
        assert (found.state, found.attempt, found.reason, found.ended_at) == (LetterState.QUEUED, 0, "", None)
        assert (found.accepted_at, found.expires_at) == (clock.now(), clock.now() + 77)
        assert found.params == draft().params
        assert await events(mailbox, buried) == ["accepted", "leased", "dead", "redriven"]
        assert found.number > (await known(mailbox, untouched)).number
        assert await leased(mailbox) == [waiting, expired]
        await ack(mailbox, waiting)
        assert await leased(mailbox) == [buried]
        assert (await accepted(mailbox)).number > found.number
        assert mailbox.backlog() == {ZAF: 3, ANN: 1}

    async def test_only_what_is_meant(self, mailbox: Mailbox) -> None:
        first, second = await dead(mailbox), await dead(mailbox)
        await mailbox.redrive("acme", Filter(id=first), 77, ACT)
        assert (await known(mailbox, second)).state is LetterState.DEAD
        assert list(await mailbox.redrive("acme2", EVERY, 77, ACT)) == []
        assert (await known(mailbox, second)).state is LetterState.DEAD

    async def test_it_is_not_removed_at_its_old_time(self, mailbox: Mailbox, clock: FakeClock) -> None:
        buried = await dead(mailbox)
        await mailbox.redrive("acme", EVERY, 9_000, ACT)
        clock.advance(KEEP_SECONDS * 2)
        assert list(await mailbox.sweep(10, KEEP_SECONDS)) == []
        assert (await known(mailbox, buried)).state is LetterState.QUEUED

    async def test_more_than_one_step_takes(self, mailbox: Mailbox) -> None:
        for number in range(450):
            await mailbox.accept(draft(str(number % 7), id=f"rly-many-{number}"), ROOM)
        while ids := await leased(mailbox, limit=50):
            await asyncio.gather(*(bury(mailbox, id) for id in ids))
        assert list(await mailbox.redrive("acme", EVERY, 77, ACT)) == [ZAF]
        assert mailbox.backlog() == {ZAF: 450}
        assert (await mailbox.audit("acme", 1))[0].touched == 450
        assert await mailbox.purge("acme", EVERY, ACT) == 450
        assert (await mailbox.audit("acme", 1))[0].touched == 450


class TestPurging:
    async def test_removes_what_is_not_leased(self, mailbox: Mailbox) -> None:
        buried = await dead(mailbox)
        held = (await accepted(mailbox, "c1")).id
        await leased(mailbox)
        queued = (await accepted(mailbox, "c1")).id
        assert await mailbox.purge("acme2", EVERY, ACT) == 0
        assert await mailbox.purge("acme", EVERY, ACT) == 2
        assert await mailbox.find("acme", buried) is None
        assert await mailbox.find("acme", queued) is None
        assert await ack(mailbox, held)
        assert mailbox.backlog() == {}

    async def test_lets_the_next_go(self, mailbox: Mailbox) -> None:
        first, second = [(await accepted(mailbox, "c1")).id for _ in range(2)]
        assert await mailbox.purge("acme", Filter(id=first), ACT) == 1
        assert await leased(mailbox) == [second]


class TestAudit:
    async def test_says_who_did_what_and_why_the_newest_first(self, mailbox: Mailbox, clock: FakeClock) -> None:
        await dead(mailbox)
        await mailbox.pause(ZAF, True, ACT)
        await mailbox.redrive("acme", Filter(agent="zaf", state="dead"), 77, ACT)
        clock.advance(1)
        await mailbox.purge("acme", EVERY, ACT)
        await mailbox.pause(ZAF, False, ACT)
        await mailbox.pause(Address("acme2", "zaf"), True, ACT)
        entries = await mailbox.audit("acme", 10)
        assert [(entry.action, entry.target, entry.touched) for entry in entries] == [
            ("resume", "zaf", 0),
            ("purge", "all", 1),
            ("redrive", "agent=zaf state=dead", 1),
            ("pause", "zaf", 0),
        ]
        assert {(entry.tenant, entry.actor, entry.reason) for entry in entries} == {("acme", "key:ops", "a drill")}
        assert entries[0].at == clock.now() == entries[3].at + 1
        assert list(await mailbox.audit("acme", 2)) == list(entries[:2])


class TestBacklog:
    async def test_counts_what_waits_by_agent(self, mailbox: Mailbox) -> None:
        assert mailbox.backlog() == {}
        await dead(mailbox)
        for address in (ZAF, ZAF, ANN, Address("acme2", "zaf")):
            await accepted(mailbox, address=address)
        await leased(mailbox, limit=1)
        assert mailbox.backlog() == {ZAF: 2, ANN: 1, Address("acme2", "zaf"): 1}
