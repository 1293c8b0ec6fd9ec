"""A stream that has passed leaves the Task that it told."""

from __future__ import annotations

import json
from typing import Any

import pytest
from a2a.compat.v0_3 import types as v03
from a2a.types import a2a_pb2 as v10
from google.protobuf.json_format import Parse

from a2a_relay.a2a.facts import Kind
from a2a_relay.a2a.snapshot import Snapshot

IDS = {"taskId": "t", "contextId": "c"}
TASK = {"id": "t", "contextId": "c", "status": {"state": "TASK_STATE_SUBMITTED"}, "history": [{"messageId": "h"}]}


def told(*events: Any, max_bytes: int = 100_000) -> Snapshot:
    snapshot = Snapshot(max_bytes)
    for event in events:
        snapshot.fold(event if isinstance(event, bytes) else json.dumps(event).encode())
    return snapshot


def task(snapshot: Snapshot) -> Any:
    answer = snapshot.answer()
    assert answer is not None
    assert answer[0] is Kind.TASK
    return json.loads(answer[1])


def status(state: str) -> Any:
    return {"statusUpdate": {**IDS, "status": {"state": state}}}


def artifact(id: str, *texts: str, append: bool | None = None) -> Any:
    update = {**IDS, "artifact": {"artifactId": id, "name": "n", "parts": [{"text": text} for text in texts]}}
    return {"artifactUpdate": update if append is None else {**update, "append": append}}


def texts(snapshot: Snapshot) -> dict[str, list[str]]:
    return {
        found["artifactId"]: [part["text"] for part in found["parts"]] for found in task(snapshot).get("artifacts", [])
    }


def test_a_stream_that_has_told_nothing_has_no_answer() -> None:
    assert told().answer() is None
    assert told(b"null", b"[]", {"x": 1}, b'{"task":3}').answer() is None


@pytest.mark.parametrize("around", ["%s", '{"task":%s}'])
def test_a_task_alone_stays_byte_for_byte(around: str) -> None:
    data = '{"id":"t", "artifacts":[{"artifactId":"a","parts":[1e999]}] ,"status":{"state":"working"},"kind":"task"}'

    assert told((around % data).encode()).answer() == (Kind.TASK, data.encode())


def test_the_last_status_counts_and_history_stays() -> None:
    snapshot = told({"task": TASK}, status("TASK_STATE_WORKING"), status("TASK_STATE_COMPLETED"))

    assert task(snapshot) == {**TASK, "status": {"state": "TASK_STATE_COMPLETED"}}
    assert not snapshot.is_truncated


def test_parts_are_appended_to_their_artifact() -> None:
    snapshot = told(
        {"task": TASK},
        artifact("a", "1"),
        artifact("b", "x"),
        artifact("a", "2", "3", append=True),
        artifact("a", append=True),
        artifact("a", "4", append=True),
    )

    assert texts(snapshot) == {"a": ["1", "2", "3", "4"], "b": ["x"]}


def test_parts_are_appended_to_an_artifact_that_has_none_or_was_in_the_task() -> None:
    begun = {**TASK, "artifacts": [{"artifactId": "a", "parts": [{"text": "0"}]}, {"artifactId": "b"}]}

    snapshot = told({"task": begun}, artifact("a", "1", append=True), artifact("b", "2", append=True))

    assert texts(snapshot) == {"a": ["0", "1"], "b": ["2"]}


def test_an_artifact_takes_the_place_of_its_predecessor() -> None:
    snapshot = told({"task": TASK}, artifact("a", "1"), artifact("b", "x"), artifact("a", "2", append=False))

    assert texts(snapshot) == {"a": ["2"], "b": ["x"]}


def test_parts_for_an_artifact_that_was_never_begun_are_kept() -> None:
    assert texts(told({"task": TASK}, artifact("a", "late", append=True))) == {"a": ["late"]}


