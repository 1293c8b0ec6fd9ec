"""Streams survive whatever happens to their links and readers, in whatever order it happens.

A model of an agent that heeds its credit, over a real node: frames are under way for as long as chance wants, links
are cut and lose what was under way, readers have no room, leave and come back. What a client has seen is at any time
the agent's events from the first, each once, byte for byte, but for gaps that were told.

`STREAM_INTERLEAVINGS` says how many dialogues are played: 100 unless told.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Mapping
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from a2a_relay.core.exchange import AgentError, Outcome
from a2a_relay.core.limits import Limits
from a2a_relay.core.position import Position
from a2a_relay.core.stream import Event, Stream, offset_of
from a2a_relay.errors import Reason, Refused
from a2a_relay.testing import TEST_SECRET, FakeClock, MemoryTransport, make_call, make_node, make_token
from a2a_relay.wire import agent_side
from a2a_relay.wire.agent_side import AuthOk, Cancel, Credit, IncomingRequest
from a2a_relay.wire.flow import Outgoing, Window
from a2a_relay.wire.frames import Claim, Resume

EXAMPLES = int(os.environ.get("STREAM_INTERLEAVINGS", "100"))
WINDOW = Window(4, 100)
LARGEST = 130
LIMITS = [
    Limits(stream_window=WINDOW),
    Limits(stream_window=WINDOW, replay_events=3, replay_bytes=200),
    Limits(stream_window=WINDOW, replay_events=0, replay_bytes=0, detach_grace_seconds=0),
    Limits(stream_window=Window(2, 50), replay_events=5, resume_grace_seconds=0),
    Limits(stream_window=WINDOW, replay_total_bytes=7_000),
]
MAX_STREAMS = 3
which = st.integers(0, MAX_STREAMS - 1)
few = st.integers(0, 3)
many = st.integers(0, 12)
sizes = st.sampled_from([2, 3, 5, 8, 13, 40, 60, LARGEST])


class Connection:
    """A client's connection: what the node has handed to it, which the client may not all have got."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.items: list[Event | tuple[int, int]] = []
        self.ends: list[Outcome | AgentError | Refused | None] = []

    def answer(self, outcome: Outcome) -> None:
        assert not self.items, "an answer behind events"
        self.end(outcome)

    def event(self, event: Event, headers: Mapping[str, str]) -> bool:
        assert not self.ends, "an event behind the end"
        assert self.room > 0, "an event that was not asked for"
        self.items.append(event)
        self.room -= 1
        return self.room > 0

    def gap(self, first: int, last: Event) -> None:
        assert not self.ends, "a gap behind the end"
        self.items.append((first, offset_of(last)))

    def end(self, failure: Any) -> None:
        assert not self.ends, "a second end"
        self.ends.append(failure)


class Client:
    """Who reads one stream, over one connection after the other."""

    def __init__(self, stream: Stream, connection: Connection) -> None:
        self.stream = stream
        self.connection: Connection | None = connection
        self.seen: list[Event | tuple[int, int]] = []
        self.furthest = 0
        """The last event that was handed to any of its connections."""
        self.failure: Any = None
        self.is_served = False

    def all_items(self) -> list[Event | tuple[int, int]]:
        return self.seen + (self.connection.items if self.connection is not None else [])

    @property
    def position(self) -> Position:
        offset = _last_of(self.seen[-1]) if self.seen else 0
        return Position(self.stream.head.id, self.stream.head.epoch, offset)


def _pick(items: list[Any], number: int) -> Any:
    return items[number % len(items)]


def _last_of(item: Event | tuple[int, int]) -> int:
    return offset_of(item) if isinstance(item, Event) else item[1]


