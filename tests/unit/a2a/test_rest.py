"""HTTP+JSON: paths of 1.0, 0.3 and relay-go, and params from path, query and body."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from a2a_relay.a2a import jsonbytes, rest
from a2a_relay.a2a.methods import Operation
from a2a_relay.a2a.rest import Dialect, RestPath
from a2a_relay.errors import Reason, Refused

V10, V03, PLAIN = Dialect.V10, Dialect.V03, Dialect.PLAIN

# verb, path, operation, dialect, verbs, ids
PATHS = [
    ("POST", "message:send", Operation.SEND, V10, "POST", {}),
    ("POST", "message:stream", Operation.STREAM, V10, "POST", {}),
    ("GET", "tasks", Operation.LIST, V10, "GET", {}),
    ("GET", "tasks/t", Operation.GET, V10, "GET", {"id": "t"}),
    ("POST", "tasks/t:cancel", Operation.CANCEL, V10, "POST", {"id": "t"}),
    ("GET", "tasks/t:subscribe", Operation.SUBSCRIBE, V10, "GET POST", {"id": "t"}),
    ("POST", "tasks/t:subscribe", Operation.SUBSCRIBE, V10, "GET POST", {"id": "t"}),
    ("POST", "tasks/t/pushNotificationConfigs", Operation.PUSH_SET, V10, "GET POST", {"taskId": "t"}),
    ("GET", "tasks/t/pushNotificationConfigs", Operation.PUSH_LIST, V10, "GET POST", {"taskId": "t"}),
    ("GET", "tasks/t/pushNotificationConfigs/c", Operation.PUSH_GET, V10, "GET DELETE", {"taskId": "t", "id": "c"}),
    (
        "DELETE",
        "tasks/t/pushNotificationConfigs/c",
        Operation.PUSH_DELETE,
        V10,
        "GET DELETE",
        {"taskId": "t", "id": "c"},
    ),
    ("GET", "extendedAgentCard", Operation.EXTENDED_CARD, V10, "GET", {}),
    ("POST", "v1/message:send", Operation.SEND, V03, "POST", {}),
    ("POST", "v1/message:stream", Operation.STREAM, V03, "POST", {}),
    ("GET", "v1/tasks", Operation.LIST, V03, "GET", {}),
    ("GET", "v1/tasks/t", Operation.GET, V03, "GET", {"id": "t"}),
    ("POST", "v1/tasks/t:cancel", Operation.CANCEL, V03, "POST", {"id": "t"}),
    ("GET", "v1/tasks/t:subscribe", Operation.SUBSCRIBE, V03, "GET POST", {"id": "t"}),
    ("POST", "v1/tasks/t/pushNotificationConfigs", Operation.PUSH_SET, V03, "GET POST", {"taskId": "t"}),
    ("GET", "v1/card", Operation.EXTENDED_CARD, V03, "GET", {}),
    ("POST", "message/send", Operation.SEND, PLAIN, "POST", {}),
    ("POST", "message/stream", Operation.STREAM, PLAIN, "POST", {}),
    ("POST", "tasks/t/cancel", Operation.CANCEL, PLAIN, "POST", {"id": "t"}),
    # A2A's own tenant, one extra segment
    ("POST", "org/message:send", Operation.SEND, V10, "POST", {"tenant": "org"}),
    ("GET", "org/tasks", Operation.LIST, V10, "GET", {"tenant": "org"}),
    ("GET", "org/tasks/t", Operation.GET, V10, "GET", {"id": "t", "tenant": "org"}),
    ("POST", "org/tasks/t:cancel", Operation.CANCEL, V10, "POST", {"id": "t", "tenant": "org"}),
    ("GET", "org/extendedAgentCard", Operation.EXTENDED_CARD, V10, "GET", {"tenant": "org"}),
    # ids are what is left of the last colon
    ("GET", "tasks/a:b", Operation.GET, V10, "GET", {"id": "a:b"}),
    ("POST", "tasks/a:b:cancel", Operation.CANCEL, V10, "POST", {"id": "a:b"}),
    ("GET", "tasks/:cancel", Operation.GET, V10, "GET", {"id": ":cancel"}),
    ("GET", "tasks/tasks", Operation.GET, V10, "GET", {"id": "tasks"}),
]


@pytest.mark.parametrize("verb, path, operation, dialect, verbs, ids", PATHS)
def test_a_path_asks_for(
    verb: str, path: str, operation: Operation, dialect: Dialect, verbs: str, ids: dict[str, str]
) -> None:
    assert rest.read_path(path.split("/"), verb) == RestPath(operation, dialect, tuple(verbs.split()), ids)


@pytest.mark.parametrize(
    "path",
    [
        "message",
        "message:Send",
        "messages:send",
        "message/send/x",
        "tasks/t/x",
        "tasks/t/pushNotificationConfigs/c/d",
        "tasks/t/pushnotificationconfigs",
        "card",
        "v1",
        "v1/card/x",
        "v1/extendedAgentCard",
        "v1/message/send",
        "v1/tasks/t/cancel",
        "v1/org/message:send",
        "org/v1/message:send",
        "org/message/send",
        "a/b/message:send",
        "extendedAgentCard/x",
    ],
)
def test_a_path_that_is_none(path: str) -> None:
    for verb in ("GET", "POST", "DELETE"):
        assert rest.read_path(path.split("/"), verb) is None


@pytest.mark.parametrize("word", ["v1", "message", "messages", "streams", "ws", "extendedAgentCard", ".well-known"])
def test_the_bindings_own_words_are_never_a_tenant(word: str) -> None:
    found = rest.read_path([word, "message:send"], "POST")
    assert found is None or "tenant" not in found.ids


def test_no_path_is_none() -> None:
    assert rest.read_path([], "GET") is None


def path(operation: Operation, **ids: str) -> RestPath:
    return RestPath(operation, V10, ("GET",), ids)


class TestParams:
    def test_of_a_get_come_from_path_and_query(self) -> None:
        query = [("historyLength", "3"), ("includeArtifacts", "true"), ("pageToken", "7"), ("status", "x y")]
        found = json.loads(rest.params(path(Operation.GET, id="t"), query, b""))
        assert found == {"id": "t", "historyLength": 3, "includeArtifacts": True, "pageToken": "7", "status": "x y"}

    def test_leave_out_the_version(self) -> None:
        assert rest.params(path(Operation.LIST), [("A2A-Version", "1.0")], b"") == b"{}"
        assert rest.version_parameter([("x", "1"), ("a2a-Version", "0.3")]) == "0.3"
        assert rest.version_parameter([("version", "0.3")]) is None

    @pytest.mark.parametrize("query", [[("id", "u")], [("contextId", "a"), ("contextId", "b")]])
    def test_may_not_be_given_twice(self, query: list[tuple[str, str]]) -> None:
        with pytest.raises(Refused) as refused:
            rest.params(path(Operation.GET, id="t"), query, b"")
        assert refused.value.reason is Reason.AMBIGUOUS_FIELD

    @pytest.mark.parametrize(
        "name, text",
        [
            ("historyLength", "x"),
            ("historyLength", ""),
            ("historyLength", "-1"),
            ("historyLength", "١"),
            ("pageSize", "1" * 19),
            ("pageSize", "²"),
            ("includeArtifacts", "yes"),
            ("includeArtifacts", "True"),
        ],
    )
    def test_of_the_wrong_type_are_refused(self, name: str, text: str) -> None:
        with pytest.raises(Refused) as refused:
            rest.params(path(Operation.LIST), [(name, text)], b"")
        assert refused.value.reason is Reason.INVALID_PARAMS

    @pytest.mark.parametrize("operation", [Operation.SEND, Operation.STREAM, Operation.PUSH_SET])
    def test_need_a_body_where_there_is_something_to_say(self, operation: Operation) -> None:
        with pytest.raises(Refused) as refused:
            rest.params(path(operation), [], b"")
        assert refused.value.reason is Reason.PARSE_ERROR

    def test_of_a_cancel_without_a_body_are_the_id(self) -> None:
        assert rest.params(path(Operation.CANCEL, id="t"), [], b"") == b'{"id":"t"}'

    def test_of_a_post_are_the_body_byte_for_byte(self) -> None:
        body = b'{ "message" : {"parts":[ ]},\n"x":1.50 }'
        assert rest.params(path(Operation.SEND), [], body) == body

    @pytest.mark.parametrize(
        "body, params",
        [
            (b"{}", b'{"id":"t"}'),
            (b" { } ", b'{"id":"t"}'),
            (b'{"a": 1 }\n', b'{"a": 1 ,"id":"t"}'),
            (b'{"a":"}"}', b'{"a":"}","id":"t"}'),
            (b'{"id":"t","a":1}', b'{"id":"t","a":1}'),
            (b'{"id":"u"}', b'{"id":"u"}'),
            (b'{"id":null,"a":1.0}', b'{"a":1.0,"id":"t"}'),
            (b'{"id":"","a":[ ]}', b'{"a":[ ],"id":"t"}'),
        ],
    )
    def test_of_a_post_get_the_ids_of_the_path_where_they_lack(self, body: bytes, params: bytes) -> None:
        assert rest.params(path(Operation.CANCEL, id="t"), [], body) == params

    @pytest.mark.parametrize("body", [b"[]", b"1", b"{", b"\xff", b'{"a":1,"a":2}'])
    def test_of_a_broken_body_are_refused(self, body: bytes) -> None:
        with pytest.raises(Refused):
            rest.params(path(Operation.CANCEL, id="t"), [], body)

    @settings(max_examples=100, deadline=None)
    @given(st.dictionaries(st.text(max_size=4), st.integers() | st.text(max_size=5), max_size=4), st.text(max_size=6))
    def test_with_ids_are_the_body_and_the_ids(self, body: dict[str, object], id: str) -> None:
        found = rest.params(path(Operation.CANCEL, id=id), [], json.dumps(body).encode())
        expected = {**body, "id": id} if body.get("id") in (None, "") else body
        assert jsonbytes.value(found) == expected


def test_an_empty_result_is_written_as_an_object() -> None:
    assert rest.result(b"null") == b"{}"
    assert rest.result(b'{ "a":1}') == b'{ "a":1}'


def test_members_are_joined_as_they_are() -> None:
    assert rest.join_members({"a": b"1.0", 'q"': b"[ ]"}) == b'{"a":1.0,"q\\"":[ ]}'
