"""Calls to agents that are away, and what becomes of them."""

from __future__ import annotations

import json

import pytest
from mail_relay import STREAMING_CARD, MailRelay, is_asked, message, said, task

from a2a_relay.a2a.spans import Spans
from a2a_relay.core.call import Form
from a2a_relay.core.letter import Filter
from a2a_relay.core.mail_rules import MailRules
from a2a_relay.core.principal import Role
from a2a_relay.errors import Reason, Refused
from a2a_relay.node.letter_desk import LetterDesk
from a2a_relay.testing import RecordingSink, make_address, make_call, make_principal


async def queued(relay: MailRelay, text: str = "hi", **fields: object) -> str:
    """A message that was queued; the id of its Task."""
    found = await relay.send(make_call("SendMessage", message(text), **fields))
    assert found["task"]["status"]["state"] == "TASK_STATE_SUBMITTED"
    return str(found["task"]["id"])


async def answer(relay: MailRelay, link, result: object) -> dict:
    """The agent answers the next request with a result; the request."""
    frame = link.transport.take()
    assert frame["type"] == "a2a.request", frame
    reply = {"type": "a2a.response", "payload": {"id": frame["payload"]["id"], "result": result}}
    link.link.receive(json.dumps(reply).encode())
    await relay.settled()
    return frame["payload"]


