"""Ids of the relay and of the agent stand for each other, and nothing else of a body changes."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from a2a_relay.a2a.aliases import Aliases, insert_context, rewrite_params, rewrite_result
from a2a_relay.a2a.methods import Operation
from a2a_relay.a2a.tasks import Shape

ALIASES = Aliases({"rly-t": "T", "rly-u": "U"}, {"rly-c": "C"})
TEXT = '"parts":[{"text":"T C rly-t","data":{"taskId":"T","id":"T"}}],"metadata":{"taskId":"T","contextId":"C"}'
MESSAGE = f'{{ "taskId" : "T","contextId":"C","referenceTaskIds":["x", "U","T"],"messageId":"T",{TEXT} }}'
STATUS = f'{{"state":"TASK_STATE_WORKING","message":{MESSAGE}}}'
ARTIFACTS = '"artifacts":[{"artifactId":"T",' + TEXT + "}]"
HISTORY = f'"history":[{MESSAGE}, {MESSAGE}]'
TASK = f'{{"id":"T","contextId":"C","status":{STATUS},{HISTORY},{ARTIFACTS},"metadata":{{"id":"T"}}}}'
UPDATE = f'{{"taskId":"T","contextId":"C","status":{STATUS},"metadata":{{"taskId":"T"}}}}'
ARTIFACT = '{"taskId":"T","contextId":"C","artifact":{"artifactId":"T",' + TEXT + '},"append":false}'

MESSAGE_IDS = '"taskId" : "T","contextId":"C","referenceTaskIds":["x", "U","T"]'
IDS = [
    (MESSAGE_IDS, '"taskId" : "rly-t","contextId":"rly-c","referenceTaskIds":["x", "rly-u","rly-t"]'),
    ('{"id":"T","contextId":"C","status"', '{"id":"rly-t","contextId":"rly-c","status"'),
    ('{"taskId":"T","contextId":"C","status"', '{"taskId":"rly-t","contextId":"rly-c","status"'),
    ('{"taskId":"T","contextId":"C","artifact"', '{"taskId":"rly-t","contextId":"rly-c","artifact"'),
]


def as_relay(body: str) -> str:
    for theirs, ours in IDS:
        body = body.replace(theirs, ours)
    return body


BARE = [TASK, MESSAGE, UPDATE, ARTIFACT]
WRAPPED = [
    f'{{"{name}": {body}}}'
    for names, body in [
        (["task"], TASK),
        (["message", "msg"], MESSAGE),
        (["statusUpdate", "status_update"], UPDATE),
        (["artifactUpdate", "artifact_update"], ARTIFACT),
    ]
    for name in names
]


@pytest.mark.parametrize("body", [*BARE, *WRAPPED])
@pytest.mark.parametrize("operation", [Operation.SEND, Operation.STREAM, Operation.SUBSCRIBE])
def test_answers_and_events_come_under_the_relays_ids(operation: Operation, body: str) -> None:
    rewritten = rewrite_result(body.encode(), operation, ALIASES)

    assert rewritten.decode() == as_relay(body)
    assert rewritten != body.encode()


@pytest.mark.parametrize("operation", [Operation.GET, Operation.CANCEL])
def test_a_task_comes_under_the_relays_ids(operation: Operation) -> None:
    assert rewrite_result(TASK.encode(), operation, ALIASES).decode() == as_relay(TASK)


def test_the_tasks_of_a_list_come_each_under_its_own_id() -> None:
    body = f'{{"tasks":[{TASK},{{"id":"U","contextId":"D"}},{{"id":"V"}}],"nextPageToken":"T","totalSize":3}}'

    rewritten = rewrite_result(body.encode(), Operation.LIST, ALIASES).decode()

    assert rewritten == as_relay(body).replace('{"id":"U"', '{"id":"rly-u"')


def test_protobufs_spellings_are_rewritten_too() -> None:
    body = b'{"task":{"id":"T","context_id":"C","status":{"update":{"task_id":"T","context_id":"C"}}}}'

    rewritten = rewrite_result(body, Operation.SEND, ALIASES)

    assert rewritten == body.replace(b'"T"', b'"rly-t"').replace(b'"C"', b'"rly-c"')


CONFIGS = [
    (b'{"taskId":"T","id":"T","url":"http://h/T"}', b'{"taskId":"rly-t","id":"T","url":"http://h/T"}'),
    (
        b'{"taskId":"T","pushNotificationConfig":{"id":"T","url":"u"}}',
        b'{"taskId":"rly-t","pushNotificationConfig":{"id":"T","url":"u"}}',
    ),
    (b'{"name":"tasks/T/pushNotificationConfigs/T"}', b'{"name":"tasks/rly-t/pushNotificationConfigs/T"}'),
]


@pytest.mark.parametrize("theirs, ours", CONFIGS)
def test_push_configs_name_the_relays_task_and_keep_their_own_id(theirs: bytes, ours: bytes) -> None:
    for operation in (Operation.PUSH_SET, Operation.PUSH_GET):
        assert rewrite_result(theirs, operation, ALIASES) == ours
    for around in (b"[%s,%s]", b'{"configs":[%s, %s],"nextPageToken":"T"}'):
        assert rewrite_result(around % (theirs, theirs), Operation.PUSH_LIST, ALIASES) == around % (ours, ours)


PARAMS = [
    (Operation.GET, Shape.V10, '{"id":"T","historyLength":1}'),
    (Operation.CANCEL, Shape.V03, '{"id":"T","metadata":{"id":"rly-t"}}'),
    (Operation.SUBSCRIBE, Shape.V03_REST, '{"name":"tasks/T"}'),
    (Operation.LIST, Shape.V10, '{"contextId":"C","pageToken":"rly-c"}'),
    (Operation.PUSH_SET, Shape.V10, '{"taskId":"T","id":"rly-t","url":"u"}'),
    (Operation.PUSH_GET, Shape.V10, '{"taskId":"T","id":"rly-t"}'),
    (Operation.PUSH_DELETE, Shape.V03, '{"id":"T","pushNotificationConfigId":"rly-t"}'),
    (Operation.PUSH_SET, Shape.V03, '{"taskId":"T","pushNotificationConfig":{"id":"rly-t"}}'),
    (Operation.PUSH_SET, Shape.V03_REST, '{"parent":"tasks/T","config":{"name":"tasks/T/pushNotificationConfigs/x"}}'),
    (Operation.SEND, Shape.V10, '{"message":{"taskId":"T","contextId":"C","parts":[{"text":"rly-t"}]}}'),
    (Operation.STREAM, Shape.V03, '{"message":{"contextId":"C","referenceTaskIds":["T","U"]},"metadata":"rly-c"}'),
    (Operation.SEND, Shape.V03_REST, '{"request":{"task_id":"T","context_id":"C"}}'),
    (Operation.SEND, Shape.V10, '{"configuration":{"taskPushNotificationConfig":{"taskId":"T"}},"message":{}}'),
]


@pytest.mark.parametrize("operation, shape, theirs", PARAMS)
def test_params_reach_the_agent_under_its_own_ids(operation: Operation, shape: Shape, theirs: str) -> None:
    ours = theirs.replace('"T"', '"rly-t"').replace('"C"', '"rly-c"').replace('"U"', '"rly-u"')
    ours = ours.replace("tasks/T", "tasks/rly-t")

    assert rewrite_params(ours.encode(), operation, shape, ALIASES) == theirs.encode()
    assert rewrite_params(theirs.encode(), operation, shape, ALIASES).decode() == theirs


def test_an_id_is_known_by_its_value_however_it_is_written() -> None:
    aliases = Aliases({"rly-t": "a/ä"}, {})

    for written in ('"a/ä"', '"a\\/\\u00e4"'):
        body = f'{{"id":{written}}}'.encode()
        assert json.loads(rewrite_result(body, Operation.GET, aliases)) == {"id": "rly-t"}


@pytest.mark.parametrize("body", ["null", "[]", '"T"', "3", "{}", '{"id":3,"status":"T","history":{"taskId":"T"}}'])
@pytest.mark.parametrize("operation", Operation)
def test_what_is_not_as_expected_is_left_alone(operation: Operation, body: str) -> None:
    data = body.encode()

    assert rewrite_result(data, operation, ALIASES) is data
    assert rewrite_params(data, operation, Shape.V10, ALIASES) is data


@pytest.mark.parametrize("operation", Operation)
def test_a_body_without_the_ids_is_the_same_object(operation: Operation) -> None:
    data = TASK.replace('"T"', '"t"').replace('"C"', '"c"').replace('"U"', '"u"').replace("T C", "").encode()

    assert rewrite_result(data, operation, ALIASES) is data
    assert rewrite_result(data, operation, Aliases({}, {})) is data


def test_of_two_relay_ids_for_one_of_the_agent_the_first_is_shown() -> None:
    aliases = Aliases({}, {"rly-1": "C", "rly-2": "C", "same": "same", "": "x", "rly-3": ""})

    assert rewrite_result(b'{"contextId":"C"}', Operation.GET, aliases) == b'{"contextId":"rly-1"}'
    assert rewrite_params(b'{"contextId":"rly-2"}', Operation.LIST, Shape.V10, aliases) == b'{"contextId":"C"}'
    assert set(aliases.agent_contexts) == {"rly-1", "rly-2"}


ids = st.sampled_from(["T", "U", "C", "x"])


@settings(max_examples=100, deadline=None)
@given(st.lists(ids, max_size=4), ids, ids)
def test_what_was_rewritten_for_the_agent_comes_back_as_it_was(references: list[str], task: str, context: str) -> None:
    message = {"taskId": task, "contextId": context, "referenceTaskIds": references}
    body = json.dumps({"message": message}).encode()

    there = rewrite_result(body, Operation.SEND, ALIASES)
    back = rewrite_params(there, Operation.SEND, Shape.V10, ALIASES)

    assert back == body
    assert b'"T"' not in there or context == "T"


@pytest.mark.parametrize(
    "params, expected",
    [
        ('{"message":{"messageId":"m" }}', '{"message":{"messageId":"m","contextId":"rly-c" }}'),
        ('{"message":{}}', '{"message":{"contextId":"rly-c"}}'),
        ('{"message":{"contextId":null}}', '{"message":{"contextId":"rly-c"}}'),
        ('{"message":{"contextId":"","a":1}}', '{"message":{"contextId":"rly-c","a":1}}'),
        ('{"request":{"context_id":""}}', '{"request":{"context_id":"rly-c"}}'),
        ('{"message":{"contextId":"mine"}}', None),
        ('{"request":{"context_id":"mine"}}', None),
        ('{"message":null}', None),
        ("null", None),
    ],
)
def test_a_context_is_inserted_into_a_send_that_has_none(params: str, expected: str | None) -> None:
    data = params.encode()

    inserted = insert_context(data, "rly-c")

    assert inserted.decode() == (expected or params)
    assert (inserted is data) == (expected is None)
