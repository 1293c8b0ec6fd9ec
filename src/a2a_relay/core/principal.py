"""Who a credential speaks for."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from a2a_relay.core.address import Address


class Role(StrEnum):
    """What kind of party a credential belongs to."""

    ADMIN = "admin"
    """Data-plane admin of its tenant: attach, send, read (relay-go's tokens without a role)."""
    AGENT = "agent"
    SENDER = "sender"


@dataclass(frozen=True, slots=True)
class Principal:
    """An authenticated party. `attaches_as` is the one agent id it may attach as, or None."""

    tenant: str
    role: Role
    identity: str
    attaches_as: str | None = None
    expires_at: float | None = None
    owner: str = field(init=False, repr=False)
    """As whose streams, tasks and letters belong to this party, within its tenant."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "owner", f"{self.role}:{self.identity}")

    @property
    def address(self) -> Address | None:
        """Where this principal may attach."""
        return Address(self.tenant, self.attaches_as) if self.attaches_as is not None else None
