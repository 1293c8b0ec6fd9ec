"""A mailbox as one process sees it: slow now and then, failing for a while, gone when its process is killed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from random import Random
from typing import Any, TypeVar

from sim_ledger import Ledger

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
from a2a_relay.errors import StoreError
from a2a_relay.ports.mailbox import Accepted, Mailbox, Page

T = TypeVar("T")


class UnsteadyMailbox:
    """Implements `ports.mailbox.Mailbox` over a real one, whose every effect is written down in a ledger.

    While `trouble` is above 0, that share of the steps raises StoreError: before its effect, or after it.
    """

    def __init__(self, inner: Mailbox, ledger: Ledger, chance: Random, now: Callable[[], float]) -> None:
        self._inner = inner
        self._ledger = ledger
        self._chance = chance
        self._now = now
        self.durability = inner.durability
        self.trouble = 0.0
        self.failures = 0
        self.steps = 0
        """Steps that are under way."""

    async def _step(self, step: Callable[[], Awaitable[T]], note: Callable[[T], Awaitable[None]] | None = None) -> T:
        self.steps += 1
        try:
            await self._turns()
            self._fail()
            found = await step()
            if note is not None:
                await note(found)
            await self._turns()
            self._fail()
            return found
        finally:
            self.steps -= 1

    async def _turns(self) -> None:
        for _ in range(self._chance.choice((0, 0, 0, 1, 3))):
            await asyncio.sleep(0)

    def _fail(self) -> None:
        if self.trouble and self._chance.random() < self.trouble:
            self.failures += 1
            raise StoreError("the disk is away")

    async def _renote(self, ids: Sequence[str]) -> None:
        """Write down how these letters stand now."""
        for id in ids:
            self._ledger.moved(await self._inner.find("acme", id), id)

    # senders

    async def accept(self, draft: Draft, room: Room) -> Accepted:
        async def note(found: Accepted) -> None:
            self._ledger.accepted(draft, found.letter, is_new=found.is_new)

        found = await self._step(lambda: self._inner.accept(draft, room), note)
        self._ledger.stories[found.letter.id].is_told = True
        return found

    async def recall(self, tenant: str, key: IdempotencyKey) -> Letter | None:
        found = await self._step(lambda: self._inner.recall(tenant, key))
        if found is not None:
            self._ledger.stories[found.id].is_told = True
        return found

    async def find(self, tenant: str, id: str) -> Letter | None:
        return await self._step(lambda: self._inner.find(tenant, id))

    async def find_context(self, address: Address, context_id: str) -> Letter | None:
        return await self._step(lambda: self._inner.find_context(address, context_id))

    async def is_waiting(self, address: Address, context: str | None = None) -> bool:
        return await self._step(lambda: self._inner.is_waiting(address, context))

    async def cancel(self, tenant: str, id: str, keep_seconds: float) -> Letter | None:
        return await self._change(id, lambda: self._inner.cancel(tenant, id, keep_seconds))

    async def _change(self, id: str, step: Callable[[], Awaitable[T]]) -> T:
        async def note(_: T) -> None:
            await self._renote([id])

        return await self._step(step, note)

    # delivery

    def backlog(self) -> Mapping[Address, int]:
        return self._inner.backlog()

    async def lease(self, address: Address, lease: str, limit: int) -> Sequence[Letter]:
        asked_at = self._now()

        def step() -> Awaitable[Sequence[Letter]]:
            nonlocal asked_at
            asked_at = self._now()
            return self._inner.lease(address, lease, limit)

        async def note(found: Sequence[Letter]) -> None:  # a moment later, where the store is on another thread
            self._ledger.leased(found, min(asked_at, self._now()))

        return await self._step(step, note)

    async def next_due(self, address: Address) -> float | None:
        return await self._step(lambda: self._inner.next_due(address))

    async def leased(self, address: Address) -> Sequence[Letter]:
        return await self._step(lambda: self._inner.leased(address))

    async def take_over(self, address: Address, id: str, lease: str, new_lease: str) -> bool:
        return await self._change(id, lambda: self._inner.take_over(address, id, lease, new_lease))

    async def bind(self, address: Address, id: str, lease: str, alias: Alias) -> bool:
        return await self._change(id, lambda: self._inner.bind(address, id, lease, alias))

    async def ack(
        self, address: Address, id: str, lease: str, answer: Answer, alias: Alias, keep_seconds: float
    ) -> bool:
        return await self._change(id, lambda: self._inner.ack(address, id, lease, answer, alias, keep_seconds))

    async def give_back(
        self, address: Address, id: str, lease: str, delay_seconds: float, reason: str, *, is_attempt: bool
    ) -> bool:
        return await self._change(
            id, lambda: self._inner.give_back(address, id, lease, delay_seconds, reason, is_attempt=is_attempt)
        )

    async def bury(self, address: Address, id: str, lease: str, reason: DeadReason, keep_seconds: float) -> bool:
        return await self._change(id, lambda: self._inner.bury(address, id, lease, reason, keep_seconds))

    async def sweep(self, limit: int, keep_seconds: float) -> Sequence[Letter]:
        async def note(found: Sequence[Letter]) -> None:
            await self._renote([letter.id for letter in found])

        return await self._step(lambda: self._inner.sweep(limit, keep_seconds), note)

    async def count(self) -> int:
        return await self._step(self._inner.count)

    async def overdue(self, limit: int) -> Sequence[Letter]:
        return await self._step(lambda: self._inner.overdue(limit))

    # operators

    async def list(self, tenant: str, filter: Filter, after: int | None, limit: int) -> Page:
        return await self._step(lambda: self._inner.list(tenant, filter, after, limit))

    async def mailboxes(self, tenant: str) -> Sequence[MailboxView]:
        return await self._step(lambda: self._inner.mailboxes(tenant))

    async def redrive(self, tenant: str, filter: Filter, ttl_seconds: float, act: Act) -> Sequence[Address]:
        return await self._act(lambda: self._inner.redrive(tenant, filter, ttl_seconds, act))

    async def purge(self, tenant: str, filter: Filter, act: Act) -> int:
        return await self._act(lambda: self._inner.purge(tenant, filter, act))

    async def _act(self, step: Callable[[], Awaitable[T]]) -> T:
        async def note(_: Any) -> None:
            await self._renote(list(self._ledger.stories))

        return await self._step(step, note)

    async def pause(self, address: Address, is_paused: bool, act: Act) -> None:
        await self._step(lambda: self._inner.pause(address, is_paused, act))

    async def audit(self, tenant: str, limit: int) -> Sequence[AuditEntry]:
        return await self._step(lambda: self._inner.audit(tenant, limit))
