"""The one strict reader: what the relay reads is what every agent reads, or it is refused (security rule S1)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from a2a.types.a2a_pb2 import GetTaskRequest, SendMessageRequest, TaskPushNotificationConfig
from google.protobuf.json_format import Parse, ParseError
from hypothesis import example, given, settings
from hypothesis import strategies as st

from a2a_relay.a2a import jsonbytes, spans
from a2a_relay.a2a.methods import Operation
from a2a_relay.a2a.spans import Spans
from a2a_relay.errors import Reason, Refused

SENDS = [Operation.SEND, Operation.STREAM]
TASKS = [Operation.GET, Operation.CANCEL, Operation.SUBSCRIBE]
PUSHES = [Operation.PUSH_SET, Operation.PUSH_GET, Operation.PUSH_LIST, Operation.PUSH_DELETE]


def read(operation: Operation, params: str, path: dict[str, str] | None = None) -> Spans:
    data = params.encode()
    jsonbytes.check(data)
    return spans.read(operation, data, path)


def reason(operation: Operation, params: str, path: dict[str, str] | None = None) -> Reason:
    with pytest.raises(Refused) as refused:
        read(operation, params, path)
    return refused.value.reason


class TestCanonicalForms:
    def test_of_a_message(self) -> None:
        params = """{"tenant":"a","message":{"messageId":"m","role":"ROLE_USER","taskId":"t","contextId":"c",
            "referenceTaskIds":["r1","r2"],"parts":[{"text":"taskId"}]},
            "configuration":{"taskPushNotificationConfig":{"url":"http://u/"}},"metadata":{"task_id":1}}"""
        assert read(Operation.SEND, params) == Spans("t", "c", ("r1", "r2"), "a", "http://u/", "ROLE_USER")

    def test_of_a_message_in_0_3(self) -> None:
        params = """{"message":{"kind":"message","role":"user","parts":[],"messageId":"m","taskId":"t"},
            "configuration":{"blocking":true,"pushNotificationConfig":{"url":"http://u/","id":"i"}}}"""
        assert read(Operation.STREAM, params) == Spans("t", push_url="http://u/", role="user")

    @pytest.mark.parametrize("operation", TASKS)
    def test_of_a_task(self, operation: Operation) -> None:
        assert read(operation, '{"id":"t","historyLength":3}') == Spans("t")

    def test_of_a_list(self) -> None:
        assert read(Operation.LIST, '{"contextId":"c","pageSize":1}') == Spans(context_id="c")

    def test_of_a_push_config_in_1_0(self) -> None:
        params = '{"taskId":"t","id":"i","url":"https://u/","token":"k","authentication":{"scheme":"x"}}'
        assert read(Operation.PUSH_SET, params) == Spans("t", push_url="https://u/")
        assert read(Operation.PUSH_GET, '{"taskId":"t","id":"i"}') == Spans("t")
        assert read(Operation.PUSH_DELETE, '{"taskId":"t","id":"i"}') == Spans("t")
        assert read(Operation.PUSH_LIST, '{"taskId":"t"}') == Spans("t")

    def test_of_a_push_config_in_0_3(self) -> None:
        params = '{"taskId":"t","pushNotificationConfig":{"id":"i","url":"https://u/"}}'
        assert read(Operation.PUSH_SET, params) == Spans("t", push_url="https://u/")
        for operation in (Operation.PUSH_GET, Operation.PUSH_LIST, Operation.PUSH_DELETE):
            found = spans.read(operation, b'{"id":"t","pushNotificationConfigId":"i"}', is_v03=True)
            assert found.task_id == "t"

    def test_of_the_extended_card(self) -> None:
        assert read(Operation.EXTENDED_CARD, '{"tenant":"x"}') == Spans(tenant="x")

    def test_ids_are_decoded(self) -> None:
        assert read(Operation.GET, '{"id":"\\u0074\\n"}').task_id == "t\n"

    @pytest.mark.parametrize("empty", ["null", '""'])
    def test_null_and_empty_are_absent(self, empty: str) -> None:
        assert read(Operation.SEND, f'{{"message":{{"taskId":{empty},"contextId":{empty}}}}}') == Spans()

    @pytest.mark.parametrize("operation", [*SENDS, *TASKS, *PUSHES, Operation.LIST, Operation.EXTENDED_CARD])
    def test_no_params_name_nothing(self, operation: Operation) -> None:
        assert read(operation, "null") == read(operation, "{}") == Spans()

    def test_an_unknown_method_is_not_looked_into(self) -> None:
        assert read(Operation.EXTENSION, '{"task_id":1,"TASKID":2}') == Spans()

    def test_other_keys_may_be_spelled_as_one_likes(self) -> None:
        params = '{"message":{"taskId":"t","my_task":1,"task-id":2,"taskIds":[],"META":3},"request_id":4}'
        assert read(Operation.SEND, params).task_id == "t"


SPELLINGS = ["task_id", "TASKID", "TaskId", "taskid", "task_Id", "_taskId", "taskId_", "ta\u017fkId", "tas\u212aId"]


def respelled(name: str) -> list[str]:
    """A field in other spellings that lenient readers take."""
    snake = "".join(f"_{char.lower()}" if char.isupper() else char for char in name)
    others = {snake, name.upper(), name.lower(), name.title(), f"_{name}", f"{name}_", name[0].upper() + name[1:]}
    others |= {name.replace("s", "\u017f"), name.replace("k", "\u212a")}
    return sorted(others - {name})


IN_MESSAGE = ["messageId", "taskId", "contextId", "referenceTaskIds"]
IN_SEND = ["tenant", "message", "configuration"]
IN_CONFIGURATION = ["taskPushNotificationConfig", "pushNotificationConfig"]
IN_PUSH = ["tenant", "taskId", "id", "url", "pushNotificationConfigId", "pushNotificationConfig", "name", "parent"]


class TestOtherSpellings:
    @pytest.mark.parametrize("operation", SENDS)
    @pytest.mark.parametrize("key", [other for name in IN_MESSAGE for other in respelled(name)])
    def test_in_a_message_are_refused(self, operation: Operation, key: str) -> None:
        for message in (f'{{"{key}":"x"}}', f'{{"taskId":"t","{key}":"x"}}', f'{{"{key}":null,"taskId":"t"}}'):
            assert reason(operation, f'{{"message":{message}}}') is Reason.AMBIGUOUS_FIELD

    @pytest.mark.parametrize("key", [other for name in IN_SEND for other in respelled(name)])
    def test_beside_a_message_are_refused(self, key: str) -> None:
        assert reason(Operation.SEND, f'{{"message":{{}},"{key}":{{"taskId":"x"}}}}') is Reason.AMBIGUOUS_FIELD

    @pytest.mark.parametrize("key", [other for name in IN_CONFIGURATION for other in respelled(name)])
    def test_in_a_configuration_are_refused(self, key: str) -> None:
        params = f'{{"message":{{}},"configuration":{{"{key}":{{"url":"http://10.0.0.1/"}}}}}}'
        assert reason(Operation.SEND, params) is Reason.AMBIGUOUS_FIELD

    @pytest.mark.parametrize("member", IN_CONFIGURATION)
    @pytest.mark.parametrize("key", [other for name in ("taskId", "url", "id") for other in respelled(name)])
    def test_in_a_nested_push_config_are_refused(self, member: str, key: str) -> None:
        params = f'{{"message":{{}},"configuration":{{"{member}":{{"{key}":"x"}}}}}}'
        assert reason(Operation.SEND, params) is Reason.AMBIGUOUS_FIELD

    @pytest.mark.parametrize("operation", PUSHES)
    @pytest.mark.parametrize("key", [other for name in IN_PUSH for other in respelled(name)])
    def test_in_a_push_config_are_refused(self, operation: Operation, key: str) -> None:
        assert reason(operation, f'{{"taskId":"t","{key}":"x"}}') is Reason.AMBIGUOUS_FIELD

    @pytest.mark.parametrize("key", [other for name in ("url", "id") for other in respelled(name)])
    def test_in_a_push_config_of_0_3_are_refused(self, key: str) -> None:
        params = f'{{"taskId":"t","pushNotificationConfig":{{"url":"https://u/","{key}":"x"}}}}'
        assert reason(Operation.PUSH_SET, params) is Reason.AMBIGUOUS_FIELD

    @pytest.mark.parametrize("operation", TASKS)
    @pytest.mark.parametrize("key", [*respelled("id"), *respelled("tenant"), *respelled("taskId"), *respelled("name")])
    def test_in_a_task_request_are_refused(self, operation: Operation, key: str) -> None:
        assert reason(operation, f'{{"id":"t","{key}":"x"}}') is Reason.AMBIGUOUS_FIELD

    @pytest.mark.parametrize("key", [*respelled("contextId"), *respelled("tenant")])
    def test_in_a_list_request_are_refused(self, key: str) -> None:
        assert reason(Operation.LIST, f'{{"{key}":"x"}}') is Reason.AMBIGUOUS_FIELD

    @pytest.mark.parametrize("key", respelled("tenant"))
    def test_in_a_card_request_are_refused(self, key: str) -> None:
        assert reason(Operation.EXTENDED_CARD, f'{{"{key}":"x"}}') is Reason.AMBIGUOUS_FIELD


class TestTwice:
    @pytest.mark.parametrize("second", ["taskId", "task\\u0049d", "\\u0074askId", "\\u0074\\u0061\\u0073kId"])
    def test_a_field_that_stands_twice_is_refused_in_any_escape(self, second: str) -> None:
        params = f'{{"message":{{"taskId":"mine","{second}":"yours"}}}}'
        assert reason(Operation.SEND, params) is Reason.AMBIGUOUS_FIELD

    @pytest.mark.parametrize("second", ["id", "i\\u0064"])
    @pytest.mark.parametrize("operation", [*TASKS, *PUSHES])
    def test_so_is_an_id(self, operation: Operation, second: str) -> None:
        assert reason(operation, f'{{"id":"mine","{second}":"mine"}}') is Reason.AMBIGUOUS_FIELD

    def test_so_is_a_message(self) -> None:
        params = '{"message":{"taskId":"mine"},"message":{"taskId":"yours"}}'
        assert reason(Operation.SEND, params) is Reason.AMBIGUOUS_FIELD

    def test_so_are_two_push_targets_in_two_forms(self) -> None:
        flat = '{"taskId":"t","url":"http://10.0.0.1/","pushNotificationConfig":{"url":"http://ok.example/"}}'
        assert reason(Operation.PUSH_SET, flat) is Reason.AMBIGUOUS_FIELD

    def test_so_are_two_push_configs_of_a_message(self) -> None:
        both = '"taskPushNotificationConfig":{"url":"http://10.0.0.1/"},"pushNotificationConfig":{"url":"http://ok.example/"}'
        assert reason(Operation.SEND, f'{{"message":{{}},"configuration":{{{both}}}}}') is Reason.AMBIGUOUS_FIELD

    def test_an_escaped_canonical_spelling_alone_is_canonical(self) -> None:
        assert read(Operation.SEND, '{"\\u006dessage":{"task\\u0049d":"t"}}').task_id == "t"


class TestThePath:
    def test_may_be_repeated_by_the_body(self) -> None:
        assert read(Operation.CANCEL, '{"id":"t"}', {"id": "t"}).task_id == "t"

    @pytest.mark.parametrize("operation, field", [(Operation.CANCEL, "id"), (Operation.PUSH_SET, "taskId")])
    def test_may_not_be_contradicted(self, operation: Operation, field: str) -> None:
        assert reason(operation, f'{{"{field}":"yours"}}', {field: "mine"}) is Reason.AMBIGUOUS_FIELD

    def test_may_not_be_contradicted_about_the_tenant(self) -> None:
        assert reason(Operation.SEND, '{"tenant":"b","message":{}}', {"tenant": "a"}) is Reason.AMBIGUOUS_FIELD


class TestWrongTypes:
    @pytest.mark.parametrize("value", ["1", "true", "{}", '["t"]', "1.5"])
    def test_of_ids_are_refused(self, value: str) -> None:
        assert reason(Operation.GET, f'{{"id":{value}}}') is Reason.INVALID_PARAMS
        assert reason(Operation.SEND, f'{{"message":{{"taskId":{value}}}}}') is Reason.INVALID_PARAMS
        assert reason(Operation.PUSH_SET, f'{{"taskId":"t","url":{value}}}') is Reason.INVALID_PARAMS

    @pytest.mark.parametrize("value", ["1", '"x"', "[]"])
    def test_of_params_and_messages_are_refused(self, value: str) -> None:
        assert reason(Operation.SEND, value) is Reason.INVALID_PARAMS
        assert reason(Operation.SEND, f'{{"message":{value}}}') is Reason.INVALID_PARAMS
        assert reason(Operation.SEND, f'{{"message":{{}},"configuration":{value}}}') is Reason.INVALID_PARAMS

    @pytest.mark.parametrize("value", ["1", '"x"', "{}"])
    def test_of_references_are_refused(self, value: str) -> None:
        assert reason(Operation.SEND, f'{{"message":{{"referenceTaskIds":{value}}}}}') in (
            Reason.INVALID_PARAMS,
            Reason.INVALID_REQUEST,
        )


# --- against the reader that a2a-sdk's agents use ---

keys = st.sampled_from(
    [*IN_MESSAGE, *SPELLINGS, "context_id", "ContextId", "reference_task_ids", "message_id", "task\\u0049d", "extra"]
)
values = st.sampled_from(['"t1"', '"t2"', '""', "null", "1", '["t1","t2"]', "[]", '"\\u00741"', "{}", '"T1"'])
pairs = st.lists(st.tuples(keys, values), max_size=5)
outer_keys = st.sampled_from(["message", "message", "message", "Message", "request", "tenant", "configuration"])


def as_object(fields: list[tuple[str, str]]) -> str:
    return "{" + ",".join(f'"{key}":{value}' for key, value in fields) + "}"


messages = st.lists(st.tuples(outer_keys, st.one_of(pairs.map(as_object), values)), min_size=1, max_size=3)


def protobuf(document: str, into: Any) -> Any:
    """What an SDK agent reads; None when it refuses. The most lenient way: unknown fields are ignored."""
    for text in (document, json.dumps(json.loads(document))):  # duplicates: refused, or the last one wins
        try:
            return Parse(text, into(), ignore_unknown_fields=True)
        except ParseError:
            continue
    return None


@settings(max_examples=250, deadline=None)
@given(messages.map(as_object))
@example('{"message":{"taskId":"t1","task_id":"t2"}}')
@example('{"message":{"task\\u0049d":"t1"}}')
def test_an_sdk_agent_reads_the_same_ids_from_a_message_that_is_taken(document: str) -> None:
    try:
        found = read(Operation.SEND, document)
    except Refused:
        return
    theirs = protobuf(document, SendMessageRequest)
    if theirs is not None and '"request"' not in document:  # 0.3's name of `message`, which 1.0's readers ignore
        assert (theirs.message.task_id, theirs.message.context_id) == (found.task_id or "", found.context_id or "")
        assert tuple(theirs.message.reference_task_ids) == found.reference_task_ids
        assert theirs.tenant == (found.tenant or "")


task_keys = st.sampled_from(["id", "ID", "Id", "_id", "taskId", "task_id", "name", "i\\u0064", "tenant", "x"])


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(task_keys, values), max_size=4).map(as_object))
def test_an_sdk_agent_reads_the_same_id_from_a_task_request_that_is_taken(document: str) -> None:
    try:
        found = read(Operation.GET, document)
    except Refused:
        return
    theirs = protobuf(document, GetTaskRequest)
    if theirs is not None:
        assert theirs.id == (found.task_id or "")


push_keys = st.sampled_from([*IN_PUSH, "task_id", "URL", "Url", "push_notification_config", "taskI\\u0064"])


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(push_keys, values), max_size=4).map(as_object))
def test_an_sdk_agent_reads_the_same_target_from_a_push_config_that_is_taken(document: str) -> None:
    try:
        found = read(Operation.PUSH_SET, document)
    except Refused:
        return
    theirs = protobuf(document, TaskPushNotificationConfig)
    if theirs is not None:
        assert theirs.task_id == (found.task_id or "")
        assert theirs.url in ("", found.push_url or "")


def folded_by_go(key: str) -> str:
    """encoding/json's folding: letters without case, and the two signs that fold to ASCII."""
    return key.replace("\u017f", "s").replace("\u212a", "k").lower()


