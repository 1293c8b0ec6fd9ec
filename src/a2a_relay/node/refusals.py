"""Refused accesses on their way into the audit log: counted for a minute, so that a flood is a few entries."""

from __future__ import annotations

from typing import NamedTuple

from a2a_relay.core.address import Address
from a2a_relay.core.audit import AuditFact
from a2a_relay.core.principal import Principal
from a2a_relay.errors import Reason
from a2a_relay.ports.audit import AuditLog
from a2a_relay.ports.clock import Clock
from a2a_relay.ports.observer import Observer

WATCHED = frozenset({Reason.UNAUTHENTICATED, Reason.PERMISSION_DENIED, Reason.TENANT_MISMATCH, Reason.ADDRESS_REFUSED})
"""Refusals of who is asking. What is missing or too much is no attempt at somebody else's."""

GATHER_SECONDS = 60.0
MAX_ENTRIES = 100
"""Entries of one minute; what comes on top is one more for each reason, whoever it was."""
_MAX_CHARS = 200


class _Who(NamedTuple):
    reason: Reason
    tenant: str
    actor: str
    peer: str


class Refusals:
    """Counts refusals by who was refused and why, and writes them down a minute after the first.

    Where the actor is known, refusals of one actor from several addresses are one entry, with the first's address.
    """

    def __init__(self, audit: AuditLog, clock: Clock) -> None:
        self._audit = audit
        self._clock = clock
        self._found: dict[_Who, AuditFact] = {}
        self._others: dict[Reason, int] = {}

    def note(self, reason: Reason, tenant: str, actor: str, peer: str, what: str) -> None:
        """Somebody was refused. `peer` is an address without its port; `what` what he was after, of the first time."""
        if not self._found:
            self._clock.call_later(GATHER_SECONDS, self.flush)
        who = _Who(reason, tenant[:_MAX_CHARS], actor[:_MAX_CHARS], "" if actor else peer[:_MAX_CHARS])
        fact = self._found.get(who)
        if fact is not None:
            self._found[who] = fact._replace(times=fact.times + 1)
        elif len(self._found) < MAX_ENTRIES:
            self._found[who] = AuditFact(
                who.tenant, who.actor, "access", what[:_MAX_CHARS], str(reason), peer=peer[:_MAX_CHARS]
            )
        else:
            self._others[reason] = self._others.get(reason, 0) + 1

    def note_call(
        self, reason: Reason, address: Address | None, method: str, peer: str, principal: Principal | None = None
    ) -> None:
        """A call was refused, for whatever reason; `peer` is an address with its port, or empty."""
        if reason in WATCHED:
            tenant, agent = address if address is not None else ("", "")
            actor = principal.owner if principal is not None else ""
            self.note(reason, tenant, actor, peer.rpartition(":")[0], f"{method} {agent}".strip())

    def flush(self) -> None:
        """Write down what has gathered."""
        found, self._found = self._found, {}
        others, self._others = self._others, {}
        for fact in found.values():
            self._audit.write(fact)
        for reason, times in others.items():
            self._audit.write(AuditFact("", "others", "access", "", str(reason), times=times))


class RefusalObserver:
    """An observer that also has refused links written down. Of calls, of which there are many, their front tells."""

    def __init__(self, observer: Observer, refusals: Refusals) -> None:
        self._observer = observer
        self._refusals = refusals
        # The observer's own: nothing is added to what a call costs.
        self.streams = observer.streams
        self.call_finished = observer.call_finished
        self.stream_ended = observer.stream_ended
        self.letter = observer.letter
        self.session_attached = observer.session_attached
        self.session_closed = observer.session_closed
        self.frame_refused = observer.frame_refused
        self.notice = observer.notice

    def link_refused(self, reason: Reason, message: str, peer: str) -> None:
        if reason in WATCHED:
            self._refusals.note(reason, "", "", peer.rpartition(":")[0] or peer, "attach")
        self._observer.link_refused(reason, message, peer)
