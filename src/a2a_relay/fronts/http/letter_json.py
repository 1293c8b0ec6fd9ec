"""Letters as JSON, without their bodies, and filters of letters as they are asked for. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from a2a_relay.a2a import jsonbytes, sse
from a2a_relay.core.address import Address
from a2a_relay.core.letter import AuditEntry, Entry, Filter, Letter, LetterState, MailboxView
from a2a_relay.errors import Reason, Refused
from a2a_relay.fronts.http.answer import instant

_MAX_TEXT = 256
_NAMES = tuple(name for name in Filter._fields if name != "agents")  # which is not asked for, but given by a key
_TEXTS = frozenset(_NAMES) - {"before"}


def letter(letter: Letter, *, is_for_admin: bool) -> dict[str, Any]:
    """What may be told of a letter; whose it is to the tenant's admin alone."""
    found: dict[str, Any] = {
        "id": letter.id,
        "agent": letter.address.agent,
        "task_id": letter.task_id,
        "context_id": letter.context_id,
        "state": letter.state.value,
        "attempt": letter.attempt,
        "accepted_at": instant(letter.accepted_at),
        "expires_at": instant(letter.expires_at),
    }
    if letter.ended_at is not None:
        found["ended_at"] = instant(letter.ended_at)
    if letter.reason:
        found["reason"] = letter.reason
    if is_for_admin:
        found["owner"] = letter.owner
    return found


def entry(entry: Entry) -> dict[str, Any]:
    """One line of a letter's history."""
    found: dict[str, Any] = {"at": instant(entry.at), "event": entry.event.value}
    if entry.attempt:
        found["attempt"] = entry.attempt
    if entry.reason:
        found["reason"] = entry.reason
    return found


def news(history: tuple[Entry, ...], last: Entry | None) -> tuple[Entry, ...]:
    """What stands behind the line that was told last; of a long history the store keeps the first and the newest."""
    if last is None:
        return history
    for at in range(len(history), 0, -1):
        if history[at - 1] == last:
            return history[at:]
    return history[1:]


def event(id: str, address: Address, line: Entry) -> bytes:
    """One event of a feed."""
    return sse.named_event(b"receipt", jsonbytes.dump({"id": id, "agent": address.agent, **entry(line)}))


def mailbox(view: MailboxView) -> dict[str, Any]:
    """One mailbox."""
    found: dict[str, Any] = {
        "agent": view.address.agent,
        "queued": view.queued,
        "leased": view.leased,
        "dead": view.dead,
        "bytes": view.bytes,
        "paused": view.is_paused,
    }
    if view.oldest_at is not None:
        found["oldest_at"] = instant(view.oldest_at)
    return found


def audit_entry(entry: AuditEntry) -> dict[str, Any]:
    """One administrative act."""
    return {
        "at": instant(entry.at),
        "actor": entry.actor,
        "action": entry.action,
        "target": entry.target,
        "touched": entry.touched,
        "reason": entry.reason,
    }


def read_filter(asked: Mapping[str, Any]) -> Filter:
    """The filter that is asked for. Raises INVALID_PARAMS for a word it does not have: that would mean more letters."""
    texts = {name: value for name, value in asked.items() if name != "before"}
    for name, value in texts.items():
        is_text = isinstance(value, str) and 0 < len(value) <= _MAX_TEXT and jsonbytes.has_utf8(value)
        if name not in _TEXTS or not is_text:
            raise Refused(Reason.INVALID_PARAMS, f"letters are chosen by {', '.join(_NAMES)}, each a text")
    if texts.get("state", "dead") not in LetterState._value2member_map_:
        raise Refused(Reason.INVALID_PARAMS, f"state is one of {', '.join(LetterState)}")
    before = _instant(asked["before"]) if "before" in asked else None
    return Filter(**texts, before=before)


def _instant(text: Any) -> float:
    """Raises INVALID_PARAMS."""
    try:
        found = datetime.fromisoformat(text)
        if found.tzinfo is None:
            raise ValueError
        return found.timestamp()
    except (TypeError, ValueError, OverflowError) as error:
        raise Refused(Reason.INVALID_PARAMS, "before is an instant such as 2026-11-22T08:00:00Z") from error
