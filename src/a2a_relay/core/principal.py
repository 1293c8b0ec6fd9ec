"""Who a credential speaks for."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from a2a_relay.core.address import Address
from a2a_relay.core.networks import Networks


class Role(StrEnum):
    """What kind of party a credential belongs to."""

    ADMIN = "admin"
    """Of its tenant: attach, send, read; with `manages` also keys and limits."""
    AGENT = "agent"
    SENDER = "sender"
    OPERATOR = "operator"
    """Of the relay: manages all tenants, and neither sends nor attaches."""


@dataclass(frozen=True, slots=True)
class Principal:
    """An authenticated party. `attaches_as` is the one agent id it may attach as, or None.

    `tenant` is empty for an operator. `expires_at` is wall time in seconds.
    """

    tenant: str
    role: Role
    identity: str
    attaches_as: str | None = None
    expires_at: float | None = None
    key: str = ""
    """The id of the key it has shown, or that has signed its token; empty: relay-go's shared secret, or an issuer."""
    issuer: str = ""
    """Who has signed its token: an issuer's URL, or a signing key's id; empty for keys that are shown themselves."""
    scopes: frozenset[str] | None = None
    """What it may do; None: whatever its role may."""
    agents: frozenset[str] | None = None
    """The agents it may see and call; None: all of its tenant."""
    manages: bool = False
    """Whether it may administer its tenant (an operator: any), which tokens of the shared secret never may (S4)."""
    is_legacy: bool = False
    """Whether it has shown a token of relay-go's shared secret."""
    networks: tuple[Networks, ...] = ()
    """From where it may come: its address must be in each of these."""
    credential: bytes = field(default=b"", repr=False, compare=False)
    """The SHA-256 of the key it has shown, or of what has signed its token (of a token of relay-go's: of the token):
    by that it is asked again whether it is still good."""
    owner: str = field(init=False, repr=False)
    """As whose streams, tasks and letters belong to this party, within its tenant. A key's survives its rotation."""

    def __post_init__(self) -> None:
        if self.issuer:
            owner = f"{self.issuer}#{self.role}:{self.identity}"
        elif self.key:
            owner = f"key:{self.key}"
        else:
            owner = f"{self.role}:{self.identity}"
        object.__setattr__(self, "owner", owner)

    @property
    def address(self) -> Address | None:
        """Where this principal may attach."""
        return Address(self.tenant, self.attaches_as) if self.attaches_as is not None else None

    @property
    def is_bounded(self) -> bool:
        """Whether it may do less than its role may."""
        return self.scopes is not None or self.agents is not None
