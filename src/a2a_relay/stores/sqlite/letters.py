"""The steps of a mailbox, each inside of a transaction that somebody else has begun and will commit.

Whatever a step refuses it refuses before it writes.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import NamedTuple

from a2a_relay.core.address import Address
from a2a_relay.core.letter import (
    Alias,
    Answer,
    DeadReason,
    Entry,
    Letter,
    LetterEvent,
    LetterState,
    require_move,
)
from a2a_relay.core.mailbox_rules import (
    MAX_DELAY_SECONDS,
    due_at,
    lengthen,
    merge,
)
from a2a_relay.stores.sqlite.letter_rows import Row, read_history, read_row, whole_letter, write_history
from a2a_relay.stores.sqlite.queries import load_queries

SQL = load_queries("mailbox.sql")


class Change(NamedTuple):
    """How the counters of one mailbox change."""

    queued: int = 0
    leased: int = 0
    dead: int = 0
    in_line: int = 0
    bytes: int = 0


def count(connection: sqlite3.Connection, mailbox: int, change: Change) -> None:
    """Add a change to the counters of a mailbox."""
    connection.execute(SQL["count"], (*change, mailbox))


def cancel(connection: sqlite3.Connection, now: float, tenant: str, id: str, keep_seconds: float) -> Letter | None:
    """Cancel a queued letter."""
    row = _row(connection, "get_queued", id, tenant)
    if row is None:
        return None
    end(connection, row, LetterState.CANCELED, now, keep_seconds, LetterEvent.CANCELED)
    return whole_letter(connection.execute(SQL["find_letter"], (id, tenant)).fetchone())


def lease(connection: sqlite3.Connection, now: float, address: Address, lease: str, limit: int) -> Sequence[Letter]:
    """Lease the heads that may go."""
    rows = connection.execute(SQL["lease"], (*address, now, now, now + MAX_DELAY_SECONDS, limit)).fetchall()
    leased = []
    updates = []
    for columns in rows:
        letter = whole_letter(columns)
        attempt = letter.attempt + 1
        history = lengthen(letter.history, Entry(now, LetterEvent.LEASED, attempt))
        updates.append((lease, attempt, write_history(history), letter.number))
        leased.append(letter._replace(state=LetterState.LEASED, lease=lease, attempt=attempt, history=history))
    if rows:
        connection.executemany(SQL["lease_letter"], updates)
        count(connection, read_row(rows[0]).mailbox, Change(queued=-len(rows), leased=len(rows)))
    return leased


def take_over(connection: sqlite3.Connection, address: Address, id: str, lease: str, new_lease: str) -> bool:
    """Hold a lease under another name."""
    row = _held(connection, address, id, lease)
    if row is None:
        return False
    connection.execute(SQL["take_over"], (new_lease, row.number))
    return True


def bind(connection: sqlite3.Connection, now: float, address: Address, id: str, lease: str, alias: Alias) -> bool:
    """Note the agent's ids."""
    row = _held(connection, address, id, lease)
    if row is None:
        return False
    known = merge(row.alias, alias)
    entries = [Entry(now, LetterEvent.WORKING)] if known.task_id and not row.alias_task_id else []
    connection.execute(SQL["bind"], (*known, _longer(row, *entries), row.number))
    return True


def ack(
    connection: sqlite3.Connection,
    now: float,
    address: Address,
    id: str,
    lease: str,
    answer: Answer,
    alias: Alias,
    keep_seconds: float,
) -> bool:
    """The final answer."""
    row = _held(connection, address, id, lease)
    if row is None:
        return False
    known = merge(row.alias, alias)
    if known != row.alias:
        connection.execute(SQL["bind"], (*known, row.history, row.number))
    connection.execute(SQL["put_answer"], (answer.kind, answer.body, row.number))
    end(connection, row, LetterState.DONE, now, keep_seconds, LetterEvent.ACKED, LetterEvent.DONE)
    return True


def give_back(
    connection: sqlite3.Connection,
    now: float,
    address: Address,
    id: str,
    lease: str,
    delay_seconds: float,
    reason: str,
    *,
    is_attempt: bool,
) -> bool:
    """Queue a leased letter again, or expire it."""
    row = _held(connection, address, id, lease)
    if row is None:
        return False
    if row.expires_at <= now:
        end(connection, row, LetterState.EXPIRED, now, None, LetterEvent.EXPIRED)
        return True
    require_move(LetterState(row.state), LetterState.QUEUED)
    attempt = row.attempt if is_attempt else max(row.attempt - 1, 0)
    history = _longer(row, Entry(now, LetterEvent.RETURNED, row.attempt, reason))
    connection.execute(SQL["give_back"], (attempt, due_at(now, delay_seconds), history, row.number))
    change = Change(queued=1, leased=-1)
    if not row.is_in_line:
        connection.execute(SQL["step_down"], (row.mailbox, row.context))
        connection.execute(SQL["hand_on"], (row.mailbox, row.context))
        change = change._replace(in_line=1, bytes=row.size)
    count(connection, row.mailbox, change)
    return True


