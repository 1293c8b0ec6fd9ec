"""Any order of steps, on both stores at once: they agree, and keep what the port promises."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from letter_drafts import ACT, ANN, ANSWER, EVERY, KEEP_SECONDS, ZAF, draft, key

from a2a_relay.core.address import Address
from a2a_relay.core.letter import Alias, DeadReason, Filter, Letter, LetterState, Room
from a2a_relay.errors import Refused
from a2a_relay.ports.mailbox import Accepted, Mailbox
from a2a_relay.stores.memory.mailbox import MemoryMailbox
from a2a_relay.stores.sqlite.database import Database
from a2a_relay.stores.sqlite.mailbox import SqliteMailbox
from a2a_relay.testing.clock import FakeClock

T = TypeVar("T")

addresses = st.sampled_from([ZAF, ANN])
contexts = st.sampled_from(["c1", "c2"])
leases = st.sampled_from(["s1", "s2"])
delays = st.sampled_from([0.0, 5.0, 400.0])
durations = st.sampled_from([3.0, 60.0, 900.0])
ROOM = Room(letters=6)

RECOUNT = """
SELECT queued, leased, dead, in_line, bytes,
    (SELECT count(*) FROM letters WHERE mailbox = m.number AND state = 'queued'),
    (SELECT count(*) FROM letters WHERE mailbox = m.number AND state = 'leased'),
    (SELECT count(*) FROM letters WHERE mailbox = m.number AND state = 'dead'),
    (SELECT count(*) FROM letters WHERE mailbox = m.number AND is_in_line = 1),
    (SELECT coalesce(sum(size), 0) FROM letters WHERE mailbox = m.number AND is_in_line = 1)
