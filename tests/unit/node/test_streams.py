"""Streams between agents that heed credit, or do not, and readers that come and go."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from a2a_relay.a2a.agent_card import RELAY_EXTENSION
from a2a_relay.core.exchange import AgentError
from a2a_relay.core.position import Position
from a2a_relay.core.principal import Role
from a2a_relay.core.stream import Stream
from a2a_relay.errors import Reason, Refused
from a2a_relay.node.relay_node import Snapshot
from a2a_relay.testing import Playbook, RecordingSink, make_address, make_call, make_principal
from a2a_relay.wire.dialects import NATIVE
from a2a_relay.wire.dialects.native import NativeDialect
from a2a_relay.wire.flow import Window

STREAM = make_call("SendStreamingMessage")
END = '>> {"type":"a2a.end","payload":{"id":"e-1.1"}}'


def reason(outcome: object) -> Reason:
    assert isinstance(outcome, Refused), outcome
    return outcome.reason


def say(link: Playbook, first: int, last: int, id: str = "e-1.1", size: int = 1) -> None:
    """The agent sends the events `first` to `last`."""
    for seq in range(first, last + 1):
        body = '"' + "x" * (size - 2) + '"' if size > 1 else str(seq % 10)
        link.play(f'>> {{"type":"a2a.event","payload":{{"id":"{id}","seq":{seq},"result":{body}}}}}')


HEEDS_CREDIT = ',"features":["credit"]'


def begin(relay: Any, sink: RecordingSink, **call: Any) -> tuple[Playbook, Stream]:
    """A native agent that heeds credit, with one stream, whose request it has read."""
    link = relay.attached(more=HEEDS_CREDIT)
    stream = relay.node.stream(make_call("SendStreamingMessage", **call), sink)
    link.transport.take()
    return link, stream


def resume(relay: Any, stream: Stream, offset: int, sink: RecordingSink, **call: Any) -> None:
    """Read a stream on from behind an event."""
    position = Position(stream.head.id, stream.head.epoch, offset)
    assert relay.node.stream(make_call("SendStreamingMessage", position=position, **call), sink) is stream


def credits_of(link: Playbook) -> list[int]:
    """The `through` of every credit frame that the agent has not read yet."""
    return [frame["payload"]["through"] for frame in link.transport.take_all() if frame["type"] == "a2a.credit"]


class TestCredit:
    def test_is_given_when_half_of_the_window_is_taken(self, relay_with: Callable[..., Any]) -> None:
        relay = relay_with(stream_window=Window(8, 1_000))
        link, _ = begin(relay, RecordingSink())
        say(link, 1, 3)
        link.play("<< nothing")
        say(link, 4, 4)
        link.play("""
            << {"type":"a2a.credit","payload":{"id":"e-1.1","events":8,"bytes":1000,"through":4}}
            << nothing
        """)
        say(link, 5, 13)
        assert credits_of(link) == [8, 12]

    def test_is_given_when_half_of_its_bytes_are_taken(self, relay_with: Callable[..., Any]) -> None:
        link, _ = begin(relay_with(stream_window=Window(8, 1_000)), RecordingSink())
        say(link, 1, 1, size=499)
        link.play("<< nothing")
        say(link, 2, 2)
        say(link, 3, 3, size=900)
        assert credits_of(link) == [2, 3]

    def test_stops_while_the_reader_has_no_room_and_its_agent_waits(self, relay_with: Callable[..., Any]) -> None:
        relay, sink = relay_with(stream_window=Window(4, 1_000)), RecordingSink(room=3)
        link, stream = begin(relay, sink)
        say(link, 1, 6)
        assert (credits_of(link), sink.offsets, relay.observer.streams.windows_full) == ([2], [1, 2, 3], 1)
        relay.clock.advance(60)
        assert not sink.is_over
        sink.make_room(1)
        relay.node.read_on(stream, sink)
        assert (credits_of(link), sink.offsets) == ([4], [1, 2, 3, 4])
        sink.make_room(50)
        relay.node.read_on(stream, sink)
        assert (credits_of(link), sink.offsets) == ([6], [1, 2, 3, 4, 5, 6])
        say(link, 7, 7)
        assert sink.offsets[-1] == 7

    def test_that_is_exceeded_costs_the_stream_and_at_the_second_time_the_link(
        self, relay_with: Callable[..., Any]
    ) -> None:
        relay, sinks = relay_with(stream_window=Window(2, 1_000)), [RecordingSink(room=1) for _ in range(3)]
        link, _ = begin(relay, sinks[0])
        for sink in sinks[1:]:
            relay.node.stream(STREAM, sink)
        link.transport.take_all()
        say(link, 1, 3)
        assert credits_of(link) == [1]
        say(link, 4, 4)
        link.play("""
            << {"type":"a2a.cancel","payload":{"id":"e-1.1","reason":"CREDIT_EXCEEDED"}}
            << nothing
        """)
        assert not sinks[0].is_over, "what is here may still be read"
        assert not link.transport.is_closed
        say(link, 1, 4, id="e-1.2")
        link.play("""
            << {"type":"a2a.credit", ...}
            << {"type":"a2a.cancel","payload":{"id":"e-1.2","reason":"CREDIT_EXCEEDED"}}
            xx 4005
        """)
        assert reason(sinks[2].outcome) is Reason.AGENT_DISCONNECTED

    def test_does_not_matter_to_a_reader_that_keeps_up(self, relay_with: Callable[..., Any]) -> None:
        relay, sink = relay_with(stream_window=Window(2, 10)), RecordingSink()
        link, _ = begin(relay, sink)
        say(link, 1, 20, size=50)
        assert (len(sink.events), sink.is_over) == (20, False)

    def test_lets_an_event_of_any_size_in_when_half_of_it_is_free(self, relay_with: Callable[..., Any]) -> None:
        relay, sink = relay_with(stream_window=Window(8, 100)), RecordingSink(room=1)
        link, stream = begin(relay, sink)
        say(link, 1, 2, size=20)
        say(link, 3, 3, size=5_000)
        assert not stream.is_over
        say(link, 4, 4)
        assert stream.is_over

    def test_is_given_for_the_end_as_for_an_event(self, relay: Any) -> None:
        link, _ = begin(relay, RecordingSink())
        say(link, 1, 1)
        link.play(f"""
            {END}
            << {{"type":"a2a.credit","payload":{{"id":"e-1.1","events":64,"bytes":262144,"through":2}}}}
            << nothing
        """)

    def test_is_given_for_an_end_that_is_an_error_answer(self, relay: Any) -> None:
        link, _ = begin(relay, RecordingSink())
        link.play("""
            >> {"type":"a2a.response","payload":{"id":"e-1.1","error":{"code":1}}}
            << {"type":"a2a.credit","payload":{"id":"e-1.1","through":1, ...}}
            << nothing
        """)


class TestEvents:
    def test_twice_are_dropped(self, relay: Any) -> None:
        sink = RecordingSink()
        link, _ = begin(relay, sink)
        for first in (1, 0, 2, 1):
            say(link, first, 3)
        assert sink.offsets == [1, 2, 3]

    @pytest.mark.parametrize("seq", ["-1", '"2"', "1.5", "true", "[]", "1e3"])
    def test_whose_number_is_none_are_no_events(self, relay: Any, seq: str) -> None:
        sink = RecordingSink()
        link, _ = begin(relay, sink)
        link.play(f'>> {{"type":"a2a.event","payload":{{"id":"e-1.1","seq":{seq},"result":1}}}}')
        assert reason(sink.outcome) is Reason.INVALID_AGENT_RESPONSE

    def test_that_are_missing_end_the_stream(self, relay: Any) -> None:
        sink = RecordingSink()
        link, _ = begin(relay, sink)
        say(link, 1, 1)
        say(link, 3, 3)
        link.play("""
            << {"type":"a2a.cancel","payload":{"id":"e-1.1","reason":"INVALID_AGENT_RESPONSE"}}
            << nothing
        """)
        assert (sink.offsets, reason(sink.failure)) == ([1], Reason.INVALID_AGENT_RESPONSE)

    def test_that_cannot_be_read_end_the_stream_and_their_agent_is_told(self, relay: Any) -> None:
        """Else it would wait for credit for ever."""
        sink = RecordingSink()
        link, _ = begin(relay, sink)
        say(link, 1, 1)
        link.play("""
            >> {"type":"a2a.event","payload":{"id":"e-1.1","seq":2}}
            << {"type":"a2a.cancel","payload":{"id":"e-1.1","reason":"INVALID_AGENT_RESPONSE"}}
            << nothing
        """)
        assert reason(sink.failure) is Reason.INVALID_AGENT_RESPONSE

    def test_are_told_where_they_are(self, relay: Any) -> None:
        sink = RecordingSink()
        link, stream = begin(relay, sink)
        say(link, 1, 2)
        assert [event.position.decode() for event in sink.events] == [f"{stream.head.id}.e-1", f"{stream.head.id}.e-2"]
        assert Position.parse(sink.events[1].position.decode()) == (stream.head.id, "e", 2)

    def test_are_counted_and_the_stream_is_reported_once(self, relay: Any) -> None:
        sink = RecordingSink()
        link, _ = begin(relay, sink)
        say(link, 1, 3, size=10)
        link.play(END)
        (report,) = relay.observer.ended_streams
        assert (report.address, report.method, report.events, report.bytes) == (
            make_address(),
            "SendStreamingMessage",
            3,
            30,
        )
        assert (report.reason, report.is_agent_error, report.windows_full, report.resumes) == (None, False, 0, 0)
        assert (relay.observer.streams.events, relay.observer.streams.bytes) == (3, 30)


class TestAReaderThatLeaves:
    def test_is_waited_for_while_the_agent_goes_on(self, relay_with: Callable[..., Any]) -> None:
        relay, sink = relay_with(stream_window=Window(4, 1_000)), RecordingSink(room=1)
        link, stream = begin(relay, sink)
        say(link, 1, 4)
        relay.node.leave_stream(stream, sink)
        assert credits_of(link) == [4], "the window has taken over"
        say(link, 5, 10)
        assert credits_of(link) == [6, 8, 10]
        link.play("""
            ++ 29.9
            << nothing
            ++ 0.3
            << {"type":"a2a.cancel","payload":{"id":"e-1.1","reason":"CLIENT_GONE"}}
            << nothing
        """)
        assert (sink.offsets, sink.is_over) == ([1], False)
        assert relay.observer.ended_streams[0].reason is Reason.CLIENT_GONE

    def test_is_not_waited_for_where_nothing_is_kept(self, relay_with: Callable[..., Any]) -> None:
        relay, sink = relay_with(detach_grace_seconds=0), RecordingSink()
        link, stream = begin(relay, sink)
        relay.node.leave_stream(stream, sink)
        link.play('<< {"type":"a2a.cancel","payload":{"id":"e-1.1","reason":"CLIENT_GONE"}}')
        assert relay.node.snapshot().calls_in_flight == 0

    def test_means_nothing_when_another_reads(self, relay: Any) -> None:
        first, second = RecordingSink(), RecordingSink()
        link, stream = begin(relay, first)
        resume(relay, stream, 0, second)
        relay.node.leave_stream(stream, first)
        relay.node.read_on(stream, first)
        relay.clock.advance(31)
        say(link, 1, 1)
        assert (second.offsets, second.is_over) == ([1], False)

    def test_may_come_back_without_gap_or_duplicate(self, relay: Any) -> None:
        first, second = RecordingSink(), RecordingSink()
        link, stream = begin(relay, first)
        say(link, 1, 5)
        relay.node.leave_stream(stream, first)
        say(link, 6, 8)
        relay.clock.advance(29)
        resume(relay, stream, 3, second)
        relay.clock.advance(60)
        say(link, 9, 9)
        link.play(END)
        assert (second.offsets, second.gaps, second.ends) == ([4, 5, 6, 7, 8, 9], [], [None])
        assert second.bodies == [b"4", b"5", b"6", b"7", b"8", b"9"]
        assert relay.observer.ended_streams[0].resumes == relay.observer.streams.resumes == 1

    def test_gets_its_headers_again(self, relay: Any) -> None:
        first, second = RecordingSink(), RecordingSink()
        link, stream = begin(relay, first)
        event = {"id": "e-1.1", "seq": 1, "result": 1, "headers": {"a2a-version": "1.0"}}
        link.link.receive(json.dumps({"type": "a2a.event", "payload": event}).encode())
        resume(relay, stream, 0, second)
        assert second.headers == first.headers == {"a2a-version": "1.0"}

    def test_may_come_back_after_the_end(self, relay: Any) -> None:
        first, second, third = RecordingSink(), RecordingSink(room=1), RecordingSink()
        link, stream = begin(relay, first)
        say(link, 1, 3)
        link.play('>> {"type":"a2a.end","payload":{"id":"e-1.1","error":{"code":1}}}')
        resume(relay, stream, 1, second)
        assert (second.offsets, second.is_over) == ([2], False)
        second.make_room(5)
        relay.node.read_on(stream, second)
        assert (second.offsets, second.failure) == ([2, 3], AgentError(b'{"code":1}'))
        resume(relay, stream, 3, third)
        assert (third.offsets, third.failure) == ([], AgentError(b'{"code":1}'))

    def test_before_the_first_event_hears_of_an_early_error_when_it_is_back(self, relay: Any) -> None:
        first, second = RecordingSink(), RecordingSink()
        link, stream = begin(relay, first)
        relay.node.leave_stream(stream, first)
        link.play('>> {"type":"a2a.response","payload":{"id":"e-1.1","error":{"code":1}}}')
        resume(relay, stream, 0, second)
        assert second.failure == AgentError(b'{"code":1}')
        assert relay.node.snapshot() == Snapshot(1, 0, 0, 0)

    def test_is_sent_away_by_a_second_one(self, relay: Any) -> None:
        first, second = RecordingSink(), RecordingSink()
        link, stream = begin(relay, first)
        say(link, 1, 2)
        resume(relay, stream, 2, second)
        assert reason(first.failure) is Reason.STREAM_RESUMED
        say(link, 3, 3)
        assert (first.offsets, second.offsets) == ([1, 2], [3])
        link.play("<< nothing")


class TestAStreamThatIsNotThere:
    def test_looks_like_one_of_another(self, relay: Any) -> None:
        sink = RecordingSink()
        link, stream = begin(relay, sink)
        relay.attached("ann")
        say(link, 1, 2)
        good = Position(stream.head.id, stream.head.epoch, 1)
        refused = []
        for call in (
            make_call("SendStreamingMessage", position=good._replace(stream="A" * 22)),
            make_call("SendStreamingMessage", position=good._replace(epoch="f")),
            make_call("SendStreamingMessage", position=good._replace(offset=3)),
            make_call("SendStreamingMessage", position=good._replace(offset=10**15)),
            make_call("SendStreamingMessage", position=good, address=make_address("acme/ann")),
            make_call("SendStreamingMessage", position=good, address=make_address("acme/nobody")),
            make_call("SendStreamingMessage", position=good, principal=make_principal(identity="admin:other")),
            make_call("SendStreamingMessage", position=good, principal=make_principal(role=Role.SENDER)),
            make_call(
                "SendStreamingMessage",
                position=good,
                address=make_address("other/zaf"),
                principal=make_principal("other"),
            ),
        ):
            with pytest.raises(Refused) as found:
                relay.node.stream(call, RecordingSink())
            refused.append((found.value.reason, found.value.message, found.value.metadata))
        assert refused == [(Reason.STREAM_GONE, refused[0][1], {})] * 9
        assert not sink.is_over, "its reader has not noticed"

    def test_in_another_tenant_looks_like_any_agent_there(self, relay: Any) -> None:
        _, stream = begin(relay, RecordingSink())
        position = Position(stream.head.id, stream.head.epoch, 0)
        call = make_call("SendStreamingMessage", position=position, principal=make_principal("other"))
        with pytest.raises(Refused) as refused:
            relay.node.stream(call, RecordingSink())
        assert refused.value.reason is Reason.AGENT_NOT_FOUND

    def test_is_one_that_was_forgotten(self, relay: Any) -> None:
        sink = RecordingSink()
        link, stream = begin(relay, sink)
        say(link, 1, 1)
        link.play(END)
        relay.clock.advance(299)
        resume(relay, stream, 0, RecordingSink())
        relay.clock.advance(1.3)
        with pytest.raises(Refused) as refused:
            resume(relay, stream, 0, RecordingSink())
        assert refused.value.reason is Reason.STREAM_GONE
        assert relay.node.snapshot() == Snapshot(1, 0, 0, 0)
        assert len(relay.node.wheel) == 0


class TestAWindow:
    def test_keeps_so_many_events_and_tells_exactly_what_is_lost(self, relay_with: Callable[..., Any]) -> None:
        relay, sink = relay_with(replay_events=3), RecordingSink()
        link, stream = begin(relay, RecordingSink())
        say(link, 1, 10)
        resume(relay, stream, 2, sink)
        assert (sink.gaps, sink.offsets) == ([(3, 7)], [8, 9, 10])
        assert relay.observer.streams.gaps == 1
        again = RecordingSink()
        resume(relay, stream, 7, again)
        assert (again.gaps, again.offsets) == ([], [8, 9, 10])

    def test_keeps_so_many_bytes(self, relay_with: Callable[..., Any]) -> None:
        relay, sink = relay_with(replay_bytes=250), RecordingSink()
        link, stream = begin(relay, RecordingSink())
        say(link, 1, 10, size=100)
        assert stream.window.size == 200
        resume(relay, stream, 0, sink)
        assert (sink.gaps, sink.offsets) == ([(1, 8)], [9, 10])

    def test_never_loses_what_was_not_read(self, relay_with: Callable[..., Any]) -> None:
        relay, first, second = relay_with(replay_events=2, replay_bytes=10), RecordingSink(room=1), RecordingSink()
        link, stream = begin(relay, first)
        say(link, 1, 30)
        relay.node.leave_stream(stream, first)
        say(link, 31, 64)
        assert credits_of(link) == [], "neither reader nor window takes more"
        resume(relay, stream, 1, second)
        assert (second.gaps, second.offsets) == ([], list(range(2, 65)))
        assert credits_of(link) == [64]

    def test_makes_room_for_what_is_unread_when_its_reader_leaves(self, relay_with: Callable[..., Any]) -> None:
        """Of a full window the part that was read goes first, so that the agent need not wait."""
        relay = relay_with(replay_events=6, stream_window=Window(4, 1_000))
        first, second = RecordingSink(room=1), RecordingSink(room=8)
        link, stream = begin(relay, first)
        relay.node.leave_stream(stream, first)
        say(link, 1, 9)
        assert credits_of(link)[-1] == 6
        resume(relay, stream, 0, second)
        relay.node.leave_stream(stream, second)
        assert (stream.window.first, stream.taken) == (4, 9)

    def test_counts_what_a_reader_claims_to_have_as_taken(self, relay_with: Callable[..., Any]) -> None:
        """A reader that claims more than it got harms itself, not the credit of its agent."""
        relay, stuck, second = relay_with(stream_window=Window(8, 1_000)), RecordingSink(room=1), RecordingSink(room=1)
        link, stream = begin(relay, stuck)
        say(link, 1, 8, size=100)
        resume(relay, stream, 7, second)
        assert (second.offsets, credits_of(link)) == ([8], [8])
        assert (stream.taken, stream.taken_bytes, stream.granted_bytes) == (8, 800, 800)
        say(link, 9, 15, size=100)
        assert (stream.is_over, relay.observer.refused_frames) == (False, [])

    def test_of_nothing_is_allowed(self, relay_with: Callable[..., Any]) -> None:
        relay, first, second = relay_with(replay_events=0, replay_bytes=0), RecordingSink(), RecordingSink()
        link, stream = begin(relay, first)
        say(link, 1, 40)
        resume(relay, stream, 10, second)
        assert (second.gaps, second.offsets) == ([(11, 40)], [])
        say(link, 41, 42)
        assert second.offsets == [41, 42]


class TestAnAgentThatHasItsFill:
    def test_lets_the_oldest_stream_that_nobody_reads_go_for_a_new_one(self, relay_with: Callable[..., Any]) -> None:
        relay, sinks = relay_with(streams_in_flight=2), [RecordingSink() for _ in range(4)]
        link, first = begin(relay, sinks[0])
        call = make_call("SendStreamingMessage")
        second = relay.node.stream(call, sinks[1])
        with pytest.raises(Refused) as refused:
            relay.node.stream(call, sinks[2])
        assert refused.value.reason is Reason.AGENT_BUSY
        relay.node.leave_stream(second, sinks[1])
        link.transport.take_all()
        relay.node.stream(call, sinks[3])
        assert [frame["type"] for frame in link.transport.take_all()] == ["a2a.cancel", "a2a.request"]
        assert (first.is_over, second.is_over) == (False, True)

    def test_lets_none_go_for_a_stranger(self, relay_with: Callable[..., Any]) -> None:
        relay, sink = relay_with(streams_in_flight=1), RecordingSink()
        _, stream = begin(relay, sink)
        relay.node.leave_stream(stream, sink)
        stranger = make_call("SendStreamingMessage", principal=make_principal("other"))
        with pytest.raises(Refused):
            relay.node.stream(stranger, RecordingSink())
        assert not stream.is_over


class TestBudgets:
    def fill(self, relay: Any, name: str, events: int, *, leave: bool = True, end: bool = False) -> Stream:
        """A stream of another agent that holds so many events of 1,000 bytes."""
        address = make_address(name)
        link, sink = relay.attached(address.agent, address.tenant), RecordingSink()
        stream: Stream = relay.node.stream(make_call("SendStreamingMessage", address=address), sink)
        say(link, 1, events, id=stream.head.exchange_id, size=1_000)
        if end:
            link.play(f'>> {{"type":"a2a.end","payload":{{"id":"{stream.head.exchange_id}"}}}}')
        elif leave:
            relay.node.leave_stream(stream, sink)
        return stream

    def test_of_the_process_let_the_oldest_unread_go_first(self, relay_with: Callable[..., Any]) -> None:
        relay = relay_with(replay_total_bytes=60_000)
        ended, left = self.fill(relay, "a/x", 20, end=True), self.fill(relay, "b/x", 18)
        last = self.fill(relay, "c/x", 15, leave=False)
        sink = RecordingSink()
        with pytest.raises(Refused):
            resume(relay, ended, 0, sink, address=ended.head.address)
        resume(relay, left, 0, sink, address=left.head.address)
        assert (sink.gaps, sink.offsets) == ([], list(range(1, 19)))
        assert len(relay.node.streams) == 2
        assert relay.node.snapshot().stream_bytes == left.counted + last.counted <= 60_000

    def test_of_a_tenant_let_its_own_go_and_no_others(self, relay_with: Callable[..., Any]) -> None:
        relay, sink = relay_with(replay_total_bytes=60_000), RecordingSink()
        other = self.fill(relay, "b/x", 5)
        first = self.fill(relay, "a/x", 10)
        second = self.fill(relay, "a/y", 20, leave=False)
        assert relay.node.snapshot().stream_bytes - other.counted <= 30_000
        assert other.window.first == second.window.first == 1
        resume(relay, first, 4, sink, address=first.head.address)
        assert sink.gaps == [(5, 10)], "it lives on, and its reader is told"

    def test_at_last_let_go_what_a_reader_has_read(self, relay_with: Callable[..., Any]) -> None:
        relay = relay_with(replay_total_bytes=20_000)
        stream = self.fill(relay, "a/x", 50, leave=False)
        assert stream.counted <= 10_000 + 1_128
        assert (stream.window.last, stream.is_over) == (50, False)

    def test_never_let_go_what_its_reader_waits_for(self, relay_with: Callable[..., Any]) -> None:
        relay, sink = relay_with(replay_total_bytes=4_000), RecordingSink(room=1)
        link, stream = begin(relay, sink)
        say(link, 1, 20, size=1_000)
        sink.make_room(50)
        relay.node.read_on(stream, sink)
        assert (sink.gaps, sink.offsets) == ([], list(range(1, 21)))

    def test_hold_for_streams_that_go_on_growing_when_nobody_reads_them(self, relay_with: Callable[..., Any]) -> None:
        relay = relay_with(replay_total_bytes=200_000)
        link = relay.attached()
        for number in range(1, 11):
            sink = RecordingSink()
            relay.node.leave_stream(relay.node.stream(STREAM, sink), sink)
            say(link, 1, 1, id=f"e-1.{number}", size=1_000)
        for seq in range(2, 60):
            for number in range(1, 11):
                say(link, seq, seq, id=f"e-1.{number}", size=1_000)
        assert relay.node.snapshot().stream_bytes <= 100_000 + 1_128
        assert relay.node.snapshot().calls_in_flight == 10

    def test_may_take_a_stream_at_its_end_and_once_is_enough(self, relay_with: Callable[..., Any]) -> None:
        """What was not counted yet is too much when it ends: it is gone, and nothing of it stays."""
        relay, sink = relay_with(replay_total_bytes=40_000), RecordingSink()
        link, stream = begin(relay, sink)
        relay.node.leave_stream(stream, sink)
        say(link, 1, 8, size=2_000)
        last = 8
        while relay.node.snapshot().stream_bytes < 19_500:
            last += 1
            say(link, last, last, size=100)
        say(link, last + 1, last + 10, size=3)
        link.play(END)
        assert relay.node.snapshot() == Snapshot(1, 0, 0, 0)
        assert (relay.node.streams._windows._unread, len(relay.node.wheel)) == ({}, 0)
        self.fill(relay, "acme/other", 30)

    def test_of_others_do_not_suffer_from_what_a_tenants_own_readers_hold(self, relay_with: Callable[..., Any]) -> None:
        """Readers that do not read cannot be made to let go; what they hold beyond a share is nobody else's loss."""
        relay, sink = relay_with(replay_total_bytes=60_000), RecordingSink()
        link = relay.attached("x", "a")
        for number in range(1, 11):
            relay.node.stream(make_call("SendStreamingMessage", address=make_address("a/x")), RecordingSink(room=1))
            say(link, 1, 20, id=f"e-1.{number}", size=1_000)
        assert relay.node.snapshot().stream_bytes > 200_000
        kept = self.fill(relay, "b/x", 5, end=True)
        self.fill(relay, "b/y", 5)
        resume(relay, kept, 0, sink, address=kept.head.address)
        assert (sink.gaps, sink.offsets) == ([], [1, 2, 3, 4, 5])

    def test_are_right_when_a_stream_goes_at_its_end_and_that_is_not_enough(
        self, relay_with: Callable[..., Any]
    ) -> None:
        relay, sink = relay_with(replay_total_bytes=1, detach_grace_seconds=0), RecordingSink(room=1)
        link, stream = begin(relay, sink)
        other = relay.node.stream(STREAM, RecordingSink())
        say(link, 1, 3, size=1_000)
        relay.node.leave_stream(stream, sink)
        assert (len(relay.node.streams), relay.node.streams.held_bytes) == (1, other.counted)

    def test_are_given_back_to_the_last_byte(self, relay_with: Callable[..., Any]) -> None:
        relay = relay_with(replay_total_bytes=30_000)
        for number in range(20):
            self.fill(relay, f"t{number % 3}/x", number, end=number % 2 == 0)
        relay.clock.advance(400)
        assert (len(relay.node.streams), relay.node.streams.held_bytes) == (0, 0)
        assert relay.node.streams._windows._budget._by_tenant == relay.node.streams._windows._unread_of == {}
        assert len(relay.node.wheel) == 0


