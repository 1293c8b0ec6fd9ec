"""Log lines: which calls are worth one, what it holds, and that no text can forge another."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from a2a_relay.core.address import Address
from a2a_relay.errors import Reason
from a2a_relay.ports.observer import CallReport
from a2a_relay.telemetry import logs


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    logs.configure(log_format="json", level="info", stream=stream)
    yield stream
    structlog.reset_defaults()


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def report(**changes: Any) -> CallReport:
    fields: dict[str, Any] = {
        "request_id": "r1",
        "address": Address("acme", "zaf"),
        "method": "SendMessage",
        "status": 200,
        "reason": None,
        "duration_seconds": 0.0123,
    }
    return CallReport(**(fields | changes))


def test_a_refused_call_has_a_line_with_its_reason(log: io.StringIO) -> None:
    logs.LogObserver("failed").call_finished(report(status=503, reason=Reason.AGENT_OFFLINE))
    (line,) = lines(log)
    assert line.pop("timestamp")
    assert line == {
        "event": "call",
        "level": "info",
        "request_id": "r1",
        "tenant": "acme",
        "agent": "zaf",
        "method": "SendMessage",
        "status": 503,
        "reason": "AGENT_OFFLINE",
        "duration_ms": 12.3,
    }


def test_a_call_that_went_well_has_none_by_default(log: io.StringIO) -> None:
    logs.LogObserver("failed").call_finished(report())
    assert lines(log) == []


def test_a_slow_call_has_one(log: io.StringIO) -> None:
    logs.LogObserver("failed").call_finished(report(duration_seconds=logs.SLOW_SECONDS + 1))
    assert len(lines(log)) == 1


@pytest.mark.parametrize(("access_log", "expected"), [("all", 10), ("5", 2), ("off", 0), ("failed", 0)])
def test_the_access_log_says_how_many_good_calls_are_told(log: io.StringIO, access_log: str, expected: int) -> None:
    observer = logs.LogObserver(access_log)
    for _ in range(10):
        observer.call_finished(report())
    assert len(lines(log)) == expected


def test_a_health_check_is_not_a_call(log: io.StringIO) -> None:
    logs.LogObserver("all").call_finished(report(is_call=False, method="GET"))
    assert lines(log) == []


def test_a_text_cannot_begin_a_line_of_its_own_nor_move_the_cursor(log: io.StringIO) -> None:
    logs.LogObserver("failed").link_refused(Reason.UNAUTHENTICATED, 'x\n{"event":"forged"}\x1b[2J\u202e', "1.2.3.4:5")
    (line,) = lines(log)
    assert line["event"] == "link_refused"
    assert line["message"] == 'x\\n{"event":"forged"}\\x1b[2J\\u202e'


def test_stripped_headers_have_a_line_each_time_their_number_doubles(log: io.StringIO) -> None:
    observer = logs.LogObserver("failed")
    for _ in range(100):
        observer.headers_stripped(("a2a-relay-sender",), Address("acme", "zaf"))
    assert [line["total"] for line in lines(log)] == [1, 2, 4, 8, 16, 32, 64]
    assert observer.stripped_headers == 100


def test_a_long_text_is_cut(log: io.StringIO) -> None:
    logs.LogObserver("failed").notice("odd", text="a" * 100_000)
    assert len(log.getvalue()) < 1000


def test_a_person_at_a_terminal_gets_a_console_line() -> None:
    stream = io.StringIO()
    logs.configure(log_format="console", level="info", stream=stream)
    logs.LogObserver("failed").call_finished(report(status=502, reason=Reason.AGENT_DISCONNECTED))
    structlog.reset_defaults()
    assert "AGENT_DISCONNECTED" in stream.getvalue()
    assert not stream.getvalue().startswith("{")