class TestSending:
    async def test_a_message_to_an_agent_that_is_away_is_answered_with_a_submitted_task(self, relay):
        await relay.known()
        found = await relay.send(make_call("SendMessage", message()))
        assert found["task"]["id"].startswith("rly-")
        assert found["task"]["contextId"].startswith("rly-")
        facts = next(iter(found["task"]["metadata"].values()))
        assert facts["position"] == 0
        assert facts["durability"] == "memory"

    async def test_its_task_is_known_before_the_agent_wakes(self, relay):
        await relay.known()
        id = await queued(relay)
        assert (await relay.ask("GetTask", id))["status"]["state"] == "TASK_STATE_SUBMITTED"

    async def test_it_is_delivered_when_the_agent_comes_and_its_answer_found_under_the_relays_id(self, relay):
        await relay.known()
        id = await queued(relay)
        link = await relay.attach()
        request = await answer(
            relay, link, {"task": {"id": "a1", "contextId": "c1", "status": {"state": "TASK_STATE_COMPLETED"}}}
        )
        assert request["method"] == "SendMessage"
        assert request["meta"]["letter"] == id
        assert request["meta"]["attempt"] == 1
        link.play("xx")
        found = await relay.ask("GetTask", id)
        assert found["id"] == id
        assert found["status"]["state"] == "TASK_STATE_COMPLETED"
        assert '"a1"' not in json.dumps(found)

    async def test_a_task_that_the_agent_has_is_asked_for_there_under_its_own_id(self, relay):
        await relay.known()
        id = await queued(relay)
        link = await relay.attach()
        task_of_agent = {"id": "a1", "contextId": "c1", "status": {"state": "TASK_STATE_WORKING"}}
        await answer(relay, link, {"task": task_of_agent})
        sink = RecordingSink()
        relay.node.submit(make_call("GetTask", json.dumps({"id": id}).encode(), spans=task(id)), sink)
        await relay.settled()
        request = await answer(relay, link, task_of_agent | {"history": [{"taskId": "a1", "contextId": "c1"}]})
        assert request["params"] == {"id": "a1"}
        assert said(sink)["id"] == id
        assert said(sink)["history"][0]["taskId"] == id

    async def test_the_agents_list_names_it_as_its_sender_knows_it_and_nobody_else_does(self, relay):
        await relay.known()
        ann, bob = [make_principal(role=Role.SENDER, identity=name) for name in ("ann", "bob")]
        id = await queued(relay, principal=ann)
        link = await relay.attach()
        own = {"id": "a1", "contextId": "c1", "status": {"state": "TASK_STATE_COMPLETED"}}
        await answer(relay, link, {"task": own})
        for caller, listed in ((ann, [id]), (bob, [])):
            sink = RecordingSink()
            relay.node.submit(make_call("ListTasks", b"{}", principal=caller), sink)
            await relay.settled()
            await answer(relay, link, {"tasks": [own], "nextPageToken": "", "pageSize": 50, "totalSize": 1})
            assert [found["id"] for found in said(sink)["tasks"]] == listed

    async def test_a_message_instead_of_a_task_is_a_completed_task_that_carries_it(self, relay):
        await relay.known()
        id = await queued(relay)
        link = await relay.attach()
        await answer(relay, link, {"message": {"messageId": "r", "role": "ROLE_AGENT", "parts": [{"text": "yo"}]}})
        found = await relay.ask("GetTask", id)
        assert found["status"]["state"] == "TASK_STATE_COMPLETED"
        assert found["status"]["message"]["parts"] == [{"text": "yo"}]

    async def test_an_agent_that_nobody_knows_has_no_mailbox(self, relay):
        with pytest.raises(Refused, match="AGENT_NOT_FOUND"):
            relay.node.submit(make_call("SendMessage", message()), RecordingSink())

    async def test_what_is_not_a_send_is_not_queued(self, relay):
        await relay.known()
        with pytest.raises(Refused, match="AGENT_OFFLINE"):
            relay.node.submit(make_call("GetTask", b'{"id":"x"}', spans=task("x")), RecordingSink())

    async def test_a_binding_that_the_agent_does_not_serve_is_refused_at_once(self, relay):
        await relay.known()
        with pytest.raises(Refused, match="BINDING_NOT_SERVED"):
            relay.node.submit(make_call("SendMessage", message(), form=Form.REST_V03), RecordingSink())

    async def test_an_agent_that_was_never_here_may_serve_any_binding(self, relay):
        relay.node.agents.expect(make_address(), None)
        found = await relay.send(make_call("SendMessage", message(), form=Form.REST_V03))
        assert found["task"]["status"]["state"] == "TASK_STATE_SUBMITTED"

    async def test_an_agent_whose_rule_says_reject_gets_no_letters(self):
        relay = MailRelay(rules=MailRules(offline_queues=False))
        await relay.known()
        with pytest.raises(Refused, match="AGENT_OFFLINE"):
            relay.node.submit(make_call("SendMessage", message()), RecordingSink())

    async def test_it_waits_a_little_for_the_agent_before_it_is_queued(self):
        relay = MailRelay(rules=MailRules(sync_wait_seconds=3))
        await relay.known()
        sink = RecordingSink()
        relay.node.submit(make_call("SendMessage", message()), sink)
        await relay.settled()
        assert not sink.is_over
        link = await relay.attach()
        await answer(relay, link, {"message": {"messageId": "r", "role": "ROLE_AGENT", "parts": []}})
        assert said(sink)["message"]["messageId"] == "r"

    async def test_who_hangs_up_while_waiting_has_queued_nothing(self):
        relay = MailRelay(rules=MailRules(sync_wait_seconds=3))
        await relay.known()
        taken = relay.node.submit(make_call("SendMessage", message()), RecordingSink())
        await relay.settled()
        relay.node.abandon(taken)
        relay.clock.advance(4)
        await relay.settled()
        assert not relay.mailbox.backlog()

    async def test_a_paused_agent_counts_as_away(self, relay):
        link = await relay.attach()
        link.play('>> {"type":"agent.state","payload":{"state":"paused","reason":"lunch"}}')
        id = await queued(relay)
        link.play('>> {"type":"agent.state","payload":{"state":"ready"}}')
        await relay.settled()
        assert (await answer(relay, link, {"message": {}}))["meta"]["letter"] == id

    async def test_a_new_message_joins_the_letters_of_its_context(self, relay):
        await relay.known()
        first = await queued(relay)
        context = (await relay.ask("GetTask", first))["contextId"]
        link = await relay.attach()
        found = await relay.send(
            make_call("SendMessage", message("second", contextId=context), spans=Spans(context_id=context))
        )
        assert found["task"]["status"]["state"] == "TASK_STATE_SUBMITTED"
        request = await answer(relay, link, {"message": {}})
        assert request["meta"]["letter"] == first
        assert (await answer(relay, link, {"message": {}}))["meta"]["letter"] == found["task"]["id"]

    async def test_an_agent_that_comes_and_is_gone_again_finds_the_message_queued(self):
        relay = MailRelay(rules=MailRules(sync_wait_seconds=3))
        await relay.known()
        sink = RecordingSink()
        relay.node.submit(make_call("SendMessage", message()), sink)
        await relay.settled()
        expected, session = relay.room._expected, relay.node.find_session
        expected.arrived(make_call().address)  # it has come, and left before the call goes on
        await relay.settled()
        assert session(make_call().address) is None
        assert said(sink)["task"]["status"]["state"] == "TASK_STATE_SUBMITTED"

    async def test_who_would_wait_when_the_relay_leaves_is_answered_at_once(self):
        relay = MailRelay(rules=MailRules(sync_wait_seconds=3))
        await relay.known()
        sink = RecordingSink()
        relay.node.submit(make_call("SendMessage", message()), sink)
        await relay.node.leave(0)
        assert said(sink)["task"]["status"]["state"] == "TASK_STATE_SUBMITTED"


class TestAStoreThatFails:
    async def test_what_was_not_taken_is_refused(self, relay):
        await relay.known()
        relay.store.fail_next("accept", is_taken=False)
        assert (await relay.send(make_call("SendMessage", message()))).reason is Reason.STORE_FAILED
        assert not relay.store.backlog()

    async def test_what_was_taken_all_the_same_is_delivered(self, relay):
        await relay.known()
        link = await relay.attach()
        relay.store.fail_next("accept", is_taken=True)
        refused = await relay.send(make_call("SendMessage", message(), respond_async=True))
        assert refused.reason is Reason.STORE_FAILED
        await relay.advance(2)
        assert is_asked(link)
        assert relay.node.snapshot().letters_waiting == 1

    async def test_who_follows_a_letter_that_was_cancelled_unnoticed_is_told(self, relay):
        await relay.known()
        reader = await relay.streamed()
        id = json.loads(reader.bodies[0])["task"]["id"]
        relay.store.fail_next("cancel", is_taken=True)
        assert (await relay.ask("CancelTask", id)).reason is Reason.STORE_FAILED
        await relay.advance(2)
        assert json.loads(reader.bodies[-1])["task"]["status"]["state"] == "TASK_STATE_CANCELED"
        assert reader.failure is None
        assert relay.node.snapshot().letters_waiting == 0

    async def test_who_follows_a_letter_that_expired_unnoticed_is_told(self, relay):
        await relay.known()
        reader = await relay.streamed(ttl_seconds=5)
        await relay.advance(4)
        relay.store.fail_next("sweep", is_taken=True)
        relay.clock.jump(10)
        await relay.advance(4)
        assert json.loads(reader.bodies[-1])["task"]["status"]["state"] == "TASK_STATE_FAILED"


