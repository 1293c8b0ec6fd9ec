"""The agents of this relay: who is attached, who is known, and what their cards say."""

from __future__ import annotations

from dataclasses import dataclass, replace

from a2a_relay.a2a import agent_card
from a2a_relay.core import access
from a2a_relay.core.address import Address, is_name
from a2a_relay.core.hub import Hub
from a2a_relay.core.limits import Limits
from a2a_relay.core.principal import Principal
from a2a_relay.core.session import Session
from a2a_relay.errors import Reason, Refused
from a2a_relay.ports.clock import Clock
from a2a_relay.ports.directory import AgentRecord, Directory

_SEEN_LIMIT = 10_000
_NAMED = 20
"""Agents that a refusal names."""


@dataclass(frozen=True, slots=True)
class AgentView:
    """One agent as a list shows it (decision 26). Instants are wall time in seconds."""

    record: AgentRecord
    state: str
    attached_at: float | None

    @property
    def lacks_rest_v03(self) -> bool:
        """Whether it has been here, and said that it does not serve 0.3's HTTP+JSON."""
        return self.record.last_seen_at > 0 and not self.record.serves_rest_v03


class Agents:
    """Registration and the directory, seen from one node."""

    def __init__(self, hub: Hub, directory: Directory, clock: Clock, limits: Limits) -> None:
        self._hub = hub
        self._directory = directory
        self._clock = clock
        self._limits = limits
        self._card_updates: dict[Address, list[float]] = {}
        self._last_seen: dict[Address, float] = {}
        """Of agents that were asked for lately; the oldest go."""

    def require_acceptable_card(self, card: bytes | None) -> None:
        """Refuse a card that cannot be kept. Raises TOO_LARGE or INVALID_PARAMS."""
        if card is None:
            return
        if len(card) > self._limits.max_card:
            raise Refused(Reason.TOO_LARGE, f"the agent card is larger than {self._limits.max_card} bytes")
        try:
            agent_card.require_servable(card)
        except Refused as refused:
            raise Refused(Reason.INVALID_PARAMS, f"the agent card: {refused.message}") from refused

    def register(self, session: Session, card: bytes | None) -> bytes | None:
        """Record an agent that attaches; one that comes without a card keeps its last one. The card it has now."""
        known = self._directory.get(session.address)
        if known is None:
            self._require_room(session.address.tenant)
        now = self._clock.now()
        last_card = known.agent_card if known is not None else None
        kept = card if card is not None else last_card
        unchanged = known is not None and kept == last_card
        self._directory.put(
            AgentRecord(
                address=session.address,
                agent_card=kept,
                dialect=session.dialect.name,
                registered_at=known.registered_at if known is not None else now,
                last_seen_at=now,
                serves_rest_v03=session.serves_rest_v03,
                card_changed_at=known.card_changed_at if known is not None and unchanged else now,
            )
        )
        return kept

    def expect(self, address: Address, card: bytes | None) -> bool:
        """Record an agent that is to attach later, so that it has a mailbox; whether it is new.

        The card is kept unless the agent has given one itself. Raises INVALID_PARAMS for a name that cannot be new or
        a card that cannot be kept, TOO_LARGE, and RATE_LIMITED when the tenant has its fill.
        """
        self.require_acceptable_card(card)
        known, now = self._directory.get(address), self._clock.now()
        if known is None:
            if not is_name(address.agent):
                raise Refused(Reason.INVALID_PARAMS, "a name is 1 to 63 letters, digits, - and _")
            self._require_room(address.tenant)
            self._directory.put(AgentRecord(address, card, "", now, last_seen_at=0.0, card_changed_at=now))
            return True
        has_own_card = known.agent_card is not None and known.last_seen_at > 0
        if card is not None and not has_own_card and card != known.agent_card:
            self._directory.put(replace(known, agent_card=card, card_changed_at=now))
        return False

    def _require_room(self, tenant: str) -> None:
        if self._directory.count(tenant) >= self._limits.agents_per_tenant:
            raise Refused(Reason.RATE_LIMITED, "the tenant has its fill of agents")

    def require_update(self, session: Session, card: bytes) -> None:
        """Count a new card that comes without a reconnect. Raises `Refused` when it is not acceptable or too soon."""
        self.require_acceptable_card(card)
        now = self._clock.monotonic()
        recent = [at for at in self._card_updates.get(session.address, ()) if at > now - 60]
        if len(recent) >= self._limits.card_updates_per_minute:
            raise Refused(Reason.RATE_LIMITED, "too many card updates")
        self._card_updates[session.address] = [*recent, now]

    def left(self, session: Session) -> None:
        """Note when an agent was last seen."""
        self._card_updates.pop(session.address, None)
        known = self._directory.get(session.address)
        if known is not None:
            now = self._clock.now()
            self._directory.put(replace(known, last_seen_at=now))
            self._note_seen(session.address, now)

    def find(self, address: Address) -> AgentView | None:
        """One agent, attached or not."""
        record = self._directory.get(address)
        return None if record is None else self._view(record, self._hub.find(address))

    def visible_to(self, principal: Principal, tenant: str) -> list[AgentView]:
        """A tenant's agents that are not hidden from a principal, by name. Whose tenant it is is not asked here."""
        views = self.of_tenant(tenant)
        if principal.agents is None:
            return views
        return [view for view in views if view.record.address.agent in principal.agents]

    def names_for(self, principal: Principal) -> list[str]:
        """The agents that a principal may call in its tenant, as far as it may know of any; the first of them."""
        if not access.has_scope(principal, "agents:read"):
            return []
        return [view.record.address.agent for view in self.visible_to(principal, principal.tenant)[:_NAMED]]

    def of_tenant(self, tenant: str) -> list[AgentView]:
        """All agents of a tenant, by name."""
        live = self._hub.of_tenant(tenant)
        return [self._view(record, live.get(record.address.agent)) for record in self._directory.of_tenant(tenant)]

    def at_root(self, principal: Principal, default: Address | None) -> Address:
        """The agent that a caller reaches at `/`: the configured one, or the only one that it may see.

        Raises AGENT_NOT_FOUND, or AGENT_AMBIGUOUS with the names of those it may see.
        """
        if default is not None and access.is_visible(principal, default):
            return default
        agents = [
            record.address
            for record in self._directory.of_tenant(principal.tenant)
            if access.is_visible(principal, record.address)
        ]
        if not agents:
            raise Refused(Reason.AGENT_NOT_FOUND)
        if len(agents) > 1:
            names = ", ".join(self.names_for(principal))
            raise Refused(Reason.AGENT_AMBIGUOUS, metadata={"agents": names} if names else {})
        return agents[0]

    def last_seen_at(self, address: Address) -> float:
        """When an agent was attached last; 0 for one that never was, or is not known."""
        found = self._last_seen.get(address)
        if found is None:
            record = self._directory.get(address)
            found = record.last_seen_at if record is not None else 0.0
            self._note_seen(address, found)
        return found

    def _note_seen(self, address: Address, at: float) -> None:
        self._last_seen[address] = at
        while len(self._last_seen) > _SEEN_LIMIT:
            del self._last_seen[next(iter(self._last_seen))]

    def is_known(self, address: Address) -> bool:
        """Whether the tenant has this agent."""
        return self._directory.get(address) is not None

    def forget(self, address: Address) -> bool:
        """Remove an agent that is away; one that is attached is refused with PERMISSION_DENIED."""
        if self._hub.find(address) is not None:
            raise Refused(Reason.PERMISSION_DENIED, "the agent is attached")
        return self._directory.forget(address)

    def _view(self, record: AgentRecord, session: Session | None) -> AgentView:
        if session is None:
            return AgentView(record, "away", None)
        return AgentView(record, "attached" if session.is_ready else "paused", session.attached_at)