class TestLimits:
    def test_of_silence_end_a_stream_and_say_so(self, relay: Any) -> None:
        sink = RecordingSink()
        link, _ = begin(relay, sink)
        say(link, 1, 1)
        link.play("""
            ++ 600.2
            << {"type":"a2a.cancel","payload":{"id":"e-1.1","reason":"AGENT_TIMEOUT"}}
        """)
        assert (reason(sink.failure), sink.failure.metadata) == (Reason.AGENT_TIMEOUT, {"limit": "idle"})  # type: ignore[union-attr]

    def test_are_what_the_card_asks_for(self, relay: Any) -> None:
        extension = {"uri": RELAY_EXTENSION, "params": {"streamIdleSeconds": 5, "streamTotalSeconds": 12}}
        card = json.dumps({"name": "Z", "capabilities": {"extensions": [extension]}})
        link, sinks = relay.attached(more=f',"agent_card":{card}'), [RecordingSink(), RecordingSink()]
        for sink in sinks:
            relay.node.stream(STREAM, sink)
        assert link.transport.take()["payload"]["timeout_ms"] == 5_000
        for seq in range(1, 4):
            relay.clock.advance(4)
            say(link, seq, seq)
        relay.clock.advance(0.3)
        assert [sink.failure.metadata for sink in sinks if sink.ends] == [{"limit": "total"}]  # type: ignore[union-attr]
        assert [reason(sink.outcome) for sink in sinks if sink.answers] == [Reason.AGENT_TIMEOUT]

    def test_of_the_client_count_from_the_call(self, relay: Any) -> None:
        first, second = RecordingSink(), RecordingSink()
        link, stream = begin(relay, first, timeout_seconds=20)
        say(link, 1, 1)
        relay.clock.advance(15)
        say(link, 2, 2)
        resume(relay, stream, 1, second, timeout_seconds=1_000)
        relay.clock.advance(5.2)
        assert (reason(second.failure), second.offsets) == (Reason.AGENT_TIMEOUT, [2])

    def test_of_the_client_are_told_to_the_agent(self, relay: Any) -> None:
        link = relay.attached()
        relay.node.stream(make_call("SendStreamingMessage", timeout_seconds=20), RecordingSink())
        assert link.transport.take()["payload"]["timeout_ms"] == 20_000

    def test_of_a_reader_that_is_stuck_are_told_as_its_own(self, relay: Any) -> None:
        sink = RecordingSink(room=1)
        link, _ = begin(relay, sink)
        say(link, 1, 3)
        relay.clock.advance(600.2)
        assert (sink.offsets, reason(sink.failure)) == ([1], Reason.STREAM_TOO_SLOW)
        assert relay.observer.streams.slow_ended == 1

    def test_of_silence_do_not_hold_while_a_slow_reader_goes_on(self, relay: Any) -> None:
        sink = RecordingSink(room=1)
        link, stream = begin(relay, sink)
        say(link, 1, 64)
        for _ in range(63):
            relay.clock.advance(20)
            sink.make_room(1)
            relay.node.read_on(stream, sink)
        assert (sink.offsets, sink.is_over) == (list(range(1, 65)), False)
        relay.clock.advance(600.2)
        assert reason(sink.failure) is Reason.AGENT_TIMEOUT

    def test_of_a_stream_that_is_over_hold_for_its_stuck_reader(self, relay: Any) -> None:
        sink = RecordingSink(room=1)
        link, _ = begin(relay, sink)
        say(link, 1, 3)
        link.play(END)
        relay.clock.advance(299)
        assert not sink.is_over
        relay.clock.advance(1.3)
        assert reason(sink.failure) is Reason.STREAM_TOO_SLOW
        assert (relay.observer.streams.slow_ended, len(relay.node.streams)) == (1, 0)

    def test_leave_a_reader_time_for_the_rest_where_nothing_is_kept(self, relay_with: Callable[..., Any]) -> None:
        relay, sink = relay_with(replay_seconds=0), RecordingSink(room=1)
        link, stream = begin(relay, sink)
        say(link, 1, 3)
        link.play(END)
        relay.clock.advance(10)
        sink.make_room(5)
        relay.node.read_on(stream, sink)
        assert (sink.offsets, sink.failure) == ([1, 2, 3], None)
        assert (len(relay.node.streams), len(relay.node.wheel)) == (0, 0)