letters = st.sampled_from("taskIdTASKiD\u017f\u212a_")


@settings(max_examples=300, deadline=None)
@given(st.text(letters, min_size=4, max_size=8))
@example("ta\u017fkId")
def test_a_go_agent_reads_no_task_id_where_the_relay_reads_none(key: str) -> None:
    try:
        found = read(Operation.SEND, f'{{"message":{{"{key}":"t"}}}}')
    except Refused:
        return
    assert (folded_by_go(key) == "taskid") == (found.task_id == "t")


@pytest.mark.parametrize(
    ("operation", "params"),
    [
        (Operation.GET, '{"name":"tasks/theirs"}'),
        (Operation.GET, '{"taskId":"theirs"}'),
        (Operation.CANCEL, '{"id":"mine","taskId":"theirs"}'),
        (Operation.SUBSCRIBE, '{"id":"mine","name":"tasks/theirs"}'),
        (Operation.PUSH_GET, '{"id":"c","name":"tasks/theirs/pushNotificationConfigs/c"}'),
        (Operation.PUSH_LIST, '{"taskId":"mine","parent":"tasks/theirs"}'),
        (Operation.PUSH_SET, '{"taskId":"mine","pushNotificationConfig":{"taskId":"theirs","url":"http://u/"}}'),
        (Operation.PUSH_SET, '{"taskId":"mine","config":{"name":"tasks/theirs/pushNotificationConfigs/c"}}'),
        (Operation.SEND, '{"message":{},"configuration":{"taskPushNotificationConfig":{"taskId":"theirs"}}}'),
    ],
)
def test_another_task_is_not_named_where_only_some_readers_look(operation: Operation, params: str) -> None:
    assert reason(operation, params) is Reason.AMBIGUOUS_FIELD


