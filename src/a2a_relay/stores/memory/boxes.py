"""Letters in memory, each in its mailbox and in the line of its context."""

from __future__ import annotations

from a2a_relay.core.address import Address
from a2a_relay.core.letter import Letter, LetterState, MailboxView


class Kept:
    """A letter, and what only its store knows of it.

    `is_in_line`: it takes a turn in its context; a late one takes none until it is given back.
    """

    __slots__ = ("is_in_line", "key_expires_at", "letter", "not_before", "remove_at", "size")

    def __init__(self, letter: Letter, size: int, *, is_in_line: bool) -> None:
        self.letter = letter
        self.size = size
        self.is_in_line = is_in_line
        self.not_before = self.key_expires_at = 0.0
        self.remove_at: float | None = None


class Box:
    """One mailbox: all its letters by number, and a line of those that wait for each context."""

    __slots__ = ("all", "bytes", "is_paused", "lines", "waiting")

    def __init__(self) -> None:
        self.all: dict[int, Kept] = {}
        self.lines: dict[str, list[Kept]] = {}
        self.is_paused = False
        self.waiting = self.bytes = 0  # of letters in line

    def add(self, kept: Kept) -> None:
        self.all[kept.letter.number] = kept
        if kept.is_in_line:
            kept.is_in_line = False
            self.enter_line(kept)

    def enter_line(self, kept: Kept) -> None:
        """At its place, by number; nothing when it is in line already."""
        if kept.is_in_line:
            return
        kept.is_in_line = True
        line = self.lines.setdefault(kept.letter.context, [])
        line.append(kept)
        line.sort(key=_number)
        self.waiting += 1
        self.bytes += kept.size

    def leave_line(self, kept: Kept) -> None:
        if not kept.is_in_line:
            return
        kept.is_in_line = False
        line = self.lines[kept.letter.context]
        line.remove(kept)
        if not line:
            del self.lines[kept.letter.context]
        self.waiting -= 1
        self.bytes -= kept.size

    def remove(self, kept: Kept) -> None:
        self.leave_line(kept)
        del self.all[kept.letter.number]

    def heads(self) -> list[Kept]:
        """The first of each line, in the order of their acceptance."""
        return sorted((line[0] for line in self.lines.values()), key=_number)

    def of(self, *states: LetterState) -> list[Kept]:
        return sorted((kept for kept in self.all.values() if kept.letter.state in states), key=_number)

    def view(self, address: Address) -> MailboxView:
        queued, leased, dead = (self.of(state) for state in (LetterState.QUEUED, LetterState.LEASED, LetterState.DEAD))
        oldest = min((*queued, *leased), key=_number, default=None)
        oldest_at = None if oldest is None else oldest.letter.accepted_at
        return MailboxView(address, len(queued), len(leased), len(dead), self.bytes, oldest_at, self.is_paused)


def _number(kept: Kept) -> int:
    return kept.letter.number
