"""The checker accepts what the relay promises, and finds each way to break it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from history import History, Record, check, merge, read

SENT, ACCEPTED, DELIVERED, RESULT, END = 1.0, 2.0, 3.0, 4.0, 9.0
EXPIRES = 100.0


def sent(key: str, at: float = SENT, *, context: str = "c", name: str = "", tenant: str = "acme") -> Record:
    return {
        "kind": "send", "at": at, "send": name or f"send-{key}", "tenant": tenant, "agent": "a", "context": context,
        "key": key,
    }  # fmt: skip


def accepted(key: str, letter: str, at: float = ACCEPTED, *, name: str = "", expires_at: float = EXPIRES) -> Record:
    name = name or f"send-{key}"
    return {"kind": "answer", "at": at, "send": name, "outcome": "accepted", "letter": letter, "expires_at": expires_at}


def ended_with(outcome: str, key: str, at: float = ACCEPTED, *, name: str = "") -> Record:
    return {"kind": "answer", "at": at, "send": name or f"send-{key}", "outcome": outcome}


def delivered(key: str, letter: str, at: float = DELIVERED, *, tenant: str = "acme", **more: Any) -> Record:
    return {
        "kind": "delivery", "at": at, "tenant": tenant, "agent": "a", "letter": letter, "attempt": 1, "session": "s",
        "key": key, **more,
    }  # fmt: skip


def result(key: str, letter: str, at: float = RESULT, text: str = "r") -> Record:
    return {"kind": "result", "at": at, "letter": letter, "key": key, "result": text}


def event(number: int, at: float, stream: str = "s") -> Record:
    return {"kind": "event", "at": at, "stream": stream, "task": "t", "number": number}


def at_the_end(letter: str, state: str = "done", done: int = 1) -> Record:
    return {"kind": "end", "at": END, "letter": letter, "state": state, "done": done}


ONE = [sent("k"), accepted("k", "L")]
DONE = [*ONE, delivered("k", "L"), result("k", "L"), at_the_end("L")]
TWO = [sent("k"), accepted("k", "L"), sent("m", 2.1), accepted("m", "M", 2.2)]

GOOD: dict[str, list[Record]] = {
    "answered": DONE,
    "still waiting": [*ONE, at_the_end("L", "queued", 0)],
    "expired and never delivered": [*ONE, at_the_end("L", "expired", 0)],
    "dead after three deliveries": [*ONE, *(delivered("k", "L", 3 + n) for n in range(3)), at_the_end("L", "dead", 0)],
    "a send without an answer was kept": [sent("k"), ended_with("unknown", "k"), delivered("k", "L")],
    "a send without an answer was not kept": [sent("k"), ended_with("unknown", "k")],
    "a send that nobody saw the end of": [sent("k"), delivered("k", "L")],
    "refused": [sent("k"), ended_with("refused", "k")],
    "refused, then accepted": [
        sent("k"), ended_with("refused", "k"), sent("k", 2.1, name="again"), accepted("k", "L", 2.2, name="again"),
        delivered("k", "L"), at_the_end("L"),
    ],
    "a repeated send is the same letter": [
        sent("k"), ended_with("unknown", "k"), sent("k", 2.1, name="again"), accepted("k", "L", 2.2, name="again"),
        delivered("k", "L"), at_the_end("L"),
    ],
    "two in their order": [*TWO, delivered("k", "L", 3), delivered("m", "M", 4), at_the_end("L"), at_the_end("M")],
    "two at once, in either order": [
        sent("k"), sent("m"), accepted("k", "L"), accepted("m", "M"), delivered("m", "M", 3), delivered("k", "L", 4),
        at_the_end("L"), at_the_end("M"),
    ],
    "two contexts in any order": [
        sent("k"), accepted("k", "L"), sent("m", 2.1, context="d"), accepted("m", "M", 2.2), delivered("m", "M", 3),
        delivered("k", "L", 4), at_the_end("L"), at_the_end("M"),
    ],
    "the first had expired before the second": [
        *TWO, delivered("m", "M", 3), at_the_end("L", "expired", 0), at_the_end("M"),
    ],
    "delivered in its last moment": [*ONE, delivered("k", "L", EXPIRES), at_the_end("L")],
    "events in order, on two streams": [event(1, 1), event(1, 2, "z"), event(2, 3), event(2, 4, "z"), event(3, 5)],
    "a stream that was joined late": [event(7, 1), event(8, 2)],
}  # fmt: skip

BAD: dict[str, tuple[str, list[Record]]] = {
    "lost": ("nothing is lost", [*ONE, at_the_end("L", "lost", 0)]),
    "never asked about": ("nothing is lost", ONE),
    "delivered, and then lost": ("nothing is lost", [*ONE, delivered("k", "L"), at_the_end("L", "lost", 0)]),
    "its result was told, and is gone": ("nothing is lost", [*DONE[:-1], at_the_end("L", "queued", 0)]),
    "two letters for one key": (
        "one letter per key",
        [*ONE, sent("k", 2.1, name="again"), accepted("k", "M", 2.2, name="again"), at_the_end("L"), at_the_end("M")],
    ),
    "two letters for one key, one seen by the agent only": (
        "one letter per key",
        [sent("k"), ended_with("unknown", "k"), sent("k", 2.1, name="again"), accepted("k", "M", 2.2, name="again"),
         delivered("k", "L"), delivered("k", "M"), at_the_end("M")],
    ),
    "one letter for two keys": ("one letter per key", [*ONE, sent("m"), accepted("m", "L"), at_the_end("L")]),
    "an expiry that moves": (
        "one letter per key",
        [*ONE, sent("k", 2.1, name="again"), accepted("k", "L", 2.2, name="again", expires_at=200.0), at_the_end("L")],
    ),
    "two results for one key": ("one result per key", [*DONE, result("k", "L", 5.0, "another")]),
    "done twice": ("one result per key", [*DONE[:-1], at_the_end("L", "done", 2)]),
    "the second first": (
        "first in, first out",
        [*TWO, delivered("m", "M", 3), delivered("k", "L", 4), at_the_end("L"), at_the_end("M")],
    ),
    "the second, and the first not at all": (
        "first in, first out", [*TWO, delivered("m", "M", 3), at_the_end("L", "queued", 0), at_the_end("M")],
    ),
    "after its expiry": ("nothing after its expiry", [*ONE, delivered("k", "L", EXPIRES + 0.001), at_the_end("L")]),
    "after the expiry that the delivery itself names": (
        "nothing after its expiry",
        [sent("k"), ended_with("unknown", "k"), delivered("k", "L", 50.0, expires_at=49.0)],
    ),
    "to another tenant": ("nothing across", [*ONE, delivered("k", "L", tenant="umbrella"), at_the_end("L")]),
    "an event is missing": ("events in order", [event(1, 1), event(3, 2)]),
    "an event comes twice": ("events in order", [event(1, 1), event(2, 2), event(2, 3)]),
    "events change places": ("events in order", [event(2, 1), event(1, 2)]),
    "refused, and delivered": ("nothing unasked", [sent("k"), ended_with("refused", "k"), delivered("k", "L")]),
    "delivered, and never sent": ("nothing unasked", [delivered("k", "L")]),
    "answered, and never delivered": (
        "nothing unasked", [*ONE, {"kind": "ack", "at": 3.0, "letter": "L", "key": "k"}, at_the_end("L")],
    ),
    "done, and no agent has seen it": ("nothing unasked", [*ONE, result("k", "L"), at_the_end("L")]),
    "delivered after its result": ("nothing after its end", [*DONE, delivered("k", "L", 5.0)]),
}  # fmt: skip


@pytest.mark.parametrize("name", GOOD)
def test_what_is_promised_is_accepted(name: str) -> None:
    """Losing nothing, in order, once."""
    verdict = check(GOOD[name])
    assert verdict.violations == []
    assert verdict.lost == 0


@pytest.mark.parametrize("name", BAD)
def test_what_breaks_a_rule_is_found_by_that_rule(name: str) -> None:
    """And by no other: a checker that cries at everything finds nothing."""
    rule, records = BAD[name]
    verdict = check(records)
    assert {violation.partition(":")[0] for violation in verdict.violations} == {rule}
    assert verdict.violated == len(verdict.violations)


def test_a_frame_may_be_under_way_for_as_long_as_is_said() -> None:
    """Not at all, unless it is said; never for longer."""
    history = [*ONE, delivered("k", "L", EXPIRES + 0.2), at_the_end("L")]
    assert [check(history, transit_seconds=seconds).violated for seconds in (0.0, 0.1, 0.25)] == [1, 1, 0]


def test_figures_count_letters_and_redeliveries() -> None:
    """A second delivery is allowed, and counted."""
    again = {**delivered("k", "L", 3.5), "attempt": 2}
    verdict = check([*DONE, again, sent("m", context="d"), accepted("m", "M"), at_the_end("M", "lost")])
    figures = (verdict.sends, verdict.accepted, verdict.delivered, verdict.duplicated, verdict.answered, verdict.lost)
    assert figures == (2, 2, 1, 1, 1, 1)


def test_histories_of_two_writers_are_merged_by_their_instants(tmp_path: Path) -> None:
    """Records of the same writer stay in their order."""
    for name, numbers in (("one", (1, 4)), ("two", (2, 3))):
        with History(tmp_path / name) as history:
            for number in numbers:
                history.note("event", float(number), stream="s", task="t", number=number)
    assert check(merge(tmp_path / "one", tmp_path / "two")).violations == []


def test_a_history_is_read_as_it_was_written(tmp_path: Path) -> None:
    """Over two writers of one file, as two lives of one drill are."""
    path = tmp_path / "history.jsonl"
    for number in (1, 2):
        with History(path) as history:
            history.note("event", float(number), stream="s", task="t", number=number)
    assert list(read(path)) == [event(1, 1.0), event(2, 2.0)]
