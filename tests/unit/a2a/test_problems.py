"""Errors in the shapes of the bindings, there and back."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from a2a_relay.a2a import jsonbytes, problems
from a2a_relay.errors import RULINGS, Reason, Refused

INFO = "type.googleapis.com/google.rpc.ErrorInfo"


def error(code: object, message: object = "no", **more: Any) -> bytes:
    return json.dumps({"code": code, "message": message, **more}).encode()


def rest_error(body: bytes) -> tuple[int, dict[str, Any]]:
    status, document = problems.rest_error(body)
    return status, json.loads(document)["error"]


class TestAnAgentsErrorInRest:
    @pytest.mark.parametrize("code, kind", problems.BY_CODE.items())
    def test_has_the_status_and_reason_of_its_code(self, code: int, kind: problems.ErrorKind) -> None:
        status, found = rest_error(error(code))
        assert (status, found["code"], found["status"]) == (kind.http_status, kind.http_status, kind.grpc_status)
        assert found["message"] == "no"
        assert found["details"][0] | {"metadata": {}} == {
            "@type": INFO,
            "reason": kind.reason,
            "domain": "a2a-protocol.org",
            "metadata": {},
        }

    @pytest.mark.parametrize("code", [0, 7, -32000, -32050, 2**70, 1.5, "x", None, True])
    def test_of_an_unknown_code_is_a_500(self, code: object) -> None:
        assert rest_error(error(code))[0] == 500

    def test_keeps_details_that_the_agent_gave(self) -> None:
        details = [{"@type": "x", "n": 1.0}]
        assert rest_error(error(-32001, data=details))[1]["details"] == details

    def test_keeps_other_data_beside_an_error_info(self) -> None:
        _, found = rest_error(error(-32001, data={"why": "gone"}))
        assert found["data"] == {"why": "gone"}
        assert found["details"][0]["reason"] == "TASK_NOT_FOUND"

    def test_keeps_the_message_as_its_bytes(self) -> None:
        _, body = problems.rest_error(b'{"code":-32001,"message":"\\u00e9\\ud83d"}')
        assert b'"message":"\\u00e9\\ud83d"' in body

    def test_without_a_message_has_an_empty_one(self) -> None:
        assert rest_error(b'{"code":-32001}')[1]["message"] == ""


class TestTheWayBack:
    @settings(max_examples=150, deadline=None)
    @given(
        st.sampled_from([*problems.BY_CODE, -32000, -32042, 5]),
        st.text(max_size=10),
        st.none()
        | st.lists(st.dictionaries(st.text(max_size=3), st.integers(), max_size=2), min_size=1, max_size=2)
        | st.dictionaries(st.text(max_size=3), st.integers(), max_size=2)
        | st.text(max_size=5),
    )
    def test_keeps_code_message_and_data(self, code: int, message: str, data: object) -> None:
        sent = {"code": code, "message": message} | ({} if data is None else {"data": data})
        status, body = problems.rest_error(jsonbytes.dump(sent))
        found = json.loads(problems.rpc_error(status, body))
        assert found["message"] == message
        assert data is None or found["data"] == data
        if not isinstance(data, list):  # whose place is `details`, where the code would stand
            assert found["code"] == code

    @pytest.mark.parametrize("code", problems.BY_CODE)
    def test_reads_the_code_from_an_sdk_servers_details(self, code: int) -> None:
        kind = problems.BY_CODE[code]
        details = [{"@type": INFO, "reason": kind.reason, "domain": "a2a-protocol.org"}]
        body = {"error": {"code": kind.http_status, "status": kind.grpc_status, "message": "m", "details": details}}
        found = json.loads(problems.rpc_error(kind.http_status, json.dumps(body).encode()))
        assert found == {"code": code, "message": "m", "data": details}

    @pytest.mark.parametrize(
        "status, code", [(404, -32001), (400, -32602), (405, -32601), (501, -32004), (500, -32603)]
    )
    def test_guesses_the_code_from_the_status_without_them(self, status: int, code: int) -> None:
        assert json.loads(problems.rpc_error(status, b'{"error":{"message":"m"}}'))["code"] == code

    @pytest.mark.parametrize(
        "body", [b"", b"<html>", b"[]", b"1", b"{}", b'{"error":"x"}', b'{"error":null}', b"\xff", b"[" * 200]
    )
    def test_from_no_error_document_is_an_internal_error(self, body: bytes) -> None:
        found = json.loads(problems.rpc_error(502, body))
        assert found == {"code": -32603, "message": "the agent answered HTTP 502"}

    @pytest.mark.parametrize(
        "details", ["null", "{}", '"x"', "[1,null]", '[{"domain":"a2a-protocol.org","reason":[]}]']
    )
    def test_survives_odd_details(self, details: str) -> None:
        body = f'{{"error":{{"message":"m","details":{details}}}}}'.encode()
        assert json.loads(problems.rpc_error(404, body))["code"] == -32001


class TestARefusal:
    @pytest.mark.parametrize("reason", list(Reason))
    def test_in_rest_is_a_status_with_error_info(self, reason: Reason) -> None:
        found = json.loads(problems.refusal_body(Refused(reason, "m", metadata={"a": "b"})))["error"]
        assert (found["code"], found["status"]) == (RULINGS[reason].http_status, RULINGS[reason].grpc_status)
        assert found["details"] == [
            {"@type": INFO, "reason": str(reason), "domain": "a2a-relay", "metadata": {"a": "b"}}
        ]

    def test_is_never_taken_for_the_agents_own(self) -> None:
        body = problems.refusal_body(Refused(Reason.TASK_NOT_FOUND))
        assert b"a2a-protocol.org" not in body
