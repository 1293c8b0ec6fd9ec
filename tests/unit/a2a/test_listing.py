"""Lists of tasks: queries are read strictly, and others' tasks are cut out of answers."""

from __future__ import annotations

import json

import pytest
from a2a.types.a2a_pb2 import ListTasksResponse
from google.protobuf.json_format import Parse
from hypothesis import given, settings
from hypothesis import strategies as st

from a2a_relay.a2a.jsonbytes import Malformed
from a2a_relay.a2a.listing import ListQuery, filter_list, read_list, write_list
from a2a_relay.a2a.splice import MAX_ELEMENTS
from a2a_relay.a2a.tasks import Shape, TaskState, write_task
from a2a_relay.errors import Reason, Refused


@pytest.mark.parametrize(
    "params, query",
    [
        ("null", ListQuery()),
        ("{}", ListQuery()),
        ('{"tenant":"x","historyLength":-1,"contextId":null,"pageSize":null,"later":[]}', ListQuery()),
        ('{"contextId":"c","status":"TASK_STATE_WORKING"}', ListQuery("c", TaskState.WORKING)),
        ('{"status":"input-required","pageSize":100}', ListQuery(status=TaskState.INPUT_REQUIRED, page_size=100)),
        ('{"status":"TASK_STATE_UNSPECIFIED","pageToken":"p"}', ListQuery(page_token="p")),
        ('{"statusTimestampAfter":"1970-01-01T00:00:01.500Z"}', ListQuery(after_at=1.5)),
        ('{"statusTimestampAfter":"1970-01-01T01:00:00+01:00"}', ListQuery(after_at=0)),
        ('{ "includeArtifacts" : true }', ListQuery(include_artifacts=True)),
    ],
)
def test_a_query_is_read(params: str, query: ListQuery) -> None:
    assert read_list(params.encode()) == query


@pytest.mark.parametrize(
    "params",
    [
        '{"pageSize":0}',
        '{"pageSize":101}',
        '{"pageSize":"5"}',
        '{"pageSize":-1}',
        '{"pageSize":1.0}',
        '{"pageSize":1000000000000}',
        '{"contextId":3}',
        '{"status":"DONE"}',
        '{"status":3}',
        '{"pageToken":[]}',
        '{"pageToken":"' + "x" * 1001 + '"}',
        '{"includeArtifacts":"yes"}',
        '{"statusTimestampAfter":"yesterday"}',
    ],
)
def test_a_query_that_says_nothing_clear_is_refused(params: str) -> None:
    with pytest.raises(Refused) as refused:
        read_list(params.encode())
    assert refused.value.reason is Reason.INVALID_PARAMS


def test_the_sdk_reads_a_list() -> None:
    made = [
        write_task(Shape.V10, id=f"rly-{n}", context_id="c", state=TaskState.SUBMITTED, at=float(n)) for n in range(3)
    ]

    read = Parse(write_list(made, 'next"', 50, 7), ListTasksResponse())

    assert [task.id for task in read.tasks] == ["rly-0", "rly-1", "rly-2"]
    assert (read.next_page_token, read.page_size, read.total_size) == ('next"', 50, 7)


def of_ours(id: str, context_id: str) -> bool:
    return id == "ours" or context_id == "ours"


TASKS = ['{"id":"ours","x":1e999}', '{ "contextId":"ours" ,"id":"b"}', '{"id":"theirs","contextId":"c"}']
UNREADABLE = ["3", "null", '{"id":4}', '{"contextId":"ours"}']


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from(TASKS + UNREADABLE), max_size=7), st.sampled_from(["", " ", "\n"]))
def test_only_ones_own_tasks_are_left(tasks: list[str], blank: str) -> None:
    array = f"[{blank}{f'{blank},'.join(tasks)}{blank}]"
    around = f'{{"totalSize":{blank}9, "tasks":%s,{blank}"nextPageToken":"p","pageSize":50}}'
    body = (around % array).encode()

    left = filter_list(body, of_ours)

    ours = [task for task in tasks if task in TASKS[:2]]
    if ours == tasks:
        assert left is body
        return
    assert json.loads(left)["tasks"] == [json.loads(task) for task in ours]
    assert all(task.encode() in left for task in ours)
    kept = json.dumps(json.loads(left)["tasks"])
    assert json.loads(left) == {**json.loads(body), "tasks": json.loads(kept), "totalSize": len(ours)}


def test_what_surrounds_a_removed_task_stays_as_it_is() -> None:
    body = b'{"tasks" : [ {"id":"theirs"} , {"id":"ours"}\n,{"id":"theirs"} ], "totalSize":3,"pageSize":2.50E1 }'

    assert filter_list(body, of_ours) == b'{"tasks" : [ {"id":"ours"} ], "totalSize":1,"pageSize":2.50E1 }'


def test_a_list_that_stands_twice_is_filtered_twice() -> None:
    body = b'{"tasks":[{"id":"theirs"}],"tasks":[{"id":"theirs"},{"id":"ours"}],"totalSize":3}'

    assert filter_list(body, of_ours) == b'{"tasks":[],"tasks":[{"id":"ours"}],"totalSize":1}'


def test_a_list_that_is_too_long_is_not_handed_on_unread() -> None:
    with pytest.raises(Malformed):
        filter_list(b'{"tasks":[' + b"{}," * MAX_ELEMENTS + b"{}]}", of_ours)


@pytest.mark.parametrize("body", [b"null", b"{}", b"[]", b'{"tasks":null}', b'{"tasks":{}}'])
def test_what_is_no_list_is_left_alone(body: bytes) -> None:
    assert filter_list(body, of_ours) is body
