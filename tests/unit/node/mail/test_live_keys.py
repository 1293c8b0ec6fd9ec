"""Calls with an Idempotency-Key that went to their agent at once."""

from __future__ import annotations

import json

import pytest
from mail_relay import MailRelay, agents_task, is_asked, message, next_request, said

from a2a_relay.core.call import Call
from a2a_relay.core.limits import Limits
from a2a_relay.errors import Reason
from a2a_relay.node.mail.live_keys import key_of
from a2a_relay.testing import RecordingSink, make_address, make_call, make_principal


def keyed(text: str = "hi", method: str = "SendMessage", key: str = "k1", **fields: object) -> Call:
    return make_call(method, message(text), idempotency_key=key, **fields)


class TestTheKey:
    def test_is_of_sends_alone(self) -> None:
        assert key_of(make_call("GetTask", idempotency_key="k1"), 1.0) is None
        assert key_of(make_call(), 1.0) is None
        assert key_of(keyed(), 1.0) is not None

    @pytest.mark.parametrize(
        "other",
        [
            keyed(key="k2"),
            keyed(method="SendStreamingMessage"),
            keyed(principal=make_principal(identity="admin:other")),
            keyed(address=make_address("acme/other")),
            keyed(address=make_address("evil/zaf")),
        ],
    )
    def test_is_another_for_another_caller_agent_operation_or_name(self, other: Call) -> None:
        first, second = key_of(keyed(), 1.0), key_of(other, 1.0)
        assert first is not None
        assert second is not None
        assert first.scope != second.scope

    def test_knows_the_body(self) -> None:
        first, second = key_of(keyed("one"), 1.0), key_of(keyed("two"), 1.0)
        assert first is not None
        assert second is not None
        assert first.digest != second.digest


class TestACall:
    async def test_is_made_once_and_answered_twice(self, relay: MailRelay) -> None:
        link = await relay.attach()
        first, second = RecordingSink(), RecordingSink()
        relay.node.submit(keyed(), first)
        await relay.settled()
        await relay.reply(link, result={"task": agents_task()})
        relay.node.submit(keyed(), second)
        await relay.settled()
        assert said(first) == said(second)
        assert not is_asked(link)

    async def test_of_another_body_is_refused(self, relay: MailRelay) -> None:
        link = await relay.attach()
        relay.node.submit(keyed(), RecordingSink())
        await relay.settled()
        next_request(link)
        assert (await relay.send(keyed("other"))).reason is Reason.IDEMPOTENCY_CONFLICT

    async def test_is_in_flight_until_it_is_answered_also_when_its_caller_is_gone(self, relay: MailRelay) -> None:
        link = await relay.attach()
        taken = relay.node.submit(keyed(), RecordingSink())
        await relay.settled()
        assert (await relay.send(keyed())).reason is Reason.IDEMPOTENCY_IN_FLIGHT
        relay.node.abandon(taken)
        await relay.reply(link, result={"task": agents_task()})
        assert (await relay.send(keyed()))["task"]["id"] == "a1"

    async def test_that_nobody_took_may_be_tried_again(self, relay: MailRelay) -> None:
        link = await relay.attach()
        relay.node.submit(keyed(), RecordingSink())
        await relay.settled()
        await relay.reply(link, "a2a.nack", reason="not now")
        relay.node.submit(keyed(), RecordingSink())
        await relay.settled()
        assert is_asked(link)

    async def test_whose_caller_left_before_it_was_made_leaves_no_key_behind(self, relay: MailRelay) -> None:
        link = await relay.attach()
        relay.node.abandon(relay.node.submit(keyed(), RecordingSink()))
        await relay.settled()
        assert not is_asked(link)
        relay.node.submit(keyed(), RecordingSink())
        await relay.settled()
        assert is_asked(link)

    async def test_is_forgotten_in_its_time(self) -> None:
        relay = MailRelay(Limits(idempotency_time_seconds=60))
        link = await relay.attach()
        for _ in range(2):
            relay.node.submit(keyed(), RecordingSink())
            await relay.settled()
            await relay.reply(link, result={"task": agents_task()})
            await relay.advance(61)

    async def test_that_is_the_oldest_goes_when_there_are_too_many(self) -> None:
        relay = MailRelay(Limits(keyed_answers=2))
        link = await relay.attach()
        for key in ("k1", "k2", "k3", "k1"):
            relay.node.submit(keyed(key=key), RecordingSink())
            await relay.settled()
            await relay.reply(link, result={"task": agents_task()})
        assert len(relay.room._keys) == 2


class TestAStream:
    CALL = keyed(method="SendStreamingMessage")

    async def streamed(self, relay: MailRelay) -> RecordingSink:
        sink = RecordingSink()
        relay.node.stream(self.CALL, sink)
        await relay.settled()
        return sink

    async def test_is_said_once_more_when_it_is_over(self, relay: MailRelay) -> None:
        link = await relay.attach()
        first = await self.streamed(relay)
        stream = next_request(link)["id"]
        again = await self.streamed(relay)
        assert [refused.reason for refused in again.answers] == [Reason.IDEMPOTENCY_IN_FLIGHT]  # type: ignore[union-attr]
        await relay.reply(link, "a2a.event", stream, seq=1, result={"task": agents_task()})
        await relay.reply(link, "a2a.end", stream)
        again = await self.streamed(relay)
        assert again.bodies == first.bodies
        assert json.loads(again.bodies[0])["task"]["id"] == "a1"
        assert not is_asked(link)

    async def test_that_has_failed_before_it_began_has_failed_again(self, relay: MailRelay) -> None:
        link = await relay.attach()
        await self.streamed(relay)
        await relay.reply(link, error={"code": -32603, "message": "boom"})
        again = await self.streamed(relay)
        assert b"boom" in again.outcome.body  # type: ignore[union-attr]
        assert not is_asked(link)

    async def test_that_nobody_took_may_be_tried_again(self, relay: MailRelay) -> None:
        link = await relay.attach()
        await self.streamed(relay)
        await relay.reply(link, "a2a.nack", reason="not now")
        await self.streamed(relay)
        assert is_asked(link)

    async def test_that_was_kept_too_long_ago_is_gone(self, relay: MailRelay) -> None:
        link = await relay.attach()
        await self.streamed(relay)
        stream = next_request(link)["id"]
        await relay.reply(link, "a2a.event", stream, seq=1, result={"task": agents_task()})
        await relay.reply(link, "a2a.end", stream)
        relay.clock.advance(relay.limits.replay_seconds + 61)
        again = await self.streamed(relay)
        assert [refused.reason for refused in again.answers] == [Reason.STREAM_GONE]  # type: ignore[union-attr]
