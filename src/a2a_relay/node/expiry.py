"""The end of credentials on links that are open: a warning, a renewal over the link, or the close."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from a2a_relay.core.credential import Credential
from a2a_relay.core.principal import Principal
from a2a_relay.core.session import Session
from a2a_relay.errors import Reason, Refused
from a2a_relay.node.agent_link import AgentLink
from a2a_relay.node.proofs import proof_key_of
from a2a_relay.ports.clock import TimerHandle
from a2a_relay.wire import close_codes
from a2a_relay.wire.dialects import NATIVE, native

if TYPE_CHECKING:
    from a2a_relay.node.relay_node import RelayNode

WARNING_SECONDS = 60.0
LEEWAY_SECONDS = 60.0
"""A token that was taken after its end, by the leeway for clocks, is good for so long after it."""
RENEWAL_SECONDS = 1.0
"""Between two renewals of one link: each costs a check of a signature."""
_LONGEST_TIMER_SECONDS = 24 * 3600.0


def is_legacy(principal: Principal) -> bool:
    """Whether it has shown a token of the secret that all share."""
    return principal.is_legacy or not (principal.key or principal.issuer)


class Expiry:
    """Watches the ends of the credentials of live sessions."""

    def __init__(self, node: RelayNode) -> None:
        self._node = node
        self._clock = node.clock
        self._timers: dict[Session, TimerHandle] = {}
        self._renewed_at: dict[Session, float] = {}

    def watch(self, link: AgentLink, session: Session) -> None:
        """From now on the link ends with its agent's credential, where it has to."""
        self.forget(session)
        ends_at = self._end_of(session)
        if ends_at is not None:
            warns_at = ends_at - WARNING_SECONDS if session.dialect is NATIVE else ends_at
            self._set(link, session, ends_at, warns_at)

    def forget(self, session: Session) -> None:
        """A session is over."""
        timer = self._timers.pop(session, None)
        if timer is not None:
            timer.cancel()
        self._renewed_at.pop(session, None)

    def _end_of(self, session: Session) -> float | None:
        """When a link has to end, as wall time: with a key always, with a token where its agent could renew it."""
        principal, now = session.principal, self._clock.now()
        ends: list[float] = []
        if principal.expires_at is not None:
            is_token = is_legacy(principal) or bool(principal.issuer)
            if not is_token or session.can_renew or self._node.link_rules.is_expiry_strict:
                ends.append(principal.expires_at)
                if is_token and principal.expires_at <= now:
                    ends[0] += LEEWAY_SECONDS
        credentials = self._node.credentials
        record = credentials.key(principal.key) if principal.key and credentials is not None else None
        if record is not None and record.expires_at is not None:
            ends.append(record.expires_at)
        return min(ends, default=None)

    def _set(self, link: AgentLink, session: Session, ends_at: float, warns_at: float) -> None:
        seconds = min(max(warns_at - self._clock.now(), 0), _LONGEST_TIMER_SECONDS)
        self._timers[session] = self._clock.call_later(seconds, partial(self._due, link, session, ends_at, warns_at))

    def _due(self, link: AgentLink, session: Session, ends_at: float, warns_at: float) -> None:
        now = self._clock.now()
        if now >= ends_at:
            self.forget(session)
            link.close(close_codes.TOKEN_EXPIRED)
        elif now >= warns_at:
            link.send(native.expiring(ends_at))
            self._set(link, session, ends_at, ends_at)
        else:
            self._set(link, session, ends_at, warns_at)

    # renewal

    def renew(self, link: AgentLink, session: Session, token: str) -> None:
        """Take a new token for a link that goes on, or say why not."""
        try:
            principal = self._renewed(link, session, token)
        except Refused as refused:
            self._node.observer.frame_refused(session, str(refused.reason))
            link.send(native.renewal_refused(refused))
            return
        session.principal = principal
        self.watch(link, session)
        self._renewed_at[session] = self._clock.monotonic()
        link.send(native.renewed(principal.expires_at))

    def _renewed(self, link: AgentLink, session: Session, token: str) -> Principal:
        """Whom a new token speaks for: nobody else than the old one, and by no weaker credential. Raises `Refused`."""
        last = self._renewed_at.get(session)
        now = self._clock.monotonic()
        if last is not None and now - last < RENEWAL_SECONDS:
            raise Refused(Reason.RATE_LIMITED)
        self._renewed_at[session] = now
        old, new = session.principal, self._node.authenticate(Credential(token), link.host)
        if self._node.require_attach(new) != session.address or new.role is not old.role:
            raise Refused(Reason.PERMISSION_DENIED, "this token is for another agent or role")
        if is_legacy(new) and not is_legacy(old):
            raise Refused(Reason.PERMISSION_DENIED, "this token is of a lesser kind than the one it would replace")
        if new.key != old.key and proof_key_of(new, self._node.credentials) is not None:
            raise Refused(Reason.PERMISSION_DENIED, "this key needs a proof of possession: attach anew")
        return new