class TestOperators:
    async def test_who_follows_a_letter_that_was_purged_is_told(self, relay):
        await relay.known()
        reader = await relay.streamed()
        await LetterDesk(relay.room.parts).purge(make_principal(), "acme", Filter(agent="zaf"), "a drill")
        await relay.settled()
        assert reader.failure.reason is Reason.TASK_NOT_FOUND

    async def test_letters_that_were_purged_wait_no_more(self, relay):
        await relay.known()
        await relay.queued()
        await LetterDesk(relay.room.parts).purge(make_principal(), "acme", Filter(), "a drill", is_all=True)
        await relay.advance(2)
        assert relay.node.snapshot().letters_waiting == 0

    async def test_letters_that_were_redriven_wait_again(self, relay):
        await relay.known()
        await relay.queued(ttl_seconds=1)
        await relay.advance(3)
        assert relay.node.snapshot().letters_waiting == 0
        await LetterDesk(relay.room.parts).redrive(make_principal(), "acme", Filter(agent="zaf"), "a drill")
        await relay.advance(2)
        assert relay.node.snapshot().letters_waiting == 1

    async def test_a_late_call_that_was_redriven_is_not_made_again(self, relay):
        link = await relay.attach()
        sink = RecordingSink()
        relay.node.submit(make_call("SendMessage", message()), sink)
        link.transport.take_all()
        await relay.advance(relay.limits.request_timeout_seconds + 1)
        link.play("xx")
        await relay.settled()
        await LetterDesk(relay.room.parts).redrive(make_principal(), "acme", Filter(agent="zaf"), "a drill")
        assert not is_asked(await relay.attach())
        assert (await relay.letter(sink.outcome.metadata["task"])).reason == "delivered_unknown"


class TestTasksOfOthers:
    async def test_another_caller_finds_no_such_task(self, relay):
        await relay.known()
        ann = make_principal(role=Role.SENDER, identity="ann")
        bob = make_principal(role=Role.SENDER, identity="bob")
        id = await queued(relay, principal=ann)
        assert (await relay.ask("GetTask", id, principal=bob)).reason is Reason.TASK_NOT_FOUND
        assert (await relay.ask("GetTask", id, principal=ann))["id"] == id
        assert (await relay.ask("CancelTask", id, principal=bob)).reason is Reason.TASK_NOT_FOUND
        assert (await relay.ask("GetTask", id))["id"] == id  # an admin


class TestStreaming:
    async def test_a_streaming_agent_gets_a_letter_as_a_stream_and_its_sender_reads_along(self, relay):
        await relay.known(more=STREAMING_CARD)
        reader = RecordingSink()
        relay.node.stream(make_call("SendStreamingMessage", message()), reader)
        await relay.settled()
        submitted = json.loads(reader.bodies[0])
        id = submitted["task"]["id"]
        assert submitted["task"]["status"]["state"] == "TASK_STATE_SUBMITTED"
        link = await relay.attach(more=STREAMING_CARD)
        request = link.transport.take()["payload"]
        assert request["method"] == "SendStreamingMessage"
        assert request["stream"] is True
        for seq, event in enumerate(
            (
                {"task": {"id": "a1", "contextId": "c1", "status": {"state": "TASK_STATE_WORKING"}}},
                {"artifactUpdate": {"taskId": "a1", "contextId": "c1", "artifact": {"artifactId": "x", "parts": []}}},
                {"statusUpdate": {"taskId": "a1", "contextId": "c1", "status": {"state": "TASK_STATE_COMPLETED"}}},
            ),
            start=1,
        ):
            frame = {"type": "a2a.event", "payload": {"id": request["id"], "seq": seq, "result": event}}
            link.link.receive(json.dumps(frame).encode())
        link.play(f'>> {{"type":"a2a.end","payload":{{"id":"{request["id"]}"}}}}')
        await relay.settled()
        events = [json.loads(body) for body in reader.bodies[1:]]
        assert [next(iter(event)) for event in events] == ["task", "artifactUpdate", "statusUpdate"]
        assert all(id in json.dumps(event) for event in events)
        assert reader.failure is None
        link.play("xx")
        found = await relay.ask("GetTask", id)
        assert found["status"]["state"] == "TASK_STATE_COMPLETED"
        assert found["artifacts"] == [{"artifactId": "x", "parts": []}]
