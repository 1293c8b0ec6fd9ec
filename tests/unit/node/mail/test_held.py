"""The way back to whoever made a call that no agent was handed yet."""

from __future__ import annotations

from mail_relay import MailRelay

from a2a_relay.core.exchange import Result
from a2a_relay.errors import Reason, Refused
from a2a_relay.node.mail.held import HeldCall, HeldStream
from a2a_relay.testing import RecordingSink, make_call


class TestACall:
    def test_is_answered_once(self) -> None:
        sink = RecordingSink()
        held = HeldCall(make_call(), sink, 0.0)
        held.answer(Result(b"1"))
        held.refuse(Refused(Reason.STORE_FAILED))
        assert sink.outcome == Result(b"1")

    def test_is_answered_under_the_relays_names(self) -> None:
        sink = RecordingSink()
        held = HeldCall(make_call(), sink, 0.0)
        held.renaming = lambda body: body.replace(b"a1", b"rly-1")
        held.answer(Result(b'"a1"'))
        assert sink.outcome == Result(b'"rly-1"')

    def test_is_seen_under_the_relays_names_by_who_keeps_it_for_another(self) -> None:
        seen = []
        held = HeldCall(make_call(), RecordingSink(), 0.0)
        held.renaming = lambda body: body.replace(b"a1", b"rly-1")
        held.on_outcome = lambda outcome: seen.append(outcome) or outcome  # type: ignore[func-returns-value]
        held.answer(Result(b'"a1"'))
        assert seen == [Result(b'"rly-1"')]

    def test_that_was_hung_up_is_not_answered_but_its_outcome_is_seen(self) -> None:
        sink, seen = RecordingSink(), []
        held = HeldCall(make_call(), sink, 0.0)
        held.on_outcome = lambda outcome: seen.append(outcome) or outcome  # type: ignore[func-returns-value]
        held.is_gone = True
        held.answer(Result(b"1"))
        assert not sink.is_over
        assert seen == [Result(b"1")]


class TestAStream:
    def open(self, relay: MailRelay, sink: RecordingSink) -> HeldStream:
        call = make_call("SendStreamingMessage")
        return HeldStream(call, relay.node.streams.open_here(call, sink, lambda _: None), relay.node.streams)

    async def test_that_is_refused_has_that_for_its_only_answer(self, relay: MailRelay) -> None:
        sink = RecordingSink()
        held = self.open(relay, sink)
        held.refuse(Refused(Reason.AGENT_OFFLINE))
        held.answer(Result(b"1"))
        assert [answer.reason for answer in sink.answers] == [Reason.AGENT_OFFLINE]  # type: ignore[union-attr]
        assert held.is_gone

    async def test_whose_answer_is_a_result_has_that_for_its_only_event(self, relay: MailRelay) -> None:
        sink = RecordingSink()
        self.open(relay, sink).answer(Result(b"1"))
        assert sink.bodies == [b"1"]
        assert sink.failure is None

    async def test_is_gone_when_nobody_reads_it(self, relay: MailRelay) -> None:
        sink = RecordingSink()
        held = self.open(relay, sink)
        assert not held.is_gone
        relay.node.leave_stream(held.stream, sink)
        assert held.is_gone
