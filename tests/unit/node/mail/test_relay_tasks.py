"""What is asked of tasks that the relay has made."""

from __future__ import annotations

import json
from typing import Any

from mail_relay import STREAMING_CARD, MailRelay, agents_task, is_asked, message, next_request, said, send_call, task

from a2a_relay.a2a import spans
from a2a_relay.a2a.methods import BY_NAME
from a2a_relay.core.call import Form
from a2a_relay.core.letter import Act, Filter
from a2a_relay.core.principal import Role
from a2a_relay.errors import Reason
from a2a_relay.testing import Playbook, RecordingSink, make_address, make_call, make_principal

ANN = make_principal(role=Role.SENDER, identity="ann")
BOB = make_principal(role=Role.SENDER, identity="bob")


async def done(relay: MailRelay, state: str = "COMPLETED", **options: Any) -> tuple[str, Playbook]:
    """A letter that was answered by a Task in this state; its agent is attached."""
    await relay.known()
    id = await relay.queued(**options)
    link = await relay.attach()
    await relay.reply(link, result={"task": agents_task(state)})
    return id, link


async def asked(relay: MailRelay, method: str, document: dict[str, Any], **fields: Any) -> RecordingSink:
    """A unary call whose params are this document; its sink."""
    params, sink = json.dumps(document).encode(), RecordingSink()
    call = make_call(method, params, spans=spans.read(BY_NAME[method].operation, params), **fields)
    relay.node.submit(call, sink)
    await relay.settled()
    return sink


async def subscribed(relay: MailRelay, id: str) -> RecordingSink:
    reader = RecordingSink()
    relay.node.stream(make_call("SubscribeToTask", json.dumps({"id": id}).encode(), spans=task(id)), reader)
    await relay.settled()
    return reader


class TestGet:
    async def test_what_nobody_has_is_not_found(self, relay: MailRelay) -> None:
        await relay.known()
        assert (await relay.ask("GetTask", "rly-none")).reason is Reason.TASK_NOT_FOUND

    async def test_a_task_of_another_agent_is_not_found(self, relay: MailRelay) -> None:
        await relay.known()
        id = await relay.queued()
        await relay.known("bob")
        sink = await asked(relay, "GetTask", {"id": id}, address=make_address("acme/bob"))
        assert sink.outcome.reason is Reason.TASK_NOT_FOUND  # type: ignore[union-attr]

    async def test_what_the_agent_does_not_answer_is_answered_as_it_was(self, relay: MailRelay) -> None:
        id, link = await done(relay)
        sink = await asked(relay, "GetTask", {"id": id})
        await relay.reply(link, error={"code": -32001, "message": "forgotten"})
        assert said(sink)["status"]["state"] == "TASK_STATE_COMPLETED"

    async def test_the_agents_task_is_shown_under_the_relays_names(self, relay: MailRelay) -> None:
        id, link = await done(relay, "WORKING")
        sink = await asked(relay, "GetTask", {"id": id, "historyLength": 1})
        request = await relay.reply(link, result=agents_task())
        assert request["params"] == {"id": "a1", "historyLength": 1}
        assert said(sink)["id"] == id
        assert said(sink)["contextId"].startswith("rly-")


