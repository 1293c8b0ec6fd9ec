"""Calls to agents that are away, and what becomes of them."""

from __future__ import annotations

import json

import pytest
from mail_relay import STREAMING_CARD, MailRelay, is_asked, message, said, task

from a2a_relay.a2a.spans import Spans
from a2a_relay.core.address import Address
from a2a_relay.core.audit import AuditFact
from a2a_relay.core.call import Form
from a2a_relay.core.letter import Filter, LetterState
from a2a_relay.core.limits import Limits
from a2a_relay.core.mail_rules import MailRules
from a2a_relay.core.principal import Role
from a2a_relay.errors import Reason, Refused, StoreError
from a2a_relay.node.letter_desk import LetterDesk
from a2a_relay.stores.memory.audit import MemoryAudit
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

    async def test_acts_stand_in_the_audit_chain_with_their_reason_and_number(self, relay):
        await relay.known()
        await relay.queued()
        audit = MemoryAudit(relay.clock.now)
        desk = LetterDesk(relay.room.parts._replace(audit=audit))
        await desk.pause(make_principal(), Address("acme", "zaf"), "a drill")
        await desk.purge(make_principal(), "acme", Filter(agent="zaf"), "another")
        actor = make_principal().owner
        assert [entry.fact for entry in await audit.behind(0)] == [
            AuditFact("acme", actor, "letters.pause", "zaf", reason="a drill", times=0),
            AuditFact("acme", actor, "letters.purge", "agent=zaf", reason="another", times=1),
        ]

    async def test_letters_that_were_purged_wait_no_more(self, relay):
        await relay.known()
        await relay.queued()
        await LetterDesk(relay.room.parts).purge(make_principal(), "acme", Filter(), "a drill", is_all=True)
        await relay.advance(2)
        assert relay.node.snapshot().letters_waiting == 0

    async def test_a_purge_that_only_seemed_to_fail_is_noticed(self, relay):
        await relay.known()
        await relay.queued()
        relay.store.fail_next("purge", is_taken=True)
        with pytest.raises(StoreError):
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


ANN = make_principal(role=Role.SENDER, identity="ann")
BOB = make_principal(role=Role.SENDER, identity="bob")
COMPLETED = {"state": "TASK_STATE_COMPLETED"}


async def only_letter(relay: MailRelay) -> object:
    """The one letter there is."""
    (listed,) = (await relay.mailbox.list("acme", Filter(), None, 10)).letters
    return await relay.mailbox.find("acme", listed.id)


class TestKeys:
    async def test_calls_with_one_key_that_wait_for_the_agent_are_made_once(self):
        relay = MailRelay(rules=MailRules(sync_wait_seconds=3))
        await relay.known()
        call = make_call("SendMessage", message(), idempotency_key="k")
        sinks = [RecordingSink() for _ in range(5)]
        for sink in sinks:
            relay.node.submit(call, sink)
        await relay.settled()
        link = await relay.attach()
        await answer(relay, link, {"message": {"messageId": "r", "role": "ROLE_AGENT", "parts": []}})
        assert link.transport.take_all() == []
        reasons = [sink.outcome.reason for sink in sinks if isinstance(sink.outcome, Refused)]
        assert reasons == [Reason.IDEMPOTENCY_IN_FLIGHT] * 4

    async def test_a_call_that_waits_and_one_that_does_not_are_one_call(self):
        relay = MailRelay(rules=MailRules(sync_wait_seconds=3))
        await relay.known()
        for wait_seconds in (3.0, 0.0):
            call = make_call("SendMessage", message(), idempotency_key="k", wait_seconds=wait_seconds)
            relay.node.submit(call, RecordingSink())
        await relay.settled()
        link = await relay.attach()
        await answer(relay, link, {"message": {"messageId": "r", "role": "ROLE_AGENT", "parts": []}})
        assert link.transport.take_all() == []
        assert not relay.mailbox.backlog()

    async def test_an_answer_that_is_given_again_has_the_relays_ids_too(self, relay):
        await relay.known()
        id = await queued(relay)
        link = await relay.attach()
        task_of_agent = {"id": "a1", "contextId": "c1", "status": COMPLETED}
        await answer(relay, link, {"task": task_of_agent})
        more = make_call("SendMessage", message(taskId=id), spans=Spans(task_id=id), idempotency_key="k")
        sink = RecordingSink()
        relay.node.submit(more, sink)
        await relay.settled()
        await answer(relay, link, {"task": task_of_agent})
        again = await relay.send(more)
        assert said(sink)["task"]["id"] == id
        assert again == said(sink)


