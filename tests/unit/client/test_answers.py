"""What an answer says to a person, in both versions."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from a2a_relay.client.answers import Answer, read_answer


def task_v10(**fields: Any) -> Any:
    return {"task": {"id": "t1", "status": {"state": "TASK_STATE_COMPLETED"}, **fields}}


def test_a_message_is_its_text() -> None:
    assert read_answer({"message": {"parts": [{"text": "a"}, {"text": "b"}]}}) == Answer("message", "ab")
    assert read_answer({"kind": "message", "parts": [{"kind": "text", "text": "a"}]}) == Answer("message", "a")


def test_a_task_is_its_artifacts_and_without_any_its_status_message() -> None:
    artifacts = [{"parts": [{"text": "one"}]}, {"parts": []}, {"parts": [{"text": "two"}]}]
    assert read_answer(task_v10(artifacts=artifacts)) == Answer("task", "one\ntwo", "completed", "t1")
    status = {"state": "TASK_STATE_INPUT_REQUIRED", "message": {"parts": [{"text": "which one?"}]}}
    assert read_answer(task_v10(status=status)) == Answer("task", "which one?", "input-required", "t1")


def test_states_have_one_name_in_both_versions() -> None:
    old = {"kind": "task", "id": "t1", "status": {"state": "input-required"}}
    assert read_answer(old).state == "input-required"
    assert read_answer(task_v10(status={"state": "TASK_STATE_CANCELLED"})).state == "canceled"


def test_stream_events() -> None:
    status = {"statusUpdate": {"taskId": "t1", "status": {"state": "TASK_STATE_WORKING"}}}
    assert read_answer(status) == Answer("statusUpdate", "", "working", "t1")
    piece = {"artifactUpdate": {"taskId": "t1", "append": True, "artifact": {"parts": [{"text": "x"}]}}}
    assert read_answer(piece) == Answer("artifactUpdate", "x", "", "t1", continues=True)
    old = {"kind": "artifact-update", "taskId": "t1", "artifact": {"parts": [{"kind": "text", "text": "x"}]}}
    assert read_answer(old) == Answer("artifactUpdate", "x", "", "t1")


@pytest.mark.parametrize(
    "part,shown",
    [
        ({"url": "https://x/a.png", "filename": "a.png"}, "[file: a.png]\n"),
        ({"kind": "file", "file": {"name": "a.png", "bytes": ""}}, "[file: a.png]\n"),
        ({"raw": "AA=="}, "[file]\n"),
        ({"data": {"x": 1}}, "[data]\n"),
    ],
)
def test_other_parts_are_named(part: Any, shown: str) -> None:
    assert read_answer({"message": {"parts": [part]}}).text == shown


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["task", "message", "statusUpdate", "kind", "parts", "status", "state", "artifact", "text", "id"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(ANYTHING)
def test_an_agent_may_answer_anything(result: Any) -> None:
    assert isinstance(read_answer(result).text, str)
