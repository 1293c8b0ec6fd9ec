"""Tenants: what an operator and a tenant's own admin have settled about one."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import NamedTuple


class TenantState(StrEnum):
    """Whether a tenant's credentials are good for anything."""

    ACTIVE = "active"
    DISABLED = "disabled"


class Issuer(NamedTuple):
    """Somebody else whose tokens a tenant takes. `url` is their `iss`.

    Either `jwks_url` (https, fetched and cached) or `jwks` (the JSON text itself, offline) holds its keys.
    """

    url: str
    audiences: tuple[str, ...]
    jwks_url: str = ""
    jwks: str = ""
    algorithms: tuple[str, ...] = ("RS256", "ES256", "EdDSA")
    roles: tuple[str, ...] = ("sender",)
    """The roles that its tokens may claim."""


class TenantRecord(NamedTuple):
    """One registered tenant. Instants are wall time in seconds."""

    name: str
    created_at: float
    state: TenantState = TenantState.ACTIVE
    takes_legacy: bool = True
    """Whether tokens of relay-go's shared secret are taken for it."""
    networks: tuple[str, ...] = ()
    """Addresses and CIDR ranges from which its credentials may be used; none: any."""
    limits: Mapping[str, float] = MappingProxyType({})
    """Overrides of limits, by their names."""
    issuers: tuple[Issuer, ...] = ()
    on_second_session: str = ""
    """`replace` or `refuse` (decision 7); empty: the relay's setting."""
    takeover_hold_seconds: float | None = None
    """How long letters are held back from an agent that has replaced a live session; None: the relay's setting."""


class LegacyUse(NamedTuple):
    """Somebody who still comes with a token of the shared secret. Instants are wall time, to the minute."""

    tenant: str
    identity: str
    role: str
    first_at: float
    last_at: float
