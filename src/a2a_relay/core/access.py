"""What a principal may do. Asked before any look-up that could reveal that something exists."""

from __future__ import annotations

from a2a_relay.core.address import Address
from a2a_relay.core.principal import Principal, Role
from a2a_relay.errors import Reason, Refused


def require_attach(principal: Principal) -> Address:
    """The address that this principal may attach as. Raises PERMISSION_DENIED or UNAUTHENTICATED.

    The messages are relay-go's: agents of today show them to their users.
    """
    if principal.role is Role.SENDER:
        raise Refused(Reason.PERMISSION_DENIED, "role client may not attach")
    address = principal.address
    if address is None:
        raise Refused(Reason.UNAUTHENTICATED, "token missing required agent_id claim")
    return address


def require_call(principal: Principal, address: Address) -> None:
    """Refuse a call across tenants, with the answer that an unknown agent gets (decision 6)."""
    if principal.tenant != address.tenant:
        raise Refused(Reason.AGENT_NOT_FOUND)


def require_tenant(principal: Principal, tenant: str) -> None:
    """Refuse another tenant's directory, with the answer that relay-go gives."""
    if principal.tenant != tenant:
        raise Refused(Reason.TENANT_MISMATCH)


def require_role(principal: Principal, role: Role) -> None:
    """Refuse whoever has another role."""
    if principal.role is not role:
        raise Refused(Reason.PERMISSION_DENIED)
