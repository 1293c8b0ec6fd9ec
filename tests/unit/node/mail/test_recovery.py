"""Letters that were left leased: by a session that is gone, or a process that was killed."""

from __future__ import annotations

import json
from typing import Any

import pytest
from mail_relay import STREAMING_CARD, MailRelay, agents_task, is_asked, next_request

from a2a_relay.core.letter import DeadReason, LetterState
from a2a_relay.core.mail_rules import MailRules
from a2a_relay.errors import Reason
from a2a_relay.testing import Playbook, RecordingSink, make_call

ADOPTING = '"adopts_ids":true'


async def left_at_work(relay: MailRelay, more: str = STREAMING_CARD) -> tuple[MailRelay, str]:
    """A letter whose agent has begun a task when the relay was killed; the next process."""
    await relay.known(more=more)
    id = await relay.queued()
    link = await relay.attach(more=more)
    await relay.reply(link, "a2a.event", seq=1, result={"task": agents_task("WORKING")})
    return relay.restarted(), id


async def delivered_again(relay: MailRelay, more: str) -> tuple[MailRelay, str, Playbook]:
    """A letter that the agent had got, without a word of it, when the relay was killed; it has got it again."""
    await relay.known(more=more)
    id = await relay.queued()
    next_request(await relay.attach(more=more))
    relay = relay.restarted()
    return relay, id, await relay.attach(more=more)


class TestAKnownTask:
    async def test_is_asked_for_and_never_run_again(self, relay: MailRelay) -> None:
        relay, id = await left_at_work(relay)
        link = await relay.attach(more=STREAMING_CARD)
        request = await relay.reply(link, result=agents_task())
        assert (request["method"], request["params"]) == ("GetTask", {"id": "a1"})
        assert (await relay.letter(id)).state is LetterState.DONE
        assert not is_asked(link)

    async def test_that_is_still_at_work_is_followed_and_asked_for_at_its_end(self, relay: MailRelay) -> None:
        relay, id = await left_at_work(relay)
        link = await relay.attach(more=STREAMING_CARD)
        await relay.reply(link, result=agents_task("WORKING"))
        follow = next_request(link)
        assert follow["method"] == "SubscribeToTask"
        await relay.reply(link, "a2a.event", follow["id"], seq=1, result={"task": agents_task("WORKING")})
        await relay.reply(link, "a2a.end", follow["id"])
        await relay.reply(link, result=agents_task())
        assert (await relay.letter(id)).state is LetterState.DONE

    async def test_of_an_agent_that_does_not_stream_is_asked_for_now_and_then(self, relay: MailRelay) -> None:
        relay, id = await left_at_work(relay)
        link = await relay.attach(more='"agent_card":{"name":"zaf"}')
        await relay.reply(link, result=agents_task("WORKING"))
        assert not is_asked(link)
        await relay.advance(6)
        await relay.reply(link, result=agents_task())
        assert (await relay.letter(id)).state is LetterState.DONE

    async def test_that_the_agent_has_lost_is_run_again_where_that_may_be(self, relay: MailRelay) -> None:
        relay, id = await left_at_work(relay)
        link = await relay.attach(more=STREAMING_CARD)
        await relay.reply(link, error={"code": -32001, "message": "no such task"})
        await relay.advance(2)
        assert next_request(link)["meta"]["attempt"] == 2
        assert (await relay.letter(id)).state is LetterState.LEASED

    async def test_that_the_agent_has_lost_is_dead_where_it_may_not(self, relay: MailRelay) -> None:
        relay, id = await left_at_work(relay)
        link = await relay.attach(protocol="relay-go", more=STREAMING_CARD)
        await relay.reply(link, error={"code": -32001, "message": "no such task"})
        assert (await relay.letter(id)).reason == DeadReason.DELIVERED_UNKNOWN

    async def test_waits_when_the_agent_leaves_before_it_has_answered(self, relay: MailRelay) -> None:
        relay, id = await left_at_work(relay)
        (await relay.attach(more=STREAMING_CARD)).play("xx")
        await relay.settled()
        assert (await relay.letter(id)).state is LetterState.LEASED
        await relay.reply(await relay.attach(more=STREAMING_CARD), result=agents_task())
        assert (await relay.letter(id)).state is LetterState.DONE

    async def test_is_followed_over_the_link_that_the_agent_has_now(self, relay: MailRelay) -> None:
        resuming = '"letters","resume"'
        relay, id = await left_at_work(relay)
        link = await relay.attach(more=STREAMING_CARD, features=resuming)
        question, session = next_request(link)["id"], f"{relay.epoch}-1"
        link.play("xx")
        claim = f'"resume":{{"session":"{session}","streams":[],"calls":["{question}"]}}'
        link = await relay.attach(more=f"{STREAMING_CARD},{claim}", features=resuming)
        await relay.reply(link, to=question, result=agents_task("WORKING"))
        assert next_request(link)["method"] == "SubscribeToTask"
        assert (await relay.letter(id)).state is LetterState.LEASED


