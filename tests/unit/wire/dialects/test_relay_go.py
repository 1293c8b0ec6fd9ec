"""relay-go's frames, byte for byte."""

from __future__ import annotations

import pytest

from a2a_relay.errors import Reason
from a2a_relay.testing import make_call
from a2a_relay.wire.dialects import RELAY_GO
from a2a_relay.wire.frames import Auth, Ignored, Ping, Pong, Response, Unreadable, Welcome

WELCOME = Welcome("zaf", "acme", "e-1", 30, 5, 4, {"JSONRPC": "https://relay.example/"})

GOLDEN_FROM_AGENT = [
    (
        b'{"type":"auth","token":"T","agent_id":"zaf","tenant":"acme","agent_card":{"name":"Zaf","url":""}}',
        Auth("T", b'{"name":"Zaf","url":""}'),
    ),
    (b'{"type":"auth","token":"T","agent_card":null}', Auth("T")),
    (b'{"type":"auth","token":"T","agent_card":{}}', Auth("T")),
    (b'{"type":"auth","token":"T","agent_card":"x"}', Auth("T")),
    (b'{"type":"auth"}', Auth("")),
    (b'{"type":"auth","token":5}', Auth("")),
    (b'{"type":"auth","token":"T","dialect":"openclaw"}', Auth("T", dialect="openclaw")),
    (
        b'{"type":"auth","token":"T","protocol":"a2a-relay/1","max_frame":99,"adopts_ids":true,"rest_0_3":true}',
        Auth("T", None, "a2a-relay/1", adopts_ids=True, rest_v03=True, max_frame=99),
    ),
    (b'{"type":"a2a.response","payload":{"id":"e-1.1","result":{ "a":1.0 }}}', Response("e-1.1", b'{ "a":1.0 }')),
    (b'{"type":"a2a.response","payload":{"id":"1","result":null}}', Response("1", b"null")),
    (b'{"type":"a2a.response","payload":{"id":"1","result":{},"error":null}}', Response("1", b"{}")),
    (
        b'{"type":"a2a.response","payload":{"id":"1","error":{"code":-32001,"message":"no","data":[1]}}}',
        Response("1", error=b'{"code":-32001,"message":"no","data":[1]}'),
    ),
    (
        b'{"type":"a2a.response","payload":{"id":"1","result":{},"status":201,"headers":{"a2a-version":"0.3"}}}',
        Response("1", b"{}", http_status=201, headers={"a2a-version": "0.3"}),
    ),
    (b'{"type":"ping"}', Ping()),
    (b'{"type":"pong","payload":{}}', Pong()),
    (b'{"type":"hello"}', Ignored("hello")),
    (b'{"type":"' + b"x" * 200 + b'"}', Ignored("x" * 64)),
]


@pytest.mark.parametrize("frame, event", GOLDEN_FROM_AGENT)
def test_an_agents_frame_is_read(frame: bytes, event: object) -> None:
    assert RELAY_GO.read(frame) == event


@pytest.mark.parametrize(
    "frame, event",
    [
        (b"", Unreadable(Reason.PARSE_ERROR)),
        (b"[]", Unreadable(Reason.INVALID_REQUEST)),
        (b'{"type":"a2a.response","payload":{"id":"1"}}', Unreadable(Reason.INVALID_AGENT_RESPONSE, ("1",))),
        (
            b'{"type":"a2a.response","payload":{"id":"1","error":"x"}}',
            Unreadable(Reason.INVALID_AGENT_RESPONSE, ("1",)),
        ),
        (b'{"type":"a2a.response","payload":{"id":7,"result":{}}}', Unreadable(Reason.INVALID_REQUEST)),
        (b'{"type":"a2a.response","payload":{"id":"1","result":\xff}}', Unreadable(Reason.INVALID_UTF8, ("1",))),
        (b'{"type":"a2a.response","payload":{"id":"1","result":{}', Unreadable(Reason.PARSE_ERROR, ("1",))),
        (b'{"type":"a2a.response","payload":{"id":"1","result":NaN}}', Unreadable(Reason.PARSE_ERROR, ("1",))),
        (
            b'{"type":"a2a.response","payload":{"id":"1","result":1,"result":2}}',
            Unreadable(Reason.AMBIGUOUS_FIELD, ("1",)),
        ),
        (
            b'{"type":"a2a.response","payload":{"id":"1","error":{"code":1,"code":2}}}',
            Unreadable(Reason.AMBIGUOUS_FIELD, ("1",)),
        ),
        (b'{"type":"a2a.response","payload":{"id":"1","result":' + b"[" * 200, Unreadable(Reason.TOO_DEEP, ("1",))),
    ],
)
def test_an_unreadable_frame_yields_its_id(frame: bytes, event: object) -> None:
    assert RELAY_GO.read(frame) == event


def test_the_relays_frames_are_relay_gos() -> None:
    assert RELAY_GO.welcome(WELCOME) == b'{"type":"auth_ok","agent_id":"zaf","tenant":"acme"}'
    assert RELAY_GO.refusal("auth required") == b'{"type":"error","message":"auth required"}'
    assert RELAY_GO.pong() == b'{"type":"pong"}'


@pytest.mark.parametrize("method", ["SendMessage", "message/send"])
def test_a_request_is_named_as_relay_go_names_it_and_carries_nothing_else(method: str) -> None:
    call = make_call(method, b'{ "message":{} }', client_id=b"7")
    assert RELAY_GO.request("e-1.1", call, 30_000) == (
        b'{"type":"a2a.request","payload":'
        b'{"id":"e-1.1","method":"message/send","params":{ "message":{} },"timeout_ms":30000}}'
    )


def test_it_has_none_of_the_newer_frames() -> None:
    assert RELAY_GO.cancel("1", "x") is None
    assert RELAY_GO.goaway("x", 5) is None
    assert RELAY_GO.probe("1") is None


@pytest.mark.parametrize("kind", ["a2a.event", "a2a.end", "agent.state", "card.update", "relay.probe"])
def test_it_ignores_the_newer_frames(kind: str) -> None:
    assert RELAY_GO.read(b'{"type":"%b","payload":{"id":"1"}}' % kind.encode()) == Ignored(kind)
