"""The audit log looked after: its head in the log, its old end removed, and rounds that go on."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from a2a_relay.core.audit import AuditFact
from a2a_relay.errors import StoreError
from a2a_relay.stores.memory.audit import MemoryAudit
from a2a_relay.telemetry import logs
from a2a_relay.telemetry.audit_watch import AuditWatch
from a2a_relay.telemetry.rounds import Rounds
from a2a_relay.testing.clock import FakeClock

FACT = AuditFact("acme", "store", "keys.create")
DAY_SECONDS = 24 * 3600.0


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    logs.configure(log_format="json", level="info", stream=stream)
    yield stream
    structlog.reset_defaults()


def lines(stream: io.StringIO, event: str) -> list[dict[str, Any]]:
    return [line for line in map(json.loads, stream.getvalue().splitlines()) if line["event"] == event]


class TestWatch:
    async def test_publishes_the_head_when_it_is_another(self, log: io.StringIO) -> None:
        clock = FakeClock()
        audit = MemoryAudit(clock.now)
        watch = AuditWatch(audit, clock, 90 * DAY_SECONDS)
        await watch.round()
        assert lines(log, "audit_head") == []
        audit.write(FACT)
        for _ in range(3):
            clock.advance(60)
            await watch.round()
        (line,) = lines(log, "audit_head")
        assert (line["number"], line["hash"], line["level"]) == (1, audit.head.hash, "info")
        assert watch.published == audit.head

    async def test_publishes_it_again_once_an_hour(self, log: io.StringIO) -> None:
        clock = FakeClock()
        audit = MemoryAudit(clock.now)
        watch = AuditWatch(audit, clock, 90 * DAY_SECONDS)
        audit.write(FACT)
        for _ in range(121):
            await watch.round()
            clock.advance(60)
        assert len(lines(log, "audit_head")) == 3

    async def test_removes_what_is_too_old_at_once_and_daily_and_says_so(self) -> None:
        clock = FakeClock()
        audit = MemoryAudit(clock.now)
        for _ in range(3):
            audit.write(FACT)
            clock.advance(DAY_SECONDS)
        watch = AuditWatch(audit, clock, 2.5 * DAY_SECONDS)
        await watch.round()
        assert (await audit.behind(0))[0].number == 2
        (last,) = await audit.page(None, limit=1)
        assert (last.fact.action, last.fact.times) == ("audit.purge", 1)
        clock.advance(DAY_SECONDS - 1)
        await watch.round()
        assert (await audit.check()).entries == 3
        clock.advance(1)
        await watch.round()
        assert (await audit.behind(0))[0].number == 3
        assert (await audit.check()).broken_at is None


class TestRounds:
    async def test_begin_at_once_and_go_on_after_each_end(self) -> None:
        clock, count = FakeClock(), 0
        told: list[Exception] = []

        async def step() -> None:
            nonlocal count
            count += 1

        rounds = Rounds(clock, 5.0, step, told.append)
        rounds.begin()
        for expected in (1, 2, 3):
            await settle()
            assert count == expected
            clock.advance(5.0)
        await rounds.close()
        clock.advance(60.0)
        await settle()
        assert count == 4

    async def test_go_on_after_a_failure_and_tell_of_it_once(self) -> None:
        clock = FakeClock()
        told: list[Exception] = []
        errors: list[Exception | None] = [StoreError("gone"), ValueError("odd"), None, OSError("again")]

        async def step() -> None:
            error = errors.pop(0)
            if error is not None:
                raise error

        rounds = Rounds(clock, 1.0, step, told.append)
        rounds.begin()
        while errors:
            await settle()
            clock.advance(1.0)
        await settle()
        assert [str(error) for error in told] == ["gone", "again"]
        await rounds.close()

    async def test_let_the_round_under_way_end_before_they_are_closed(self) -> None:
        clock, gate, ended = FakeClock(), asyncio.Event(), asyncio.Event()
        told: list[Exception] = []

        async def step() -> None:
            await gate.wait()
            ended.set()

        rounds = Rounds(clock, 1.0, step, told.append)
        rounds.begin()
        await settle()
        gate.set()
        await rounds.close()
        assert ended.is_set()
        assert clock.pending == 0


async def settle() -> None:
    """Let everything that can run, run."""
    for _ in range(5):
        await asyncio.sleep(0)
