"""What senders and operators may ask about letters. Each question is authorized before anything is looked up."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from a2a_relay.core import access
from a2a_relay.core.address import Address
from a2a_relay.core.audit import AuditFact
from a2a_relay.core.letter import Act, AuditEntry, Filter, Letter, MailboxView
from a2a_relay.core.mail_rules import MailPolicy
from a2a_relay.core.mailbox_rules import describe
from a2a_relay.core.principal import Principal, Role
from a2a_relay.errors import Reason, Refused, StoreError
from a2a_relay.node.agents import Agents
from a2a_relay.node.receipts import Feed, Receipts
from a2a_relay.ports.audit import AuditLog
from a2a_relay.ports.mailbox import Mailbox, Page
from a2a_relay.ports.observer import Observer

MAX_REASON_CHARS = 500
MAX_PAGE = 200
_RECENT = 20
"""Entries among which the one is that was just written: so many operators are not at work at once."""
ALL = Filter()


class LetterParts(NamedTuple):
    """What the desk works on. `wake` is told of each agent some of whose letters may go (again)."""

    mailbox: Mailbox
    receipts: Receipts
    agents: Agents
    policy: MailPolicy
    observer: Observer
    wake: Callable[[Address], None]
    audit: AuditLog | None = None


class LetterDesk:
    """Reading is for senders, of their own letters, and for the tenant's admin; changing is for the admin alone.

    Whoever asks for one letter that is not his to read gets LETTER_NOT_FOUND, as for one that does not exist; for
    another tenant's letters as a whole TENANT_MISMATCH; without the role PERMISSION_DENIED. What changes letters of
    others needs a reason and is written down: in the store, by the same step, and in the log.
    """

    def __init__(self, parts: LetterParts) -> None:
        self._mailbox, self._receipts, self._agents, self._policy, self._observer, self._wake, self._log = parts

    @property
    def durability(self) -> str:
        """What letters survive: `disk`, or `memory`: nothing."""
        return self._mailbox.durability

    # reading

    async def show(self, principal: Principal, tenant: str, id: str) -> Letter:
        """One letter with its history. Raises LETTER_NOT_FOUND."""
        if principal.tenant != tenant:
            raise Refused(Reason.LETTER_NOT_FOUND)
        letter = await self._mailbox.find(tenant, id)
        if letter is None or not (principal.role is Role.ADMIN or letter.owner == principal.owner):
            raise Refused(Reason.LETTER_NOT_FOUND)
        return letter

    async def list(
        self, principal: Principal, tenant: str, filter: Filter, after: int | None = None, limit: int = 50
    ) -> Page:
        """Letters, the newest first; a sender's own whatever the filter says of owners. At most MAX_PAGE at a time."""
        access.require_tenant(principal, tenant)
        if principal.role is not Role.ADMIN:
            filter = filter._replace(owner=principal.owner)
        return await self._mailbox.list(tenant, filter, after, min(limit, MAX_PAGE))

    def follow(self, principal: Principal, tenant: str, agent: str = "") -> Feed:
        """Follow letters as a whole: one's own, an admin all of the tenant. Raises RATE_LIMITED."""
        access.require_tenant(principal, tenant)
        return self._receipts.follow(principal, agent)

    def follow_one(self, principal: Principal, tenant: str, id: str) -> Feed:
        """Follow one letter, whether or not it is there: only its own sender and the admin are told anything.

        Raises LETTER_NOT_FOUND for another tenant's, RATE_LIMITED.
        """
        if principal.tenant != tenant:
            raise Refused(Reason.LETTER_NOT_FOUND)
        return self._receipts.follow(principal, id=id)

    async def mailboxes(self, principal: Principal, tenant: str) -> tuple[MailboxView, ...]:
        """The tenant's mailboxes that hold anything."""
        self.require_admin(principal, tenant)
        return tuple(await self._mailbox.mailboxes(tenant))

    async def audit(self, principal: Principal, tenant: str, limit: int) -> tuple[AuditEntry, ...]:
        """What was done to letters of others, the newest first; at most MAX_PAGE."""
        self.require_admin(principal, tenant)
        return tuple(await self._mailbox.audit(tenant, min(limit, MAX_PAGE)))

    # changing

    async def redrive(
        self, principal: Principal, tenant: str, filter: Filter, reason: str, *, is_all: bool = False
    ) -> int:
        """Queue dead and expired letters anew; how many.

        They live for as long as the rules allow for the agent that the filter names, else for any of the tenant.
        Raises INVALID_PARAMS for an empty filter, unless all are meant.
        """
        act = self._act(principal, tenant, reason)
        _require_choice(filter, is_all=is_all)
        ttl_seconds = self._policy.rules_for(Address(tenant, filter.agent or "*")).ttl_seconds
        with self._waking(await self._meant(tenant, filter)):
            whose = await self._mailbox.redrive(tenant, filter, ttl_seconds, act)
        self._wake_all(whose)
        # How many it were stands in the entry that the same step has written.
        entries = await self._mailbox.audit(tenant, _RECENT) if whose else ()
        asked = ("redrive", act.actor, act.reason)
        count = next((entry.touched for entry in entries if (entry.action, entry.actor, entry.reason) == asked), 0)
        self._tell(tenant, "redrive", describe(filter), count, act)
        return count

    async def purge(
        self, principal: Principal, tenant: str, filter: Filter, reason: str, *, is_all: bool = False
    ) -> int:
        """Remove letters that are not in delivery; how many. Raises INVALID_PARAMS as `redrive` does."""
        act = self._act(principal, tenant, reason)
        _require_choice(filter, is_all=is_all)
        touched = await self._meant(tenant, filter)
        with self._waking(touched):
            count = await self._mailbox.purge(tenant, filter, act)
        self._tell(tenant, "purge", describe(filter), count, act)
        if count:  # what others were waiting for may be gone
            self._wake_all(touched)
        return count

    async def _meant(self, tenant: str, filter: Filter) -> tuple[Address, ...]:
        """The mailboxes that an act may touch."""
        if filter.agent:
            return (Address(tenant, filter.agent),)
        return tuple(view.address for view in await self._mailbox.mailboxes(tenant))

    @contextmanager
    def _waking(self, touched: tuple[Address, ...]) -> Iterator[None]:
        """Wake mailboxes after a step that seemed to fail: it may have been taken."""
        try:
            yield
        except StoreError:
            self._wake_all(touched)
            raise

    def _wake_all(self, addresses: Iterable[Address]) -> None:
        for address in addresses:
            self._wake(address)

    async def pause(self, principal: Principal, address: Address, reason: str) -> None:
        """Hand out none of an agent's letters until it is resumed. Raises AGENT_NOT_FOUND."""
        await self._set_paused(principal, address, reason, is_paused=True)

    async def resume(self, principal: Principal, address: Address, reason: str) -> None:
        """Hand out an agent's letters again. Raises AGENT_NOT_FOUND."""
        await self._set_paused(principal, address, reason, is_paused=False)
        self._wake(address)

    async def _set_paused(self, principal: Principal, address: Address, reason: str, *, is_paused: bool) -> None:
        act = self._act(principal, address.tenant, reason)
        if not self._agents.is_known(address):
            raise Refused(Reason.AGENT_NOT_FOUND)
        await self._mailbox.pause(address, is_paused, act)
        self._tell(address.tenant, "pause" if is_paused else "resume", address.agent, 0, act)

    def _act(self, principal: Principal, tenant: str, reason: str) -> Act:
        self.require_admin(principal, tenant)
        if not reason.strip() or len(reason) > MAX_REASON_CHARS:
            raise Refused(Reason.INVALID_PARAMS, f"a reason is needed, of {MAX_REASON_CHARS} characters at most")
        return Act(principal.owner, reason)

    def require_admin(self, principal: Principal, tenant: str) -> None:
        """Refuse whoever may not change letters: with TENANT_MISMATCH or PERMISSION_DENIED."""
        access.require_admin(principal, tenant, "letters:write")

    def _tell(self, tenant: str, action: str, target: str, touched: int, act: Act) -> None:
        self._observer.notice(
            "audit", tenant=tenant, actor=act.actor, action=action, target=target, touched=touched, reason=act.reason
        )
        if self._log is not None:
            self._log.write(AuditFact(tenant, act.actor, f"letters.{action}", target, reason=act.reason, times=touched))


def _require_choice(filter: Filter, *, is_all: bool) -> None:
    if filter == ALL and not is_all:
        raise Refused(Reason.INVALID_PARAMS, "a filter is needed, or that all letters are meant")
