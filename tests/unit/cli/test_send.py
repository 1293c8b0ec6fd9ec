"""How `relay send` prints what an agent says."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from a2a_relay.cli import main
from a2a_relay.cli.send import EXIT_GAP, Page, _print_answer, _require_success
from a2a_relay.client.answers import Answer
from a2a_relay.client.calls import AgentClient
from a2a_relay.client.failures import ClientError
from a2a_relay.client.streams import Gap, Hooks


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
    assert Page().print(iter(events)).state == "completed"
    assert capsys.readouterr().out == "thinking\none two\nthree\nfour\n"


def test_a_stream_that_breaks_off_leaves_its_line_finished(capsys: pytest.CaptureFixture[str]) -> None:
    def events() -> Iterator[Any]:
        yield piece("half a sen")
        raise ClientError("the agent's link ended before its answer", "AGENT_DISCONNECTED")

    with pytest.raises(ClientError):
        Page().print(events())
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


# --- what becomes of the connection ---


def test_losses_and_gaps_are_said_beside_the_text(capsys: pytest.CaptureFixture[str]) -> None:
    page = Page()

    def events() -> Iterator[Any]:
        yield piece("one ", append=False)
        page.note_loss(ClientError("the connection to http://relay\x1b has failed"))
        yield piece("two ")
        page.note_gap(Gap(3, 7))
        page.note_gap(Gap(9, 9))
        yield piece("ten")

    page.print(events())
    out, err = capsys.readouterr()
    assert out == "one two ten\n"
    assert err.splitlines() == [
        "relay: the connection was lost (the connection to http://relay\\x1b has failed); reading on",
        "relay: a gap: events 3 to 7 are lost",
        "relay: a gap: event 9 is lost",
    ]


def test_on_a_terminal_a_note_does_not_stand_behind_text(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for stream in (sys.stdout, sys.stderr):
        monkeypatch.setattr(stream, "isatty", lambda: True)
    page = Page()

    def events() -> Iterator[Any]:
        yield piece("half ", append=False)
        page.note_gap(Gap(2, 2))

    page.print(events())
    out, err = capsys.readouterr()
    assert (out, err) == ("half \n", "\nrelay: a gap: event 2 is lost\n")


@pytest.mark.parametrize(
    "words,out",
    [
        ((), "one three\n"),
        (("--json",), {"events": [piece("one ", append=False), piece("three")], "lost": [{"first": 2, "last": 2}]}),
    ],
)
def test_a_stream_with_a_gap_has_an_exit_code_of_its_own(
    words: tuple[str, ...],
    out: Any,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    def stream(self: AgentClient, text: str, hooks: Hooks) -> Iterator[Any]:
        yield piece("one ", append=False)
        assert hooks.gap is not None
        hooks.gap(Gap(2, 2))
        yield piece("three")

    monkeypatch.setattr(AgentClient, "stream", stream)
    monkeypatch.setattr(AgentClient, "find_interface", lambda self: None)
    url = "http://127.0.0.1:9/t/acme/a2a/echo"
    assert main(["send", "--stream", url, "hi", "--data-dir", str(tmp_path), *words]) == EXIT_GAP == 4
    printed, err = capsys.readouterr()
    assert (json.loads(printed) if words else printed) == out
    assert err == "relay: a gap: event 2 is lost\n"
