"""Whatever bytes come over a link: frames are read or told to be unreadable, links live, nothing else happens.

`tests/fuzz/atheris_codec.py` runs the same targets under a coverage-guided fuzzer.
"""

from __future__ import annotations

import contextlib
import json

from hypothesis import example, given, settings
from hypothesis import strategies as st

from a2a_relay.a2a import agent_card, jsonbytes, jsonrpc, problems, rest, sse
from a2a_relay.a2a.methods import Operation
from a2a_relay.a2a.spans import read as read_spans
from a2a_relay.errors import Refused
from a2a_relay.testing import TEST_SECRET, FakeClock, MemoryTransport, RecordingSink, make_call, make_node, make_token
from a2a_relay.wire import agent_side
from a2a_relay.wire.dialects import A2A_V1, NATIVE, OPENCLAW, RELAY_ELIXIR, RELAY_GO

bounded = settings(max_examples=100, deadline=None)

TYPES = ["auth", "a2a.response", "a2a.event", "a2a.end", "agent.state", "card.update", "relay.probe", "ping", "pong"]
TYPES += ["a2a.request", "a2a.cancel", "relay.goaway", "auth_ok", "error", "auth_error"]
NAMES = [
    "id",
    "result",
    "error",
    "seq",
    "status",
    "headers",
    "state",
    "reason",
    "agent_card",
    "params",
    "method",
    "meta",
]
NAMES += [
    "rest",
    "token",
    "protocol",
    "max_frame",
    "public_urls",
    "heartbeat_seconds",
    "timeout_ms",
    "stream",
    "payload",
]

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=6)
    | st.sampled_from(["e-1.1", "\ud800"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
fields = st.dictionaries(st.sampled_from(NAMES), json_values | st.just("e-1.1"), max_size=5)
well_formed = st.builds(
    lambda kind, payload, flat: json.dumps({"type": kind, **flat, "payload": payload}).encode(),
    st.sampled_from(TYPES) | st.text(max_size=5),
    fields | json_values,
    fields,
)


@st.composite
def spoiled(draw: st.DrawFn) -> bytes:
    data = bytearray(draw(well_formed))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(data)))
        data[at : at + draw(st.integers(0, 3))] = draw(st.binary(max_size=3))
    return bytes(data)


frames = st.one_of(spoiled(), st.binary(max_size=40))


@bounded
@given(frames)
def test_every_dialect_reads_or_says_that_it_cannot(frame: bytes) -> None:
    for dialect in (NATIVE, RELAY_GO, OPENCLAW, RELAY_ELIXIR, A2A_V1):
        dialect.read(frame)
    agent_side.read(frame)


@bounded
@given(st.lists(frames, max_size=5))
@example([b'{"type":"a2a.response","payload":{"id":"e-1.1","result":1}}'] * 2)
@example(
    [
        b'{"type":"a2a.event","payload":{"id":"e-1.2","seq":5,"result":1}}',
        b'{"type":"a2a.end","payload":{"id":"e-1.2"}}',
    ]
)
def test_an_attached_agent_can_say_anything(said: list[bytes]) -> None:
    clock = FakeClock()
    node = make_node(clock=clock)
    link = node.open_link(MemoryTransport(), "https://relay.example")
    token = make_token(TEST_SECRET, {"tenant": "acme", "agent_id": "zaf", "exp": clock.now() + 60})
    link.receive(agent_side.auth(token, None, max_frame=1 << 20))
    unary, stream = RecordingSink(), RecordingSink()
    node.submit(make_call(), unary)
    node.stream(make_call("SendStreamingMessage"), stream)
    for frame in said:
        link.receive(frame)
    assert not link.is_closed
    for view in node.agents.of_tenant("acme"):
        card = view.record.agent_card
        if card is not None:
            jsonbytes.check(agent_card.served(card, {"JSONRPC": "https://r/", "HTTP+JSON": "https://r"}).body)
    node.link_ended(link)
    clock.advance(1_000)  # its calls wait for it for a while, and what was streamed for its reader
    assert unary.is_over
    assert stream.is_over
    assert len(node.wheel) == 0


@bounded
@given(frames)
@example(b'{"type":"auth","token":"\\ud800"}')
def test_a_stranger_can_say_anything(frame: bytes) -> None:
    link = make_node().open_link(MemoryTransport(), "https://relay.example")
    link.receive(frame)
    assert link.is_closed


@bounded
@given(frames)
def test_bodies_of_any_kind_are_read_or_refused(body: bytes) -> None:
    with contextlib.suppress(Refused):
        jsonrpc.read(body)
    with contextlib.suppress(Refused):
        agent_card.require_servable(body)
    with contextlib.suppress(Refused):
        rest.params(rest.RestPath(Operation.SEND, rest.Dialect.V10, ("POST",), {"id": "t"}), [], body)
    for operation in Operation:
        with contextlib.suppress(Refused):
            jsonbytes.check(body)
            read_spans(operation, body, {"id": "t"})
    jsonbytes.check(problems.rpc_error(500, body))
    with contextlib.suppress(Refused):
        jsonbytes.check(body)
        _, error = problems.rest_error(body)
        jsonbytes.check(error)


@bounded
@given(st.lists(st.binary(max_size=12) | st.sampled_from([b"data: 1\n", b"\r", b"\n", b"event: x\r\n"]), max_size=10))
def test_a_stream_of_any_bytes_is_read_or_too_large(pieces: list[bytes]) -> None:
    reader = sse.Reader(1_000)
    for piece in pieces:
        with contextlib.suppress(ValueError):
            list(reader.feed(piece))