@pytest.mark.parametrize("member", ['"contextId":"\\ud800"', '"taskId":"\\udfff"', '"referenceTaskIds":["\\ud800"]'])
def test_half_a_character_is_no_id(member: str) -> None:
    assert reason(Operation.SEND, f'{{"message":{{{member}}}}}') is Reason.INVALID_PARAMS


class TestTheSpellingsOfProtobufReaders:
    """0.3's HTTP+JSON is protobuf JSON of another package, whose fields have other names."""

    @pytest.mark.parametrize(
        ("operation", "params", "path"),
        [
            (Operation.SEND, '{"message":{"taskId":"mine"},"request":{"taskId":"theirs"}}', {}),
            (Operation.SEND, '{"Request":{"taskId":"theirs"}}', {}),
            (Operation.PUSH_SET, '{"parent":"tasks/theirs","config":{}}', {"taskId": "mine"}),
            (Operation.PUSH_SET, '{"config":{"name":"tasks/theirs/pushNotificationConfigs/c"}}', {"taskId": "mine"}),
            (Operation.CANCEL, '{"name":"tasks/theirs"}', {"id": "mine"}),
            (Operation.CANCEL, '{"name":"tasks/mineandmore"}', {"id": "mine"}),
        ],
    )
    def test_may_not_name_another_task(self, operation: Operation, params: str, path: dict[str, str]) -> None:
        with pytest.raises(Refused) as refused:
            spans.read(operation, params.encode(), path)
        assert refused.value.reason is Reason.AMBIGUOUS_FIELD

    def test_are_read_as_those_read_them(self) -> None:
        assert spans.read(Operation.SEND, b'{"request":{"taskId":"t"}}').task_id == "t"

    def test_may_be_protobufs_own_names(self) -> None:
        params = (
            b'{"request":{"task_id":"t","context_id":"c"},"configuration":{"push_notification":{"url":"http://u/"}}}'
        )
        found = spans.read(Operation.SEND, params, is_protobuf=True)
        assert (found.task_id, found.context_id, found.push_url) == ("t", "c", "http://u/")

    @pytest.mark.parametrize(
        "message", ['{"task_id":"a","taskId":"b"}', '{"TASKID":"a"}', '{"task__id":"a"}', '{"Task_Id":"a"}']
    )
    def test_may_not_be_two_or_a_third(self, message: str) -> None:
        with pytest.raises(Refused) as refused:
            spans.read(Operation.SEND, f'{{"message":{message}}}'.encode(), is_protobuf=True)
        assert refused.value.reason is Reason.AMBIGUOUS_FIELD

    def test_may_repeat_the_path(self) -> None:
        params = b'{"parent":"tasks/t","config":{"name":"tasks/t/pushNotificationConfigs/c"}}'
        assert spans.read(Operation.PUSH_SET, params, {"taskId": "t"}).push_url is None

    @pytest.mark.parametrize(
        ("operation", "params"),
        [
            (Operation.PUSH_SET, '{"config":{"pushNotificationConfig":{"url":"http://10.0.0.1/"}}}'),
            (Operation.SEND, '{"message":{},"configuration":{"pushNotification":{"url":"http://10.0.0.1/"}}}'),
        ],
    )
    def test_show_where_a_notification_would_go(self, operation: Operation, params: str) -> None:
        assert spans.read(operation, params.encode()).push_url == "http://10.0.0.1/"


