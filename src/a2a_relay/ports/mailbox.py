"""Where letters are kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

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


class Accepted(NamedTuple):
    """What became of a draft: its letter, or the one that the same key made before (`is_new` false)."""

    letter: Letter
    is_new: bool


class Page(NamedTuple):
    """Letters, and where the next page begins; None: there is none."""

    letters: Sequence[Letter]
    next: int | None
    total: int


class Mailbox(Protocol):
    """Letters of agents, each a sequence of atomic steps.

    Guarantees of every implementation:

    - What a method has returned survives what this store survives (`durability`), and a method that raises has changed
      nothing that anybody was told of.
    - A letter has one lease at a time. Whoever moves a leased letter on names its lease, and is told False when that is
      not its lease any more; nothing is changed then.
    - `lease` hands out the letters of one agent in the order of their acceptance within a context: never one before
      which another of the same context is waiting, be that queued, leased or backing off. It hands out none that has
      expired, none of a paused mailbox, and none before its delay has passed.
    - A letter that has ended (done, expired, dead, cancelled) is waiting no more: the next of its context may go.
    - `accept` with the same idempotency scope gives the same letter as long as the key is remembered, and that key was
      of the same body, however many do it at once.
    - Durations are given, instants are stamped here. Bodies of letters are the bytes that they came as.

    An implementation needs no transaction over two mailboxes: each step touches one letter, its mailbox and its key.
    Raises StoreError, where the store has failed.
    """

    durability: str
    """`disk` or `memory`, as queued answers name it."""

    # senders

    async def accept(self, draft: Draft, room: Room) -> Accepted:
        """Take a letter.

        Raises `Refused`: MAILBOX_FULL; IDEMPOTENCY_CONFLICT for a known key with another body, or of a purged letter.
        """

    async def recall(self, tenant: str, key: IdempotencyKey) -> Letter | None:
        """The letter that a key has made. Raises IDEMPOTENCY_CONFLICT as `accept` does."""

    async def find(self, tenant: str, id: str) -> Letter | None:
        """One letter with its history."""

    async def find_context(self, address: Address, context_id: str) -> Letter | None:
        """The newest letter of an agent whose Task carries this context and for which the agent has an id of its own.

        If there is none, the newest that is waiting.
        """

    async def is_waiting(self, address: Address, context: str | None = None) -> bool:
        """Whether a letter of this context, or any of this agent's, is still to be answered.

        Not one whose answer is late, which has no turn.
        """

    async def cancel(self, tenant: str, id: str, keep_seconds: float) -> Letter | None:
        """Cancel a letter that is queued; None when it is not queued (any more). It is kept for `keep_seconds`."""

    # delivery

    def backlog(self) -> Mapping[Address, int]:
        """How many letters are waiting, by agent; asked once, when a node starts."""

    async def count(self) -> int:
        """How many letters are waiting, of all agents together."""

    async def lease(self, address: Address, lease: str, limit: int) -> Sequence[Letter]:
        """Lease up to `limit` letters under the name `lease`, in their order; each one's `attempt` counts up."""

    async def next_due(self, address: Address) -> float | None:
        """In how many seconds a queued letter may go that may not go yet; None when there is none."""

    async def leased(self, address: Address) -> Sequence[Letter]:
        """What is leased of an agent's letters, in the order of their acceptance."""

    async def take_over(self, address: Address, id: str, lease: str, new_lease: str) -> bool:
        """Hold a lease under another name, without another attempt."""

    async def bind(self, address: Address, id: str, lease: str, alias: Alias) -> bool:
        """Note which ids the agent gave to the letter's task."""

    async def ack(
        self, address: Address, id: str, lease: str, answer: Answer, alias: Alias, keep_seconds: float
    ) -> bool:
        """The final answer: the letter is done, its params are removed, and the rest after `keep_seconds`."""

    async def give_back(
        self, address: Address, id: str, lease: str, delay_seconds: float, reason: str, *, is_attempt: bool
    ) -> bool:
        """Queue a leased letter again, at its old place. `is_attempt` false: nothing was delivered, it does not count.

        One that has expired meanwhile is expired instead, and the next sweep tells of it.
        """

    async def bury(self, address: Address, id: str, lease: str, reason: DeadReason, keep_seconds: float) -> bool:
        """Give a leased letter up. Its params stay, so that it can be redriven."""

    async def sweep(self, limit: int, keep_seconds: float) -> Sequence[Letter]:
        """Expire queued letters whose time has passed, and remove what was kept for long enough: `limit` of each.

        The letters that have expired now; they are kept for `keep_seconds`.
        """

    async def overdue(self, limit: int) -> Sequence[Letter]:
        """Leased letters whose time has passed: whoever holds one may still be at it, or be gone for ever."""

    # operators

    async def list(self, tenant: str, filter: Filter, after: int | None, limit: int) -> Page:
        """Letters, the newest first, without their params and answers. `after` is where the last page ended."""

    async def mailboxes(self, tenant: str) -> Sequence[MailboxView]:
        """All mailboxes of a tenant that hold what waits or is dead, or are paused, by agent."""

    async def redrive(self, tenant: str, filter: Filter, ttl_seconds: float, act: Act) -> Sequence[Address]:
        """Queue dead and expired letters anew, as if just accepted but for their history; whose they are, one each."""

    async def purge(self, tenant: str, filter: Filter, act: Act) -> int:
        """Remove letters that are not leased, whatever their state, with their bodies; how many."""

    async def pause(self, address: Address, is_paused: bool, act: Act) -> None:
        """Hand out none of an agent's letters, or do so again. Letters are accepted all the same."""

    async def audit(self, tenant: str, limit: int) -> Sequence[AuditEntry]:
        """What operators have done, the newest first."""