class TestAnswersThatAreOdd:
    async def test_one_too_long_to_rewrite_is_the_letters_answer_all_the_same(self, relay):
        await relay.known()
        id = await queued(relay)
        link = await relay.attach()
        history = [{"messageId": str(number), "taskId": "a1"} for number in range(3000)]
        await answer(relay, link, {"task": {"id": "a1", "contextId": "c1", "status": COMPLETED, "history": history}})
        link.play("xx")
        assert (await only_letter(relay)).state is LetterState.DONE
        assert len((await relay.ask("GetTask", id))["history"]) == 3000

    async def test_a_list_too_long_to_filter_is_refused_and_costs_no_link(self, relay):
        link = await relay.attach()
        sink = RecordingSink()
        relay.node.submit(make_call("ListTasks", b"{}", principal=ANN), sink)
        await relay.settled()
        await answer(relay, link, {"tasks": [{"id": str(number)} for number in range(3000)]})
        assert sink.outcome.reason is Reason.INVALID_AGENT_RESPONSE

    async def test_an_id_with_half_a_character_names_nothing(self, relay):
        await relay.known()
        await queued(relay)
        link = await relay.attach()
        await answer(relay, link, {"task": {"id": "\ud800", "contextId": "c1", "status": COMPLETED}})
        letter = await only_letter(relay)
        assert letter.state is LetterState.DONE
        assert letter.alias.task_id == ""


class TestQuestionsThatAreOdd:
    @pytest.mark.parametrize("token", ["\u00b2", "9" * 30, "-1", "x"])
    async def test_a_page_token_of_nobodys_is_refused(self, relay, token):
        await relay.known()
        await queued(relay)
        params = json.dumps({"pageToken": token}).encode()
        assert (await relay.send(make_call("ListTasks", params))).reason is Reason.INVALID_PARAMS

    async def test_whoever_calls_is_not_left_waiting_by_a_bug(self, relay, monkeypatch):
        await relay.known()

        async def fails(*_: object) -> None:
            raise ZeroDivisionError

        monkeypatch.setattr(relay.mailbox, "accept", fails)
        assert (await relay.send(make_call("SendMessage", message()))).reason is Reason.INTERNAL
        assert [notice for notice in relay.observer.notices if notice[0] == "internal_error"]