def bury(
    connection: sqlite3.Connection,
    now: float,
    address: Address,
    id: str,
    lease: str,
    reason: DeadReason,
    keep_seconds: float,
) -> bool:
    """Give a leased letter up."""
    row = _held(connection, address, id, lease)
    if row is None:
        return False
    end(connection, row, LetterState.DEAD, now, keep_seconds, LetterEvent.DEAD, reason=reason)
    return True


def sweep(connection: sqlite3.Connection, now: float, limit: int, keep_seconds: float) -> Sequence[Letter]:
    """Expire and remove."""
    expired = []
    for columns in connection.execute(SQL["unswept"], (limit,)).fetchall():
        row = read_row(columns)
        connection.execute(SQL["keep"], (_kept_until(row, row.ended_at or now, keep_seconds), row.number))
        expired.append(whole_letter(columns))
    for columns in connection.execute(SQL["expiring"], (now, limit - len(expired))).fetchall():
        row = read_row(columns)
        history = end(connection, row, LetterState.EXPIRED, now, keep_seconds, LetterEvent.EXPIRED)
        letter = whole_letter(columns)
        expired.append(letter._replace(state=LetterState.EXPIRED, ended_at=now, history=history))
    removable = [read_row(columns) for columns in connection.execute(SQL["removable"], (now, limit)).fetchall()]
    remove(connection, removable)
    connection.execute(SQL["remove_keys"], (now, limit))
    return expired


def overdue(connection: sqlite3.Connection, now: float, limit: int) -> Sequence[Letter]:
    """What is leased though its time has passed."""
    return [whole_letter(columns) for columns in connection.execute(SQL["overdue"], (now, limit)).fetchall()]


def end(
    connection: sqlite3.Connection,
    row: Row,
    state: LetterState,
    now: float,
    keep_seconds: float | None,
    *events: LetterEvent,
    reason: str = "",
) -> tuple[Entry, ...]:
    """A letter waits no more; its history. None: the next sweep says how long it is kept."""
    before = LetterState(row.state)
    require_move(before, state)
    history = lengthen(read_history(row.history), *(Entry(now, event, row.attempt, reason) for event in events))
    remove_at = None if keep_seconds is None else _kept_until(row, now, keep_seconds)
    connection.execute(SQL["end_letter"], (state, reason, now, remove_at, write_history(history), row.number))
    leave_line(connection, row, dead=int(state is LetterState.DEAD))
    return history


def leave_line(connection: sqlite3.Connection, row: Row, dead: int = 0) -> None:
    """Count a letter out that waits no more in the file, and let the next of its context go."""
    count(
        connection,
        row.mailbox,
        Change(
            queued=-int(row.state == LetterState.QUEUED),
            leased=-int(row.state == LetterState.LEASED),
            dead=dead,
            in_line=-row.is_in_line,
            bytes=-row.size * row.is_in_line,
        ),
    )
    if row.is_in_line:  # its own word on whether it is the head may be older than the end of the one before it
        connection.execute(SQL["hand_on"], (row.mailbox, row.context))


def remove(connection: sqlite3.Connection, rows: Sequence[Row]) -> None:
    """Remove letters that are not leased, and mailboxes that nothing is in any more."""
    for row in rows:
        connection.execute(SQL["remove_letter"], (row.number,))
        leave_line(connection, row, dead=-int(row.state == LetterState.DEAD))
    for mailbox in {row.mailbox for row in rows}:
        connection.execute(SQL["remove_mailbox"], (mailbox,))


def _kept_until(row: Row, ended_at: float, keep_seconds: float) -> float:
    """A letter is there as long as its key, which would make a second one."""
    return max(ended_at + keep_seconds, row.key_expires_at)


def _longer(row: Row, *entries: Entry) -> str:
    return write_history(lengthen(read_history(row.history), *entries)) if entries else row.history


def _held(connection: sqlite3.Connection, address: Address, id: str, lease: str) -> Row | None:
    """The letter, when it is leased under this name."""
    return _row(connection, "get_held", id, *address, lease)


def _row(connection: sqlite3.Connection, name: str, *parameters: str) -> Row | None:
    columns = connection.execute(SQL[name], parameters).fetchone()
    return None if columns is None else read_row(columns)
