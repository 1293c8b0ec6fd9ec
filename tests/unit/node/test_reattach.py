"""Links that are cut, and agents that come back over another one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from a2a_relay.core.address import Address
from a2a_relay.core.exchange import Result
from a2a_relay.core.limits import Limits
from a2a_relay.core.position import Position
from a2a_relay.core.stream import ReplayWindow, Stream, StreamHead
from a2a_relay.core.stream_rules import StreamPolicy, StreamRules
from a2a_relay.errors import Reason, Refused, StoreError
from a2a_relay.node.relay_node import Snapshot
from a2a_relay.ports.stream_log import StoredStream
from a2a_relay.testing import (
    TEST_SECRET,
    FakeClock,
    Playbook,
    RecordingSink,
    make_call,
    make_node,
    make_token,
)
from a2a_relay.wire import chunks
from a2a_relay.wire.dialects.a2a_v1 import A2A_V1
from a2a_relay.wire.flow import Window
from a2a_relay.wire.frames import Auth

STREAM = make_call("SendStreamingMessage")
RESUME = ',"features":["credit","resume"]'


def reason(outcome: object) -> Reason:
    assert isinstance(outcome, Refused), outcome
    return outcome.reason


def say(link: Playbook, first: int, last: int, id: str = "e-1.1") -> None:
    """The agent sends the events `first` to `last`."""
    for seq in range(first, last + 1):
        link.play(f'>> {{"type":"a2a.event","payload":{{"id":"{id}","seq":{seq},"result":{seq}}}}}')


def begin(relay: Any, *sinks: RecordingSink) -> tuple[Playbook, list[Stream]]:
    """An agent that can go on elsewhere, with a stream for every sink."""
    link = relay.attached(more=RESUME)
    streams = [relay.node.stream(STREAM, sink) for sink in sinks]
    link.transport.take_all()
    return link, streams


def come_back(relay: Any, agent: str = "zaf", features: str = '"resume"', **resume: Any) -> tuple[Playbook, Any]:
    """The agent attaches again with claims; its link, and what it is told."""
    link = relay.link(agent)
    claims = f',"resume":{json.dumps(resume)}' if resume else ""
    link.play(f'>> {{"type":"auth","token":"$token","protocol":"a2a-relay/1","features":[{features}]{claims}}}')
    return link, link.transport.take()


def claim(id: str, first: int, last: int) -> dict[str, Any]:
    return {"id": id, "first": first, "last": last}


class TestALinkThatIsCut:
    def test_is_waited_for(self, relay: Any) -> None:
        sinks = [RecordingSink(), RecordingSink()]
        link, _ = begin(relay, sinks[0])
        relay.node.submit(make_call(), sinks[1])
        say(link, 1, 2)
        link.play("xx")
        relay.clock.advance(29.9)
        assert not any(sink.is_over for sink in sinks)
        assert relay.node.snapshot().calls_in_flight == 2
        relay.clock.advance(0.3)
        assert reason(sinks[0].failure) is reason(sinks[1].outcome) is Reason.AGENT_DISCONNECTED
        assert sinks[1].outcome.metadata == {"delivered": "unknown"}  # type: ignore[union-attr]
        assert relay.node.reattachment.sessions == []

    @pytest.mark.parametrize("more, limits", [("", {}), (RESUME, {"resume_grace_seconds": 0})])
    def test_is_not_waited_for_where_nobody_can_come_back(
        self, relay_with: Callable[..., Any], more: str, limits: dict[str, Any]
    ) -> None:
        relay, sink = relay_with(**limits), RecordingSink()
        link = relay.attached(more=more)
        relay.node.submit(make_call(), sink)
        link.play("xx")
        assert reason(sink.outcome) is Reason.AGENT_DISCONNECTED
        assert len(relay.node.wheel) == 0

    def test_has_its_calls_deadlines_still(self, relay: Any) -> None:
        sink = RecordingSink()
        link = relay.attached(more=RESUME)
        relay.node.submit(make_call(timeout_seconds=5), sink)
        link.play("xx")
        relay.clock.advance(5.2)
        assert reason(sink.outcome) is Reason.AGENT_TIMEOUT

    def test_is_nothing_to_a_call_that_is_abandoned(self, relay: Any) -> None:
        link, sink = relay.attached(more=RESUME), RecordingSink()
        exchange = relay.node.submit(make_call(), sink)
        link.play("xx")
        relay.node.abandon(exchange)
        relay.clock.advance(31)
        assert (sink.is_over, relay.node.snapshot(), len(relay.node.wheel)) == (False, Snapshot(0, 0, 0, 0), 0)

    @pytest.mark.parametrize("code", [1009, 4000])
    def test_because_of_what_its_agent_sent_ends_its_calls(self, relay: Any, code: int) -> None:
        sink = RecordingSink()
        link = relay.attached(more=RESUME)
        relay.node.submit(make_call(), sink)
        relay.node.link_ended(link.link, code)
        assert reason(sink.outcome) is Reason.AGENT_DISCONNECTED

    def test_leaves_its_agent_offline_for_new_calls(self, relay: Any) -> None:
        link, _ = begin(relay, RecordingSink())
        link.play("xx")
        with pytest.raises(Refused) as refused:
            relay.node.stream(STREAM, RecordingSink())
        assert refused.value.reason is Reason.AGENT_OFFLINE


class TestAnAgentThatIsBack:
    def test_goes_on_behind_what_was_taken(self, relay: Any) -> None:
        sink = RecordingSink()
        link, (stream,) = begin(relay, sink)
        say(link, 1, 3)
        link.play("xx")
        relay.clock.advance(20)
        link, welcome = come_back(relay, session="e-1", streams=[claim("e-1.1", 1, 5)])
        assert (welcome["session"], welcome["resume_seconds"]) == ("e-2", 30)
        assert welcome["streams"] == [{"id": "e-1.1", "through": 3}]
        say(link, 4, 5)
        relay.clock.advance(31)
        say(link, 6, 6)
        link.play("""
            >> {"type":"a2a.end","payload":{"id":"e-1.1"}}
            << {"type":"a2a.credit","payload":{"id":"e-1.1","through":7, ...}}
        """)
        assert (sink.offsets, sink.failure) == ([1, 2, 3, 4, 5, 6], None)
        assert (stream.resumes, relay.node.snapshot().calls_in_flight) == (0, 0)

    def test_is_not_asked_again_for_what_is_here_but_not_taken(self, relay_with: Callable[..., Any]) -> None:
        relay, sink = relay_with(stream_window=Window(8, 1_000)), RecordingSink(room=1)
        link, (stream,) = begin(relay, sink)
        say(link, 1, 3)
        link.play("xx")
        link, welcome = come_back(relay, session="e-1", streams=[claim("e-1.1", 1, 3)])
        assert welcome["streams"] == [{"id": "e-1.1", "through": 1}]
        say(link, 2, 9)
        sink.make_room(10)
        relay.node.read_on(stream, sink)
        assert (sink.offsets, sink.is_over) == (list(range(1, 10)), False)
        link.play("""
            << {"type":"a2a.credit","payload":{"id":"e-1.1","through":9, ...}}
            << nothing
        """)

    def test_may_be_back_before_the_relay_knows_that_it_was_away(self, relay: Any) -> None:
        sinks = [RecordingSink() for _ in range(3)]
        old, _ = begin(relay, *sinks[:2])
        relay.node.submit(make_call(), sinks[2])
        old.transport.take_all()
        say(old, 1, 1)
        link, welcome = come_back(relay, session="e-1", streams=[claim("e-1.1", 1, 1)], calls=["e-1.3"])
        assert (welcome["streams"], welcome["calls"]) == ([{"id": "e-1.1", "through": 1}], ["e-1.3"])
        old.play("""
            << {"type":"relay.goaway", ...}
            xx 4006
        """)
        assert reason(sinks[1].outcome) is Reason.AGENT_DISCONNECTED, "it was not claimed"
        say(link, 2, 2)
        link.play('>> {"type":"a2a.response","payload":{"id":"e-1.3","result":7}}')
        assert (sinks[0].offsets, sinks[2].outcome) == ([1, 2], Result(b"7"))

    def test_cannot_be_spoken_for_by_its_earlier_link(self, relay: Any) -> None:
        sink = RecordingSink()
        old, _ = begin(relay, sink)
        come_back(relay, session="e-1", streams=[claim("e-1.1", 1, 0)])
        say(old, 1, 1)
        assert sink.events == []

    def test_gets_its_calls_answered_over_the_new_link(self, relay: Any) -> None:
        sinks = [RecordingSink(), RecordingSink(), RecordingSink()]
        link = relay.attached(more=RESUME)
        for sink in sinks:
            relay.node.submit(make_call(), sink)
        link.play('>> {"type":"a2a.response","payload":{"id":"e-1.3","result":3}}')
        link.play("xx")
        link, welcome = come_back(relay, session="e-1", calls=["e-1.1", "e-1.3", "e-1.1", "e-9.9"])
        assert welcome["calls"] == ["e-1.1"]
        assert reason(sinks[1].outcome) is Reason.AGENT_DISCONNECTED
        link.play('>> {"type":"a2a.response","payload":{"id":"e-1.1","result":1}}')
        assert sinks[0].outcome == Result(b"1")
        relay.node.submit(make_call(), RecordingSink())
        assert link.transport.take()["payload"]["id"] == "e-2.1"

    def test_is_cancelled_over_the_new_link(self, relay: Any) -> None:
        sink = RecordingSink()
        link, (stream,) = begin(relay, sink)
        link.play("xx")
        link, _ = come_back(relay, session="e-1", streams=[claim("e-1.1", 1, 0)])
        relay.node.leave_stream(stream, sink)
        link.play("""
            ++ 30.2
            << {"type":"a2a.cancel","payload":{"id":"e-1.1","reason":"CLIENT_GONE"}}
        """)

    def test_may_lose_its_link_again(self, relay: Any) -> None:
        sink = RecordingSink()
        link, _ = begin(relay, sink)
        for session in range(1, 6):
            say(link, session, session)
            link.play("xx")
            relay.clock.advance(20)
            claims = [claim("e-1.1", session + 1, session)]
            link, welcome = come_back(relay, session=f"e-{session}", streams=claims)
            assert welcome["streams"] == [{"id": "e-1.1", "through": session}]
        assert (sink.offsets, sink.is_over) == ([1, 2, 3, 4, 5], False)
        assert relay.node.reattachment.sessions == []

    def test_hears_that_a_stream_is_gone_which_ended_while_it_was_away(self, relay: Any) -> None:
        sink = RecordingSink()
        link, (stream,) = begin(relay, sink)
        relay.node.leave_stream(stream, sink)
        relay.clock.advance(20)
        link.play("xx")
        relay.clock.advance(11)
        _, welcome = come_back(relay, session="e-1", streams=[claim("e-1.1", 1, 0)])
        assert welcome["streams"] == [{"id": "e-1.1", "gone": True}]

    def test_does_not_prolong_the_wait_for_a_reader(self, relay: Any) -> None:
        sink = RecordingSink()
        link, (stream,) = begin(relay, sink)
        relay.node.leave_stream(stream, sink)
        for session in range(1, 4):
            relay.clock.advance(9)
            link.play("xx")
            link, _ = come_back(relay, session=f"e-{session}", streams=[claim("e-1.1", 1, 0)])
        relay.clock.advance(3.2)
        link.play('<< {"type":"a2a.cancel","payload":{"id":"e-1.1","reason":"CLIENT_GONE"}}')

    def test_is_read_by_whoever_came_back_in_the_meantime(self, relay: Any) -> None:
        first, second = RecordingSink(), RecordingSink()
        link, (stream,) = begin(relay, first)
        say(link, 1, 3)
        link.play("xx")
        relay.node.leave_stream(stream, first)
        position = Position(stream.head.id, stream.head.epoch, 1)
        relay.node.stream(make_call("SendStreamingMessage", position=position), second)
        assert second.offsets == [2, 3]
        link, _ = come_back(relay, session="e-1", streams=[claim("e-1.1", 4, 3)])
        relay.clock.advance(31)
        say(link, 4, 4)
        assert (second.offsets, second.is_over) == ([2, 3, 4], False)

    def test_has_its_time_for_the_next_event_anew(self, relay: Any) -> None:
        sink = RecordingSink()
        link, _ = begin(relay, sink)
        relay.clock.advance(590)
        link.play("xx")
        relay.clock.advance(5)
        come_back(relay, session="e-1", streams=[claim("e-1.1", 1, 0)])
        relay.clock.advance(599)
        assert not sink.is_over


class TestClaims:
    def test_end_what_they_leave_out(self, relay: Any) -> None:
        sinks = [RecordingSink(), RecordingSink()]
        link, _ = begin(relay, *sinks)
        link.play("xx")
        _, welcome = come_back(relay, session="e-1", streams=[claim("e-1.2", 1, 0)])
        assert welcome["streams"] == [{"id": "e-1.2", "through": 0}]
        assert reason(sinks[0].outcome) is Reason.AGENT_DISCONNECTED
        assert not sinks[1].is_over

    @pytest.mark.parametrize("resume", [{}, {"session": "e-9", "streams": [claim("e-1.1", 1, 0)]}])
    def test_of_another_session_end_what_waited(self, relay: Any, resume: Any) -> None:
        sink = RecordingSink()
        link, _ = begin(relay, sink)
        link.play("xx")
        _, welcome = come_back(relay, **resume)
        assert [found["gone"] for found in welcome["streams"]] == [True] * bool(resume)
        assert reason(sink.outcome) is Reason.AGENT_DISCONNECTED
        relay.clock.advance(31)
        assert len(relay.node.wheel) == 0

    def test_of_another_agent_are_not_heard(self, relay: Any) -> None:
        sink = RecordingSink()
        link, _ = begin(relay, sink)
        relay.node.submit(make_call(), RecordingSink())
        link.play("xx")
        claims = {"session": "e-1", "streams": [claim("e-1.1", 1, 0)], "calls": ["e-1.2"]}
        _, welcome = come_back(relay, "ann", **claims)
        assert (welcome["streams"], welcome["calls"]) == ([{"id": "e-1.1", "gone": True}], [])
        assert not sink.is_over
        _, welcome = come_back(relay, **claims)
        assert (welcome["streams"], welcome["calls"]) == ([{"id": "e-1.1", "through": 0}], ["e-1.2"])

    def test_of_a_live_agents_session_by_another_are_not_heard(self, relay: Any) -> None:
        sink = RecordingSink()
        link, _ = begin(relay, sink)
        _, welcome = come_back(relay, "ann", session="e-1", streams=[claim("e-1.1", 1, 0)])
        assert welcome["streams"] == [{"id": "e-1.1", "gone": True}]
        say(link, 1, 1)
        assert sink.offsets == [1]

    @pytest.mark.parametrize("first, last", [(5, 9), (1, 2), (1, -1), (10**15, 10**15)])
    def test_that_cannot_be_true_end_the_stream(self, relay: Any, first: int, last: int) -> None:
        """Events that nobody holds any more, or fewer events than the relay has got."""
        sink = RecordingSink()
        link, _ = begin(relay, sink)
        say(link, 1, 3)
        link.play("xx")
        link, welcome = come_back(relay, session="e-1", streams=[claim("e-1.1", first, last)])
        assert welcome["streams"] == [{"id": "e-1.1", "gone": True}]
        assert reason(sink.failure) is Reason.INVALID_AGENT_RESPONSE
        say(link, 4, 4)
        assert relay.observer.refused_frame_reasons == ["unknown_id"]

    def test_twice_count_once(self, relay: Any) -> None:
        sink = RecordingSink()
        link, _ = begin(relay, sink)
        link.play("xx")
        _, welcome = come_back(relay, session="e-1", streams=[claim("e-1.1", 1, 0)] * 2)
        assert welcome["streams"] == [{"id": "e-1.1", "through": 0}, {"id": "e-1.1", "gone": True}]
        assert not sink.is_over

    def test_of_a_call_as_a_stream_and_the_reverse_are_lost(self, relay: Any) -> None:
        sinks = [RecordingSink(), RecordingSink()]
        link, _ = begin(relay, sinks[0])
        relay.node.submit(make_call(), sinks[1])
        link.play("xx")
        _, welcome = come_back(relay, session="e-1", streams=[claim("e-1.2", 1, 0)], calls=["e-1.1"])
        assert (welcome["streams"], welcome["calls"]) == ([{"id": "e-1.2", "gone": True}], [])
        assert [reason(sink.outcome) for sink in sinks] == [Reason.AGENT_DISCONNECTED] * 2

    @pytest.mark.parametrize(
        "resume",
        [
            "null",
            "[]",
            '"e-1"',
            '{"session":1}',
            '{"session":"e-1","streams":{},"calls":{}}',
            '{"session":"e-1","streams":[null,1,{"id":1,"first":1,"last":1},{"id":"e-1.1","first":true,"last":0}]}',
            '{"session":"e-1","calls":[null,{},[],1]}',
            r'{"session":"\ud800","streams":[{"id":"\ud800","first":1,"last":1}],"calls":["\ud800"]}',
        ],
    )
    def test_that_cannot_be_read_are_none(self, relay: Any, resume: str) -> None:
        link, sink = relay.link(), RecordingSink()
        cut, _ = begin(relay, sink)
        cut.play("xx")
        link.play(f"""
            >> {{"type":"auth","token":"$token","protocol":"a2a-relay/1","resume":{resume}}}
            << {{"type":"auth_ok","streams":[],"calls":[], ...}}
        """)
        assert reason(sink.outcome) is Reason.AGENT_DISCONNECTED


class TestChunks:
    FEATURES = ',"features":["chunks","resume"]'

    def test_carry_a_large_request_and_leave_room_for_others(self, relay: Any) -> None:
        link, sink = relay.attached(more=self.FEATURES), RecordingSink()
        relay.node.submit(make_call(params=b'"%b"' % (b"x" * 200_000)), sink)
        relay.node.submit(make_call(params=b"{}"), RecordingSink())
        pieces = [frame for frame in link.transport.unread if frame.startswith(chunks.HEAD)]
        assert sum(map(len, pieces)) < 40_000, "little is under way"
        assert b'"id":"e-1.2"' in link.transport.unread[-1]
        assert link.link.backlog_bytes > 150_000
        reader, whole = chunks.ChunkReader(10**6, 10**6), None
        while whole is None:
            frame = link.transport.unread.popleft()
            if frame.startswith(chunks.HEAD):
                chunk = chunks.read(frame)
                assert isinstance(chunk, chunks.Chunk)
                receipt, whole = reader.take(chunk)
                link.link.receive(receipt)
        document = json.loads(whole)
        assert (document["type"], len(document["payload"]["params"])) == ("a2a.request", 200_000)
        assert link.link.backlog_bytes == 0

    def test_are_not_written_to_who_does_not_take_them(self, relay: Any) -> None:
        link = relay.attached()
        relay.node.submit(make_call(params=b'"%b"' % (b"x" * 200_000)), RecordingSink())
        assert len(link.transport.take()["payload"]["params"]) == 200_000

    def test_of_a_call_that_nobody_awaits_stop(self, relay: Any) -> None:
        link = relay.attached(more=self.FEATURES)
        exchange = relay.node.submit(make_call(params=b'"%b"' % (b"x" * 200_000)), RecordingSink())
        link.transport.unread.clear()
        relay.node.abandon(exchange)
        link.play("""
            << {"type":"a2a.cancel","payload":{"id":"e-1.1","reason":"CLIENT_GONE"}}
            << nothing
        """)
        assert link.link.backlog_bytes == 0

    def test_carry_a_large_answer(self, relay: Any) -> None:
        link, sink = relay.attached(more=self.FEATURES), RecordingSink()
        relay.node.submit(make_call(), sink)
        link.transport.take_all()
        frame = b'{"type":"a2a.response","payload":{"id":"e-1.1","result":"%b"}}' % (b"y" * 100_000)
        for start in range(0, len(frame), 30_000):
            piece, is_last = frame[start : start + 30_000], start + 30_000 >= len(frame)
            link.link.receive(chunks.write("e-1.1", piece, is_last=is_last))
            taken = min(start + 30_000, len(frame))
            link.play(f'<< {{"type":"a2a.chunk","payload":{{"id":"e-1.1","taken":{taken}}}}}')
        assert sink.outcome == Result(b'"%b"' % (b"y" * 100_000))

    def test_carry_an_event_of_a_stream(self, relay: Any) -> None:
        sink = RecordingSink()
        link, _ = begin(relay, sink)
        event = b'{"type":"a2a.event","payload":{"id":"e-1.1","seq":1,"result":"%b"}}' % (b"z" * 9)
        link.link.receive(chunks.write("e-1.1", event[:20], is_last=False))
        link.link.receive(chunks.write("e-1.1", event[20:], is_last=True))
        assert sink.bodies == [b'"zzzzzzzzz"']

    def test_of_an_unknown_call_are_counted_and_their_sender_told(self, relay: Any) -> None:
        link = relay.attached(more=self.FEATURES)
        link.link.receive(chunks.write("e-1.7", b"x", is_last=False))
        link.play("""
            << {"type":"a2a.cancel","payload":{"id":"e-1.7","reason":"CLIENT_GONE"}}
            << nothing
        """)
        assert relay.observer.refused_frame_reasons == ["unknown_id"]

    def test_larger_than_a_frame_cost_their_call_alone(self, relay_with: Callable[..., Any]) -> None:
        relay, sinks = relay_with(max_body=1_000), [RecordingSink(), RecordingSink()]
        link = relay.attached(more=self.FEATURES)
        for sink in sinks:
            relay.node.submit(make_call(), sink)
        link.transport.take_all()
        for _ in range(2):
            link.link.receive(chunks.write("e-1.1", b"x" * 40_000, is_last=False))
        link.play("""
            << {"type":"a2a.chunk","payload":{"id":"e-1.1","taken":40000}}
            << {"type":"a2a.chunk","payload":{"id":"e-1.1","taken":80000}}
            << {"type":"a2a.cancel","payload":{"id":"e-1.1","reason":"INVALID_AGENT_RESPONSE"}}
            << nothing
            >> {"type":"a2a.response","payload":{"id":"e-1.2","result":2}}
        """)
        assert (reason(sinks[0].outcome), sinks[1].outcome) == (Reason.INVALID_AGENT_RESPONSE, Result(b"2"))

    def test_do_not_nest(self, relay: Any) -> None:
        link, sink = relay.attached(more=self.FEATURES), RecordingSink()
        relay.node.submit(make_call(), sink)
        inner = chunks.write("e-1.1", b"{}", is_last=True)
        link.link.receive(chunks.write("e-1.1", inner, is_last=True))
        assert not sink.is_over

    def test_are_forgotten_with_the_call_they_were_for(self, relay: Any) -> None:
        """Whatever way it ended, at the latest when the next ones come: else they would fill the link's room."""
        link = relay.attached(more=self.FEATURES)
        for number in range(1, 5):
            relay.node.submit(make_call(), RecordingSink())
            if number < 4:
                link.link.receive(chunks.write(f"e-1.{number}", b"x" * 1_000, is_last=False))
        link.play("""
            >> {"type":"a2a.response","payload":{"id":"e-1.1","result":1}}
            >> {"type":"a2a.nack","payload":{"id":"e-1.2"}}
            >> {"type":"a2a.response","payload":{"id":"e-1.3"}}
        """)
        assert relay.node.snapshot().calls_in_flight == 1
        link.link.receive(chunks.write("e-1.4", b"x", is_last=False))
        assert len(link.link._joined or ()) == 1

    @pytest.mark.parametrize(
        "more", [b"", b"}", b',"payload":{}}', b',"payload":{"id":"e-1.1","taken":-1}}\n', b"\n\xff"]
    )
    def test_that_cannot_be_read_never_raise(self, relay: Any, more: bytes) -> None:
        link = relay.attached(more=self.FEATURES)
        link.link.receive(chunks.HEAD + more)
        link.link.receive(b'{"type":"a2a.chunk","payload":{"id":"e-1.1","taken":99999}}')
        assert not link.transport.is_closed