class TestContextsOfOthers:
    async def test_a_context_that_a_caller_has_named_is_his_before_its_agent_wakes(self, relay):
        await relay.known()
        spans = Spans(context_id="mine")
        await relay.send(make_call("SendMessage", message(), principal=ANN, spans=spans, form=Form.PLAIN))
        with pytest.raises(Refused, match="TASK_NOT_FOUND"):
            relay.node.submit(make_call("SendMessage", message(), principal=BOB, spans=spans), RecordingSink())

    async def test_a_name_of_any_length_is_its_callers_and_costs_a_short_one(self, relay, monkeypatch):
        learned = []
        index = relay.node.owners._index
        learn = index.learn
        monkeypatch.setattr(
            index, "learn", lambda address, ids, owner: (learned.extend(ids), learn(address, ids, owner))
        )
        await relay.known()
        spans = Spans(context_id="c" * 100_000)
        await relay.send(make_call("SendMessage", message(), principal=ANN, spans=spans))
        with pytest.raises(Refused, match="TASK_NOT_FOUND"):
            relay.node.submit(make_call("SendMessage", message(), principal=BOB, spans=spans), RecordingSink())
        assert max(map(len, learned)) <= 128

    async def test_a_letter_does_not_go_on_in_the_agents_context_of_somebody_else(self, relay):
        await relay.known()
        params = message(contextId="mine")
        await relay.send(make_call("SendMessage", params, principal=ANN, spans=Spans(context_id="mine")))
        relay.node.owners.require_own = lambda *_: None  # as if it had been nobody's when it came
        await relay.send(make_call("SendMessage", params, principal=BOB, spans=Spans(context_id="mine")))
        link = await relay.attach()
        await answer(relay, link, {"task": {"id": "a1", "contextId": "anns", "status": COMPLETED}})
        request = await answer(relay, link, {"message": {}})
        assert request["params"]["message"]["contextId"] == "mine"

    async def test_a_context_of_the_relays_that_the_agent_has_taken_stays_its_callers(self, relay):
        await relay.known()
        await queued(relay, principal=ANN)
        letter = await only_letter(relay)
        link = await relay.attach()
        await answer(relay, link, {"task": {"id": "a1", "contextId": letter.context_id, "status": COMPLETED}})
        desk = LetterDesk(relay.node.mail.parts)
        await desk.purge(make_principal(), "acme", Filter(), "test", is_all=True)
        spans = Spans(context_id=letter.context_id)
        more = message(contextId=letter.context_id)
        refused = await relay.send(make_call("SendMessage", more, principal=BOB, spans=spans))
        assert refused.reason is Reason.TASK_NOT_FOUND
        assert await relay.send(make_call("SendMessage", more, principal=ANN, spans=spans)) is None  # its agent has it


class TestLateAnswers:
    async def late(self, relay: MailRelay, link, **fields: object) -> dict:
        """A call of Ann's whose time has passed: the request that its agent has."""
        sink = RecordingSink()
        call = make_call("SendMessage", message(), principal=ANN, timeout_seconds=1, **fields)
        self.taken = relay.node.submit(call, sink)
        await relay.settled()
        relay.clock.advance(2)
        await relay.settled()
        assert sink.outcome.reason is Reason.AGENT_TIMEOUT
        return link.transport.take()["payload"]

    async def test_a_task_that_is_told_late_is_its_callers_alone(self, relay):
        link = await relay.attach()
        request = await self.late(relay, link)
        late = {"task": {"id": "a1", "contextId": "c1", "status": COMPLETED}}
        reply = {"type": "a2a.response", "payload": {"id": request["id"], "result": late}}
        link.link.receive(json.dumps(reply).encode())
        await relay.settled()
        with pytest.raises(Refused, match="TASK_NOT_FOUND"):
            relay.node.submit(make_call("GetTask", b"{}", principal=BOB, spans=task("a1")), RecordingSink())

    async def test_a_call_is_not_made_again_by_another_process(self, relay):
        link = await relay.attach()
        await self.late(relay, link)
        relay = relay.restarted()
        link = await relay.attach()
        assert link.transport.take_all() == []
        assert (await only_letter(relay)).reason == "delivered_unknown"

    async def test_nor_by_an_operator(self, relay):
        link = await relay.attach()
        await self.late(relay, link)
        relay = relay.restarted()
        link = await relay.attach()
        await LetterDesk(relay.node.mail.parts).redrive(make_principal(), "acme", Filter(), "test", is_all=True)
        await relay.settled()
        assert link.transport.take_all() == []
        assert (await only_letter(relay)).reason == "delivered_unknown"

    async def test_those_of_one_caller_leave_room_for_the_calls_of_others(self):
        relay = MailRelay(limits=Limits(unary_in_flight=8))
        link = await relay.attach()
        named = []
        for _ in range(8):
            sink = RecordingSink()
            relay.node.submit(make_call("SendMessage", message(), timeout_seconds=1), sink)
            relay.clock.advance(2)
            await relay.settled()
            named.append("task" in sink.outcome.metadata)
        assert named == [True] * 2 + [False] * 6
        link.transport.take_all()
        relay.node.submit(make_call("SendMessage", message(), principal=BOB), RecordingSink())
        assert link.transport.take()["type"] == "a2a.request"

    async def test_who_hangs_up_behind_the_deadline_leaves_the_answer_awaited(self, relay):
        link = await relay.attach()
        request = await self.late(relay, link, spans=Spans(context_id="rly-of-nobody"))
        relay.node.abandon(self.taken)
        reply = {"type": "a2a.response", "payload": {"id": request["id"], "result": {"message": {"messageId": "r"}}}}
        link.link.receive(json.dumps(reply).encode())
        await relay.settled()
        assert (await only_letter(relay)).state is LetterState.DONE