def test_what_is_inside_stays_as_the_bytes_it_came_as() -> None:
    part = b'{ "text":"\\ud83d", "data":{"n":1.50E+400} }'
    event = b'{"artifactUpdate":{"taskId":"t","artifact":{"artifactId":"a","parts":[%s]},"append":true}}' % part

    answer = told(event, event).answer()

    assert answer is not None
    assert b"[" + part + b"," + part + b"]" in answer[1]


def test_a_stream_of_1_0_that_begins_with_an_update_is_a_task_of_1_0() -> None:
    answer = told(artifact("a", "1"), status("TASK_STATE_COMPLETED")).answer()

    assert answer is not None
    read = Parse(answer[1], v10.Task())
    assert (read.id, read.context_id, read.status.state) == ("t", "c", v10.TASK_STATE_COMPLETED)


def test_a_stream_of_0_3_that_begins_with_an_update_is_a_task_of_0_3() -> None:
    update = {
        "kind": "artifact-update",
        **IDS,
        "artifact": {"artifactId": "a", "parts": [{"kind": "text", "text": "1"}]},
    }

    answer = told(update).answer()

    assert answer is not None
    read = v03.Task.model_validate_json(answer[1])
    assert (read.id, read.context_id, read.status.state) == ("t", "c", v03.TaskState.working)
    assert read.artifacts is not None


def test_another_task_event_replaces_all_that_was() -> None:
    assert task(told({"task": TASK}, artifact("a", "1"), status("TASK_STATE_FAILED"), {"task": TASK})) == TASK


@pytest.mark.parametrize("around", ["%s", '{"message":%s}'])
def test_a_message_is_the_answer(around: str) -> None:
    message = '{"messageId":"m", "parts":[]}'

    snapshot = told(status("TASK_STATE_WORKING"), (around % message).encode(), status("TASK_STATE_FAILED"))

    assert snapshot.answer() == (Kind.MESSAGE, message.encode())


def test_artifacts_beyond_the_bound_are_left_out() -> None:
    snapshot = told(
        {"task": TASK}, artifact("a", "x" * 500), artifact("b", "y" * 800), artifact("a", "z" * 800, append=True),
        artifact("c", "small"), max_bytes=1200,
    )  # fmt: skip

    assert texts(snapshot) == {"a": ["x" * 500], "c": ["small"]}
    assert snapshot.is_truncated


def test_an_artifact_that_is_told_again_counts_once() -> None:
    snapshot = told({"task": TASK}, *(artifact("a", "x" * 500) for _ in range(10)), max_bytes=1200)

    assert texts(snapshot) == {"a": ["x" * 500]}
    assert not snapshot.is_truncated


def test_a_status_goes_before_artifacts() -> None:
    failed = {"statusUpdate": {**IDS, "status": {"state": "TASK_STATE_FAILED", "message": {"messageId": "m" * 600}}}}

    snapshot = told({"task": TASK}, artifact("a", "x" * 300), artifact("b", "y" * 300), failed, max_bytes=1300)

    assert list(texts(snapshot)) == ["a"]
    assert task(snapshot)["status"]["message"]
    assert snapshot.is_truncated


def test_of_a_task_that_is_too_large_its_ids_and_state_are_left() -> None:
    large = {**TASK, "history": [{"text": "x" * 500}], "kind": "task"}
    talkative = {**IDS, "kind": "status-update", "status": {"state": "completed", "message": "x" * 500}}

    snapshot = told(large, talkative, max_bytes=300)

    assert task(snapshot) == {"kind": "task", "id": "t", "contextId": "c", "status": {"state": "completed"}}
    assert snapshot.is_truncated


@pytest.mark.parametrize("count", [2000])
def test_what_is_kept_never_grows_beyond_the_bound(count: int) -> None:
    snapshot = told(
        {"task": TASK}, artifact("a"), *(artifact("a", "x", append=True) for _ in range(count)), max_bytes=9000
    )

    answer = snapshot.answer()
    assert answer is not None
    assert len(answer[1]) <= 9000
    assert snapshot.is_truncated
