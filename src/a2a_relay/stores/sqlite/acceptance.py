"""The acceptance of letters: of all that come at the same time at once, in few statements.

It runs inside of a transaction that somebody else has begun and will commit.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from a2a_relay.core.address import Address
from a2a_relay.core.letter import Draft, IdempotencyKey, Letter, Room
from a2a_relay.core.mailbox_rules import first_letter, key_without_letter, require_room, require_same_call
from a2a_relay.errors import Refused
from a2a_relay.ports.mailbox import Accepted
from a2a_relay.stores.sqlite.letter_rows import whole_letter, write_history
from a2a_relay.stores.sqlite.queries import in_few_steps, load_queries

_SQL = load_queries("mailbox.sql")

_PORTION = 1024 * 1024
"""Bytes of bodies in one statement, which holds a copy of each; one alone may be larger."""


class Offer(NamedTuple):
    """A draft, and how much its mailbox may hold."""

    draft: Draft
    room: Room


def accept_many(connection: sqlite3.Connection, now: float, offers: Sequence[Offer]) -> list[Accepted | Refused]:
    """Take letters, or find the ones that their keys have made, as if each came after the one before it.

    Raises sqlite3.IntegrityError, for all of them, when the id of one is taken.
    """
    batch = _Batch(connection, now, [offer.draft for offer in offers])
    outcomes: list[Accepted | Refused] = []
    for draft, room in offers:
        try:
            outcomes.append(batch.known(draft) or batch.take(draft, room))
        except Refused as refused:
            outcomes.append(refused)
    batch.write()
    return outcomes


class _Box:
    """One mailbox: what it held, and what the batch has put into it."""

    __slots__ = ("busy", "bytes", "held_bytes", "held_in_line", "leased", "number", "queued")

    def __init__(self, number: int, in_line: int, held_bytes: int) -> None:
        self.number = number
        self.held_in_line = in_line
        self.held_bytes = held_bytes
        self.busy: set[str] = set()
        """Contexts of which a letter is waiting."""
        self.queued = 0
        self.leased = 0
        self.bytes = 0


class _Batch:
    """Letters that are written together. What one of them has changed holds for those after it."""

    def __init__(self, connection: sqlite3.Connection, now: float, drafts: Sequence[Draft]) -> None:
        self._connection = connection
        self._now = now
        self._number = 0
        self._keys: dict[str, tuple[bytes, Letter | None]] = {}
        self._boxes: dict[Address, _Box] = {}
        self._histories: dict[bool, str] = {}
        self._letter_rows: list[Sequence[Any]] = []
        self._body_rows: list[tuple[int, bytes, bytes]] = []
        self._key_rows: list[Sequence[Any]] = []
        self._find_boxes(drafts)
        if any(draft.idempotency is not None for draft in drafts):
            self._find_keys(drafts)

    def known(self, draft: Draft) -> Accepted | None:
        """The letter that the draft's key has made. Raises `Refused`."""
        key = draft.idempotency
        found = self._keys.get(key.scope) if key is not None else None
        if key is None or found is None:
            return None
        digest, letter = found
        require_same_call(digest, key.digest)
        if letter is None:
            raise key_without_letter()
        return Accepted(letter, is_new=False)

    def take(self, draft: Draft, room: Room) -> Accepted:
        """A new letter, unless its mailbox is full. Raises `Refused`."""
        box, size = self._boxes[draft.address], draft.size
        is_head, position = False, 0
        if not draft.leased_by:
            position = box.held_in_line + box.queued
            require_room(room, position, box.held_bytes + box.bytes, size)
            is_head = draft.context not in box.busy
            box.queued += 1
            box.bytes += size
            box.busy.add(draft.context)
        else:
            box.leased += 1
        if not box.number:
            box.number = self._connection.execute(_SQL["put_mailbox"], draft.address).lastrowid or 0
        self._number += 1
        letter = first_letter(draft, self._now, self._number, position)
        key = draft.idempotency
        key_expires_at = 0.0 if key is None else self._remember(key, letter)
        self._put(letter, box.number, size, is_head, key_expires_at)
        return Accepted(letter, is_new=True)

    def write(self) -> None:
        """Write everything that was taken."""
        if not self._letter_rows:
            return
        counts = [
            (*address, box.queued, box.leased, box.queued, box.bytes)
            for address, box in self._boxes.items()
            if box.queued or box.leased
        ]
        self._write("put_letters", self._letter_rows)
        for portion in _portions(self._body_rows):
            self._write("put_bodies", portion)
        self._write("count_accepted", counts)
        if self._key_rows:
            self._write("put_keys", self._key_rows)

    def _find_boxes(self, drafts: Sequence[Draft]) -> None:
        """How full the mailboxes are, which of the contexts are waiting, and which number was given last."""
        asked: dict[tuple[Address, str | None], None] = {}
        for draft in drafts:
            asked[draft.address, None if draft.is_new_context or draft.leased_by else draft.context] = None
        places = list(asked)
        rows = [(place, *address, context) for place, (address, context) in enumerate(places)]
        for sql, parameters in in_few_steps(_SQL["prepare_accept"], rows):
            for place, number, in_line, held_bytes, is_waiting, last in self._connection.execute(sql, parameters):
                address, context = places[place]
                box = self._boxes.get(address)
                if box is None:
                    box = self._boxes[address] = _Box(number or 0, in_line or 0, held_bytes or 0)
                if is_waiting and context is not None:
                    box.busy.add(context)
                self._number = last or 0

    def _find_keys(self, drafts: Sequence[Draft]) -> None:
        """The letters of the keys that are known."""
        tenants = {draft.idempotency.scope: draft.address.tenant for draft in drafts if draft.idempotency is not None}
        for sql, parameters in in_few_steps(_SQL["get_keys"], [(scope, self._now) for scope in tenants]):
            for scope, digest, id in self._connection.execute(sql, parameters).fetchall():
                row = self._connection.execute(_SQL["find_letter"], (id, tenants[scope])).fetchone()
                self._keys[scope] = (digest, None if row is None else whole_letter(row))

    def _remember(self, key: IdempotencyKey, letter: Letter) -> float:
        """Let later ones with the same key find this letter; until when."""
        expires_at = self._now + key.seconds
        if expires_at > self._now:
            self._keys[key.scope] = (key.digest, letter._replace(position=None))
        self._key_rows.append((key.scope, key.digest, letter.id, expires_at))
        return expires_at

    def _put(self, letter: Letter, mailbox: int, size: int, is_head: bool, key_expires_at: float) -> None:
        is_late = bool(letter.lease)
        history = self._histories.get(is_late)
        if history is None:
            history = self._histories[is_late] = write_history(letter.history)
        self._letter_rows.append(
            (
                letter.number,
                letter.id,
                letter.address.tenant,
                mailbox,
                letter.owner,
                letter.task_id,
                letter.context,
                letter.context_id,
                letter.state.value,
                not is_late,
                is_head,
                letter.attempt,
                letter.lease,
                size,
                letter.accepted_at,
                letter.expires_at,
                key_expires_at,
                history,
            )
        )
        self._body_rows.append((letter.number, letter.envelope, letter.params))

    def _write(self, name: str, rows: Sequence[Sequence[Any]]) -> None:
        for sql, parameters in in_few_steps(_SQL[name], rows):
            self._connection.execute(sql, parameters)


def _portions(rows: Sequence[tuple[int, bytes, bytes]]) -> Iterator[Sequence[tuple[int, bytes, bytes]]]:
    """Rows of bodies, in runs that are not too large."""
    start = size = 0
    for at, (_, envelope, params) in enumerate(rows):
        size += len(envelope) + len(params)
        if size > _PORTION and at > start:
            yield rows[start:at]
            start, size = at, len(envelope) + len(params)
    yield rows[start:] if start else rows
