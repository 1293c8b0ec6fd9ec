"""Which agents a tenant has, and the last card of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from a2a_relay.core.address import Address


@dataclass(frozen=True, slots=True)
class AgentRecord:
    """One registered agent. Instants are wall time in seconds; `agent_card` are the bytes as they were given.

    One that has never attached has no dialect, and was last seen at 0.
    """

    address: Address
    agent_card: bytes | None
    dialect: str
    registered_at: float
    last_seen_at: float
    serves_rest_v03: bool = False
    card_changed_at: float = 0.0


class Directory(Protocol):
    """Registered agents.

    Reads see every earlier write of this node at once. Writes return before they
    are durable: a registration is repeated at every attach, so that losing the
    last moments before a crash loses nothing that is not told again.
    """

    def get(self, address: Address) -> AgentRecord | None: ...

    def of_tenant(self, tenant: str) -> Sequence[AgentRecord]:
        """All agents of a tenant, by agent name."""

    def count(self, tenant: str) -> int: ...

    def put(self, record: AgentRecord) -> None: ...

    def forget(self, address: Address) -> bool:
        """Remove an agent; False when there was none."""

    def close(self) -> None:
        """Make all writes durable and let go of the store."""
