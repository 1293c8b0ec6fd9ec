"""What operators do to letters and ask of them, inside of a transaction or over a reading connection."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

from a2a_relay.core.address import Address
from a2a_relay.core.letter import Act, AuditEntry, Entry, Filter, LetterEvent, LetterState, MailboxView, require_move
from a2a_relay.core.mailbox_rules import lengthen
from a2a_relay.ports.mailbox import Page
from a2a_relay.stores.sqlite.letter_rows import Row, bare_letter, read_history, read_row, write_history
from a2a_relay.stores.sqlite.letters import SQL, Change, count, remove

CHUNK = 200
"""Letters that one transaction changes, so that others have their turn between."""
REDRIVABLE = "state IN ('dead', 'expired')"
PURGEABLE = "state != 'leased'"

_AUDIT_LIMIT = 10_000
"""Acts that are kept for one tenant."""


def page(connection: sqlite3.Connection, tenant: str, filter: Filter, after: int | None, limit: int) -> Page:
    """Letters, the newest first."""
    where, parameters = _where(tenant, filter)
    total = connection.execute(f"SELECT count(*) FROM letters WHERE {where}", parameters).fetchone()[0]  # noqa: S608
    if after is not None:
        where, parameters = f"{where} AND number < ?", [*parameters, after]
    columns = connection.execute(
        "SELECT letter_heads.*, (SELECT envelope FROM letter_bodies WHERE letter = number)"  # noqa: S608
        f" FROM letter_heads WHERE {where} ORDER BY number DESC LIMIT ?",
        [*parameters, limit + 1],
    ).fetchall()
    letters = [bare_letter(read_row(row))._replace(envelope=row[-1]) for row in columns[:limit]]
    return Page(letters, letters[-1].number if letters and len(columns) > limit else None, total)


def mailboxes(connection: sqlite3.Connection, tenant: str) -> Sequence[MailboxView]:
    """All mailboxes of a tenant, from their counters."""
    return [
        MailboxView(Address(tenant, agent), queued, leased, dead, size, oldest_at, bool(is_paused))
        for agent, queued, leased, dead, size, oldest_at, is_paused in connection.execute(SQL["mailboxes"], (tenant,))
    ]


def audit(connection: sqlite3.Connection, tenant: str, limit: int) -> Sequence[AuditEntry]:
    """What was done, the newest first."""
    return [AuditEntry(*row) for row in connection.execute(SQL["audit"], (tenant, limit))]


def last_number(connection: sqlite3.Connection) -> int:
    """The place of the letter that was accepted last, whatever has become of it."""
    found: int = connection.execute(SQL["last_number"]).fetchone()[0]
    return found


def meant(
    tenant: str, filter: Filter, states: str, after: int, until: int, connection: sqlite3.Connection
) -> Sequence[int]:
    """The next letters that an act is about, as long as they stay in these states: their numbers, a chunk at most."""
    where, parameters = _where(tenant, filter)
    sql = f"SELECT number FROM letters WHERE {where} AND {states} AND number > ? AND number <= ?"  # noqa: S608
    rows = connection.execute(f"{sql} ORDER BY number LIMIT ?", [*parameters, after, until, CHUNK])
    return [number for (number,) in rows]


def note(connection: sqlite3.Connection, now: float, tenant: str, act: Act, action: str, target: str) -> int:
    """Write an act down; the number of its entry, which `redrive` and `purge` count on."""
    entry = AuditEntry(now, tenant, act.actor, action, target, 0, act.reason)
    number = connection.execute(SQL["put_act"], entry).lastrowid
    connection.execute(SQL["trim_audit"], (tenant, tenant, _AUDIT_LIMIT))
    return number or 0


def redrive(
    connection: sqlite3.Connection, now: float, numbers: Sequence[int], expires_at: float, entry: int
) -> set[Address]:
    """Queue letters anew, behind everything that waits; whose they are."""
    rows = _still(connection, numbers, REDRIVABLE)
    last = last_number(connection)
    for place, row in enumerate(rows, last + 1):
        require_move(LetterState(row.state), LetterState.QUEUED)
        history = lengthen(read_history(row.history), Entry(now, LetterEvent.REDRIVEN))
        connection.execute(SQL["redrive_letter"], (place, now, expires_at, write_history(history), row.number))
        was_dead = int(row.state == LetterState.DEAD)
        count(connection, row.mailbox, Change(queued=1, dead=-was_dead, in_line=1, bytes=row.size))
    connection.execute(SQL["set_last_number"], (last + len(rows),))
    connection.execute(SQL["count_act"], (len(rows), entry))
    return {row.address for row in rows}


def purge(connection: sqlite3.Connection, numbers: Sequence[int], entry: int) -> int:
    """Remove letters; how many."""
    rows = _still(connection, numbers, PURGEABLE)
    remove(connection, rows)
    connection.execute(SQL["count_act"], (len(rows), entry))
    return len(rows)


def pause(connection: sqlite3.Connection, now: float, address: Address, is_paused: bool, act: Act) -> None:
    """Stop or resume an agent's mailbox."""
    connection.execute(SQL["pause"], (*address, is_paused))
    mailbox = connection.execute(SQL["get_mailbox"], address).fetchone()[0]
    connection.execute(SQL["remove_mailbox"], (mailbox,))
    note(connection, now, address.tenant, act, "pause" if is_paused else "resume", address.agent)


def _still(connection: sqlite3.Connection, numbers: Sequence[int], states: str) -> list[Row]:
    """Of these letters, the ones that are there and in these states now."""
    marks = ",".join("?" * len(numbers))
    sql = f"SELECT * FROM letter_heads WHERE number IN ({marks}) AND {states} ORDER BY number"  # noqa: S608
    return [read_row(row) for row in connection.execute(sql, numbers).fetchall()]


def _where(tenant: str, filter: Filter) -> tuple[str, list[Any]]:
    """A filter as SQL. An agent's mailbox stands for its tenant, so that only one index offers itself."""
    if filter.agent:
        clauses = ["mailbox = (SELECT number FROM mailboxes WHERE mailboxes.tenant = ? AND mailboxes.agent = ?)"]
        parameters: list[Any] = [tenant, filter.agent]
    else:
        clauses, parameters = ["tenant = ?"], [tenant]
    if filter.agents is not None:
        marks = ",".join("?" * len(filter.agents))
        clauses.append(
            f"mailbox IN (SELECT number FROM mailboxes WHERE mailboxes.tenant = ? AND mailboxes.agent IN ({marks}))"  # noqa: S608
        )
        parameters += [tenant, *filter.agents]
    for column in ("owner", "reason", "context_id", "id"):
        if value := getattr(filter, column):
            clauses.append(f"{column} = ?")
            parameters.append(value)
    if filter.state:
        known = filter.state in list(LetterState)  # a literal, so that an index of one state can serve
        clauses.append(f"state = '{LetterState(filter.state)}'" if known else "0")
    if filter.before is not None:
        clauses.append("accepted_at < ?")
        parameters.append(filter.before)
    return " AND ".join(clauses), parameters
