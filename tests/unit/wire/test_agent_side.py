"""The native dialect seen from the agent."""

from __future__ import annotations

import json
from typing import Any

import pytest

from a2a_relay.errors import Reason, Refused
from a2a_relay.testing import make_call
from a2a_relay.wire import agent_side
from a2a_relay.wire.dialects import NATIVE, RELAY_GO, native
from a2a_relay.wire.frames import Auth, AuthProof, Claim, Ignored, Ping, Pong, Resume, TokenRenew, Unreadable, Welcome
from a2a_relay.wire.proof import Challenge, read_signature

FEATURES = frozenset({"chunks", "credit", "resume", "letters"})


def test_the_first_frame_is_read_by_the_relay() -> None:
    frame = agent_side.auth("T", b'{ "name":"x" }', max_frame=99, adopts_ids=True, rest_v03=True)
    features = FEATURES
    assert RELAY_GO.read(frame) == Auth("T", b'{ "name":"x" }', "a2a-relay/1", True, True, 99, features)
    bare = Auth("T", None, "a2a-relay/1", max_frame=1, features=features)
    assert RELAY_GO.read(agent_side.auth("T", None, max_frame=1)) == bare


def test_the_first_frame_says_which_process_comes_and_what_it_can_do_about_its_credential() -> None:
    read = RELAY_GO.read(agent_side.auth("T", None, max_frame=1, instance="i-1", can_renew=True, can_prove=True))
    assert isinstance(read, Auth)
    assert (read.instance, read.features) == ("i-1", FEATURES | {"renew", "proof"})


@pytest.mark.parametrize("name", ['"i\\u0000"', '"\\u00e4"', '"' + "i" * 65 + '"', "7", "null"])
def test_an_instance_whose_name_is_not_plain_has_none(name: str) -> None:
    read = RELAY_GO.read(b'{"type":"auth","token":"T","instance":%b}' % name.encode())
    assert isinstance(read, Auth)
    assert read.instance == ""


def test_tokens_are_renewed_and_proofs_given_in_words_that_both_sides_know() -> None:
    challenge = Challenge("n" * 43, "https://relay.example", "e", "acme", "zaf")
    assert agent_side.read(native.challenge(challenge)) == challenge
    assert NATIVE.read(agent_side.proof(b"s" * 64)) == AuthProof(b"s" * 64)
    assert NATIVE.read(agent_side.renew("T")) == TokenRenew("T")
    assert agent_side.read(native.renewed(None)) == agent_side.TokenRenewed()
    assert agent_side.read(native.renewed(1.5)) == agent_side.TokenRenewed()
    assert agent_side.read(native.expiring(1.5)) == agent_side.TokenExpiring("1970-01-01T00:00:01.500Z")
    refused = native.renewal_refused(Refused(Reason.PERMISSION_DENIED, "for another agent"))
    assert agent_side.read(refused) == agent_side.TokenRefused("for another agent")


@pytest.mark.parametrize("kind", ["auth.challenge", "token.expiring", "token.refused"])
def test_what_a_relay_says_of_credentials_without_a_word_of_content_is_no_frame(kind: str) -> None:
    assert isinstance(agent_side.read(b'{"type":"%b","payload":{}}' % kind.encode()), Unreadable)


@pytest.mark.parametrize("signature", ["", "AA", "A" * 85, "A" * 86 + "A", "%" * 86, "\u00e4"])
def test_what_is_no_signature_proves_nothing(signature: str) -> None:
    assert read_signature(signature) == b""


def test_what_is_held_of_a_lost_session_is_claimed_in_the_first_frame() -> None:
    resume = Resume("s-1", (Claim("s-1.4", 3, 9), Claim("s-1.5", 1, 0)), ("s-1.6",))
    frame = agent_side.auth("T", b"{}", max_frame=1, resume=resume)
    read = RELAY_GO.read(frame)
    assert isinstance(read, Auth)
    assert read.resume == resume


