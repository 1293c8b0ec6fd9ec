"""How `relay send` prints what an agent says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from a2a_relay.cli.send import _print_answer, _print_stream, _require_success
from a2a_relay.client.answers import Answer
from a2a_relay.client.failures import ClientError


def piece(text: str, *, append: bool = True) -> dict[str, Any]:
    return {"artifactUpdate": {"append": append, "artifact": {"parts": [{"text": text}]}}}


def status(state: str, text: str = "") -> dict[str, Any]:
    return {"statusUpdate": {"taskId": "t1", "status": {"state": state, "message": {"parts": [{"text": text}]}}}}


def test_pieces_of_one_artifact_are_one_line_and_all_else_begins_a_new_one(capsys: pytest.CaptureFixture[str]) -> None:
    events = [
        {"task": {"id": "t1", "status": {"state": "TASK_STATE_SUBMITTED"}}},
        status("TASK_STATE_WORKING", "thinking"),
        piece("one ", append=False),
        piece("two"),
        piece("three\n", append=False),
        piece("four", append=False),
        status("TASK_STATE_COMPLETED"),
    ]
    assert _print_stream(iter(events)).state == "completed"
    assert capsys.readouterr().out == "thinking\none two\nthree\nfour\n"


def test_a_stream_that_breaks_off_leaves_its_line_finished(capsys: pytest.CaptureFixture[str]) -> None:
    def events() -> Iterator[Any]:
        yield piece("half a sen")
        raise ClientError("the agent's link ended before its answer", "AGENT_DISCONNECTED")

    with pytest.raises(ClientError):
        _print_stream(events())
    assert capsys.readouterr().out == "half a sen\n"


def test_an_answer_of_no_known_shape_is_shown_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    _print_answer({"new": "shape\x1b"}, as_json=False)
    out = capsys.readouterr().out
    assert json.loads(out) == {"new": "shape\x1b"}
    assert "\x1b" not in out


@pytest.mark.parametrize("state", ["failed", "rejected", "canceled"])
def test_a_task_that_did_not_succeed_is_an_error(state: str) -> None:
    with pytest.raises(ClientError, match=f"the task ended as {state}"):
        _require_success(Answer("task", "", state, "t1"))


def test_a_task_that_waits_says_so_beside_its_text(capsys: pytest.CaptureFixture[str]) -> None:
    _print_answer(
        {
            "kind": "task",
            "id": "t\x1b1",
            "status": {"state": "input-required", "message": {"parts": [{"text": "which?"}]}},
        },
        as_json=False,
    )
    out, err = capsys.readouterr()
    assert (out, err) == ("which?\n", "relay: task t\\x1b1 is input-required\n")