@pytest.mark.parametrize(
    "params",
    [
        b'{"message":{"referenceTaskIds":[%b]}}' % b",".join([b'""'] * 1_300_000),
        b'{"message":{%b}}' % b",".join(b'"k%d":1' % number for number in range(400_000)),
        b"{ %b}" % b", ".join(b'"k%d":1' % number for number in range(2_000)),
    ],
    ids=["references", "members", "blanks"],
)
def test_what_is_too_many_to_read_is_refused_before_it_costs(params: bytes) -> None:
    with pytest.raises(Refused) as refused:
        spans.read(Operation.SEND, params)
    assert refused.value.reason is Reason.INVALID_PARAMS


THOUSAND_AND_ONE = b"[" + b",".join([b'"t"'] * 1001) + b"]"


@pytest.mark.parametrize(
    ("operation", "params", "settled", "reason", "words"),
    [
        (Operation.SEND, b'{"message":{},"request":{}}', {}, Reason.AMBIGUOUS_FIELD, "two messages"),
        (
            Operation.SEND,
            b'{"message":{},"configuration":{"taskPushNotificationConfig":{},"pushNotificationConfig":{}}}',
            {},
            Reason.AMBIGUOUS_FIELD,
            "two push notification configs",
        ),
        (
            Operation.SEND,
            b'{"message":{"taskId":"t"},"configuration":{"pushNotificationConfig":{"taskId":"other"}}}',
            {},
            Reason.AMBIGUOUS_FIELD,
            "the push notification config names another task",
        ),
        (
            Operation.PUSH_SET,
            b'{"taskId":"t","url":"https://a.example","pushNotificationConfig":{"url":"https://b.example"}}',
            {},
            Reason.AMBIGUOUS_FIELD,
            "two push notification targets",
        ),
        (Operation.GET, b'{"id":"t","taskId":"u"}', {}, Reason.AMBIGUOUS_FIELD, "two tasks are named"),
        (Operation.GET, b'{"id":"t","name":"tasks/u"}', {}, Reason.AMBIGUOUS_FIELD, "two tasks are named"),
        (Operation.GET, b'{"taskId":"t"}', {}, Reason.AMBIGUOUS_FIELD, "the task is named by the field 'id'"),
        (
            Operation.SEND,
            b'{"message":{"referenceTaskIds":%b}}' % THOUSAND_AND_ONE,
            {},
            Reason.INVALID_PARAMS,
            "more than 1000 referenceTaskIds",
        ),
        (
            Operation.SEND,
            b'{"message":{"referenceTaskIds":"t"}}',
            {},
            Reason.INVALID_PARAMS,
            "referenceTaskIds must be an array",
        ),
        (
            Operation.SEND,
            b'{"message":{"referenceTaskIds":["\\ud800"]}}',
            {},
            Reason.INVALID_PARAMS,
            "referenceTaskIds hold half a character",
        ),
        (Operation.GET, b'{"ID":"t"}', {}, Reason.AMBIGUOUS_FIELD, "spell the field 'id' that way"),
        (
            Operation.SEND,
            b'{"message":{"TASK_ID":"t"}}',
            {"is_protobuf": True},
            Reason.AMBIGUOUS_FIELD,
            "spell the field 'taskId' that way",
        ),
        (
            Operation.SEND,
            b'{"message":{"task_id":"t","taskId":"t"}}',
            {"is_protobuf": True},
            Reason.AMBIGUOUS_FIELD,
            "the field 'taskId' stands twice, in two spellings",
        ),
        (
            Operation.SEND,
            b'{"message":{},"configuration":{"pushNotificationConfig":{"TASK_ID":"t"}}}',
            {"is_protobuf": True},
            Reason.AMBIGUOUS_FIELD,
            "spell the field 'taskId' that way",
        ),
        (
            Operation.GET,
            b'{"id":"u"}',
            {"path": {"id": "t"}},
            Reason.AMBIGUOUS_FIELD,
            "the field 'id' differs from the path",
        ),
        (
            Operation.PUSH_GET,
            b'{"parent":"tasks/u"}',
            {"path": {"taskId": "t"}},
            Reason.AMBIGUOUS_FIELD,
            "the field 'parent' differs from the path",
        ),
        (Operation.GET, b'{"id":7}', {}, Reason.INVALID_PARAMS, "the field 'id' must be a string"),
        (Operation.GET, b'{"id":"\\ud800"}', {}, Reason.INVALID_PARAMS, "the field 'id' holds half a character"),
    ],
)
def test_what_is_wrong_is_said(
    operation: Operation, params: bytes, settled: dict[str, Any], reason: Reason, words: str
) -> None:
    with pytest.raises(Refused) as caught:
        spans.read(operation, params, **settled)
    assert (caught.value.reason, caught.value.message) == (reason, words)