class Disk:
    """A log of streams that outlives nodes; what is committed is up to the test."""

    is_durable = True
    is_broken = False

    class Kept(ReplayWindow):
        waiting_bytes = 0
        is_held_up = False
        on_disk = 0

        @property
        def committed(self) -> int:
            return self.on_disk if self.is_held_up else self.last

    def __init__(self) -> None:
        self.streams: dict[str, tuple[StreamHead, Disk.Kept]] = {}

    def open(self, head: StreamHead, on_commit: Callable[[], None]) -> Disk.Kept:
        self.streams[head.id] = head, Disk.Kept(head.prefix)
        return self.streams[head.id][1]

    def find(self, id: str, on_commit: Callable[[], None]) -> StoredStream | None:
        found = self.streams.get(id)
        return None if found is None else StoredStream(*found)

    def find_exchanges(self, address: Address, exchange_ids: Sequence[str]) -> dict[str, str]:
        if self.is_broken:
            raise StoreError("the disk is gone")
        heads = [head for head, _ in self.streams.values() if head.address == address]
        return {head.exchange_id: head.id for head in heads if head.exchange_id in exchange_ids}

    def purge(self, opened_before: float) -> int:
        return 0

    def close(self) -> None:
        pass


class TestARestart:
    """Streams whose windows survive the process; `epoch` is that of their store."""

    @pytest.fixture
    def disk(self) -> Disk:
        return Disk()

    def start(self, disk: Disk, clock: FakeClock, process: str, total: float = 0) -> Any:
        """A relay over what is on the disk."""
        policy = StreamPolicy(StreamRules(total_seconds=total), windows="durable")
        node = make_node(clock=clock, durable_log=disk, policy=policy, limits=Limits(stream_window=Window(4, 1_000)))
        node.sessions._epoch = process  # sessions of two processes have different names
        return node

    def attach(self, node: Any, agent_id: str = "zaf", **resume: Any) -> tuple[Playbook, Any]:
        token = make_token(TEST_SECRET, {"tenant": "acme", "agent_id": agent_id, "exp": node.clock.now() + 60})
        link = Playbook(node, node.clock, token=token)
        claims = f',"resume":{json.dumps(resume)}' if resume else ""
        link.play(f'>> {{"type":"auth","token":"$token","protocol":"a2a-relay/1"{RESUME}{claims}}}')
        return link, link.transport.take()

    def test_is_survived_by_streams(self, disk: Disk) -> None:
        clock, first, second = FakeClock(), RecordingSink(), RecordingSink()
        node = self.start(disk, clock, "p")
        link, _ = self.attach(node)
        stream = node.stream(STREAM, first)
        link.transport.take()
        say(link, 1, 3, id="p-1.1")
        node = self.start(disk, clock, "q")
        link, welcome = self.attach(node, session="p-1", streams=[claim("p-1.1", 3, 5)])
        assert welcome["streams"] == [{"id": "p-1.1", "through": 3}]
        position = Position(stream.head.id, stream.head.epoch, 2)
        node.stream(make_call("SendStreamingMessage", position=position), second)
        say(link, 4, 6, id="p-1.1")
        link.play('>> {"type":"a2a.end","payload":{"id":"p-1.1"}}')
        assert (second.offsets, second.gaps, second.ends) == ([3, 4, 5, 6], [], [None])
        assert node.snapshot().calls_in_flight == 0

    def test_is_waited_through_for_the_agent_and_not_for_ever(self, disk: Disk) -> None:
        clock, sink = FakeClock(), RecordingSink()
        node = self.start(disk, clock, "p")
        link, _ = self.attach(node)
        stream = node.stream(STREAM, RecordingSink())
        say(link, 1, 3, id="p-1.1")
        node = self.start(disk, clock, "q")
        position = Position(stream.head.id, stream.head.epoch, 0)
        node.stream(make_call("SendStreamingMessage", position=position), sink)
        assert (sink.offsets, sink.is_over) == ([1, 2, 3], False)
        clock.advance(30.2)
        assert reason(sink.failure) is Reason.AGENT_DISCONNECTED

    def test_lets_a_reader_be_ahead_of_what_survived(self, disk: Disk) -> None:
        """It has seen events that were not on the disk yet; they come again, and it does not get them again."""
        clock, sink = FakeClock(), RecordingSink()
        node = self.start(disk, clock, "p")
        link, _ = self.attach(node)
        stream = node.stream(STREAM, RecordingSink())
        say(link, 1, 3, id="p-1.1")
        head, kept = disk.streams[stream.head.id]
        disk.streams[stream.head.id] = head, Disk.Kept(head.prefix, 1, [event.body for event in kept.after(0, 1)])
        node = self.start(disk, clock, "q")
        position = Position(stream.head.id, stream.head.epoch, 3)
        node.stream(make_call("SendStreamingMessage", position=position), sink)
        link, welcome = self.attach(node, session="p-1", streams=[claim("p-1.1", 1, 3)])
        assert welcome["streams"] == [{"id": "p-1.1", "through": 1}]
        say(link, 2, 8, id="p-1.1")
        assert sink.offsets == [4, 5, 6, 7, 8]
        assert link.transport.take()["payload"]["through"] == 3

    def test_loses_nothing_to_a_relay_that_has_less_room(self, disk: Disk) -> None:
        clock, sink = FakeClock(), RecordingSink()
        node = self.start(disk, clock, "p")
        link, _ = self.attach(node)
        stream = node.stream(STREAM, RecordingSink())
        say(link, 1, 9, id="p-1.1")
        limits = Limits(replay_events=2, replay_bytes=1, replay_total_bytes=1)
        node = make_node(clock=clock, durable_log=disk, policy=StreamPolicy(windows="durable"), limits=limits)
        position = Position(stream.head.id, stream.head.epoch, 4)
        node.stream(make_call("SendStreamingMessage", position=position), sink)
        assert (sink.gaps, sink.offsets) == ([], [5, 6, 7, 8, 9])

    def test_is_why_credit_is_given_for_what_is_on_the_disk_alone(self, disk: Disk) -> None:
        node = self.start(disk, FakeClock(), "p")
        link, _ = self.attach(node)
        stream = node.stream(STREAM, RecordingSink())
        link.transport.take()
        kept = disk.streams[stream.head.id][1]
        kept.is_held_up = True
        say(link, 1, 4, id="p-1.1")
        link.play("<< nothing")
        kept.on_disk = 3
        node.streams._backpressure.committed(stream)
        link.play("""
            << {"type":"a2a.credit","payload":{"id":"p-1.1","through":3, ...}}
            << nothing
        """)

    def test_is_survived_when_a_reader_is_back_before_the_agent(self, disk: Disk) -> None:
        clock, sink = FakeClock(), RecordingSink()
        node = self.start(disk, clock, "p")
        link, _ = self.attach(node)
        stream = node.stream(STREAM, RecordingSink())
        say(link, 1, 3, id="p-1.1")
        node = self.start(disk, clock, "q")
        position = Position(stream.head.id, stream.head.epoch, 2)
        node.stream(make_call("SendStreamingMessage", position=position), sink)
        link, welcome = self.attach(node, session="p-1", streams=[claim("p-1.1", 4, 3), claim("p-1.1", 4, 3)])
        assert welcome["streams"] == [{"id": "p-1.1", "through": 3}, {"id": "p-1.1", "gone": True}]
        say(link, 4, 5, id="p-1.1")
        assert sink.offsets == [3, 4, 5]

    def test_does_not_prolong_the_time_of_a_whole_stream(self, disk: Disk) -> None:
        clock, sink = FakeClock(), RecordingSink()
        node = self.start(disk, clock, "p", total=100)
        link, _ = self.attach(node)
        stream = node.stream(STREAM, RecordingSink())
        say(link, 1, 3, id="p-1.1")
        clock.advance(70)
        node = self.start(disk, clock, "q", total=100)
        self.attach(node, session="p-1", streams=[claim("p-1.1", 4, 3)])
        position = Position(stream.head.id, stream.head.epoch, 3)
        node.stream(make_call("SendStreamingMessage", position=position), sink)
        clock.advance(29)
        assert not sink.is_over
        clock.advance(1.2)
        assert reason(sink.failure) is Reason.AGENT_TIMEOUT

    def test_leaves_nothing_to_the_claims_of_another_agent(self, disk: Disk) -> None:
        clock = FakeClock()
        node = self.start(disk, clock, "p")
        link, _ = self.attach(node)
        node.stream(STREAM, RecordingSink())
        say(link, 1, 3, id="p-1.1")
        node = self.start(disk, clock, "q")
        _, welcome = self.attach(node, agent_id="other", session="p-1", streams=[claim("p-1.1", 4, 3)])
        assert welcome["streams"] == [{"id": "p-1.1", "gone": True}]
        assert (len(node.streams), len(node.wheel)) == (0, 0), "it is not even looked at"
        clock.advance(31)
        _, welcome = self.attach(node, session="p-1", streams=[claim("p-1.1", 4, 3)])
        assert welcome["streams"] == [{"id": "p-1.1", "through": 3}]

    def test_of_the_store_costs_no_call_its_agent(self, disk: Disk) -> None:
        """Where claims cannot be looked up the agent is refused, and may come back with them."""
        node, sink = self.start(disk, FakeClock(), "p"), RecordingSink()
        link, _ = self.attach(node)
        node.submit(make_call("SendMessage"), sink)
        link.play("xx")
        claims = {"session": "p-1", "streams": [claim("o-1.1", 4, 3)], "calls": ["p-1.1"]}
        disk.is_broken = True
        link, answer = self.attach(node, **claims)
        assert answer["type"] == "error"
        disk.is_broken = False
        link, welcome = self.attach(node, **claims)
        assert welcome["calls"] == ["p-1.1"]
        link.play('>> {"type":"a2a.response","payload":{"id":"p-1.1","result":1}}')
        assert sink.outcome == Result(b"1")

    @pytest.mark.parametrize("is_native", [True, False])
    def test_is_no_reason_to_hold_what_the_disk_does_not_take(self, disk: Disk, is_native: bool) -> None:
        """Its reader is as fast as it can be, and its agent waits for nothing."""
        node, sink = self.start(disk, FakeClock(), "p"), RecordingSink()
        link, _ = self.attach(node) if is_native else (self.attach_by_subprotocol(node), None)
        stream = node.stream(STREAM, sink)
        disk.streams[stream.head.id][1].waiting_bytes = node.limits.unwritten_bytes + 1
        link.transport.take_all()
        if is_native:
            say(link, 1, 40, id="p-1.1")
        else:
            for _ in range(40):
                link.play('>> {"jsonrpc":"2.0","id":"p-1.1","result":1}')
        assert reason(sink.failure) is (Reason.CREDIT_EXCEEDED if is_native else Reason.RELAY_BUSY)
        assert next(iter(node._hub)).violations == is_native

    def attach_by_subprotocol(self, node: Any) -> Playbook:
        token = make_token(TEST_SECRET, {"tenant": "acme", "agent_id": "zaf", "exp": node.clock.now() + 60})
        link = Playbook(node, node.clock, dialect=A2A_V1)
        link.link.attach(Auth(token))
        return link

    async def test_that_waits_for_other_calls_does_not_stop_a_stream_that_goes_on(self, disk: Disk) -> None:
        node, sink = self.start(disk, FakeClock(), "p"), RecordingSink()
        link, _ = self.attach(node)
        node.stream(STREAM, RecordingSink())
        node.submit(make_call("SendMessage"), sink)
        leaving = asyncio.create_task(node.leave(10))
        await asyncio.sleep(0)
        say(link, 1, 3, id="p-1.1")
        link.link.receive(chunks.write("p-1.1", b"{", is_last=False))
        assert [frame for frame in link.transport.take_all() if frame["type"] == "a2a.cancel"] == []
        link.play("xx")
        assert reason(sink.outcome) is Reason.AGENT_DISCONNECTED, "nobody can come back to a relay that leaves"
        await leaving

    async def test_that_is_announced_leaves_nothing_behind_in_the_old_process(self, disk: Disk) -> None:
        node, sink = self.start(disk, FakeClock(), "p"), RecordingSink()
        link, _ = self.attach(node)
        stream = node.stream(STREAM, sink)
        say(link, 1, 3, id="p-1.1")
        link.transport.on_close = lambda: node.link_ended(link.link)
        await node.leave(1)
        assert reason(sink.failure) is Reason.RELAY_LEAVING
        assert stream.window.last == 3
        assert node.snapshot() == Snapshot(0, 0, 0, 0)
        assert node.streams._windows._unread == {}
        assert not any(frame["type"] == "a2a.cancel" for frame in link.transport.take_all())
