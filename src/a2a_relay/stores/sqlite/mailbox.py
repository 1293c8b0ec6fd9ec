"""Mailboxes in SQLite: steps on the writer's thread, short looks on the node's, long ones on a thread of their own."""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import TypeVar

from a2a_relay.core.address import Address
from a2a_relay.core.letter import (
    Act,
    Alias,
    Answer,
    AuditEntry,
    DeadReason,
    Draft,
    Filter,
    IdempotencyKey,
    Letter,
    MailboxView,
    Room,
)
from a2a_relay.core.mailbox_rules import MAX_DELAY_SECONDS, describe, key_without_letter, require_same_call
from a2a_relay.errors import Refused
from a2a_relay.ports.mailbox import Accepted, Page
from a2a_relay.stores.sqlite import administration, letters
from a2a_relay.stores.sqlite.acceptance import Offer, accept_many
from a2a_relay.stores.sqlite.database import Database
from a2a_relay.stores.sqlite.letter_rows import whole_letter
from a2a_relay.stores.sqlite.letters import SQL

T = TypeVar("T")


class SqliteMailbox:
    """Implements `ports.mailbox.Mailbox` in one SQLite file. An awaited step is on disk when it returns."""

    durability = "disk"

    def __init__(self, database: Database, now: Callable[[], float]) -> None:
        """`now` is wall time in seconds, and is asked on the writer's thread. The database outlives the mailbox."""
        self._database = database
        self._now = now

    # senders

    async def accept(self, draft: Draft, room: Room) -> Accepted:
        return await self._database.share(self._accept, Offer(draft, room))

    async def recall(self, tenant: str, key: IdempotencyKey) -> Letter | None:
        found = self._database.read(SQL["get_key"], (key.scope, self._now()))
        if not found:
            return None
        digest, id = found[0]
        require_same_call(digest, key.digest)
        letter = await self.find(tenant, id)
        if letter is None:
            raise key_without_letter()
        return letter

    async def find(self, tenant: str, id: str) -> Letter | None:
        return self._letter("find_letter", id, tenant)

    async def find_context(self, address: Address, context_id: str) -> Letter | None:
        named = self._letter("find_named_context", *address, context_id)
        return named or self._letter("find_context", *address, context_id)

    async def is_waiting(self, address: Address, context: str | None = None) -> bool:
        if context is None:
            return bool(self._database.read(SQL["is_any_waiting"], address))
        return bool(self._database.read(SQL["is_waiting"], (*address, context)))

    async def cancel(self, tenant: str, id: str, keep_seconds: float) -> Letter | None:
        return await self._step(lambda connection, now: letters.cancel(connection, now, tenant, id, keep_seconds))

    # delivery

    def backlog(self) -> Mapping[Address, int]:
        rows = self._database.read(SQL["backlog"])
        return {Address(tenant, agent): waiting for tenant, agent, waiting in rows}

    async def count(self) -> int:
        return await self._database.look(lambda connection: int(connection.execute(SQL["count_waiting"]).fetchone()[0]))

    async def lease(self, address: Address, lease: str, limit: int) -> Sequence[Letter]:
        return await self._step(lambda connection, now: letters.lease(connection, now, address, lease, limit))

    async def next_due(self, address: Address) -> float | None:
        now = self._now()
        (not_before,) = self._database.read(SQL["next_due"], (*address, now, now + MAX_DELAY_SECONDS))[0]
        return None if not_before is None else not_before - now

    async def leased(self, address: Address) -> Sequence[Letter]:
        return [whole_letter(row) for row in self._database.read(SQL["leased"], address)]

    async def take_over(self, address: Address, id: str, lease: str, new_lease: str) -> bool:
        return await self._step(lambda connection, _: letters.take_over(connection, address, id, lease, new_lease))

    async def bind(self, address: Address, id: str, lease: str, alias: Alias) -> bool:
        return await self._step(lambda connection, now: letters.bind(connection, now, address, id, lease, alias))

    async def ack(
        self, address: Address, id: str, lease: str, answer: Answer, alias: Alias, keep_seconds: float
    ) -> bool:
        return await self._step(
            lambda connection, now: letters.ack(connection, now, address, id, lease, answer, alias, keep_seconds)
        )

    async def give_back(
        self, address: Address, id: str, lease: str, delay_seconds: float, reason: str, *, is_attempt: bool
    ) -> bool:
        return await self._step(
            lambda connection, now: letters.give_back(
                connection, now, address, id, lease, delay_seconds, reason, is_attempt=is_attempt
            )
        )

    async def bury(self, address: Address, id: str, lease: str, reason: DeadReason, keep_seconds: float) -> bool:
        return await self._step(
            lambda connection, now: letters.bury(connection, now, address, id, lease, reason, keep_seconds)
        )

    async def sweep(self, limit: int, keep_seconds: float) -> Sequence[Letter]:
        return await self._step(lambda connection, now: letters.sweep(connection, now, limit, keep_seconds))

    async def overdue(self, limit: int) -> Sequence[Letter]:
        now = self._now()
        return await self._database.look(lambda connection: letters.overdue(connection, now, limit))

    # operators

    async def list(self, tenant: str, filter: Filter, after: int | None, limit: int) -> Page:
        return await self._database.look(
            lambda connection: administration.page(connection, tenant, filter, after, limit)
        )

    async def mailboxes(self, tenant: str) -> Sequence[MailboxView]:
        return await self._database.look(lambda connection: administration.mailboxes(connection, tenant))

    async def redrive(self, tenant: str, filter: Filter, ttl_seconds: float, act: Act) -> Sequence[Address]:
        touched: set[Address] = set()

        async def queue_anew(numbers: Sequence[int], entry: int) -> None:
            touched.update(
                await self._step(
                    lambda connection, now: administration.redrive(connection, now, numbers, now + ttl_seconds, entry)
                )
            )

        await self._act(tenant, filter, act, "redrive", administration.REDRIVABLE, queue_anew)
        return sorted(touched)

    async def purge(self, tenant: str, filter: Filter, act: Act) -> int:
        removed = 0

        async def remove(numbers: Sequence[int], entry: int) -> None:
            nonlocal removed
            removed += await self._step(lambda connection, _: administration.purge(connection, numbers, entry))

        await self._act(tenant, filter, act, "purge", administration.PURGEABLE, remove)
        return removed

    async def pause(self, address: Address, is_paused: bool, act: Act) -> None:
        await self._step(lambda connection, now: administration.pause(connection, now, address, is_paused, act))

    async def audit(self, tenant: str, limit: int) -> Sequence[AuditEntry]:
        return await self._database.look(lambda connection: administration.audit(connection, tenant, limit))

    # roads into the file

    def _accept(self, connection: sqlite3.Connection, offers: Sequence[Offer]) -> Sequence[Accepted | Refused]:
        return accept_many(connection, self._now(), offers)

    async def _step(self, step: Callable[[sqlite3.Connection, float], T]) -> T:
        """Run one step in a transaction; it is on disk when this returns."""
        return await self._database.carry_out(lambda connection: step(connection, self._now()))

    def _letter(self, query: str, *parameters: str) -> Letter | None:
        rows = self._database.read(SQL[query], parameters)
        return whole_letter(rows[0]) if rows else None

    async def _act(
        self,
        tenant: str,
        filter: Filter,
        act: Act,
        action: str,
        states: str,
        change: Callable[[Sequence[int], int], Awaitable[None]],
    ) -> None:
        """Write an act down, and change in chunks what it is about of the letters that are there now."""
        entry = await self._step(
            lambda connection, now: administration.note(connection, now, tenant, act, action, describe(filter))
        )
        until = await self._database.look(administration.last_number)
        numbers: Sequence[int] = (0,)
        while numbers:
            numbers = await self._database.look(
                partial(administration.meant, tenant, filter, states, numbers[-1], until)
            )
            if numbers:
                await change(numbers, entry)