@pytest.mark.parametrize("dialect", [agent_side.read, NATIVE.read])
def test_a_broken_piece_names_its_own_call_and_nobody_of_its_body(dialect: Any) -> None:
    message = b'{"type":"a2a.chunk","payload":{"id":"e-1.1","last":}}\n{"id":"e-1.2"}'
    found = dialect(message)
    assert isinstance(found, Unreadable)
    assert found.ids == ("e-1.1",)


@pytest.mark.parametrize("id", [rb"\ud800", rb"\u00e9", b"a b", rb"a\"b", rb"a\\b", b"", b"x" * 257])
def test_an_id_that_could_not_be_written_again_is_none(id: bytes) -> None:
    request = b'{"type":"a2a.request","payload":{"id":"%b","method":"SendMessage"}}' % id
    piece = b'{"type":"a2a.chunk","payload":{"id":"%b","last":false}}\nx' % id
    assert [type(agent_side.read(frame)) for frame in (request, piece)] == [Unreadable, Unreadable]
    welcome = agent_side.read(b'{"type":"auth_ok","calls":["%b"],"streams":[{"id":"%b"}]}' % (id, id))
    assert isinstance(welcome, agent_side.AuthOk)
    assert (welcome.calls, welcome.streams) == ((), ())


def test_a_relay_that_speaks_relay_gos_dialect_alone_is_understood() -> None:
    welcome = RELAY_GO.welcome(Welcome("zaf", "acme", "e-1", 9, 9, 9, {}))
    found = agent_side.read(welcome)
    assert found == agent_side.AuthOk("zaf", "acme", False, "", 30, 1 << 20, {})
    request = RELAY_GO.request("r1", make_call("GetTask", b'{"id":"t"}'), 30_000)
    assert agent_side.read(request) == agent_side.IncomingRequest(
        "r1", "tasks/get", b'{"id":"t"}', 30_000, False, {}, None
    )


@pytest.mark.parametrize(
    "frame, event",
    [
        (b'{"type":"error","message":"no"}', agent_side.AuthRefused("no")),
        (b'{"type":"auth_error","error":"no"}', agent_side.AuthRefused("no")),
        (b'{"type":"error"}', agent_side.AuthRefused("refused")),
        (b'{"type":"ping"}', Ping()),
        (agent_side.PONG, Pong()),
        (b'{"type":"new.frame"}', Ignored("new.frame")),
        (b"\xff", Unreadable(Reason.INVALID_UTF8)),
        (
            b'{"type":"a2a.request","payload":{"id":"e-1.1","method":"x","params":{]}}',
            Unreadable(Reason.PARSE_ERROR, ("e-1.1",)),
        ),
        (b'{"type":"a2a.request","payload":{"id":"e-1.1"}}', Unreadable(Reason.INVALID_REQUEST, ("e-1.1",))),
        (
            b'{"type":"a2a.request","payload":{"id":"1","method":"x"}}',
            agent_side.IncomingRequest("1", "x", b"{}", 30_000, False, {}, None),
        ),
        (
            b'{"type":"a2a.request","payload":{"id":"1","method":"x","meta":[],"rest":1}}',
            agent_side.IncomingRequest("1", "x", b"{}", 30_000, False, {}, None),
        ),
    ],
)
def test_frames_of_the_relay(frame: bytes, event: object) -> None:
    assert agent_side.read(frame) == event


@pytest.mark.parametrize("junk", ['{"segments":1}', '{"segments":null}', '{"segments":[{}]}', "[]", '"x"'])
def test_a_strange_rest_part_is_no_reason_to_raise(junk: str) -> None:
    agent_side.read(b'{"type":"a2a.request","payload":{"id":"1","method":"x","rest":%b}}' % junk.encode())


def test_a_result_with_a_status_is_for_0_3_rest() -> None:
    frame = json.loads(agent_side.result("1", b"{}", 201))
    assert frame == {"type": "a2a.response", "payload": {"id": "1", "result": {}, "status": 201}}


def test_pings_are_the_dialects() -> None:
    assert NATIVE.pong() == agent_side.PONG
