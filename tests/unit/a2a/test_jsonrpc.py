"""The JSON-RPC envelope: read strictly, rebuilt around untouched bytes."""

from __future__ import annotations

import json

import pytest

from a2a_relay.a2a import jsonrpc
from a2a_relay.errors import Reason, Refused


def refused(body: bytes) -> jsonrpc.BadRequest:
    with pytest.raises(jsonrpc.BadRequest) as found:
        jsonrpc.read(body)
    return found.value


@pytest.mark.parametrize("id", [b"1", b'"a"', b"-7", b"0", b'""', b'"\\u0061"', b"9" * 40, '"ключ"'.encode()])
def test_the_id_is_kept_as_its_bytes(id: bytes) -> None:
    assert jsonrpc.read(b'{"jsonrpc":"2.0","id":%b,"method":"GetTask"}' % id).id == id


@pytest.mark.parametrize("id", [b"null", b"1.5", b"1e3", b"true", b"{}", b'["a"]'])
def test_other_ids_are_refused_and_not_echoed(id: bytes) -> None:
    bad = refused(b'{"jsonrpc":"2.0","id":%b,"method":"GetTask"}' % id)
    assert (bad.reason, bad.id) == (Reason.INVALID_REQUEST, b"null")


def test_a_notification_is_refused() -> None:
    assert refused(b'{"jsonrpc":"2.0","method":"GetTask"}').reason is Reason.INVALID_REQUEST


def test_params_are_kept_as_their_bytes() -> None:
    params = b'{ "b" : 1.50,\n "a":"\\u00e9" }'
    assert jsonrpc.read(b'{"params": ' + params + b' ,"method":"x","id":1,"jsonrpc":"2.0"}').params == params


@pytest.mark.parametrize("params", [b"null", b"[]"])
def test_no_params_are_an_empty_object(params: bytes) -> None:
    assert jsonrpc.read(b'{"jsonrpc":"2.0","id":1,"method":"x","params":%b}' % params).params == b"{}"
    assert jsonrpc.read(b'{"jsonrpc":"2.0","id":1,"method":"x"}').params == b"{}"


@pytest.mark.parametrize("params", [b"[1]", b'"x"', b"1", b"true", b"[ ]x"])
def test_params_that_are_no_object_are_refused(params: bytes) -> None:
    assert refused(b'{"jsonrpc":"2.0","id":1,"method":"x","params":%b}' % params).reason in (
        Reason.INVALID_PARAMS,
        Reason.PARSE_ERROR,
    )


@pytest.mark.parametrize(
    "body, reason, id",
    [
        (b"", Reason.PARSE_ERROR, b"null"),
        (b"{", Reason.PARSE_ERROR, b"null"),
        (b"\xff", Reason.INVALID_UTF8, b"null"),
        (b"[" * 200 + b"]" * 200, Reason.TOO_DEEP, b"null"),
        (b"1", Reason.INVALID_REQUEST, b"null"),
        (b'[{"jsonrpc":"2.0"}]', Reason.INVALID_REQUEST, b"null"),
        (b'{"id":5,"method":"x"}', Reason.INVALID_REQUEST, b"5"),
        (b'{"jsonrpc":2.0,"id":5,"method":"x"}', Reason.INVALID_REQUEST, b"5"),
        (b'{"jsonrpc":"2.0","id":5}', Reason.INVALID_REQUEST, b"5"),
        (b'{"jsonrpc":"2.0","id":5,"method":7}', Reason.INVALID_REQUEST, b"5"),
        (b'{"jsonrpc":"2.0","id":5,"method":""}', Reason.INVALID_REQUEST, b"5"),
        (b'{"jsonrpc":"2.0","id":5,"method":"sendmessage"}', Reason.METHOD_NOT_FOUND, b"5"),
        (b'{"jsonrpc":"2.0","id":5,"method":"GetTask","method":"CancelTask"}', Reason.AMBIGUOUS_FIELD, b"null"),
        (b'{"jsonrpc":"2.0","id":5,"method":"GetTask","\\u006dethod":"x"}', Reason.AMBIGUOUS_FIELD, b"null"),
    ],
)
def test_what_cannot_be_read_is_refused_with_the_id_that_is_known(body: bytes, reason: Reason, id: bytes) -> None:
    bad = refused(body)
    assert (bad.reason, bad.id) == (reason, id)


def test_a_batch_is_told_what_it_is() -> None:
    assert "batch" in refused(b" [{},{}]").message


def test_envelopes_are_rebuilt_around_the_bytes() -> None:
    assert jsonrpc.request(b"7", "GetTask", b'{ "id":"t"}') == (
        b'{"jsonrpc":"2.0","id":7,"method":"GetTask","params":{ "id":"t"}}'
    )
    assert jsonrpc.result_response(b'"a"', b"[ 1 ]") == b'{"jsonrpc":"2.0","id":"a","result":[ 1 ]}'
    assert jsonrpc.error_response(b"null", b'{"code":1}') == b'{"jsonrpc":"2.0","id":null,"error":{"code":1}}'


def test_a_refusal_names_its_reason_in_error_info() -> None:
    error = json.loads(jsonrpc.refusal(Refused(Reason.AGENT_OFFLINE, metadata={"state": "away"})))
    assert error["code"] == -32052
    assert error["data"] == [
        {
            "@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "reason": "AGENT_OFFLINE",
            "domain": "a2a-relay",
            "metadata": {"state": "away"},
        }
    ]


@pytest.mark.parametrize("reason", list(Reason))
def test_the_relays_own_codes_are_in_its_own_range_or_the_standards(reason: Reason) -> None:
    code = json.loads(jsonrpc.refusal(Refused(reason)))["code"]
    assert -32099 <= code <= -32050 or -32009 <= code <= -32001 or code == -32700 or -32603 <= code <= -32600
