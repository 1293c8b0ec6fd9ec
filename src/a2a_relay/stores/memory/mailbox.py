"""Mailboxes in memory; gone with the process."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from a2a_relay.core.address import Address
from a2a_relay.core.letter import (
    Act,
    Alias,
    Answer,
    AuditEntry,
    DeadReason,
    Draft,
    Entry,
    Filter,
    IdempotencyKey,
    Letter,
    LetterEvent,
    LetterState,
    MailboxView,
    Room,
    require_move,
)
from a2a_relay.core.mailbox_rules import (
    describe,
    due_at,
    first_letter,
    is_due,
    key_without_letter,
    lengthen,
    merge,
    require_room,
    require_same_call,
)
from a2a_relay.errors import StoreError
from a2a_relay.ports.mailbox import Accepted, Page
from a2a_relay.stores.memory.boxes import Box, Kept

_AUDIT_LIMIT = 10_000
"""Acts that are kept for one tenant."""


class MemoryMailbox:
    """Implements `ports.mailbox.Mailbox` with dicts: every step is whole before anybody else has a turn."""

    durability = "memory"

    def __init__(self, now: Callable[[], float]) -> None:
        """`now` is wall time in seconds."""
        self._now = now
        self._letters: dict[str, Kept] = {}
        self._tenants: dict[str, dict[int, Kept]] = {}  # in the order of acceptance
        self._boxes: dict[Address, Box] = {}
        self._keys: dict[str, _Key] = {}
        self._audit: dict[str, deque[AuditEntry]] = {}
        self._last = 0
        self._expiring: list[tuple[float, int, str]] = []
        self._kept: list[tuple[float, str]] = []
        self._keys_by_end: list[tuple[float, str]] = []
        self._expired_unswept: dict[str, None] = {}

    # senders

    async def accept(self, draft: Draft, room: Room) -> Accepted:
        now = self._now()
        key = draft.idempotency
        known = self._keys.get(key.scope) if key is not None else None
        if key is not None and known is not None and known.expires_at > now:
            require_same_call(known.digest, key.digest)
            if known.id not in self._letters:
                raise key_without_letter()
            return Accepted(self._letters[known.id].letter, is_new=False)
        if draft.id in self._letters:
            raise StoreError(f"there is a letter {draft.id} already")
        box = self._boxes.get(draft.address) or Box()
        position = 0
        if not draft.leased_by:
            require_room(room, box.waiting, box.bytes, draft.size)
            position = box.waiting
        self._boxes[draft.address] = box
        self._last += 1
        letter = first_letter(draft, now, self._last)
        kept = Kept(letter, draft.size, is_in_line=not draft.leased_by)
        self._letters[letter.id] = kept
        self._tenants.setdefault(letter.address.tenant, {})[letter.number] = kept
        box.add(kept)
        self._watch_expiry(letter)
        if key is not None:
            kept.key_expires_at = now + key.seconds
            self._keys[key.scope] = _Key(key.digest, letter.id, kept.key_expires_at)
            heapq.heappush(self._keys_by_end, (kept.key_expires_at, key.scope))
        return Accepted(letter._replace(position=position), is_new=True)

    async def recall(self, tenant: str, key: IdempotencyKey) -> Letter | None:
        known = self._keys.get(key.scope)
        if known is None or known.expires_at <= self._now():
            return None
        require_same_call(known.digest, key.digest)
        letter = await self.find(tenant, known.id)
        if letter is None:
            raise key_without_letter()
        return letter

    async def find(self, tenant: str, id: str) -> Letter | None:
        kept = self._letters.get(id)
        return kept.letter if kept is not None and kept.letter.address.tenant == tenant else None

    async def find_context(self, address: Address, context_id: str) -> Letter | None:
        box = self._boxes.get(address)
        found = [kept for kept in box.all.values() if kept.letter.context_id == context_id] if box else []
        letters = [kept.letter for kept in found if kept.letter.alias.context_id or kept.is_in_line]
        return max(letters, key=lambda letter: (bool(letter.alias.context_id), letter.number), default=None)

    async def is_waiting(self, address: Address, context: str | None = None) -> bool:
        box = self._boxes.get(address)
        return box is not None and (bool(box.lines) if context is None else context in box.lines)

    async def cancel(self, tenant: str, id: str, keep_seconds: float) -> Letter | None:
        kept = self._letters.get(id)
        if kept is None or kept.letter.address.tenant != tenant or kept.letter.state is not LetterState.QUEUED:
            return None
        self._end(kept, LetterState.CANCELED, keep_seconds, LetterEvent.CANCELED)
        return kept.letter

    # delivery

    def backlog(self) -> Mapping[Address, int]:
        counts = {address: len(box.of(LetterState.QUEUED, LetterState.LEASED)) for address, box in self._boxes.items()}
        return {address: count for address, count in counts.items() if count}

    async def count(self) -> int:
        return sum(self.backlog().values())

    async def lease(self, address: Address, lease: str, limit: int) -> Sequence[Letter]:
        now = self._now()
        box = self._boxes.get(address)
        if box is None or box.is_paused:
            return []
        due = [
            kept
            for kept in box.heads()
            if kept.letter.state is LetterState.QUEUED and kept.letter.expires_at > now and is_due(kept.not_before, now)
        ]
        for kept in due[:limit]:
            attempt = kept.letter.attempt + 1
            self._move(kept, LetterState.LEASED, Entry(now, LetterEvent.LEASED, attempt), lease=lease, attempt=attempt)
        return [kept.letter for kept in due[:limit]]

    async def next_due(self, address: Address) -> float | None:
        now = self._now()
        box = self._boxes.get(address)
        if box is None or box.is_paused:
            return None
        later = [
            kept.not_before - now
            for kept in box.heads()
            if kept.letter.state is LetterState.QUEUED
            and not is_due(kept.not_before, now)
            and kept.letter.expires_at > kept.not_before
        ]
        return min(later, default=None)

    async def leased(self, address: Address) -> Sequence[Letter]:
        box = self._boxes.get(address)
        return [kept.letter for kept in box.of(LetterState.LEASED)] if box is not None else []

    async def take_over(self, address: Address, id: str, lease: str, new_lease: str) -> bool:
        kept = self._held(address, id, lease)
        if kept is None:
            return False
        kept.letter = kept.letter._replace(lease=new_lease)
        return True

    async def bind(self, address: Address, id: str, lease: str, alias: Alias) -> bool:
        kept = self._held(address, id, lease)
        if kept is None:
            return False
        letter, now = kept.letter, self._now()
        known = merge(letter.alias, alias)
        entries = [Entry(now, LetterEvent.WORKING)] if known.task_id and not letter.alias.task_id else []
        kept.letter = letter._replace(alias=known, history=lengthen(letter.history, *entries))
        return True

    async def ack(
        self, address: Address, id: str, lease: str, answer: Answer, alias: Alias, keep_seconds: float
    ) -> bool:
        kept = self._held(address, id, lease)
        if kept is None:
            return False
        kept.letter = kept.letter._replace(params=b"", answer=answer, alias=merge(kept.letter.alias, alias))
        self._end(kept, LetterState.DONE, keep_seconds, LetterEvent.ACKED, LetterEvent.DONE)
        return True

    async def give_back(
        self, address: Address, id: str, lease: str, delay_seconds: float, reason: str, *, is_attempt: bool
    ) -> bool:
        kept = self._held(address, id, lease)
        if kept is None:
            return False
        now, letter = self._now(), kept.letter
        if letter.expires_at <= now:
            self._end(kept, LetterState.EXPIRED, None, LetterEvent.EXPIRED)
            self._expired_unswept[id] = None
            return True
        kept.not_before = due_at(now, delay_seconds)
        entry = Entry(now, LetterEvent.RETURNED, letter.attempt, reason)
        attempt = letter.attempt if is_attempt else max(letter.attempt - 1, 0)
        self._move(kept, LetterState.QUEUED, entry, lease="", attempt=attempt)
        self._boxes[address].enter_line(kept)
        return True

    async def bury(self, address: Address, id: str, lease: str, reason: DeadReason, keep_seconds: float) -> bool:
        kept = self._held(address, id, lease)
        if kept is None:
            return False
        self._end(kept, LetterState.DEAD, keep_seconds, LetterEvent.DEAD, reason=reason)
        return True

    async def sweep(self, limit: int, keep_seconds: float) -> Sequence[Letter]:
        now = self._now()
        expired = []
        for id in list(self._expired_unswept)[:limit]:
            del self._expired_unswept[id]
            self._keep_until(self._letters[id], keep_seconds)
            expired.append(self._letters[id].letter)
        while self._expiring and self._expiring[0][0] <= now and len(expired) < limit:
            _, number, id = heapq.heappop(self._expiring)
            kept = self._letters.get(id)
            if kept is None or kept.letter.number != number:
                continue
            if kept.letter.state is LetterState.QUEUED:
                self._end(kept, LetterState.EXPIRED, keep_seconds, LetterEvent.EXPIRED)
                expired.append(kept.letter)
        self._remove_kept(now, limit)
        return expired

    async def overdue(self, limit: int) -> Sequence[Letter]:
        now = self._now()
        leased = (kept.letter for box in self._boxes.values() for kept in box.of(LetterState.LEASED))
        return [letter for letter in leased if letter.expires_at <= now][:limit]

    # operators

    async def list(self, tenant: str, filter: Filter, after: int | None, limit: int) -> Page:
        found = [kept.letter for kept in self._matching(tenant, filter)]
        rest = [letter for letter in reversed(found) if after is None or letter.number < after]
        shown = [letter._replace(params=b"", answer=None) for letter in rest[:limit]]
        return Page(shown, shown[-1].number if shown and len(rest) > limit else None, len(found))

    async def mailboxes(self, tenant: str) -> Sequence[MailboxView]:
        views = [
            box.view(address) for address, box in sorted(self._boxes.items(), key=lambda item: item[0])
            if address.tenant == tenant
        ]  # fmt: skip
        return [view for view in views if view.queued or view.leased or view.dead or view.is_paused]

    async def redrive(self, tenant: str, filter: Filter, ttl_seconds: float, act: Act) -> Sequence[Address]:
        now = self._now()
        again = (LetterState.DEAD, LetterState.EXPIRED)
        found = [kept for kept in self._matching(tenant, filter) if kept.letter.state in again]
        for kept in found:
            self._redrive(kept, now, now + ttl_seconds)
        self._note(tenant, act, "redrive", describe(filter), len(found))
        return sorted({kept.letter.address for kept in found})

    async def purge(self, tenant: str, filter: Filter, act: Act) -> int:
        found = [kept for kept in self._matching(tenant, filter) if kept.letter.state is not LetterState.LEASED]
        for kept in found:
            self._remove(kept)
        self._note(tenant, act, "purge", describe(filter), len(found))
        return len(found)

    async def pause(self, address: Address, is_paused: bool, act: Act) -> None:
        box = self._boxes.setdefault(address, Box())
        box.is_paused = is_paused
        self._drop_if_empty(address)
        self._note(address.tenant, act, "pause" if is_paused else "resume", address.agent, 0)

    async def audit(self, tenant: str, limit: int) -> Sequence[AuditEntry]:
        entries = self._audit.get(tenant, ())
        return [entry for entry, _ in zip(reversed(entries), range(limit), strict=False)]

    def erase(self, tenant: str) -> Mapping[str, int]:
        """Forget whatever a tenant has left here: how much of each."""
        letters = [kept.letter for kept in self._tenants.pop(tenant, {}).values()]
        ids = {letter.id for letter in letters}
        scopes = [scope for scope, key in self._keys.items() if key.id in ids]
        boxes = [address for address in self._boxes if address.tenant == tenant]
        for id in ids:
            del self._letters[id]
            self._expired_unswept.pop(id, None)
        for scope in scopes:
            del self._keys[scope]
        for address in boxes:
            del self._boxes[address]
        acts = self._audit.pop(tenant, ())
        return {
            "letters": len(letters), "idempotency_keys": len(scopes), "mailboxes": len(boxes), "letter_acts": len(acts)
        }  # fmt: skip

    # steps

    def _held(self, address: Address, id: str, lease: str) -> Kept | None:
        """The letter, when it is leased under this name."""
        kept = self._letters.get(id)
        if kept is None or kept.letter.address != address or kept.letter.state is not LetterState.LEASED:
            return None
        return kept if kept.letter.lease == lease else None

    def _move(self, kept: Kept, state: LetterState, *entries: Entry, **fields: Any) -> None:
        letter = kept.letter
        require_move(letter.state, state)
        kept.letter = letter._replace(state=state, history=lengthen(letter.history, *entries), **fields)

    def _end(
        self, kept: Kept, state: LetterState, keep_seconds: float | None, *events: LetterEvent, reason: str = ""
    ) -> None:
        """A letter waits no more; None: the next sweep says how long it is kept."""
        now, attempt = self._now(), kept.letter.attempt
        entries = [Entry(now, event, attempt, reason) for event in events]
        self._move(kept, state, *entries, lease="", reason=reason, ended_at=now)
        self._boxes[kept.letter.address].leave_line(kept)
        if keep_seconds is not None:
            self._keep_until(kept, keep_seconds)

    def _keep_until(self, kept: Kept, keep_seconds: float) -> None:
        """Remove a letter after so long, and never before its key is forgotten."""
        ended_at = kept.letter.ended_at or 0.0
        kept.remove_at = max(ended_at + keep_seconds, kept.key_expires_at)
        heapq.heappush(self._kept, (kept.remove_at, kept.letter.id))

    def _remove_kept(self, now: float, limit: int) -> None:
        for _ in range(limit):
            if not self._kept or self._kept[0][0] > now:
                break
            remove_at, id = heapq.heappop(self._kept)
            kept = self._letters.get(id)
            if kept is not None and kept.remove_at == remove_at:
                self._remove(kept)
        for _ in range(limit):
            if not self._keys_by_end or self._keys_by_end[0][0] > now:
                break
            _, scope = heapq.heappop(self._keys_by_end)
            if scope in self._keys and self._keys[scope].expires_at <= now:
                del self._keys[scope]

    def _remove(self, kept: Kept) -> None:
        letter = kept.letter
        self._boxes[letter.address].remove(kept)
        self._drop_if_empty(letter.address)
        self._expired_unswept.pop(letter.id, None)
        del self._letters[letter.id]
        of_tenant = self._tenants[letter.address.tenant]
        del of_tenant[letter.number]
        if not of_tenant:
            del self._tenants[letter.address.tenant]

    def _drop_if_empty(self, address: Address) -> None:
        box = self._boxes[address]
        if not box.all and not box.is_paused:
            del self._boxes[address]

    def _redrive(self, kept: Kept, now: float, expires_at: float) -> None:
        """Queue it behind everything that waits."""
        box, of_tenant = self._boxes[kept.letter.address], self._tenants[kept.letter.address.tenant]
        self._expired_unswept.pop(kept.letter.id, None)
        box.remove(kept)
        del of_tenant[kept.letter.number]
        self._last += 1
        self._move(
            kept,
            LetterState.QUEUED,
            Entry(now, LetterEvent.REDRIVEN),
            attempt=0,
            accepted_at=now,
            expires_at=expires_at,
            alias=Alias(),
            reason="",
            ended_at=None,
            number=self._last,
        )
        kept.not_before, kept.remove_at, kept.is_in_line = 0.0, None, True
        of_tenant[self._last] = kept
        box.add(kept)
        self._watch_expiry(kept.letter)

    def _watch_expiry(self, letter: Letter) -> None:
        heapq.heappush(self._expiring, (letter.expires_at, letter.number, letter.id))

    def _matching(self, tenant: str, filter: Filter) -> Sequence[Kept]:
        """The letters of a tenant that are meant, the oldest first."""
        return [kept for kept in self._tenants.get(tenant, {}).values() if _matches(kept.letter, filter)]

    def _note(self, tenant: str, act: Act, action: str, target: str, touched: int) -> None:
        entries = self._audit.setdefault(tenant, deque(maxlen=_AUDIT_LIMIT))
        entries.append(AuditEntry(self._now(), tenant, act.actor, action, target, touched, act.reason))


class _Key(NamedTuple):
    digest: bytes
    id: str
    expires_at: float


def _matches(letter: Letter, filter: Filter) -> bool:
    return (
        filter.agent in ("", letter.address.agent)
        and (filter.agents is None or letter.address.agent in filter.agents)
        and filter.owner in ("", letter.owner)
        and filter.state in ("", letter.state)
        and filter.reason in ("", letter.reason)
        and filter.context_id in ("", letter.context_id)
        and filter.id in ("", letter.id)
        and (filter.before is None or letter.accepted_at < filter.before)
    )