FROM mailboxes AS m
"""
FIRST_OF_EACH_LINE = """
SELECT number FROM letters AS one WHERE is_in_line = 1 AND NOT EXISTS (
    SELECT 1 FROM letters AS other WHERE other.mailbox = one.mailbox AND other.context = one.context
    AND other.is_in_line = 1 AND other.number < one.number
) ORDER BY number
"""


class Schedules(RuleBasedStateMachine):
    """What one store answers the other answers too."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.clock = FakeClock()
        self.loop = asyncio.new_event_loop()
        self.database = Database(self.folder / "relay.db")
        self.stores: list[Mailbox] = [MemoryMailbox(self.clock.now), SqliteMailbox(self.database, self.clock.now)]
        self.ids: list[str] = []
        self.made = 0

    def teardown(self) -> None:
        self.database.close()
        self.loop.close()
        shutil.rmtree(self.folder)

    def both(self, step: str, *arguments: Any, **options: Any) -> Any:
        """Do it in both stores; what they answer, which is the same."""
        answers = [self.run(getattr(store, step)(*arguments, **options)) for store in self.stores]
        assert answers[0] == answers[1], step
        return answers[0]

    def run(self, step: Coroutine[Any, Any, T]) -> T | tuple[str, dict[str, str]]:
        async def outcome() -> T | tuple[str, dict[str, str]]:
            try:
                found: Any = await step
            except Refused as refused:
                return refused.message, refused.metadata
            return list(found) if isinstance(found, tuple) and not hasattr(found, "_fields") else found

        return self.loop.run_until_complete(outcome())

    def id(self, choice: int) -> str:
        return self.ids[choice % len(self.ids)] if self.ids else "rly-none"

    @rule(address=addresses, context=contexts, ttl=durations, late=st.booleans(), keyed=st.integers(0, 3))
    def accept(self, address: Address, context: str, ttl: float, late: bool, keyed: int) -> None:
        self.made += 1
        wanted = draft(
            context,
            address,
            id=f"rly-{self.made:04}",
            ttl_seconds=ttl,
            leased_by="s1" if late else "",
            idempotency=key(f"key {keyed}", bytes([self.made % 2])) if keyed else None,
        )
        answer = self.both("accept", wanted, ROOM)
        if isinstance(answer, Accepted) and answer.is_new:
            self.ids.append(answer.letter.id)

    @rule(
        wanted=st.lists(st.tuples(addresses, contexts, st.booleans(), st.integers(0, 3)), min_size=2, max_size=8),
        ttl=durations,
    )
    def accept_at_once(self, wanted: list[tuple[Address, str, bool, int]], ttl: float) -> None:
        """All of them in one group of one store, one after the other in the other."""
        drafts = []
        for address, context, is_late, keyed in wanted:
            self.made += 1
            drafts.append(
                draft(
                    context,
                    address,
                    id=f"rly-{self.made:04}",
                    ttl_seconds=ttl,
                    leased_by="s1" if is_late else "",
                    idempotency=key(f"key {keyed}", bytes([self.made % 2])) if keyed else None,
                )
            )
        memory, sqlite = self.stores
        expected = [self.run(memory.accept(wanted, ROOM)) for wanted in drafts]

        async def at_once() -> list[Any]:
            return await asyncio.gather(*(sqlite.accept(wanted, ROOM) for wanted in drafts), return_exceptions=True)

        found = self.loop.run_until_complete(at_once())
        assert [(one.message, one.metadata) if isinstance(one, Refused) else one for one in found] == expected
        self.ids += [one.letter.id for one in found if isinstance(one, Accepted) and one.is_new]

    @rule(address=addresses, name=leases, limit=st.integers(1, 3))
    def lease(self, address: Address, name: str, limit: int) -> None:
        found: list[Letter] = self.both("lease", address, name, limit)
        assert [letter.number for letter in found] == sorted(letter.number for letter in found)
        assert all(letter.expires_at > self.clock.now() for letter in found)

    @rule(choice=st.integers(0, 50), name=leases, address=addresses)
    def ack(self, choice: int, name: str, address: Address) -> None:
        self.both("ack", address, self.id(choice), name, ANSWER, Alias("t"), KEEP_SECONDS)

    @rule(choice=st.integers(0, 50), name=leases, address=addresses, delay=delays, counts=st.booleans())
    def give_back(self, choice: int, name: str, address: Address, delay: float, counts: bool) -> None:
        self.both("give_back", address, self.id(choice), name, delay, "why", is_attempt=counts)

    @rule(choice=st.integers(0, 50), name=leases, address=addresses)
    def bury(self, choice: int, name: str, address: Address) -> None:
        self.both("bury", address, self.id(choice), name, DeadReason.TOO_LARGE, KEEP_SECONDS)

    @rule(choice=st.integers(0, 50), name=leases, address=addresses, new=leases)
    def take_over(self, choice: int, name: str, address: Address, new: str) -> None:
        self.both("take_over", address, self.id(choice), name, new)

    @rule(choice=st.integers(0, 50))
    def cancel(self, choice: int) -> None:
        self.both("cancel", "acme", self.id(choice), KEEP_SECONDS)

    @rule(seconds=st.sampled_from([0.5, 3.0, 60.0, 1_000.0]))
    def pass_time(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule(seconds=st.sampled_from([-90_000.0, 600.0]))
    def jump(self, seconds: float) -> None:
        self.clock.jump(seconds)

    @rule()
    def sweep(self) -> None:
        answers = [self.run(store.sweep(50, KEEP_SECONDS)) for store in self.stores]
        assert [sorted(letter.id for letter in answer) for answer in answers] == [
            sorted(letter.id for letter in answers[0])
        ] * 2

    @rule(choice=st.integers(0, 50))
    def redrive(self, choice: int) -> None:
        self.both("redrive", "acme", Filter(id=self.id(choice)), 60.0, ACT)

    @rule(choice=st.integers(0, 50))
    def purge(self, choice: int) -> None:
        self.both("purge", "acme", Filter(id=self.id(choice)), ACT)

    @rule(address=addresses, is_paused=st.booleans())
    def pause(self, address: Address, is_paused: bool) -> None:
        self.both("pause", address, is_paused, ACT)

    @invariant()
    def both_agree(self) -> None:
        page = self.both("list", "acme", EVERY, None, 200)
        self.both("mailboxes", "acme")
        for letter in page.letters[:5]:
            self.both("find", "acme", letter.id)
        for address in (ZAF, ANN):
            self.both("next_due", address)
            self.both("leased", address)
            for context in ("c1", "c2"):
                self.both("is_waiting", address, context)
                self.both("find_context", address, f"ctx-{context}")
        assert self.stores[0].backlog() == self.stores[1].backlog()

    @invariant()
    def one_of_a_line_is_out_at_a_time(self) -> None:
        lines = self.database.read("SELECT mailbox, context FROM letters WHERE is_in_line AND state = ?", ("leased",))
        # A late one that is given back goes before what was leased meanwhile: two at most.
        assert all(lines.count(line) <= 2 for line in lines)

    @invariant()
    def counters_and_heads_equal_a_recount(self) -> None:
        assert all(row[:5] == row[5:] for row in self.database.read(RECOUNT))
        heads = self.database.read("SELECT number FROM letters WHERE is_head = 1 ORDER BY number")
        assert heads == self.database.read(FIRST_OF_EACH_LINE)

    @invariant()
    def who_has_ended_has_no_lease(self) -> None:
        page = self.both("list", "acme", EVERY, None, 200)
        for letter in page.letters:
            assert bool(letter.lease) == (letter.state is LetterState.LEASED)
            assert (letter.ended_at is None) == letter.state.is_waiting


Schedules.TestCase.settings = settings(
    max_examples=25, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
TestSchedules = Schedules.TestCase