class TestLettersThatNobodyHolds:
    async def test_one_whose_agent_never_comes_back_is_given_up_when_its_time_has_passed(self):
        relay = MailRelay(limits=Limits(resume_grace_seconds=0))
        await relay.known()
        id = str((await relay.send(make_call("SendMessage", message(), ttl_seconds=60)))["task"]["id"])
        await relay.attach()
        relay = relay.restarted()
        relay.node.agents.expect(make_address(), None)
        relay.clock.advance(61)
        await relay.node.mail.janitor.give_up_abandoned()
        assert (await only_letter(relay)).state is LetterState.DEAD
        assert (await relay.ask("GetTask", id))["status"]["state"] == "TASK_STATE_FAILED"

    async def test_one_that_its_agent_works_at_is_left_alone(self, relay):
        await relay.known()
        await relay.send(make_call("SendMessage", message(), ttl_seconds=60))
        await relay.attach()
        relay.clock.advance(61)
        await relay.node.mail.janitor.give_up_abandoned()
        assert (await only_letter(relay)).state is LetterState.LEASED

    async def test_one_that_could_not_be_handed_over_is_tried_again(self, relay, monkeypatch):
        await relay.known()
        await queued(relay)
        find_context = relay.mailbox.find_context
        failures = [StoreError("the disk is gone")]

        async def fails_once(*args: str) -> object:
            if failures:
                raise failures.pop()
            return await find_context(*args)

        monkeypatch.setattr(relay.mailbox, "find_context", fails_once)
        link = await relay.attach()
        assert link.transport.take_all() == []
        relay.clock.advance(5)
        await relay.settled()
        await answer(relay, link, {"message": {"messageId": "r"}})
        assert (await only_letter(relay)).state is LetterState.DONE

    async def test_what_an_earlier_session_has_left_is_found_when_the_store_is_back(self, relay, monkeypatch):
        await relay.known()
        await queued(relay)
        await relay.attach()
        relay = relay.restarted()
        leased = relay.mailbox.leased
        failures = [StoreError("the disk is gone")]

        async def fails_once(*args: str) -> object:
            if failures:
                raise failures.pop()
            return await leased(*args)

        monkeypatch.setattr(relay.mailbox, "leased", fails_once)
        link = await relay.attach()
        relay.clock.advance(5)
        await relay.settled()
        assert (await answer(relay, link, {"message": {"messageId": "r"}}))["meta"]["attempt"] == 2

    async def test_who_follows_a_letter_that_is_purged_is_told(self, relay):
        await relay.known()
        reader = RecordingSink()
        relay.node.stream(make_call("SendStreamingMessage", message()), reader)
        await relay.settled()
        desk = LetterDesk(relay.node.mail.parts)
        await desk.purge(make_principal(), "acme", Filter(), "test", is_all=True)
        await relay.settled()
        assert reader.failure.reason is Reason.TASK_NOT_FOUND
        relay.clock.advance(1.1)
        await relay.settled()
        assert relay.node.mail.waiting == 0