class TestSubscribe:
    async def test_a_letter_that_waits_is_followed_from_its_task_on(self, relay: MailRelay) -> None:
        await relay.known(more=STREAMING_CARD)
        id = await relay.queued()
        reader = await subscribed(relay, id)
        link = await relay.attach(more=STREAMING_CARD)
        stream = next_request(link)["id"]
        await relay.reply(link, "a2a.event", stream, seq=1, result={"task": agents_task()})
        await relay.reply(link, "a2a.end", stream)
        states = [json.loads(body)["task"]["status"]["state"] for body in reader.bodies]
        assert states == ["TASK_STATE_SUBMITTED", "TASK_STATE_COMPLETED"]
        assert reader.failure is None

    async def test_a_letter_that_is_queued_again_is_followed_too(self, relay: MailRelay) -> None:
        await relay.known(more=STREAMING_CARD)
        id = await relay.queued()
        link = await relay.attach(more=STREAMING_CARD)
        stream = next_request(link)["id"]
        await relay.reply(link, "a2a.event", stream, seq=1, result={"task": agents_task("WORKING")})
        late = {"code": -32053, "message": "late", "data": [{"domain": "a2a-relay"}]}
        await relay.reply(link, "a2a.end", stream, error=late)
        assert len((await subscribed(relay, id)).events) == 1

    async def test_a_task_that_has_ended_has_nothing_more_to_tell(self, relay: MailRelay) -> None:
        id, _ = await done(relay)
        reader = await subscribed(relay, id)
        assert [refused.reason for refused in reader.answers] == [Reason.UNSUPPORTED_OPERATION]  # type: ignore[union-attr]

    async def test_a_task_at_work_is_followed_at_its_agent(self, relay: MailRelay) -> None:
        id, link = await done(relay, "WORKING")
        reader = await subscribed(relay, id)
        request = next_request(link)
        assert (request["method"], request["params"]) == ("SubscribeToTask", {"id": "a1"})
        await relay.reply(link, "a2a.event", request["id"], seq=1, result={"task": agents_task()})
        assert json.loads(reader.bodies[0])["task"]["id"] == id

    async def test_a_letter_that_is_cancelled_ends_with_that(self, relay: MailRelay) -> None:
        await relay.known()
        id = await relay.queued()
        reader = await subscribed(relay, id)
        await relay.ask("CancelTask", id)
        assert json.loads(reader.bodies[-1])["task"]["status"]["state"] == "TASK_STATE_CANCELED"
        assert reader.failure is None

    async def test_a_letter_that_expires_ends_with_that(self, relay: MailRelay) -> None:
        await relay.known()
        reader = await subscribed(relay, await relay.queued(ttl_seconds=5))
        await relay.advance(7)
        assert json.loads(reader.bodies[-1])["task"]["status"]["state"] == "TASK_STATE_FAILED"


class TestGoingOn:
    async def test_with_a_task_that_waits_is_another_letter_of_it(self, relay: MailRelay) -> None:
        await relay.known()
        first = await relay.queued()
        assert await relay.queued("more", {"taskId": first}) == first
        link = await relay.attach()
        await relay.reply(link, result={"task": agents_task("INPUT_REQUIRED")})
        request = next_request(link)
        assert request["params"]["message"]["taskId"] == "a1"
        assert request["meta"]["task_id"] == first

    async def test_with_a_task_that_the_agent_has_is_a_call_under_its_names(self, relay: MailRelay) -> None:
        id, link = await done(relay, "INPUT_REQUIRED")
        sink = RecordingSink()
        relay.node.submit(send_call("more", {"taskId": id}), sink)
        await relay.settled()
        request = await relay.reply(link, result={"task": agents_task()})
        assert request["params"]["message"]["taskId"] == "a1"
        assert said(sink)["task"]["id"] == id

    async def test_with_a_task_whose_agent_is_away_is_queued_under_the_same_task(self, relay: MailRelay) -> None:
        id, link = await done(relay, "INPUT_REQUIRED")
        link.play("xx")
        await relay.settled()
        assert await relay.queued("more", {"taskId": id}) == id

    async def test_with_a_task_that_has_ended_without_its_agent_is_refused(self, relay: MailRelay) -> None:
        await relay.known()
        id = await relay.queued()
        await relay.ask("CancelTask", id)
        assert (await relay.send(send_call("more", {"taskId": id}))).reason is Reason.UNSUPPORTED_OPERATION

    async def test_each_who_follows_is_told_of_his_own_letter(self, relay: MailRelay) -> None:
        await relay.known()
        first = await relay.queued()
        reader = RecordingSink()
        params = message("more", taskId=first)
        relay.node.stream(make_call("SendStreamingMessage", params, spans=task(first)), reader)
        await relay.settled()
        link = await relay.attach()
        await relay.reply(link, result={"task": agents_task("INPUT_REQUIRED")})
        assert not reader.is_over  # that was the answer to the first
        await relay.reply(link, result={"task": agents_task()})
        assert json.loads(reader.bodies[-1])["task"]["status"]["state"] == "TASK_STATE_COMPLETED"
        assert reader.failure is None

    async def test_with_a_context_of_the_relays_is_told_the_agent_under_its_own(self, relay: MailRelay) -> None:
        id, link = await done(relay)
        context = (await relay.letter(id)).context_id
        sink = RecordingSink()
        relay.node.submit(send_call("more", {"contextId": context}), sink)
        await relay.settled()
        request = await relay.reply(link, result={"task": agents_task(id="a2")})
        assert request["params"]["message"]["contextId"] == "c1"
        assert said(sink)["task"]["contextId"] == context

    async def test_with_what_is_another_callers_finds_nothing(self, relay: MailRelay) -> None:
        id, _ = await done(relay, principal=ANN)
        context = (await relay.letter(id)).context_id
        for fields in ({"taskId": id}, {"contextId": context}, {"referenceTaskIds": [id]}):
            refused = await relay.send(send_call("more", fields, principal=BOB))
            assert refused.reason is Reason.TASK_NOT_FOUND


