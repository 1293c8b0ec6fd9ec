"""How each binding writes, byte for byte."""

from __future__ import annotations

import json

import pytest

from a2a_relay.core.exchange import AgentError, Result
from a2a_relay.core.stream import Event
from a2a_relay.errors import Reason, Refused
from a2a_relay.fronts.http.answer import refusal
from a2a_relay.fronts.http.bindings import JsonRpcBinding, RestBinding

RESULT = Result(b'{ "n":1.50 }', headers={"a2a-version": "1.0"})
ERROR = AgentError(b'{"code":-32001,"message":"no","data":[{"x":1}]}')
OFFLINE = Refused(Reason.AGENT_OFFLINE, retry_after_seconds=5)


class TestJsonRpc:
    def test_answers_in_an_envelope_with_the_id_as_it_came(self) -> None:
        answer = JsonRpcBinding(b'"\\u0061"').answer(RESULT)
        assert answer == (
            200,
            b'{"jsonrpc":"2.0","id":"\\u0061","result":{ "n":1.50 }}',
            "application/json",
            (("a2a-version", "1.0"),),
        )

    def test_answers_an_agents_error_with_200(self) -> None:
        answer = JsonRpcBinding(b"7").answer(ERROR)
        assert (answer.status, answer.body) == (200, b'{"jsonrpc":"2.0","id":7,"error":%b}' % ERROR.body)

    @pytest.mark.parametrize(
        "reason, status, code",
        [
            (Reason.UNAUTHENTICATED, 401, -32050),
            (Reason.AGENT_NOT_FOUND, 404, -32051),
            (Reason.AGENT_OFFLINE, 503, -32052),
            (Reason.AGENT_TIMEOUT, 504, -32053),
            (Reason.TOO_LARGE, 413, -32600),
            (Reason.PARSE_ERROR, 200, -32700),
            (Reason.METHOD_NOT_FOUND, 200, -32601),
            (Reason.AMBIGUOUS_FIELD, 400, -32602),
        ],
    )
    def test_answers_a_refusal_with_its_status_and_code(self, reason: Reason, status: int, code: int) -> None:
        answer = JsonRpcBinding(b"7").answer(Refused(reason))
        document = json.loads(answer.body)
        assert (answer.status, document["id"], document["error"]["code"]) == (status, 7, code)

    def test_tells_when_to_come_back_and_how_to_authenticate(self) -> None:
        assert ("retry-after", "5") in JsonRpcBinding().answer(OFFLINE).headers
        challenge = JsonRpcBinding().answer(Refused(Reason.UNAUTHENTICATED)).headers
        assert challenge == (("www-authenticate", 'Bearer realm="a2a-relay"'),)

    def test_streams_one_line_per_event(self) -> None:
        binding = JsonRpcBinding(b"7")
        assert binding.event(Event(b"s.e-1", b'{\n"a":1}')) == (
            b'id: s.e-1\ndata: {"jsonrpc":"2.0","id":7,"result":{ "a":1}}\n\n'
        )
        assert binding.error_event(ERROR) == (
            b'event: error\ndata: {"jsonrpc":"2.0","id":7,"error":%b}\n\n' % ERROR.body
        )
        assert b'"code":-32052' in binding.error_event(OFFLINE)

    def test_keeps_a_long_call_alive(self) -> None:
        assert JsonRpcBinding().keeps_alive
        assert not RestBinding().keeps_alive


class TestRest:
    def test_answers_with_the_result_itself(self) -> None:
        assert RestBinding().answer(RESULT) == (
            200,
            b'{ "n":1.50 }',
            "application/a2a+json",
            (("a2a-version", "1.0"),),
        )
        assert RestBinding("application/json").answer(RESULT).media_type == "application/json"

    def test_answers_a_0_3_result_with_its_status(self) -> None:
        assert RestBinding().answer(Result(b"{}", 201)).status == 201

    def test_answers_nothing_with_an_empty_object(self) -> None:
        assert RestBinding().answer(Result(b"null")).body == b"{}"

    def test_answers_an_agents_error_as_a_status(self) -> None:
        answer = RestBinding().answer(ERROR)
        assert answer.status == 404
        assert json.loads(answer.body)["error"]["details"] == [{"x": 1}]

    def test_answers_a_refusal_as_a_status(self) -> None:
        answer = RestBinding().answer(OFFLINE)
        assert answer.status == 503
        assert json.loads(answer.body)["error"]["details"][0]["reason"] == "AGENT_OFFLINE"
        assert ("retry-after", "5") in answer.headers

    def test_streams_results_themselves(self) -> None:
        assert RestBinding().event(Event(b"s.e-1", b'{"a":\r\n1}')) == b'id: s.e-1\ndata: {"a":  1}\n\n'
        assert RestBinding().error_event(ERROR).startswith(b'event: error\ndata: {"error":{"code":404')
        assert b"AGENT_OFFLINE" in RestBinding().error_event(OFFLINE)


def test_outside_of_a_binding_a_refusal_is_relay_gos() -> None:
    answer = refusal(Refused(Reason.METHOD_NOT_ALLOWED, metadata={"allow": "GET, POST"}))
    assert answer.status == 405
    assert json.loads(answer.body)["error"] == "this path takes another HTTP method"
    assert ("allow", "GET, POST") in answer.headers