class TestAnUnknownTask:
    async def test_comes_again_to_an_agent_that_remembers(self, relay: MailRelay) -> None:
        _, id, link = await delivered_again(relay, STREAMING_CARD)
        request = next_request(link)
        assert (request["meta"]["letter"], request["meta"]["attempt"]) == (id, 2)

    async def test_is_dead_for_an_agent_that_forgets(self, relay: MailRelay) -> None:
        await relay.known()
        id = await relay.queued()
        next_request(await relay.attach(protocol="relay-go"))
        relay = relay.restarted()
        assert not is_asked(await relay.attach(protocol="relay-go"))
        assert (await relay.letter(id)).reason == DeadReason.DELIVERED_UNKNOWN

    async def test_is_dead_after_the_last_attempt(self) -> None:
        relay = MailRelay(rules=MailRules(sync_wait_seconds=0, attempts=1))
        relay, id, _ = await delivered_again(relay, STREAMING_CARD)
        assert (await relay.letter(id)).reason == DeadReason.ATTEMPTS_EXHAUSTED

    async def test_whose_answer_was_only_late_is_not_called_again(self, relay: MailRelay) -> None:
        link = await relay.attach()
        sink = RecordingSink()
        relay.node.submit(make_call("SendMessage", b'{"message":{}}'), sink)
        next_request(link)
        await relay.advance(relay.limits.request_timeout_seconds + 1)
        outcome: Any = sink.outcome
        assert outcome.reason is Reason.AGENT_TIMEOUT
        relay = relay.restarted()
        assert not is_asked(await relay.attach())
        assert (await relay.letter(outcome.metadata["task"])).reason == DeadReason.DELIVERED_UNKNOWN


class TestAnAgentThatAdoptsIds:
    ENDED: Any = {"code": -32004, "message": "the task has ended"}

    async def test_is_asked_for_the_suggested_task_before_its_error_counts(self, relay: MailRelay) -> None:
        relay, id, link = await delivered_again(relay, ADOPTING)
        await relay.reply(link, error=self.ENDED)
        request = await relay.reply(link, result=agents_task(id=id, context="c1"))
        assert (request["method"], request["params"]) == ("GetTask", {"id": id})
        letter = await relay.letter(id)
        assert letter.state is LetterState.DONE
        assert letter.answer is not None
        assert json.loads(letter.answer.body)["id"] == id

    async def test_has_failed_when_it_has_no_such_task(self, relay: MailRelay) -> None:
        relay, id, link = await delivered_again(relay, ADOPTING)
        await relay.reply(link, error={"code": -32603, "message": "boom"})
        await relay.reply(link, error={"code": -32001, "message": "no such task"})
        assert (await relay.ask("GetTask", id))["status"]["message"]["parts"][0]["text"] == "boom"

    async def test_is_followed_when_the_task_is_still_at_work(self, relay: MailRelay) -> None:
        relay, id, link = await delivered_again(relay, ADOPTING)
        await relay.reply(link, error=self.ENDED)
        await relay.reply(link, result=agents_task("WORKING", id, "c1"))
        await relay.advance(6)
        await relay.reply(link, result=agents_task(id=id, context="c1"))
        assert (await relay.letter(id)).state is LetterState.DONE

    async def test_gets_the_letter_again_when_it_leaves_before_it_has_said(self, relay: MailRelay) -> None:
        relay, id, link = await delivered_again(relay, ADOPTING)
        await relay.reply(link, error=self.ENDED)
        link.play("xx")
        await relay.settled()
        assert (await relay.letter(id)).state is LetterState.LEASED
        assert next_request(await relay.attach(more=ADOPTING))["meta"]["attempt"] == 3

    async def test_is_believed_at_the_first_attempt(self, relay: MailRelay) -> None:
        await relay.known()
        id = await relay.queued()
        link = await relay.attach(more=ADOPTING)
        await relay.reply(link, error={"code": -32603, "message": "boom"})
        assert not is_asked(link)
        assert (await relay.letter(id)).state is LetterState.DONE


class TestAStreamThatGoesOn:
    """What a killed process had taken of it is not said again."""

    async def test_is_answered_by_the_whole_task(self, relay: MailRelay) -> None:
        relay, id, link = await delivered_again(relay, STREAMING_CARD)
        stream = next_request(link)["id"]
        update = {"taskId": "a1", "contextId": "c1", "status": {"state": "TASK_STATE_COMPLETED"}}
        await relay.reply(link, "a2a.event", stream, seq=1, result={"statusUpdate": update})
        await relay.reply(link, "a2a.end", stream)
        whole = agents_task() | {"artifacts": [{"artifactId": "lost", "parts": []}]}
        assert (await relay.reply(link, result=whole))["method"] == "GetTask"
        letter = await relay.letter(id)
        assert letter.answer is not None
        assert json.loads(letter.answer.body)["artifacts"][0]["artifactId"] == "lost"

    @pytest.mark.parametrize("error", [{"code": -32001, "message": "no such task"}])
    async def test_is_answered_by_what_has_come_when_there_is_no_such_task(
        self, relay: MailRelay, error: dict[str, Any]
    ) -> None:
        relay, id, link = await delivered_again(relay, STREAMING_CARD)
        stream = next_request(link)["id"]
        await relay.reply(link, "a2a.event", stream, seq=1, result={"task": agents_task()})
        await relay.reply(link, "a2a.end", stream)
        await relay.reply(link, error=error)
        assert (await relay.letter(id)).state is LetterState.DONE