class TestLists:
    async def test_of_an_agent_that_is_away_are_the_callers_own_tasks(self, relay: MailRelay) -> None:
        await relay.known()
        id = await relay.queued(principal=ANN)
        await relay.queued(principal=BOB)
        listed = said(await asked(relay, "ListTasks", {}, principal=ANN))
        assert [found["id"] for found in listed["tasks"]] == [id]
        assert listed["totalSize"] == 1
        assert said(await asked(relay, "ListTasks", {}))["totalSize"] == 2  # an admin's

    async def test_come_in_pages(self, relay: MailRelay) -> None:
        await relay.known()
        ids = [await relay.queued(f"m{number}") for number in range(3)]
        first = said(await asked(relay, "ListTasks", {"pageSize": 2}))
        second = said(await asked(relay, "ListTasks", {"pageSize": 2, "pageToken": first["nextPageToken"]}))
        assert [found["id"] for found in first["tasks"] + second["tasks"]] == ids[::-1]
        assert second["nextPageToken"] == ""

    async def test_of_an_agent_that_is_there_are_its_own_to_answer(self, relay: MailRelay) -> None:
        _, link = await done(relay)
        await asked(relay, "ListTasks", {})
        assert next_request(link)["method"] == "ListTasks"


class TestPushConfigurations:
    async def test_of_a_task_that_the_agent_has_not_got_are_refused(self, relay: MailRelay) -> None:
        await relay.known()
        id = await relay.queued()
        document = {"taskId": id, "url": "https://client.example/hook"}
        sink = await asked(relay, "CreateTaskPushNotificationConfig", document)
        assert sink.outcome.reason is Reason.UNSUPPORTED_OPERATION  # type: ignore[union-attr]

    async def test_of_one_that_it_has_go_there(self, relay: MailRelay) -> None:
        id, link = await done(relay, "WORKING")
        await asked(relay, "ListTaskPushNotificationConfigs", {"taskId": id})
        assert next_request(link)["params"] == {"taskId": "a1"}


class TestCancel:
    async def test_a_task_that_the_agent_has_is_cancelled_there(self, relay: MailRelay) -> None:
        id, link = await done(relay, "WORKING")
        sink = await asked(relay, "CancelTask", {"id": id})
        await relay.reply(link, result=agents_task("CANCELED"))
        assert (said(sink)["id"], said(sink)["status"]["state"]) == (id, "TASK_STATE_CANCELED")

    async def test_a_letter_that_has_just_been_leased_is_looked_at_again(self, relay: MailRelay) -> None:
        await relay.known()
        id = await relay.queued()
        step = relay.store.cancel

        async def too_late(*args: Any) -> Any:
            link = await relay.attach()
            assert is_asked(link)
            return await step(*args)

        relay.store.cancel = too_late  # type: ignore[method-assign]
        sink = RecordingSink()
        relay.node.submit(make_call("CancelTask", json.dumps({"id": id}).encode(), spans=task(id)), sink)
        for _ in range(10):
            await relay.settled()
        assert sink.outcome.reason is Reason.TASK_NOT_CANCELABLE  # type: ignore[union-attr]


async def test_a_task_is_written_as_its_sender_reads_it(relay: MailRelay) -> None:
    await relay.known()
    found = await relay.send(make_call("message/send", message()))
    assert (found["kind"], found["status"]["state"]) == ("task", "submitted")
    assert found["contextId"].startswith("rly-")


async def test_plain_clients_are_told_plainly(relay: MailRelay) -> None:
    await relay.known()
    sink = RecordingSink()
    relay.node.submit(make_call("SendMessage", message(), form=Form.PLAIN), sink)
    await relay.settled()
    assert sink.outcome.http_status == 202  # type: ignore[union-attr]
    assert said(sink)["status"] == "queued"


async def test_a_task_whose_letter_is_gone_is_not_taken_for_one_that_its_agent_has_adopted(relay: MailRelay) -> None:
    await relay.known()
    relay.node.owners.concern(make_call(principal=ANN))
    found = await relay.send(send_call(principal=ANN))
    await relay.store.purge("acme", Filter(), Act("key:ops", "a drill"))
    link = await relay.attach()
    assert (await relay.ask("GetTask", found["task"]["id"], principal=ANN)).reason is Reason.TASK_NOT_FOUND
    assert not is_asked(link)
