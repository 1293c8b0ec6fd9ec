"""openclaw-a2a: relay-go's frames around whole JSON-RPC requests."""

from __future__ import annotations

import json

import pytest

from a2a_relay.testing import make_call
from a2a_relay.wire.dialects import OPENCLAW
from a2a_relay.wire.frames import Response


@pytest.mark.parametrize(
    "method, client_id, inner_id",
    [("SendMessage", b'"c1"', "c1"), ("message/send", b"7", 7), ("SendMessage", b"null", "e-1.1")],
)
def test_params_are_a_whole_json_rpc_request(method: str, client_id: bytes, inner_id: object) -> None:
    call = make_call(method, b'{"message":{"parts":[ ]}}', client_id=client_id)
    frame = OPENCLAW.request("e-1.1", call, 600_000)
    assert json.loads(frame) == {
        "type": "a2a.request",
        "payload": {
            "id": "e-1.1",
            "method": "message/send",
            "params": {
                "jsonrpc": "2.0",
                "id": inner_id,
                "method": "message/send",
                "params": {"message": {"parts": []}},
            },
            "timeout_ms": 600_000,
        },
    }
    assert b'"params":{"message":{"parts":[ ]}}' in frame


def test_a_refusal_is_an_auth_error() -> None:
    assert OPENCLAW.refusal("no") == b'{"type":"auth_error","error":"no"}'


def test_answers_are_relay_gos() -> None:
    frame = b'{"type":"a2a.response","payload":{"id":"e-1.1","result":{"kind":"message"}}}'
    assert OPENCLAW.read(frame) == Response("e-1.1", b'{"kind":"message"}')
