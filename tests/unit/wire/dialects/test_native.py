"""The native dialect: streams, cancel, state, goaway, probes; bodies cross as the bytes they are."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from a2a_relay.errors import Reason
from a2a_relay.testing import make_call
from a2a_relay.wire import agent_side, chunks
from a2a_relay.wire.dialects import NATIVE, OPENCLAW, RELAY_GO
from a2a_relay.wire.flow import DEFAULT_WINDOW, Window
from a2a_relay.wire.frames import (
    CHUNKS,
    CREDIT,
    LETTERS,
    RESUME,
    Accept,
    AgentState,
    CardUpdate,
    Chunk,
    ChunkTaken,
    Probe,
    Response,
    Rest,
    Resumed,
    StreamEnd,
    StreamEvent,
    Unreadable,
    Welcome,
)

blanks = st.sampled_from(["", " ", "\n", "\t "])
leaves = st.sampled_from(["1.50", "-0", '"\\u00e9é"', '"\\ud800"', "null", "true", "9" * 40, '""', "1E5", "{}", "[ ]"])
bodies = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.builds(lambda items, b: f"[{b}" + f",{b}".join(items) + "]", st.lists(inner, max_size=3), blanks),
        st.builds(lambda item, b: f'{{{b}"k"{b}:{item}{b}}}', inner, blanks),
    ),
    max_leaves=6,
).map(str.encode)
objects = st.builds(lambda body, b: f'{{{b}"a":{body.decode()}{b},"b":1}}'.encode(), bodies, blanks)


def levels(count: int) -> bytes:
    return b'[{"a":' * (count // 2) + b"1" + b"}]" * (count // 2)


@settings(max_examples=100, deadline=None)
@given(objects)
@example(levels(100))
def test_params_cross_as_their_bytes(params: bytes) -> None:
    frame = agent_side.read(NATIVE.request("e-1.1", make_call("SendMessage", params), 1_000))
    assert isinstance(frame, agent_side.IncomingRequest)
    assert frame.params == params


@settings(max_examples=100, deadline=None)
@given(bodies)
@example(levels(100))
def test_results_cross_as_their_bytes(body: bytes) -> None:
    assert NATIVE.read(agent_side.result("e-1.1", body)) == Response("e-1.1", body)
    assert NATIVE.read(agent_side.event("e-1.1", 1, body)) == StreamEvent("e-1.1", 1, body)


@settings(max_examples=60, deadline=None)
@given(objects)
def test_errors_cross_as_their_bytes(body: bytes) -> None:
    assert NATIVE.read(agent_side.error("e-1.1", body)) == Response("e-1.1", error=body)
    assert NATIVE.read(agent_side.end("e-1.1", body)) == StreamEnd("e-1.1", body)


@pytest.mark.parametrize("dialect", [NATIVE, RELAY_GO, OPENCLAW])
def test_a_body_of_a_hundred_levels_crosses_in_every_dialect(dialect: Any) -> None:
    frame = dialect.request("e-1.1", make_call("SendMessage", levels(100), client_id=b"1"), 1_000)
    assert isinstance(agent_side.read(frame), agent_side.IncomingRequest)


def test_a_request_tells_everything() -> None:
    rest = Rest("POST", ("v1", "message:stream"), "a=b&c")
    call = make_call("message/stream", b"{}", client_id=b"7", meta={"version": "0.3"}, rest=rest)
    frame = NATIVE.request("e-1.2", call, 600_000, DEFAULT_WINDOW)
    assert agent_side.read(frame) == agent_side.IncomingRequest(
        "e-1.2",
        "message/stream",
        b"{}",
        600_000,
        True,
        {"version": "0.3", "sender": {"identity": "admin:test", "role": "admin", "tenant": "acme", "via": []}},
        rest,
        DEFAULT_WINDOW,
    )
    assert json.loads(frame)["payload"]["window"] == {"events": 64, "bytes": 262144}


def test_a_unary_request_has_no_window() -> None:
    payload = json.loads(NATIVE.request("e-1.1", make_call("GetTask", b"{}"), 1))["payload"]
    assert payload.pop("meta")["sender"]["identity"] == "admin:test"
    assert payload == {"id": "e-1.1", "method": "GetTask", "params": {}, "timeout_ms": 1, "stream": False}


def test_the_welcome_is_understood() -> None:
    urls = {"JSONRPC": "https://relay.example/t/acme/a2a/zaf/"}
    welcome = NATIVE.welcome(Welcome("zaf", "acme", "e-1", 30, 500, 400, urls))
    features = frozenset({CHUNKS, CREDIT, RESUME, LETTERS})
    assert agent_side.read(welcome) == agent_side.AuthOk("zaf", "acme", True, "e-1", 30, 500, urls, features)


def test_the_welcome_says_what_becomes_of_what_was_claimed() -> None:
    streams = (Resumed("e-1.1", 0), Resumed("e-1.2", 7), Resumed("e-1.3", None))
    welcome = NATIVE.welcome(Welcome("zaf", "acme", "e-2", 30, 500, 400, {}, 30, streams, ("e-1.4",)))
    found = agent_side.read(welcome)
    assert isinstance(found, agent_side.AuthOk)
    assert (found.resume_seconds, found.streams, found.calls) == (30, streams, ("e-1.4",))


def test_credit_crosses() -> None:
    frame = NATIVE.credit("e-1.1", Window(8, 1000), 32) or b""
    assert agent_side.read(frame) == agent_side.Credit("e-1.1", 32)
    assert json.loads(frame)["payload"] == {"id": "e-1.1", "events": 8, "bytes": 1000, "through": 32}
    assert RELAY_GO.credit("e-1.1", DEFAULT_WINDOW, 32) is None
    assert (NATIVE.has_credit, RELAY_GO.has_credit, OPENCLAW.has_credit) == (True, False, False)


def test_chunks_are_read_from_their_first_bytes() -> None:
    piece = NATIVE.read(chunks.write("e-1.1", b"\xff\n{", is_last=True))
    assert isinstance(piece, Chunk)
    assert (piece.id, bytes(piece.data), piece.is_last) == ("e-1.1", b"\xff\n{", True)
    assert NATIVE.read(chunks.write_taken("e-1.1", 70_000)) == ChunkTaken("e-1.1", 70_000)


@pytest.mark.parametrize("rest", [b"", b"}", b',"payload":{"id":"e-1.1"}}', b',"payload":{}}\nx', b',"payload":[]}\nx'])
def test_a_chunk_that_cannot_be_read_is_told_apart(rest: bytes) -> None:
    assert isinstance(NATIVE.read(chunks.HEAD + rest), Unreadable)


def test_the_other_frames_of_the_relay_are_understood() -> None:
    assert agent_side.read(NATIVE.cancel("e-1.1", "CLIENT_GONE") or b"") == agent_side.Cancel("e-1.1", "CLIENT_GONE")
    assert agent_side.read(NATIVE.goaway("bye", 250) or b"") == agent_side.Goaway("bye", 250)
    assert agent_side.read(NATIVE.goaway("replaced", None) or b"") == agent_side.Goaway("replaced", None)
    assert agent_side.read(NATIVE.probe("p") or b"") == Probe("p")
    assert agent_side.read(NATIVE.refusal("no")) == agent_side.AuthRefused("no")


def test_the_other_frames_of_the_agent_are_understood() -> None:
    assert NATIVE.read(agent_side.state(is_ready=False, reason="busy")) == AgentState(False, "busy")
    assert NATIVE.read(agent_side.state(is_ready=True, reason="")) == AgentState(True, "")
    assert NATIVE.read(agent_side.card_update(b'{ "name":"x"}')) == CardUpdate(b'{ "name":"x"}')
    assert NATIVE.read(agent_side.probe("p")) == Probe("p")
    assert NATIVE.read(agent_side.end("1")) == StreamEnd("1")
    assert NATIVE.read(agent_side.accept("e-1.1")) == Accept("e-1.1")


def test_answer_headers_cross() -> None:
    headers = {"a2a-version": "1.0"}
    assert NATIVE.read(agent_side.result("1", b"{}", 201, headers)) == Response("1", b"{}", None, 201, headers)
    assert NATIVE.read(agent_side.event("1", 2, b"{}", headers)) == StreamEvent("1", 2, b"{}", headers)


@pytest.mark.parametrize(
    "frame, event",
    [
        (b'{"type":"a2a.event","payload":{"id":"1","seq":1}}', Unreadable(Reason.INVALID_AGENT_RESPONSE, ("1",))),
        (b'{"type":"a2a.event","payload":{"id":"1","result":{}}}', StreamEvent("1", None, b"{}")),
        (b'{"type":"a2a.event","payload":{"result":{}}}', Unreadable(Reason.INVALID_REQUEST)),
        (b'{"type":"a2a.end","payload":{"id":"1","error":"x"}}', Unreadable(Reason.INVALID_AGENT_RESPONSE, ("1",))),
        (b'{"type":"a2a.end","payload":{"id":"1","error":null}}', StreamEnd("1")),
        (b'{"type":"agent.state","payload":{}}', Unreadable(Reason.INVALID_REQUEST)),
        (b'{"type":"a2a.accept","payload":{}}', Unreadable(Reason.INVALID_REQUEST)),
        (b'{"type":"card.update","payload":{}}', CardUpdate(b"null")),
        (b'{"type":"a2a.end","payload":[]}', Unreadable(Reason.INVALID_REQUEST)),
    ],
)
def test_incomplete_frames_are_told_apart(frame: bytes, event: object) -> None:
    assert NATIVE.read(frame) == event


def test_what_an_agent_says_of_its_state_is_cut_short() -> None:
    said = NATIVE.read(agent_side.state(is_ready=False, reason="x" * 5_000))
    assert said == AgentState(False, "x" * 200)
