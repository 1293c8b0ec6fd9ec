"""Letters on their way to their agents, and what is done with each when it is over."""

from __future__ import annotations

import json

import pytest
from mail_relay import STREAMING_CARD, MailRelay, agents_task, is_asked, next_request, said, send_call, task

from a2a_relay.core.letter import Alias, DeadReason, Filter, LetterEvent, LetterState
from a2a_relay.core.mail_rules import MailRules
from a2a_relay.errors import Reason
from a2a_relay.testing import RecordingSink, make_call


def events(relay: MailRelay) -> list[str]:
    return [str(event) for event, *_ in relay.observer.letters]


class TestTheDrain:
    async def test_letters_of_as_many_contexts_go_at_a_time_as_the_rules_say(self) -> None:
        relay = MailRelay(rules=MailRules(sync_wait_seconds=0, contexts=2))
        await relay.known()
        ids = [await relay.queued(f"m{number}") for number in range(3)]
        link = await relay.attach()
        assert [next_request(link)["meta"]["letter"] for _ in range(2)] == ids[:2]
        assert not is_asked(link)

    async def test_an_answer_makes_room_for_the_next(self) -> None:
        relay = MailRelay(rules=MailRules(sync_wait_seconds=0, contexts=1))
        await relay.known()
        ids = [await relay.queued(f"m{number}") for number in range(2)]
        link = await relay.attach()
        assert (await relay.reply(link, result={"task": agents_task()}))["meta"]["letter"] == ids[0]
        assert next_request(link)["meta"]["letter"] == ids[1]

    async def test_a_nack_costs_no_attempt_and_the_letter_comes_again(self, relay: MailRelay) -> None:
        await relay.known()
        id = await relay.queued()
        link = await relay.attach()
        await relay.reply(link, "a2a.nack", reason="not now", retry_after_ms=2000)
        assert (await relay.letter(id)).attempt == 0
        assert not is_asked(link)
        await relay.advance(3)
        assert next_request(link)["meta"]["attempt"] == 1

    async def test_a_letter_that_expires_on_its_way_is_not_handed_over(self, relay: MailRelay) -> None:
        await relay.known()
        id = await relay.queued(ttl_seconds=5)
        look_up = relay.store.find_context

        async def slowly(*args: object) -> object:
            relay.clock.jump(10)
            return await look_up(*args)  # type: ignore[arg-type]

        relay.store.find_context = slowly  # type: ignore[method-assign, assignment]
        link = await relay.attach()
        assert not is_asked(link)
        await relay.advance(2)
        assert (await relay.letter(id)).state is LetterState.EXPIRED
        assert events(relay).count("expired") == 1

    async def test_a_letter_that_continues_what_never_came_to_be_is_dead(self, relay: MailRelay) -> None:
        await relay.known()
        first = await relay.queued()
        second = await relay.queued("more", {"taskId": first})
        link = await relay.attach()
        await relay.reply(link, error={"code": -32603, "message": "boom"})
        found = await relay.store.list("acme", Filter(state=LetterState.DEAD), None, 10)
        assert [letter.reason for letter in found.letters] == [DeadReason.TASK_UNKNOWN]
        assert second == first  # its Task is the one that it continues


class TestAnAgentThatForgets:
    async def test_it_never_gets_a_letter_twice(self, relay: MailRelay) -> None:
        await relay.known()
        id = await relay.queued()
        link = await relay.attach(protocol="relay-go")
        next_request(link)
        link.play("xx")
        await relay.settled()
        assert (await relay.letter(id)).reason == DeadReason.DELIVERED_UNKNOWN
        assert not is_asked(await relay.attach(protocol="relay-go"))

    async def test_whoever_follows_is_told_that_the_letter_has_failed(self, relay: MailRelay) -> None:
        await relay.known()
        reader = await relay.streamed()
        link = await relay.attach(protocol="relay-go")
        next_request(link)
        link.play("xx")
        await relay.settled()
        last = json.loads(reader.bodies[-1])["task"]
        assert last["status"]["state"] == "TASK_STATE_FAILED"
        assert "delivered unknown" in last["status"]["message"]["parts"][0]["text"]
        assert reader.failure is None


class TestAnAgentThatRemembers:
    async def test_a_letter_whose_link_was_lost_comes_again_as_the_next_attempt(self, relay: MailRelay) -> None:
        await relay.known()
        await relay.queued()
        link = await relay.attach()
        next_request(link)
        link.play("xx")
        await relay.settled()
        link = await relay.attach()
        await relay.advance(2)
        assert next_request(link)["meta"]["attempt"] == 2

    async def test_it_is_dead_after_as_many_attempts_as_the_rules_allow(self) -> None:
        relay = MailRelay(rules=MailRules(sync_wait_seconds=0, attempts=2))
        await relay.known()
        id = await relay.queued()
        for _ in range(2):
            link = await relay.attach()
            await relay.advance(2)
            next_request(link)
            link.play("xx")
            await relay.settled()
        assert (await relay.letter(id)).reason == DeadReason.ATTEMPTS_EXHAUSTED

    async def test_another_run_of_a_letter_may_have_another_task(self, relay: MailRelay) -> None:
        await relay.known(more=STREAMING_CARD)
        id = await relay.queued()
        link = await relay.attach(more=STREAMING_CARD)
        request = next_request(link)["id"]
        await relay.reply(link, "a2a.event", request, seq=1, result={"task": agents_task("WORKING", "a1")})
        failure = {"code": -32053, "message": "late", "data": [{"domain": "a2a-relay"}]}
        await relay.reply(link, "a2a.end", request, error=failure)
        await relay.advance(2)
        await relay.reply(link, result={"task": agents_task(id="a2", context="c2")})
        await relay.reply(link, result=agents_task(id="a2", context="c2"))
        assert (await relay.letter(id)).alias == Alias("a2", "c2")


