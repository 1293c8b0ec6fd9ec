"""What every store of letters decides alike: room, delays, keys and the length of a history."""

from __future__ import annotations

from a2a_relay.core.letter import (
    MAX_BACK_OFF_SECONDS,
    Alias,
    Draft,
    Entry,
    Filter,
    Letter,
    LetterEvent,
    LetterState,
    Room,
)
from a2a_relay.errors import Reason, Refused

MAX_DELAY_SECONDS = 3600.0 + MAX_BACK_OFF_SECONDS
"""No letter waits longer than an agent may ask for, and a back-off: one that seems to has seen the clock jump."""

HISTORY_LIMIT = 64
"""Lines of one history that are kept: the first, and the newest."""
REASON_LIMIT = 200
"""Characters of a reason in a history."""

_FULL_RETRY_SECONDS = 60


def due_at(now: float, delay_seconds: float) -> float:
    """When a letter may go that is to wait for so long."""
    return now + min(max(delay_seconds, 0.0), MAX_DELAY_SECONDS)


def is_due(not_before: float, now: float) -> bool:
    """Whether a letter's delay has passed, or the clock has jumped back since it was given."""
    return not now < not_before <= now + MAX_DELAY_SECONDS


def require_room(room: Room, letters: int, held_bytes: int, size: int) -> None:
    """Raise MAILBOX_FULL unless a mailbox that holds so much may take `size` bytes more."""
    if letters >= room.letters:
        limit, unit = room.letters, "letters"
    elif held_bytes + size > room.bytes:
        limit, unit = room.bytes, "bytes"
    else:
        return
    raise Refused(
        Reason.MAILBOX_FULL,
        f"the agent's mailbox is full: it holds {limit} {unit}",
        retry_after_seconds=_FULL_RETRY_SECONDS,
        metadata={"limit": str(limit), "unit": unit},
    )


def require_same_call(known_digest: bytes, digest: bytes) -> None:
    """Raise IDEMPOTENCY_CONFLICT for a known key with another body."""
    if known_digest != digest:
        raise Refused(Reason.IDEMPOTENCY_CONFLICT)


def key_without_letter() -> Refused:
    """A key whose letter an operator has removed: it makes no second one."""
    return Refused(Reason.IDEMPOTENCY_CONFLICT, "the letter of this Idempotency-Key was removed by an operator")


def lengthen(history: tuple[Entry, ...], *entries: Entry) -> tuple[Entry, ...]:
    """A history with new lines, within its limits."""
    longer = (*history, *(entry._replace(reason=entry.reason[:REASON_LIMIT]) for entry in entries))
    surplus = len(longer) - HISTORY_LIMIT
    return longer if surplus <= 0 else (longer[0], *longer[1 + surplus :])


def merge(known: Alias, alias: Alias) -> Alias:
    """What is known of the agent's ids, when it says them again: an empty one takes nothing back."""
    return Alias(alias.task_id or known.task_id, alias.context_id or known.context_id)


def describe(filter: Filter) -> str:
    """A filter in the words of an audit entry."""
    return " ".join(f"{name}={value}" for name, value in filter._asdict().items() if value not in ("", None)) or "all"


def first_letter(draft: Draft, now: float, number: int, position: int | None = None) -> Letter:
    """What a draft becomes when it is accepted."""
    entries = [Entry(now, LetterEvent.ACCEPTED)]
    if draft.leased_by:
        entries.append(Entry(now, LetterEvent.LEASED, 1))
    return Letter(
        id=draft.id,
        address=draft.address,
        owner=draft.owner,
        task_id=draft.task_id,
        context=draft.context,
        context_id=draft.context_id,
        envelope=draft.envelope,
        params=draft.params,
        state=LetterState.LEASED if draft.leased_by else LetterState.QUEUED,
        attempt=1 if draft.leased_by else 0,
        accepted_at=now,
        expires_at=now + draft.ttl_seconds,
        lease=draft.leased_by,
        number=number,
        position=position,
        history=tuple(entries),
    )
