"""Tasks of the relay's own are what the official SDKs take for Tasks."""

from __future__ import annotations

import json
from typing import Any

import pytest
from a2a.compat.v0_3 import a2a_v0_3_pb2 as v03_rest
from a2a.compat.v0_3 import types as v03
from a2a.types import a2a_pb2 as v10
from google.protobuf.json_format import Parse

from a2a_relay.a2a import tasks
from a2a_relay.a2a.tasks import Shape, TaskState, is_interrupted, is_terminal

AT = 1_790_000_000.25
MADE = {"id": "rly-1", "context_id": "rly-c", "at": AT}
MESSAGES = {
    Shape.V10: b'{"messageId":"m","role":"ROLE_AGENT","parts":[{"text":"\\u0068i"}]}',
    Shape.V03: b'{"kind":"message","messageId":"m","role":"agent","parts":[{"kind":"text","text":"\\u0068i"}]}',
    Shape.V03_REST: b'{"messageId":"m","role":"ROLE_AGENT","content":[{"text":"\\u0068i"}]}',
}


def parsed(shape: Shape, task: bytes) -> Any:
    if shape is Shape.V03:
        return v03.Task.model_validate_json(task)
    return Parse(task, v10.Task() if shape is Shape.V10 else v03_rest.Task())


def parsed_result(shape: Shape, result: bytes) -> Any:
    if shape is Shape.V03:
        return v03.SendMessageSuccessResponse(id=1, jsonrpc="2.0", result=json.loads(result)).result
    return Parse(result, v10.SendMessageResponse() if shape is Shape.V10 else v03_rest.SendMessageResponse()).task


@pytest.mark.parametrize("shape", Shape)
@pytest.mark.parametrize("state", TaskState)
def test_the_sdk_reads_a_task_in_every_state(shape: Shape, state: TaskState) -> None:
    task = tasks.write_task(shape, state=state, metadata={"https://x/relay/v1": {"position": 3}}, **MADE)

    read = parsed(shape, task)

    assert (read.id, read.metadata["https://x/relay/v1"]["position"]) == ("rly-1", 3)
    assert (read.context_id, json.loads(task)["contextId"]) == ("rly-c", "rly-c")
    assert json.loads(task)["status"] == {"state": state.spelled(shape), "timestamp": "2026-09-21T14:13:20.250Z"}
    assert read.status.state != 0


@pytest.mark.parametrize("shape", Shape)
def test_what_a_failure_says_is_a_message_of_the_agent(shape: Shape) -> None:
    task = tasks.write_task(shape, state=TaskState.FAILED, message_text='it "expired" ä', **MADE)

    status = parsed(shape, task).status

    message = status.update if shape is Shape.V03_REST else status.message
    parts = message.content if shape is Shape.V03_REST else message.parts
    assert (parts[0].root if shape is Shape.V03 else parts[0]).text == 'it "expired" ä'
    assert message.task_id == "rly-1"
    assert message.role in (v03.Role.agent, v10.ROLE_AGENT)
    assert message.message_id


@pytest.mark.parametrize("shape", Shape)
def test_a_task_is_the_result_of_a_send(shape: Shape) -> None:
    task = tasks.write_task(shape, state=TaskState.SUBMITTED, **MADE)

    result = tasks.send_result(shape, task)

    assert task in result
    assert parsed_result(shape, result).id == "rly-1"


@pytest.mark.parametrize("shape", Shape)
def test_a_message_becomes_the_status_of_a_completed_task_byte_for_byte(shape: Shape) -> None:
    task = tasks.task_of_message(shape, MESSAGES[shape], metadata={"a": 1}, **MADE)

    assert b'"message":' + MESSAGES[shape] in task
    assert is_terminal(json.loads(task)["status"]["state"])
    assert (
        parsed(shape, task).status.HasField("update") if shape is Shape.V03_REST else parsed(shape, task).status.message
    )


@pytest.mark.parametrize("shape", Shape)
def test_states_are_known_in_every_spelling(shape: Shape) -> None:
    assert [state.value for state in TaskState if is_terminal(state.spelled(shape))] == [
        "completed",
        "failed",
        "canceled",
        "rejected",
    ]
    assert [state.value for state in TaskState if is_interrupted(state.spelled(shape))] == [
        "input-required",
        "auth-required",
    ]
    assert all(tasks.state_of(state.spelled(shape)) is state for state in TaskState)


@pytest.mark.parametrize("spelling", [None, "", "unknown", "TASK_STATE_UNSPECIFIED", "Completed", "done"])
def test_what_is_no_state_has_not_ended(spelling: str | None) -> None:
    assert not is_terminal(spelling)
    assert not is_interrupted(spelling)


def test_the_method_tells_the_shape() -> None:
    assert Shape.of("SendMessage", is_protobuf=False) is Shape.V10
    assert Shape.of("message/send", is_protobuf=False) is Shape.V03
    assert Shape.of("message/send", is_protobuf=True) is Shape.V03_REST
