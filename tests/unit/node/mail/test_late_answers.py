"""Answers that come after their callers were told that none did."""

from __future__ import annotations

import json
from typing import Any

from mail_relay import MailRelay, agents_task, next_request, task

from a2a_relay.core.letter import LetterState
from a2a_relay.core.limits import Limits
from a2a_relay.errors import Reason
from a2a_relay.testing import Playbook, RecordingSink, make_call

LIMITS = Limits(request_timeout_seconds=10, late_answer_seconds=60)


async def overdue(link: Playbook, relay: MailRelay, **options: Any) -> tuple[str, str, RecordingSink]:
    """A call whose time is over: its frame id, the task under which its answer is to be found, and its sink."""
    sink = RecordingSink()
    relay.node.submit(make_call("SendMessage", b'{"message":{}}', **options), sink)
    await relay.settled()
    request = next_request(link)["id"]
    await relay.advance(11)
    refused: Any = sink.outcome
    assert refused.reason is Reason.AGENT_TIMEOUT
    return request, refused.metadata.get("task", ""), sink


async def test_an_answer_is_found_under_the_task_that_the_caller_was_told() -> None:
    relay = MailRelay(LIMITS)
    link = await relay.attach()
    request, id, _ = await overdue(link, relay)
    assert (await relay.ask("GetTask", id))["status"]["state"] == "TASK_STATE_WORKING"
    await relay.reply(link, to=request, result={"task": agents_task()})
    link.play("xx")
    found = await relay.ask("GetTask", id)
    assert (found["id"], found["status"]["state"]) == (id, "TASK_STATE_COMPLETED")


async def test_an_error_or_nonsense_is_found_there_too() -> None:
    relay = MailRelay(LIMITS)
    link = await relay.attach()
    for payload in ({"error": {"code": -32603, "message": "boom"}}, {"result": {"some": "thing"}}):
        request, id, _ = await overdue(link, relay)
        await relay.reply(link, to=request, **payload)
        assert (await relay.ask("GetTask", id))["status"]["state"] == "TASK_STATE_FAILED"


async def test_none_that_comes_at_all_is_told_as_well() -> None:
    relay = MailRelay(LIMITS)
    link = await relay.attach()
    _, id, _ = await overdue(link, relay)
    await relay.advance(61)
    assert (await relay.letter(id)).state is LetterState.DEAD
    assert not relay.room.late.has(id)


async def test_whoever_follows_is_told_the_answer() -> None:
    relay = MailRelay(LIMITS)
    link = await relay.attach()
    request, id, _ = await overdue(link, relay)
    reader = RecordingSink()
    relay.node.stream(make_call("SubscribeToTask", json.dumps({"id": id}).encode(), spans=task(id)), reader)
    await relay.settled()
    await relay.reply(link, to=request, result={"task": agents_task()})
    last = json.loads(reader.bodies[-1])["task"]
    assert (last["id"], last["status"]["state"]) == (id, "TASK_STATE_COMPLETED")
    assert reader.failure is None


async def test_a_caller_who_has_hung_up_finds_the_answer_all_the_same() -> None:
    relay = MailRelay(LIMITS)
    link = await relay.attach()
    sink = RecordingSink()
    held = relay.node.submit(make_call("SendMessage", b'{"message":{}}'), sink)
    await relay.settled()
    request = next_request(link)["id"]
    await relay.advance(11)
    id = sink.outcome.metadata["task"]  # type: ignore[union-attr]
    relay.node.abandon(held)
    await relay.reply(link, to=request, result={"task": agents_task()})
    assert (await relay.letter(id)).state is LetterState.DONE


async def test_a_held_call_that_was_hung_up_as_well() -> None:
    relay = MailRelay(LIMITS)
    await relay.known()
    await relay.queued()
    link = await relay.attach()
    next_request(link)
    sink = RecordingSink()
    held = relay.node.submit(make_call("SendMessage", b'{"message":{}}'), sink)  # letters wait: it was looked at first
    await relay.settled()
    request = next_request(link)["id"]
    await relay.advance(11)
    id = sink.outcome.metadata["task"]  # type: ignore[union-attr]
    relay.node.abandon(held)
    await relay.reply(link, to=request, result={"task": agents_task()})
    assert (await relay.letter(id)).state is LetterState.DONE
    assert not relay.room.late.has(id)


async def test_an_answer_is_kept_until_the_store_takes_it() -> None:
    relay = MailRelay(LIMITS)
    link = await relay.attach()
    request, id, _ = await overdue(link, relay)
    relay.store.fail_next("ack", is_taken=False)
    await relay.reply(link, to=request, result={"task": agents_task()})
    assert (await relay.letter(id)).state is LetterState.LEASED
    await relay.advance(3)
    assert (await relay.letter(id)).state is LetterState.DONE


async def test_where_it_cannot_be_noted_the_call_has_just_timed_out() -> None:
    relay = MailRelay(LIMITS)
    link = await relay.attach()
    relay.store.fail_next("accept", is_taken=True)
    _, id, _ = await overdue(link, relay)
    assert id == ""
    await relay.advance(5)  # and what may have been noted is given up
    assert not relay.store.backlog()


async def test_where_late_answers_are_not_taken_the_call_has_just_timed_out() -> None:
    relay = MailRelay(Limits(request_timeout_seconds=10, late_answer_seconds=0))
    _, id, _ = await overdue(await relay.attach(), relay)
    assert id == ""


async def test_it_counts_as_a_letter_that_was_accepted_and_answered() -> None:
    relay = MailRelay(LIMITS)
    link = await relay.attach()
    request, _, _ = await overdue(link, relay)
    assert relay.node.snapshot().letters_waiting == 1
    await relay.reply(link, to=request, result={"task": agents_task()})
    assert relay.node.snapshot().letters_waiting == 0
    assert [str(event) for event, *_ in relay.observer.letters] == ["accepted", "acked", "done"]