def test_what_is_no_object_is_said_with_the_place() -> None:
    with pytest.raises(Refused) as caught:
        spans.read(Operation.GET, b"[]")
    assert (caught.value.reason, caught.value.message[:10].strip() != "") == (Reason.INVALID_PARAMS, True)
    assert "None" not in caught.value.message


@pytest.mark.parametrize("operation", [Operation.LIST, Operation.GET, Operation.PUSH_SET, Operation.EXTENDED_CARD])
def test_the_tenant_in_the_params_is_read_of_every_operation(operation: Operation) -> None:
    assert spans.read(operation, b'{"tenant":"acme"}').tenant == "acme"


def test_a_thousand_references_are_read_and_null_is_none() -> None:
    thousand = b"[" + b",".join([b'"t"'] * 1000) + b"]"
    assert len(spans.read(Operation.SEND, b'{"message":{"referenceTaskIds":%b}}' % thousand).reference_task_ids) == 1000
    assert spans.read(Operation.SEND, b'{"message":{"referenceTaskIds":null}}').reference_task_ids == ()


def test_a_push_config_may_repeat_the_task_of_its_message() -> None:
    found = spans.read(
        Operation.SEND,
        b'{"message":{"taskId":"t"},"configuration":{"pushNotificationConfig":{"taskId":"t","url":"https://a.example"}}}',
    )
    assert (found.task_id, found.push_url) == ("t", "https://a.example")


def test_a_name_that_is_no_task_of_0_3_names_none() -> None:
    assert spans.read(Operation.PUSH_GET, b'{"taskId":"t","name":"anything/else"}').task_id == "t"