class Heedless(NativeDialect):
    """Streams without credit."""

    has_credit = False

    def credit(self, id: str, window: Window, through: int) -> bytes | None:
        return None


def test_an_agent_that_never_said_that_it_heeds_credit_is_not_held_to_it(relay_with: Callable[..., Any]) -> None:
    """Agents that were written before there was credit send what they have; they get it all the same."""
    relay, sink = relay_with(stream_window=Window(4, 1_000), stream_buffer_events=10), RecordingSink(room=1)
    link = relay.attached()
    stream = relay.node.stream(make_call("SendStreamingMessage"), sink)
    say(link, 1, 11)
    sink.make_room(100)
    relay.node.read_on(stream, sink)
    assert (sink.offsets, sink.is_over) == (list(range(1, 12)), False)
    assert credits_of(link)[-1] == 11
    assert not link.transport.is_closed


class TestAnAgentWithoutCredit:
    def begin(self, relay: Any, sink: RecordingSink) -> tuple[Playbook, Stream]:
        link = relay.attached()
        assert link.link.session.dialect is NATIVE
        link.link.session.dialect = Heedless()
        stream = relay.node.stream(STREAM, sink)
        link.transport.take()
        return link, stream

    @pytest.mark.parametrize("room", [1, 2])
    def test_is_bounded_by_how_many_events_wait(self, relay_with: Callable[..., Any], room: int) -> None:
        relay, sink = relay_with(stream_buffer_events=5), RecordingSink(room=room)
        link, _ = self.begin(relay, sink)
        say(link, 1, room + 5)
        assert not sink.is_over
        say(link, room + 6, room + 6)
        link.play('<< {"type":"a2a.cancel","payload":{"id":"e-1.1","reason":"STREAM_TOO_SLOW"}}')
        assert reason(sink.failure) is Reason.STREAM_TOO_SLOW

    def test_is_bounded_by_how_many_bytes_wait(self, relay_with: Callable[..., Any]) -> None:
        relay, sink = relay_with(stream_buffer_bytes=300), RecordingSink(room=1)
        link, _ = self.begin(relay, sink)
        say(link, 1, 4, size=100)
        assert not sink.is_over
        say(link, 5, 5, size=100)
        assert reason(sink.failure) is Reason.STREAM_TOO_SLOW

    def test_is_bounded_while_nobody_reads(self, relay_with: Callable[..., Any]) -> None:
        relay, sink = relay_with(replay_events=3, stream_buffer_events=5), RecordingSink()
        link, stream = self.begin(relay, sink)
        relay.node.leave_stream(stream, sink)
        say(link, 1, 100)
        assert stream.is_over
        assert stream.last <= 10
        again = RecordingSink()
        resume(relay, stream, 0, again)
        assert (again.gaps, again.offsets[0], reason(again.failure)) == ([], 1, Reason.STREAM_TOO_SLOW)

    def test_does_not_lose_a_reader_that_comes_back_to_a_full_window(self, relay_with: Callable[..., Any]) -> None:
        relay, first, second = relay_with(stream_buffer_events=5), RecordingSink(), RecordingSink(room=1)
        link, stream = self.begin(relay, first)
        say(link, 1, 50)
        relay.node.leave_stream(stream, first)
        resume(relay, stream, 0, second)
        say(link, 51, 53)
        assert not second.is_over
        second.make_room(100)
        relay.node.read_on(stream, second)
        assert second.offsets == list(range(1, 54))


def test_a_relay_that_leaves_ends_streams_at_once_whatever_their_readers_have_room_for(relay: Any) -> None:
    sink = RecordingSink(room=1)
    link, stream = begin(relay, sink)
    say(link, 1, 3)
    relay.node.exchanges.cancel(stream.exchange, Refused(Reason.RELAY_LEAVING))
    assert (sink.offsets, reason(sink.failure)) == ([1], Reason.RELAY_LEAVING)
