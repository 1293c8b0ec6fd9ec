"""From a routed request to a call."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest

from a2a_relay.a2a.jsonrpc import BadRequest
from a2a_relay.a2a.methods import Operation
from a2a_relay.core.call import Call
from a2a_relay.core.push_targets import PushTargets
from a2a_relay.core.target import read_target
from a2a_relay.errors import Reason, Refused
from a2a_relay.fronts.http.bindings import Binding
from a2a_relay.fronts.http.reading import read_jsonrpc, read_rest
from a2a_relay.fronts.http.request import HttpRequest
from a2a_relay.testing import make_address, make_principal
from a2a_relay.wire.frames import Rest

BASE = "/t/acme/a2a/zaf"


class Read(NamedTuple):
    call: Call
    binding: Binding


async def nothing() -> dict[str, Any]:
    return {"type": "http.disconnect"}


def request(verb: str = "POST", target: str = BASE, **headers: str) -> HttpRequest:
    path, _, query = target.partition("?")
    raw = [(name.replace("_", "-").encode(), text.encode()) for name, text in headers.items()]
    scope = {"method": verb, "raw_path": path.encode(), "query_string": query.encode(), "headers": raw}
    return HttpRequest(scope, nothing)


def rpc(body: bytes, rule: str = "any", **headers: str) -> Read:
    return Read(*read_jsonrpc(request(**headers), make_address(), make_principal(), body, PushTargets(rule)))


def http(verb: str, path: str, body: bytes = b"", rule: str = "any", **headers: str) -> Read:
    found = request(verb, f"{BASE}/{path}", **headers)
    route = read_target(verb, found.target)
    return Read(*read_rest(found, route, make_principal(), body, PushTargets(rule)))


class TestJsonRpc:
    def test_a_call_is_what_it_says(self) -> None:
        body = b'{"jsonrpc":"2.0","id":7,"method":"SendStreamingMessage","params":{"message":{"taskId":"t"}}}'
        call = rpc(body, a2a_version="1.0", a2a_extensions="x", traceparent="00-a-b-01", cookie="c").call
        assert (call.operation, call.method, call.streams) == (Operation.STREAM, "SendStreamingMessage", True)
        assert (call.params, call.client_id) == (b'{"message":{"taskId":"t"}}', b"7")
        assert (call.spans.task_id, call.meta.version, call.meta.traceparent) == ("t", "1.0", "00-a-b-01")
        assert call.meta.service_headers == {"a2a-version": "1.0", "a2a-extensions": "x"}
        assert call.rest is None

    def test_the_id_of_a_stream_is_short_for_every_event_carries_it(self) -> None:
        body = b'{"jsonrpc":"2.0","id":"%b","method":"%b","params":{"message":{}}}'
        assert rpc(body % (b"x" * 1022, b"SendStreamingMessage")).call.streams
        assert not rpc(body % (b"x" * 9000, b"SendMessage")).call.streams
        with pytest.raises(BadRequest) as caught:
            rpc(body % (b"x" * 1023, b"SendStreamingMessage"))
        assert caught.value.reason is Reason.INVALID_REQUEST

    def test_an_unknown_method_is_handed_on(self) -> None:
        call = rpc(b'{"jsonrpc":"2.0","id":7,"method":"vendor/x","params":{"task_id":1}}').call
        assert (call.operation, call.method, call.streams) == (Operation.EXTENSION, "vendor/x", False)

    @pytest.mark.parametrize(
        "method, params, reason",
        [
            ("SendMessage", '{"message":{"task_id":"x"}}', Reason.AMBIGUOUS_FIELD),
            ("message/send", '{"message":{"TaskId":"x"}}', Reason.AMBIGUOUS_FIELD),
            ("GetTask", '{"id":5}', Reason.INVALID_PARAMS),
            (
                "tasks/pushNotificationConfig/set",
                '{"taskId":"t","pushNotificationConfig":{"url":"http://10.0.0.1"}}',
                None,
            ),
            ("CreateTaskPushNotificationConfig", '{"taskId":"t","url":"http://10.0.0.1"}', None),
            (
                "SendMessage",
                '{"message":{},"configuration":{"taskPushNotificationConfig":{"url":"http://10.0.0.1"}}}',
                None,
            ),
        ],
    )
    def test_a_refusal_knows_the_id(self, method: str, params: str, reason: Reason | None) -> None:
        body = f'{{"jsonrpc":"2.0","id":7,"method":"{method}","params":{params}}}'.encode()
        with pytest.raises(BadRequest) as refused:
            rpc(body, rule="public")
        assert (refused.value.reason, refused.value.id) == (reason or Reason.PUSH_TARGET_REFUSED, b"7")

    @pytest.mark.parametrize("name", ["get", "list", "delete"])
    def test_a_0_3_push_request_names_its_task_as_0_3_agents_read_it(self, name: str) -> None:
        """0.3 calls the task `id` there; an agent of 0.3 does not look at `taskId`."""
        body = f'{{"jsonrpc":"2.0","id":7,"method":"tasks/pushNotificationConfig/{name}","params":%s}}'
        assert rpc((body % '{"id":"t","pushNotificationConfigId":"c"}').encode()).call.spans.task_id == "t"
        try:
            found = rpc((body % '{"id":"theirs","taskId":"mine"}').encode()).call.spans.task_id
        except BadRequest:
            return
        assert found == "theirs"


class TestRest:
    def test_a_1_0_call_crosses_as_operation_and_params(self) -> None:
        call = http("GET", "tasks/t?historyLength=3").call
        assert (call.operation, call.method, call.params) == (
            Operation.GET,
            "GetTask",
            b'{"id":"t","historyLength":3}',
        )
        assert (call.meta.version, call.rest, call.spans.task_id) == ("1.0", None, "t")

    def test_a_0_3_call_crosses_as_it_is(self) -> None:
        read = http("POST", "v1/message:send?x=1", b'{"message":{"role":"ROLE_USER"}}')
        assert read.call.rest == Rest("POST", ("v1", "message:send"), "x=1")
        assert (read.call.method, read.call.params) == ("message/send", b'{"message":{"role":"ROLE_USER"}}')
        assert http("GET", "v1/tasks/t").call.params == b"{}"

    @pytest.mark.parametrize(
        "body, headers, method",
        [
            (b'{"message":{"role":"user"}}', {}, "message/send"),
            (b'{"message":{"role":"ROLE_USER"}}', {}, "SendMessage"),
            (b'{"message":{}}', {}, "SendMessage"),
            (b'{"message":{}}', {"a2a_version": "0.3"}, "message/send"),
            (b'{"message":{"role":"user"}}', {"a2a_version": "1.0"}, "SendMessage"),
        ],
    )
    def test_a_plain_call_is_named_by_what_it_speaks(self, body: bytes, headers: dict[str, str], method: str) -> None:
        assert http("POST", "message/send", body, **headers).call.method == method

    def test_the_version_may_be_a_parameter(self) -> None:
        assert http("GET", "tasks/t?A2A-Version=1.0.1").call.meta.version == "1.0.1"
        assert http("GET", "tasks/t?A2A-Version=1.1", a2a_version="1.0").call.meta.version == "1.0"

    @pytest.mark.parametrize(
        "verb, path, body, reason",
        [
            ("POST", "tasks/mine:cancel", b'{"id":"yours"}', Reason.AMBIGUOUS_FIELD),
            ("POST", "tasks/mine:cancel", b'{"ID":"yours"}', Reason.AMBIGUOUS_FIELD),
            ("GET", "tasks/mine?id=yours", b"", Reason.AMBIGUOUS_FIELD),
            ("GET", "tasks/mine?ID=yours", b"", Reason.AMBIGUOUS_FIELD),
            ("GET", "tasks?context_id=x", b"", Reason.AMBIGUOUS_FIELD),
            ("POST", "tasks/mine/pushNotificationConfigs", b'{"taskId":"yours","url":"u"}', Reason.AMBIGUOUS_FIELD),
            ("POST", "tasks/mine/pushNotificationConfigs", b'{"task_id":"yours"}', Reason.AMBIGUOUS_FIELD),
            ("POST", "v1/tasks/mine/pushNotificationConfigs", b'{"taskId":"yours"}', Reason.AMBIGUOUS_FIELD),
            ("POST", "org/message:send", b'{"tenant":"other","message":{}}', Reason.AMBIGUOUS_FIELD),
            ("POST", "message:send", b"", Reason.PARSE_ERROR),
            ("POST", "message:send", b"[]", Reason.INVALID_REQUEST),
            ("POST", "message:send", b"\xff", Reason.INVALID_UTF8),
            ("POST", "tasks/t/pushNotificationConfigs", b'{"url":"http://10.0.0.1/"}', Reason.PUSH_TARGET_REFUSED),
        ],
    )
    def test_what_can_be_read_in_two_ways_is_refused(self, verb: str, path: str, body: bytes, reason: Reason) -> None:
        with pytest.raises(Refused) as refused:
            http(verb, path, body, rule="public")
        assert refused.value.reason is reason

    def test_the_extra_tenant_segment_is_a_parameter(self) -> None:
        call = http("POST", "org/message:send", b'{"message":{}}').call
        assert (call.spans.tenant, call.params) == ("org", b'{"message":{},"tenant":"org"}')
