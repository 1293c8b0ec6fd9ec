"""What every kind of credential has in common: its tenant must be one, and somebody comes of it for a while."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

from a2a_relay.core.networks import Networks, read_networks
from a2a_relay.core.principal import Principal
from a2a_relay.core.tenants import TenantRecord, TenantState
from a2a_relay.errors import Reason, Refused
from a2a_relay.ports.credentials import CredentialStore


class Verified(NamedTuple):
    """Who a credential speaks for, and until when (wall time in seconds) that need not be looked at again."""

    principal: Principal
    good_until: float = math.inf


def unauthenticated(message: str) -> Refused:
    """A credential that is not good."""
    return Refused(Reason.UNAUTHENTICATED, message)


def require_active(credentials: CredentialStore, tenant: str) -> TenantRecord:
    """The record of a tenant whose credentials are good. Raises UNAUTHENTICATED."""
    record = credentials.tenant(tenant)
    if record is None:
        raise unauthenticated("the tenant is not registered here")
    if record.state is not TenantState.ACTIVE:
        raise unauthenticated("the tenant is disabled")
    return record


def networks_of(*lists: Iterable[str]) -> tuple[Networks, ...]:
    """From where a credential may be used: each list that is not empty, as it is asked. What cannot be read is none."""
    return tuple(_read(texts) for texts in map(tuple, lists) if texts)


def earliest(*instants: float | None) -> float | None:
    """The first of these instants; None for those that never come."""
    return min((instant for instant in instants if instant is not None), default=None)


def _read(texts: tuple[str, ...]) -> Networks:
    try:
        return read_networks(texts)
    except ValueError:
        return ()
