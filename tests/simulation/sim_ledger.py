"""What has truly happened to every letter, written down at the moment of each effect in the store, and its rules."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from a2a_relay.core.address import Address
from a2a_relay.core.letter import DeadReason, Draft, Letter, LetterState

WAITING = (LetterState.QUEUED, LetterState.LEASED)


class Violation(AssertionError):
    """The relay has broken a promise."""


@dataclass
class Story:
    """One letter. `deliveries` are the hand-overs since it was accepted or redriven that the agent has not nacked."""

    letter: Letter
    token: str
    is_late: bool
    scope: str
    is_told: bool = False
    """Whether `accept` has returned."""
    is_purged: bool = False
    was_handed_over: bool = False
    leased_in: int = 0
    """The process that has leased it last."""
    deliveries: int = 0

    @property
    def is_waiting(self) -> bool:
        return not self.is_purged and self.letter.state in WAITING


def token_of(params: bytes) -> str:
    """The text by which a message of the simulation is known, wherever it shows up; empty where there is none."""
    if not params:
        return ""
    parts = json.loads(params).get("message", {}).get("parts") or [{}]
    return str(parts[0].get("text", ""))


@dataclass
class Ledger:
    """All letters of one schedule, over all processes."""

    stories: dict[str, Story] = field(default_factory=dict)
    by_token: dict[str, list[Story]] = field(default_factory=dict)
    log: list[str] = field(default_factory=list)
    processes: int = 0
    """How many there were so far."""
    violation: Violation | None = None
    """The first one: it may have been raised where the relay has caught it."""

    def note(self, text: str) -> None:
        """One line for whoever reads a schedule that has failed."""
        self.log.append(text)

    def require(self, is_true: bool, rule: str, *facts: Any) -> None:
        """Raise Violation, unless a rule holds."""
        if not is_true:
            violation = Violation(f"{rule}: {', '.join(map(str, facts))}")
            self.violation = self.violation or violation
            raise violation

    def require_none(self) -> None:
        """Raise what was violated so far, if anything was."""
        if self.violation is not None:
            raise self.violation

    # effects in the store

    def accepted(self, draft: Draft, letter: Letter, *, is_new: bool) -> None:
        scope = draft.idempotency.scope if draft.idempotency is not None else ""
        if not is_new:
            known = self.stories[letter.id]
            self.require(known.scope == scope, "a key gives its own letter", letter.id)
            return
        others = [story.letter.id for story in self.stories.values() if scope and story.scope == scope]
        self.require(not others, "no two letters for one key", letter.id, others)
        story = Story(letter, token_of(draft.params), bool(draft.leased_by), scope)
        self.stories[letter.id] = story
        if story.token:
            self.by_token.setdefault(story.token, []).append(story)

    def leased(self, letters: Iterable[Letter], now: float) -> None:
        for letter in letters:
            story = self.stories[letter.id]
            self.require(story.letter.state is LetterState.QUEUED, "one lease at a time", letter.id, story.letter.state)
            self.require(letter.expires_at > now, "no letter is leased that has expired", letter.id)
            self.require_turn(story)
            story.letter, story.leased_in = letter, self.processes

    def moved(self, letter: Letter | None, id: str) -> None:
        """A letter as the store has it now; None: it was removed."""
        story = self.stories.get(id)
        if letter is None:
            if story is not None:
                story.is_purged = True
            return
        if story is None:  # accepted by a process that was killed before it knew
            story = self.stories[id] = Story(letter, token_of(letter.params), is_late=not letter.params, scope="")
            if story.token:
                self.by_token.setdefault(story.token, []).append(story)
        if letter.reason == DeadReason.DELIVERED_UNKNOWN and story.leased_in == self.processes:
            was_there = story.was_handed_over or story.is_late
            self.require(was_there, "nothing is given up as delivered that never was", letter.id)
        if letter.number != story.letter.number:  # redriven
            story.deliveries, story.was_handed_over = 0, False
        story.letter = letter

    # what agents and clients see

    def require_turn(self, story: Story) -> None:
        """No letter of the same context waits before this one."""
        letter = story.letter
        before = [
            other.letter.id
            for other in self.stories.values()
            if other.is_waiting
            and not other.is_late
            and (other.letter.address, other.letter.context) == (letter.address, letter.context)
            and other.letter.number < letter.number
        ]
        self.require(not before, "letters of a context go in their order", letter.id, before)

    def handed_over(self, story: Story, now: float, *, may_repeat: bool) -> None:
        """An agent has got a letter."""
        letter = story.letter
        self.require(not story.is_late, "a late letter is never handed over", letter.id)
        self.require(letter.state is LetterState.LEASED, "only leased letters are handed over", letter.id, letter.state)
        self.require(letter.expires_at > now, "nothing is handed over after its expiry", letter.id)
        self.require_turn(story)
        self.require(
            may_repeat or not story.deliveries,
            "an agent that does not remember letters gets none twice",
            letter.id,
            story.token,
        )
        story.deliveries += 1
        story.was_handed_over = True

    def accepted_before(self, address: Address, context: str) -> tuple[Story, ...]:
        """The letters of a context that are known to wait now."""
        return tuple(
            story
            for story in self.waiting(address)
            if story.letter.context == context and story.is_told and not story.is_late
        )

    def waiting(self, address: Address | None = None) -> list[Story]:
        """The letters that wait, of one agent or of all."""
        return [
            story
            for story in self.stories.values()
            if story.is_waiting and (address is None or story.letter.address == address)
        ]