class Interleavings(RuleBasedStateMachine):
    @initialize(limits=st.sampled_from(LIMITS))
    def begin(self, limits: Limits) -> None:
        self.limits = limits
        self.clock = FakeClock()
        self.node = make_node(clock=self.clock, limits=limits)
        self.session = ""
        self.link: Any = None
        self.transport = MemoryTransport()
        self.to_relay: deque[bytes] = deque()
        self.outgoing: dict[str, Outgoing] = {}
        self.clients: list[Client] = []
        self.produced: dict[str, list[bytes]] = {}
        self.attach()
        self.call(room=9)
        self.agent_reads(1)

    # the agent

    @precondition(lambda self: self.link is None)
    @rule()
    def attach(self) -> None:
        """Over a new link, whether or not the relay knows that the old one is gone."""
        self.transport = MemoryTransport()
        self.link = self.node.open_link(self.transport, "https://relay.example")
        held = [out for out in self.outgoing.values() if not out.is_settled]
        streams = tuple(Claim(out.id, out.through + 1, out.last) for out in held)
        resume = Resume(self.session, streams) if self.session else None
        token = make_token(TEST_SECRET, {"tenant": "acme", "agent_id": "zaf", "exp": self.clock.now() + 60})
        self.link.receive(agent_side.auth(token, None, max_frame=10**6, resume=resume))
        welcome = agent_side.read(self.transport.unread.popleft())
        assert isinstance(welcome, AuthOk), welcome
        self.session = welcome.session
        assert [found.id for found in welcome.streams] == [out.id for out in held]
        for found in welcome.streams:
            if found.through is None:
                del self.outgoing[found.id]
                continue
            out = self.outgoing[found.id]
            assert found.through >= out.through, "what was acknowledged is asked for again"
            out.credit(found.through)
            for seq, body, headers in out.unacknowledged():
                self.to_relay.append(agent_side.event(out.id, seq, body, headers))
            if out.is_ended:
                self.to_relay.append(agent_side.end(out.id, out.error))

    @precondition(lambda self: self.link is not None and len(self.clients) < MAX_STREAMS)
    @rule(room=st.sampled_from([0, 2, 20]))
    def call(self, room: int) -> None:
        connection = Connection(room + 1)
        stream = self.node.stream(make_call("SendStreamingMessage"), connection)
        self.clients.append(Client(stream, connection))

    @precondition(lambda self: self.transport.unread)
    @rule(count=many)
    def agent_reads(self, count: int) -> None:
        for _ in range(min(count, len(self.transport.unread))):
            self._agent_takes(self.transport.unread.popleft())

    def _agent_takes(self, frame: bytes) -> None:
        match agent_side.read(frame):
            case IncomingRequest() as request:
                assert request.stream
                self.outgoing[request.id] = Outgoing(request.id, request.window)
                self.produced[request.id] = []
            case Credit() as credit:
                if credit.id in self.outgoing:
                    self.outgoing[credit.id].credit(credit.through)
            case Cancel() as cancel:
                self.outgoing.pop(cancel.id, None)

    @precondition(lambda self: any(not out.is_ended for out in self.outgoing.values()))
    @rule(number=which, size=sizes, count=st.integers(1, 8), is_at_once=st.booleans())
    def agent_produces(self, number: int, size: int, count: int, is_at_once: bool) -> None:
        out = _pick([out for out in self.outgoing.values() if not out.is_ended], number)
        for _ in range(count):
            self._produce(out, size)
            if is_at_once and self.link is not None:
                self.relay_reads(10)
                self.agent_reads(10)

    def _produce(self, out: Outgoing, size: int) -> None:
        if out.is_ended or not out.has_room(size):
            return
        body = b'"%b"' % (b"%d." % (out.last + 1)).ljust(size - 2, b"x")
        self.produced[out.id].append(body)
        seq = out.event(body)
        if self.link is not None:
            self.to_relay.append(agent_side.event(out.id, seq, body))

    @precondition(lambda self: any(out.last > 2 for out in self.outgoing.values()))
    @rule(number=which, error=st.sampled_from([None, None, b'{"code":1}']))
    def agent_ends(self, number: int, error: bytes | None) -> None:
        self._end(_pick([out for out in self.outgoing.values() if out.last > 2], number), error)

    def _end(self, out: Outgoing, error: bytes | None = None) -> None:
        if not out.is_ended:
            out.end(error)
            if self.link is not None:
                self.to_relay.append(agent_side.end(out.id, error))

    # the network

    @precondition(lambda self: self.to_relay)
    @rule(count=many)
    def relay_reads(self, count: int) -> None:
        if self.link is not None:
            for _ in range(min(count, len(self.to_relay))):
                self.link.receive(self.to_relay.popleft())

    @precondition(lambda self: self.link is not None)
    @rule(arrive=many, reach=many, is_noticed=st.booleans(), away=st.sampled_from([0, 0, 0, 2, 40, None]))
    def cut(self, arrive: int, reach: int, is_noticed: bool, away: float | None) -> None:
        """Of what is under way the first frames still arrive; the relay may not notice before the agent is back."""
        self.relay_reads(arrive)
        self.agent_reads(reach)
        self.to_relay.clear()
        self.transport.unread.clear()
        link, self.link = self.link, None
        if is_noticed:
            self.node.link_ended(link)
        if away is not None:
            self.clock.advance(away)
            self.attach()

    @rule(seconds=st.sampled_from([0.05, 1, 12, 12, 12, 31, 301]))
    def time_passes(self, seconds: float) -> None:
        self.clock.advance(seconds)

    # the clients

    @precondition(lambda self: self.clients)
    @rule(number=which, room=st.sampled_from([1, 2, 5, 20]))
    def client_reads(self, number: int, room: int) -> None:
        self._make_room(_pick(self.clients, number), room)

    def _make_room(self, client: Client, room: int) -> None:
        if client.connection is not None and room:
            client.connection.room += room
            self.node.read_on(client.stream, client.connection)

    @precondition(lambda self: self.clients)
    @rule(number=which, lost=few)
    def client_leaves(self, number: int, lost: int) -> None:
        """Of what was written to it, the last may never have arrived."""
        client = _pick(self.clients, number)
        if client.connection is not None:
            self.node.leave_stream(client.stream, client.connection)
            self._close(client, lost)

    def _close(self, client: Client, lost: int = 0) -> None:
        connection, client.connection = client.connection, None
        assert connection is not None
        got = connection.items[: max(len(connection.items) - lost, 0)]
        client.seen += got
        if connection.ends and got == connection.items and not lost:
            client.failure, client.is_served = connection.ends[0], True

    @precondition(lambda self: self.clients)
    @rule(number=which, room=st.sampled_from([1, 3, 10, 30]), lost=few)
    def client_comes_back(self, number: int, room: int, lost: int) -> None:
        """Perhaps before the relay knows that it was away."""
        self._come_back(_pick(self.clients, number), room, lost)

    def _come_back(self, client: Client, room: int, lost: int = 0) -> None:
        earlier = client.connection
        if earlier is not None:
            was_over = bool(earlier.ends)
            self._close(client, lost)
        connection = Connection(room)
        call = make_call("SendStreamingMessage", position=client.position)
        try:
            found = self.node.stream(call, connection)
        except Refused as refused:
            assert refused.reason is Reason.STREAM_GONE  # noqa: PT017  only sometimes refused
            assert client.stream.is_over or not client.stream.last, "a live stream cannot be found"
            client.is_served, client.failure = True, refused
            return
        assert found is client.stream
        client.connection, client.is_served = connection, False
        if earlier is not None and not was_over:
            assert _reason(earlier.ends[0]) is Reason.STREAM_RESUMED

    # what holds at any time

    @invariant()
    def what_was_seen_is_what_was_produced(self) -> None:
        for client in getattr(self, "clients", ()):
            produced = self.produced.get(client.stream.head.exchange_id, [])
            expected = 1
            for item in client.all_items():
                if isinstance(item, Event):
                    assert offset_of(item) == expected
                    assert item.position == client.stream.prefix + b"%d" % expected
                    assert item.body == produced[expected - 1]
                else:
                    assert item[0] == expected <= item[1], "a gap is told from where the client was"
                    if self.limits.replay_total_bytes > 10_000:
                        assert item[1] <= client.furthest, "what nobody has read is gone"
                expected = _last_of(item) + 1
            if client.connection is not None:
                handed = [offset_of(item) for item in client.connection.items if isinstance(item, Event)]
                client.furthest = max([client.furthest, *handed])

    @invariant()
    def what_waits_for_a_reader_is_bounded_by_credit(self) -> None:
        for client in getattr(self, "clients", ()):
            stream, window = client.stream, self.limits.stream_window
            assert stream.last - stream.taken <= window.events
            waiting = stream.last_bytes - stream.taken_bytes
            assert waiting <= max(window.bytes - window.half_bytes, 0) + LARGEST

    @invariant()
    def an_agent_that_heeds_its_credit_is_never_refused(self) -> None:
        for client in getattr(self, "clients", ()):
            assert _reason(client.stream.failure) not in (Reason.CREDIT_EXCEEDED, Reason.INVALID_AGENT_RESPONSE)

    @invariant()
    def what_is_held_is_counted(self) -> None:
        node = getattr(self, "node", None)
        if node is not None:
            streams = node.streams
            assert streams.held_bytes == sum(stream.counted for stream in streams._streams.values())
            assert all(stream.head.id in streams._streams for stream in streams._windows._unread)

    # and in the end

    def teardown(self) -> None:
        if not hasattr(self, "node"):
            return
        self._settle()
        for out in self.outgoing.values():
            for _ in range(10 * (not out.is_ended)):
                assert out.has_room(5), "the reader has everything, and the agent no credit"
                self._produce(out, 5)
                self.relay_reads(1_000)
                self.agent_reads(1_000)
            self._end(out)
        self._settle()
        for client in self.clients:
            assert client.is_served or (client.connection is not None and client.connection.ends)
            self._is_whole(client)
        self.clock.advance(1_000)
        assert len(self.node.streams) == self.node.streams.held_bytes == len(self.node.wheel) == 0
        windows = self.node.streams._windows
        assert windows._unread == windows._unread_of == windows._budget._by_tenant == {}
        assert self.node.snapshot().calls_in_flight == 0
        assert all(out.is_settled for out in self.outgoing.values()), "the agent waits for ever"

    def _settle(self) -> None:
        """Everything arrives, and everybody reads."""
        for _ in range(8):
            if self.link is None:
                self.attach()
            for _ in range(4):
                self.relay_reads(1_000)
                self.agent_reads(1_000)
            for client in self.clients:
                if client.connection is None and not client.is_served:
                    self._come_back(client, 1_000)
                self._make_room(client, 1_000)
        self.what_was_seen_is_what_was_produced()

    def _is_whole(self, client: Client) -> None:
        """A stream that has ended regularly was seen to its end."""
        failure = client.failure if client.connection is None else client.connection.ends[0]
        if failure is None or isinstance(failure, AgentError):
            items, produced = client.all_items(), self.produced[client.stream.head.exchange_id]
            assert (_last_of(items[-1]) if items else 0) == len(produced)


def _reason(failure: Any) -> Reason | None:
    return failure.reason if isinstance(failure, Refused) else None


TestInterleavings = Interleavings.TestCase
TestInterleavings.settings = settings(
    max_examples=EXAMPLES,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
