"""The check of the audit log, entry by entry."""

from __future__ import annotations

from collections.abc import Iterable

from a2a_relay.core.audit import FIRST_HASH, AuditRecord, is_chained


class ChainCheck:
    """Follows a chain from its first entry. `number` and `hash` are the last one's."""

    def __init__(self) -> None:
        self.entries = 0
        self.number = 0
        self.hash = FIRST_HASH
        self.broken_at: int | None = None
        """The first number that does not fit, if any."""

    def follow(self, records: Iterable[AuditRecord], begins_at: int) -> None:
        """Read on, in the order of numbers. `begins_at`: the first number that was not removed by age."""
        for record in records:
            begins = record.number == begins_at > self.number + 1
            follows = begins or (record.previous, record.number) == (self.hash, self.number + 1)
            if self.broken_at is None and not (follows and _is_whole(record)):
                self.broken_at = record.number
            self.entries += 1
            self.number, self.hash = record.number, record.hash

    def end(self, last_known: int) -> None:
        """No more entries; one with this number was there."""
        if self.broken_at is None and self.number < last_known:
            self.broken_at = self.number + 1


def _is_whole(record: AuditRecord) -> bool:
    """Whether an entry says what it said; whatever stands in its place now."""
    try:
        return is_chained(record)
    except (TypeError, ValueError):
        return False
