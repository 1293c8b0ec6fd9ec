"""Calls in flight: deadlines, streams, cancelling, abandoning."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from a2a_relay.core.exchange import AgentError, Result
from a2a_relay.errors import Reason, Refused
from a2a_relay.node.relay_node import Snapshot
from a2a_relay.testing import RecordingSink, make_call

STREAM = make_call("SendStreamingMessage")


def reason(outcome: object) -> Reason:
    assert isinstance(outcome, Refused)
    return outcome.reason


class TestAUnaryCall:
    def test_is_sent_with_everything_and_answered_with_the_bytes(self, relay: Any) -> None:
        link, sink = relay.attached(), RecordingSink()
        relay.node.submit(make_call(params=b'{"message":{ }}', meta={"version": "1.0"}), sink)
        link.play("""
            << {"type":"a2a.request","payload":{"id":"e-1.1","method":"SendMessage","params":{"message":{}},\
                "timeout_ms":600000,"stream":false,"meta":{"sender":\
                {"identity":"admin:test","role":"admin","tenant":"acme","via":[]},"version":"1.0"}}}
            >> {"type":"a2a.response","payload":{"id":"e-1.1","result":{ "n":1.50 },"headers":{"a2a-version":"1.0"}}}
            << nothing
        """)
        assert sink.outcome == Result(b'{ "n":1.50 }', None, {"a2a-version": "1.0"})
        assert relay.node.snapshot().calls_in_flight == len(relay.node.wheel) == 0

    def test_gets_the_agents_error_as_its_bytes(self, relay: Any) -> None:
        link, sink = relay.attached(), RecordingSink()
        relay.node.submit(make_call(), sink)
        link.play('>> {"type":"a2a.response","payload":{"id":"e-1.1","error":{"code":-32001,"message":"no" }}}')
        assert sink.outcome == AgentError(b'{"code":-32001,"message":"no" }')

    def test_is_answered_once(self, relay: Any) -> None:
        link, sink = relay.attached(), RecordingSink()
        relay.node.submit(make_call(), sink)
        for number in range(3):
            link.play(f'>> {{"type":"a2a.response","payload":{{"id":"e-1.1","result":{number}}}}}')
        assert sink.answers == [Result(b"0")]
        assert relay.observer.refused_frame_reasons == ["unknown_id"] * 2

    def test_may_be_answered_while_others_wait(self, relay: Any) -> None:
        link = relay.attached()
        sinks = [RecordingSink() for _ in range(3)]
        for sink in sinks:
            relay.node.submit(make_call(), sink)
        for number in (3, 1, 2):
            link.play(f'>> {{"type":"a2a.response","payload":{{"id":"e-1.{number}","result":{number}}}}}')
        assert [sink.outcome for sink in sinks] == [Result(b"1"), Result(b"2"), Result(b"3")]

    @pytest.mark.parametrize(
        "frame",
        [
            '{"type":"a2a.event","payload":{"id":"e-1.1","seq":1,"result":{}}}',
            '{"type":"a2a.end","payload":{"id":"e-1.1"}}',
        ],
    )
    def test_that_is_answered_as_a_stream_fails(self, relay: Any, frame: str) -> None:
        link, sink = relay.attached(), RecordingSink()
        relay.node.submit(make_call(), sink)
        link.play(f">> {frame}")
        assert reason(sink.outcome) is Reason.INVALID_AGENT_RESPONSE

    def test_fails_when_the_link_ends(self, relay: Any) -> None:
        link, sink = relay.attached(), RecordingSink()
        relay.node.submit(make_call(), sink)
        link.play("xx")
        assert reason(sink.outcome) is Reason.AGENT_DISCONNECTED
        assert len(relay.node.wheel) == 0


class TestANack:
    def test_is_a_refusal_that_says_when_to_try_again(self, relay: Any) -> None:
        link, sink = relay.attached(), RecordingSink()
        relay.node.submit(make_call(), sink)
        link.play('>> {"type":"a2a.nack","payload":{"id":"e-1.1","reason":"asleep","retry_after_ms":7100}}')
        assert isinstance(sink.outcome, Refused)
        assert (sink.outcome.reason, sink.outcome.retry_after_seconds) == (Reason.AGENT_OFFLINE, 8)
        assert "asleep" in sink.outcome.message

    def test_cannot_ask_for_years(self, relay: Any) -> None:
        link, sink = relay.attached(), RecordingSink()
        relay.node.submit(make_call(), sink)
        link.play('>> {"type":"a2a.nack","payload":{"id":"e-1.1","retry_after_ms":315360000000}}')
        assert isinstance(sink.outcome, Refused)
        assert sink.outcome.retry_after_seconds == 3600

    def test_of_an_unknown_call_is_counted(self, relay: Any) -> None:
        link = relay.attached()
        link.play('>> {"type":"a2a.nack","payload":{"id":"e-9.9"}}')
        assert relay.observer.refused_frame_reasons == ["unknown_id"]


class TestADeadline:
    def test_ends_a_call_and_tells_a_native_agent(self, relay: Any) -> None:
        link, sink = relay.attached(), RecordingSink()
        relay.node.submit(make_call(timeout_seconds=30), sink)
        link.play("""
            << {"type":"a2a.request", ...}
            ++ 29.9
            << nothing
            ++ 0.3
            << {"type":"a2a.cancel","payload":{"id":"e-1.1","reason":"AGENT_TIMEOUT"}}
        """)
        assert reason(sink.outcome) is Reason.AGENT_TIMEOUT

    def test_is_never_beyond_the_relays_own(self, relay: Any) -> None:
        link, sink = relay.attached(), RecordingSink()
        relay.node.submit(make_call(timeout_seconds=10_000), sink)
        assert link.transport.take()["payload"]["timeout_ms"] == 600_000
        relay.clock.advance(600.2)
        assert sink.is_over

    def test_tells_an_older_agent_nothing(self, relay: Any) -> None:
        link, sink = relay.attached_old(), RecordingSink()
        relay.node.submit(make_call(timeout_seconds=1), sink)
        link.play("""
            << {"type":"a2a.request","payload":{"id":"e-1.1","method":"message/send",\
                "params":{"message":{}},"timeout_ms":1000}}
            ++ 1.2
            << nothing
        """)
        assert reason(sink.outcome) is Reason.AGENT_TIMEOUT

    def test_makes_a_late_answer_an_unknown_one(self, relay: Any) -> None:
        link, sink = relay.attached(), RecordingSink()
        relay.node.submit(make_call(timeout_seconds=1), sink)
        relay.clock.advance(2)
        link.play('>> {"type":"a2a.response","payload":{"id":"e-1.1","result":{}}}')
        assert len(sink.answers) == 1
        assert relay.observer.refused_frame_reasons == ["unknown_id"]

    def test_holds_for_a_stream_too(self, relay: Any) -> None:
        link, sink = relay.attached(), RecordingSink()
        relay.node.stream(STREAM, sink)
        link.play("""
            >> {"type":"a2a.event","payload":{"id":"e-1.1","seq":1,"result":{}}}
            ++ 600.2
        """)
        assert reason(sink.failure) is Reason.AGENT_TIMEOUT

    def test_of_a_stream_is_that_of_its_next_event(self, relay: Any) -> None:
        link, sink = relay.attached(), RecordingSink()
        relay.node.stream(STREAM, sink)
        for number in range(1, 6):
            relay.clock.advance(500)
            link.play(f'>> {{"type":"a2a.event","payload":{{"id":"e-1.1","seq":{number},"result":{{}}}}}}')
        assert not sink.is_over
        relay.clock.advance(600.3)
        assert reason(sink.failure) is Reason.AGENT_TIMEOUT

    def test_is_not_moved_by_a_jump_of_the_wall_clock(self, relay: Any) -> None:
        relay.attached()
        sink = RecordingSink()
        relay.node.submit(make_call(), sink)
        relay.clock.jump(1_000_000)
        relay.clock.advance(599)
        assert not sink.is_over


class TestAStream:
    def test_is_handed_on_in_order_to_its_end(self, relay: Any) -> None:
        link, sink = relay.attached(), RecordingSink()
        relay.node.stream(STREAM, sink)
        link.play("""
            << {"type":"a2a.request","payload":{"stream":true,"window":{"events":64,"bytes":262144}, ...}}
            >> {"type":"a2a.event","payload":{"id":"e-1.1","seq":1,"result":{"n":1},"headers":{"a2a-version":"1.0"}}}
            >> {"type":"a2a.event","payload":{"id":"e-1.1","seq":2,"result":{"n":2}}}
            >> {"type":"a2a.event","payload":{"id":"e-1.1","seq":2,"result":{"n":2}}}
            >> {"type":"a2a.event","payload":{"id":"e-1.1","seq":1,"result":{"n":1}}}
            << nothing
            >> {"type":"a2a.end","payload":{"id":"e-1.1"}}
            << {"type":"a2a.credit","payload":{"id":"e-1.1","events":64,"bytes":262144,"through":3}}
            << nothing
        """)
        assert (sink.bodies, sink.offsets) == ([b'{"n":1}', b'{"n":2}'], [1, 2])
        assert (sink.failure, sink.headers) == (None, {"a2a-version": "1.0"})
        assert relay.node.snapshot().calls_in_flight == 0

    def test_ends_with_the_agents_error(self, relay: Any) -> None:
        link, sink = relay.attached(), RecordingSink()
        relay.node.stream(STREAM, sink)
        link.play("""
            >> {"type":"a2a.event","payload":{"id":"e-1.1","seq":1,"result":{}}}
            >> {"type":"a2a.end","payload":{"id":"e-1.1","error":{"code":1}}}
        """)
        assert sink.failure == AgentError(b'{"code":1}')

    def test_may_be_one_answer_which_is_its_only_event(self, relay: Any) -> None:
        link, sink = relay.attached_old(), RecordingSink()
        relay.node.stream(STREAM, sink)
        link.play('>> {"type":"a2a.response","payload":{"id":"e-1.1","result":{}}}')
        assert (sink.answers, sink.bodies, sink.ends) == ([], [b"{}"], [None])

    def test_may_be_one_error_answer_of_which_nothing_is_kept(self, relay: Any) -> None:
        link, sink = relay.attached(), RecordingSink()
        relay.node.stream(STREAM, sink)
        link.play('>> {"type":"a2a.response","payload":{"id":"e-1.1","error":{"code":1}}}')
        assert (sink.outcome, sink.events, sink.ends) == (AgentError(b'{"code":1}'), [], [])
        assert relay.node.snapshot() == Snapshot(1, 0, 0, 0)
        assert len(relay.node.wheel) == 0

    def test_may_end_with_an_answer(self, relay: Any) -> None:
        link, sink = relay.attached(), RecordingSink()
        relay.node.stream(STREAM, sink)
        link.play("""
            >> {"type":"a2a.event","payload":{"id":"e-1.1","seq":1,"result":1}}
            >> {"type":"a2a.response","payload":{"id":"e-1.1","result":2}}
        """)
        assert [event.body for event in sink.events] == [b"1", b"2"]
        assert sink.failure is None

    def test_may_end_with_an_error_answer(self, relay: Any) -> None:
        link, sink = relay.attached(), RecordingSink()
        relay.node.stream(STREAM, sink)
        link.play("""
            >> {"type":"a2a.event","payload":{"id":"e-1.1","seq":1,"result":1}}
            >> {"type":"a2a.response","payload":{"id":"e-1.1","error":{"code":1}}}
        """)
        assert sink.failure == AgentError(b'{"code":1}')

    def test_that_is_read_slowly_holds_up_no_other(self, relay: Any) -> None:
        link, slow, other = relay.attached(), RecordingSink(room=1), RecordingSink()
        relay.node.stream(STREAM, slow)
        relay.node.stream(STREAM, other)
        link.transport.take_all()
        for seq in range(1, 33):
            for id in ("e-1.1", "e-1.2"):
                link.play(f'>> {{"type":"a2a.event","payload":{{"id":"{id}","seq":{seq},"result":{{}}}}}}')
        link.play("""
            << {"type":"a2a.credit","payload":{"id":"e-1.2","events":64,"bytes":262144,"through":32}}
            << nothing
        """)
        assert (slow.offsets, len(other.events)) == ([1], 32)
        assert not slow.is_over

    def test_that_began_ends_with_an_error_when_the_link_ends(self, relay: Any) -> None:
        link, sink = relay.attached(), RecordingSink()
        relay.node.stream(STREAM, sink)
        link.play("""
            >> {"type":"a2a.event","payload":{"id":"e-1.1","seq":1,"result":1}}
            xx
        """)
        assert reason(sink.failure) is Reason.AGENT_DISCONNECTED


class TestAReaderThatIsGone:
    def test_frees_the_call_and_tells_the_agent(self, relay: Any) -> None:
        link, sink = relay.attached(), RecordingSink()
        exchange = relay.node.submit(make_call(), sink)
        relay.node.abandon(exchange)
        relay.node.abandon(exchange)
        link.play("""
            << {"type":"a2a.request", ...}
            << {"type":"a2a.cancel","payload":{"id":"e-1.1","reason":"CLIENT_GONE"}}
            << nothing
        """)
        assert not sink.is_over
        assert relay.node.snapshot().calls_in_flight == len(relay.node.wheel) == 0

    def test_after_the_answer_means_nothing(self, relay: Any) -> None:
        link, sink = relay.attached(), RecordingSink()
        exchange = relay.node.submit(make_call(), sink)
        link.transport.take_all()
        link.play("""
            >> {"type":"a2a.response","payload":{"id":"e-1.1","result":{}}}
        """)
        relay.node.abandon(exchange)
        relay.node.exchanges.cancel(exchange, Refused(Reason.INTERNAL))
        link.play("<< nothing")
        assert len(sink.answers) == 1


def test_a_call_may_be_ended_with_a_reason_of_the_relays_own(relay: Any) -> None:
    link, sink = relay.attached(), RecordingSink()
    exchange = relay.node.submit(make_call(), sink)
    link.transport.take_all()
    relay.node.exchanges.cancel(exchange, Refused(Reason.RELAY_LEAVING))
    link.play('<< {"type":"a2a.cancel","payload":{"id":"e-1.1","reason":"RELAY_LEAVING"}}')
    assert reason(sink.outcome) is Reason.RELAY_LEAVING


class TestABusyAgent:
    def test_is_left_in_peace(self, relay_with: Callable[..., Any]) -> None:
        relay = relay_with(unary_in_flight=2, streams_in_flight=1)
        link = relay.attached()
        sinks = [RecordingSink() for _ in range(3)]
        relay.node.submit(make_call(), sinks[0])
        relay.node.submit(make_call(), sinks[1])
        relay.node.stream(STREAM, sinks[2])
        for ask, call in ((relay.node.submit, make_call()), (relay.node.stream, STREAM)):
            with pytest.raises(Refused) as refused:
                ask(call, RecordingSink())
            assert refused.value.reason is Reason.AGENT_BUSY
        link.play('>> {"type":"a2a.response","payload":{"id":"e-1.1","result":{}}}')
        relay.node.submit(make_call(), RecordingSink())

    def test_that_does_not_read_is_busy(self, relay_with: Callable[..., Any]) -> None:
        relay = relay_with(link_backlog_bytes=10_000)
        link = relay.attached()
        link.transport.backlog_bytes = 9_990
        with pytest.raises(Refused, match="reads too slowly") as refused:
            relay.node.submit(make_call(), RecordingSink())
        assert refused.value.reason is Reason.AGENT_BUSY
        assert relay.node.snapshot().calls_in_flight == 0
        link.transport.backlog_bytes = 0
        relay.node.submit(make_call(params=b'"%b"' % (b"x" * 20_000)), RecordingSink())

    def test_is_sent_nothing_that_its_link_does_not_take(self, relay: Any) -> None:
        link = relay.attached(more=',"max_frame":1000')
        with pytest.raises(Refused) as refused:
            relay.node.submit(make_call(params=b'"%b"' % (b"x" * 1_000)), RecordingSink())
        assert refused.value.reason is Reason.AGENT_FRAME_LIMIT
        link.play("<< nothing")
        assert relay.node.snapshot().calls_in_flight == len(relay.node.wheel) == 0
        relay.node.submit(make_call(), RecordingSink())