class TestAStoreThatFails:
    async def test_what_was_leased_and_not_handed_over_is_handed_over_without_an_attempt_lost(
        self, relay: MailRelay
    ) -> None:
        await relay.known()
        await relay.queued()
        relay.store.fail_next("lease", is_taken=True)
        link = await relay.attach(protocol="relay-go")  # one that would get nothing twice
        assert not is_asked(link)
        await relay.advance(3)
        assert is_asked(link)

    async def test_of_several_letters_the_rest_is_handed_over_later(self, relay: MailRelay) -> None:
        await relay.known()
        for number in range(2):
            await relay.queued(f"m{number}")
        relay.store.fail_next("find_context", is_taken=False)
        link = await relay.attach(protocol="relay-go")
        await relay.advance(3)
        texts = [next_request(link)["params"]["message"]["parts"][0]["text"] for _ in range(2)]
        assert sorted(texts) == ["m0", "m1"]
        assert not is_asked(link)

    @pytest.mark.parametrize("is_taken", [True, False])
    async def test_an_answer_is_kept_until_the_store_takes_it(self, relay: MailRelay, is_taken: bool) -> None:
        await relay.known()
        id = await relay.queued()
        link = await relay.attach()
        relay.store.fail_next("ack", is_taken=is_taken)
        await relay.reply(link, result={"task": agents_task()})
        await relay.advance(5)
        assert (await relay.letter(id)).state is LetterState.DONE
        assert events(relay).count("done") == 1
        assert relay.node.snapshot().letters_waiting == 0

    async def test_a_letter_that_was_queued_again_unnoticed_is_not_lost_when_it_is_leased_anew(
        self, relay: MailRelay
    ) -> None:
        await relay.known()
        id = await relay.queued()
        link = await relay.attach()
        next_request(link)
        relay.store.fail_next("give_back", is_taken=True)
        link.play("xx")
        await relay.settled()
        link = await relay.attach()
        relay.store.fail_next("lease", is_taken=True)
        await relay.advance(5)
        assert (await relay.reply(link, result={"task": agents_task()}))["meta"]["letter"] == id
        assert (await relay.letter(id)).state is LetterState.DONE

    async def test_ids_that_could_not_be_written_are_written_when_the_session_is_lost(self, relay: MailRelay) -> None:
        await relay.known(more=STREAMING_CARD)
        id = await relay.queued()
        link = await relay.attach(more=STREAMING_CARD)
        relay.store.fail_next("bind", is_taken=False)
        await relay.reply(link, "a2a.event", seq=1, result={"task": agents_task("WORKING")})
        link.play("xx")
        await relay.settled()
        assert (await relay.letter(id)).alias == Alias("a1", "c1")


class TestCancelling:
    async def test_a_letter_that_waits_is_cancelled_at_once(self, relay: MailRelay) -> None:
        await relay.known()
        id = await relay.queued()
        assert (await relay.ask("CancelTask", id))["status"]["state"] == "TASK_STATE_CANCELED"
        assert not is_asked(await relay.attach())

    async def test_a_stream_is_cancelled_at_its_agent_as_soon_as_its_task_is_known(self, relay: MailRelay) -> None:
        await relay.known(more=STREAMING_CARD)
        id = await relay.queued()
        link = await relay.attach(more=STREAMING_CARD)
        stream = next_request(link)["id"]
        assert (await relay.ask("CancelTask", id))["status"]["state"] == "TASK_STATE_WORKING"
        assert not is_asked(link)
        await relay.reply(link, "a2a.event", stream, seq=1, result={"task": agents_task("WORKING")})
        request = next_request(link)
        assert (request["method"], request["params"]) == ("CancelTask", {"id": "a1"})

    async def test_what_is_being_answered_at_once_cannot_be_cancelled(self, relay: MailRelay) -> None:
        await relay.known()
        id = await relay.queued()
        next_request(await relay.attach())
        assert (await relay.ask("CancelTask", id)).reason is Reason.TASK_NOT_CANCELABLE


async def test_receipts_tell_the_whole_way(relay: MailRelay) -> None:
    await relay.known()
    await relay.queued()
    link = await relay.attach()
    await relay.reply(link, result={"task": agents_task()})
    way = [LetterEvent.ACCEPTED, LetterEvent.LEASED, LetterEvent.WORKING, LetterEvent.ACKED, LetterEvent.DONE]
    assert sorted(events(relay)) == sorted(map(str, way))


async def test_a_live_call_does_not_overtake_letters_of_its_context(relay: MailRelay) -> None:
    await relay.known()
    first = await relay.queued("one", {"contextId": "ctx"})
    link = await relay.attach()
    second = await relay.send(send_call("two", {"contextId": "ctx"}))
    assert second["task"]["status"]["state"] == "TASK_STATE_SUBMITTED"
    assert (await relay.reply(link, result={"task": agents_task()}))["meta"]["letter"] == first
    assert next_request(link)["meta"]["letter"] == second["task"]["id"]


async def test_a_question_about_a_task_at_work_goes_to_its_agent(relay: MailRelay) -> None:
    await relay.known(more=STREAMING_CARD)
    id = await relay.queued()
    link = await relay.attach(more=STREAMING_CARD)
    await relay.reply(link, "a2a.event", seq=1, result={"task": agents_task("WORKING")})
    sink = RecordingSink()
    relay.node.submit(make_call("GetTask", json.dumps({"id": id}).encode(), spans=task(id)), sink)
    await relay.settled()
    await relay.reply(link, result=agents_task("INPUT_REQUIRED"))
    assert (said(sink)["id"], said(sink)["status"]["state"]) == (id, "TASK_STATE_INPUT_REQUIRED")
