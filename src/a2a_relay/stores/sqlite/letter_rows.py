"""Rows of letters, as the file has them, and the letters that they are."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from a2a_relay.core.address import Address
from a2a_relay.core.letter import Alias, Answer, AnswerKind, Entry, Letter, LetterEvent, LetterState


class Row(NamedTuple):
    """A letter without its bodies: the columns of `letter_heads`, and the first of `whole_letters`."""

    number: int
    id: str
    tenant: str
    mailbox: int
    owner: str
    task_id: str
    context: str
    context_id: str
    state: str
    is_in_line: int
    is_head: int
    attempt: int
    not_before: float
    lease: str
    size: int
    accepted_at: float
    expires_at: float
    ended_at: float | None
    remove_at: float | None
    key_expires_at: float
    alias_task_id: str
    alias_context_id: str
    reason: str
    is_restored: int
    history: str
    agent: str

    @property
    def address(self) -> Address:
        return Address(self.tenant, self.agent)

    @property
    def alias(self) -> Alias:
        return Alias(self.alias_task_id, self.alias_context_id)


_WIDTH = len(Row._fields)
_encode = json.JSONEncoder(separators=(",", ":")).encode


def read_row(columns: Sequence[Any]) -> Row:
    """The row of either view."""
    return Row(*columns[:_WIDTH])


def whole_letter(columns: Sequence[Any]) -> Letter:
    """The letter of a row of `whole_letters`."""
    envelope, params, answer_kind, answer = columns[_WIDTH:]
    letter = bare_letter(read_row(columns))
    found = None if answer_kind is None else Answer(AnswerKind(answer_kind), answer)
    return letter._replace(envelope=envelope, params=params, answer=found)


def bare_letter(row: Row) -> Letter:
    """The letter of a row, without its bodies."""
    return Letter(
        id=row.id,
        address=row.address,
        owner=row.owner,
        task_id=row.task_id,
        context=row.context,
        context_id=row.context_id,
        envelope=b"",
        params=b"",
        state=LetterState(row.state),
        attempt=row.attempt,
        accepted_at=row.accepted_at,
        expires_at=row.expires_at,
        lease=row.lease,
        alias=row.alias,
        reason=row.reason,
        ended_at=row.ended_at,
        number=row.number,
        is_restored=bool(row.is_restored),
        history=read_history(row.history),
    )


def read_history(text: str) -> tuple[Entry, ...]:
    """The entries of a history, as `write_history` has written them."""
    lines = json.loads(f"[{','.join(text.splitlines())}]")
    return tuple(Entry(at, LetterEvent(event), attempt, reason) for at, event, attempt, reason in lines)


def write_history(entries: Sequence[Entry]) -> str:
    """One line of JSON for each entry."""
    return "\n".join(_encode((*entry,)) for entry in entries)
