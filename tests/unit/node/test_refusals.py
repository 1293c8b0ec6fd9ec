"""Refused accesses become audit entries: a few of them, whoever floods."""

from __future__ import annotations

import pytest

from a2a_relay.core.address import Address
from a2a_relay.core.audit import AuditFact
from a2a_relay.core.letter import LetterEvent
from a2a_relay.errors import Reason
from a2a_relay.node.refusals import MAX_ENTRIES, WATCHED, RefusalObserver, Refusals
from a2a_relay.ports.observer import CallReport
from a2a_relay.stores.memory.audit import MemoryAudit
from a2a_relay.testing.calls import make_principal
from a2a_relay.testing.clock import FakeClock
from a2a_relay.testing.observer import RecordingObserver

DENIED = Reason.PERMISSION_DENIED
UNKNOWN = Reason.UNAUTHENTICATED


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def audit(clock: FakeClock) -> MemoryAudit:
    return MemoryAudit(clock.now)


@pytest.fixture
def refusals(audit: MemoryAudit, clock: FakeClock) -> Refusals:
    return Refusals(audit, clock)


async def facts(audit: MemoryAudit) -> list[AuditFact]:
    return [entry.fact for entry in await audit.behind(0, 1_000)]


async def test_are_written_a_minute_after_the_first(refusals: Refusals, audit: MemoryAudit, clock: FakeClock) -> None:
    refusals.note(DENIED, "acme", "key:k1", "10.0.0.1", "SendMessage zaf")
    clock.advance(59.9)
    assert await facts(audit) == []
    clock.advance(0.1)
    assert await facts(audit) == [
        AuditFact("acme", "key:k1", "access", "SendMessage zaf", "PERMISSION_DENIED", peer="10.0.0.1")
    ]
    assert clock.pending == 0


async def test_of_one_party_for_one_reason_are_one_entry(
    refusals: Refusals, audit: MemoryAudit, clock: FakeClock
) -> None:
    for _ in range(1_000):
        refusals.note(UNKNOWN, "", "", "10.0.0.1", "attach")
        refusals.note(UNKNOWN, "", "", "10.0.0.2", "attach")
    refusals.note(DENIED, "", "", "10.0.0.1", "attach")
    clock.advance(60)
    found = {(fact.outcome, fact.peer): fact.times for fact in await facts(audit)}
    assert found == {
        ("UNAUTHENTICATED", "10.0.0.1"): 1_000,
        ("UNAUTHENTICATED", "10.0.0.2"): 1_000,
        ("PERMISSION_DENIED", "10.0.0.1"): 1,
    }


async def test_of_a_known_actor_are_one_entry_from_wherever_it_comes(
    refusals: Refusals, audit: MemoryAudit, clock: FakeClock
) -> None:
    for number in range(10):
        refusals.note(DENIED, "acme", "key:k1", f"10.0.0.{number}", "ListTasks zaf")
    clock.advance(60)
    assert [(fact.times, fact.peer) for fact in await facts(audit)] == [(10, "10.0.0.0")]


async def test_of_a_flood_from_many_addresses_are_few_entries_and_all_are_counted(
    refusals: Refusals, audit: MemoryAudit, clock: FakeClock
) -> None:
    for number in range(100_000):
        refusals.note(UNKNOWN, f"t{number}", "", f"2001:db8::{number:x}", "x" * 10_000)
    refusals.note(DENIED, "acme", "key:k1", "10.0.0.1", "")
    assert len(refusals._found) == MAX_ENTRIES
    clock.advance(60)
    found = await facts(audit)
    assert len(found) == MAX_ENTRIES + 2
    assert sum(fact.times for fact in found) == 100_001
    assert {(fact.outcome, fact.times) for fact in found if fact.actor == "others"} == {
        ("UNAUTHENTICATED", 100_000 - MAX_ENTRIES),
        ("PERMISSION_DENIED", 1),
    }
    assert max(len(fact.target) for fact in found) <= 200


async def test_begin_a_new_minute_after_each(refusals: Refusals, audit: MemoryAudit, clock: FakeClock) -> None:
    for _ in range(3):
        refusals.note(DENIED, "acme", "key:k1", "", "ListTasks")
        clock.advance(60)
    assert [fact.times for fact in await facts(audit)] == [1, 1, 1]


async def test_of_calls_are_those_of_who_is_asking(refusals: Refusals, audit: MemoryAudit) -> None:
    zaf = Address("acme", "zaf")
    for reason in Reason:
        refusals.note_call(reason, None, "x", "10.0.0.1:4711")
    refusals.note_call(DENIED, zaf, "SendMessage", "2001:db8::1:4711", make_principal(tenant="acme", identity="ann"))
    refusals.flush()
    *others, known = await facts(audit)
    assert {fact.outcome for fact in others} == {str(reason) for reason in WATCHED}
    assert known == AuditFact("acme", "admin:ann", "access", "SendMessage zaf", "PERMISSION_DENIED", peer="2001:db8::1")


class TestObserver:
    async def test_writes_down_refused_links_and_hands_them_on(self, refusals: Refusals, audit: MemoryAudit) -> None:
        inner = RecordingObserver()
        observer = RefusalObserver(inner, refusals)
        for reason in Reason:
            observer.link_refused(reason, "", "10.0.0.2:4711")
        observer.link_refused(UNKNOWN, "", "2001:db8::1:4711")
        refusals.flush()
        assert len(inner.refused_links) == len(Reason) + 1
        found = await facts(audit)
        assert {fact.outcome for fact in found} == {str(reason) for reason in WATCHED}
        assert {(fact.target, fact.peer) for fact in found} == {("attach", "10.0.0.2"), ("attach", "2001:db8::1")}

    def test_hands_everything_else_on(self, refusals: Refusals) -> None:
        inner = RecordingObserver()
        observer = RefusalObserver(inner, refusals)
        observer.notice("x", a=1)
        observer.call_finished(CallReport("r", None, "x", 400, DENIED, 0.1))
        observer.letter(LetterEvent.DEAD, Address("acme", "zaf"), "x")
        assert (len(inner.notices), len(inner.calls), len(inner.letters)) == (1, 1, 1)
        assert observer.streams is inner.streams
