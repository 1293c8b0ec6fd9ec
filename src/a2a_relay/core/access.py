"""What a principal may do. Asked before any look-up that could reveal that something exists."""

from __future__ import annotations

from collections.abc import Sequence

from a2a_relay.a2a.methods import Operation
from a2a_relay.core import scopes
from a2a_relay.core.address import Address
from a2a_relay.core.keys import KeyRecord
from a2a_relay.core.principal import Principal, Role
from a2a_relay.errors import Reason, Refused


def require_attach(principal: Principal) -> Address:
    """The address that this principal may attach as. Raises PERMISSION_DENIED or UNAUTHENTICATED.

    The messages are relay-go's: agents of today show them to their users.
    """
    if principal.role in (Role.SENDER, Role.OPERATOR):
        raise Refused(Reason.PERMISSION_DENIED, "role client may not attach")
    address = principal.address
    if address is None:
        raise Refused(Reason.UNAUTHENTICATED, "token missing required agent_id claim")
    return address


def require_own_key(principal: Principal, keys: Sequence[KeyRecord]) -> None:
    """Refuse to attach whoever comes with something else than a key of the agent, once it has any. PERMISSION_DENIED.

    `keys` are those of the agent, revoked ones too: to take a key away opens no other door.
    """
    if keys and all(key.id != principal.key for key in keys):
        raise Refused(Reason.PERMISSION_DENIED, "this agent has a key of its own, and attaches with nothing else")


def is_visible(principal: Principal, address: Address) -> bool:
    """Whether an agent exists as far as this principal is concerned."""
    return principal.tenant == address.tenant and (principal.agents is None or address.agent in principal.agents)


def require_call(principal: Principal, address: Address) -> None:
    """Refuse a call across tenants or past the allow-list, with the answer that an unknown agent gets (decision 6)."""
    if principal.tenant != address.tenant or (principal.agents is not None and address.agent not in principal.agents):
        raise Refused(Reason.AGENT_NOT_FOUND)


def require_operation(principal: Principal, operation: Operation, method: str) -> None:
    """Refuse what the scopes do not let through. Raises PERMISSION_DENIED."""
    if principal.scopes is not None and not scopes.grants(principal.scopes, operation, method):
        raise _missing(scopes.SCOPE_OF.get(operation) or scopes.method_scope(method))


def require_scope(principal: Principal, *any_of: str) -> None:
    """Refuse whoever has none of these scopes. Raises PERMISSION_DENIED."""
    if principal.scopes is not None and principal.scopes.isdisjoint(any_of):
        raise _missing(any_of[0])


def has_scope(principal: Principal, scope: str) -> bool:
    """Whether its scopes hold this one."""
    return principal.scopes is None or scope in principal.scopes


def _missing(scope: str) -> Refused:
    return Refused(Reason.PERMISSION_DENIED, f"this credential has no scope {scope}", metadata={"scope": scope})


def require_tenant(principal: Principal, tenant: str) -> None:
    """Refuse another tenant's directory, with the answer that relay-go gives; operators see all."""
    if principal.tenant != tenant and principal.role is not Role.OPERATOR:
        raise Refused(Reason.TENANT_MISMATCH)


def is_admin(principal: Principal) -> bool:
    """Whether it sees everything of the tenants that it sees."""
    return principal.role is Role.ADMIN or principal.role is Role.OPERATOR


def require_admin(principal: Principal, tenant: str, scope: str) -> None:
    """Refuse whoever is neither the tenant's admin nor an operator. Raises TENANT_MISMATCH or PERMISSION_DENIED."""
    require_tenant(principal, tenant)
    if not is_admin(principal):
        raise Refused(Reason.PERMISSION_DENIED)
    require_scope(principal, scope)


def require_management(principal: Principal, tenant: str, scope: str) -> None:
    """Refuse whoever may not administer a tenant: the shared secret's tokens may not (S4).

    Raises PERMISSION_DENIED, whether or not the tenant exists.
    """
    is_own = principal.role is Role.ADMIN and principal.tenant == tenant
    if not principal.manages or not (is_own or principal.role is Role.OPERATOR):
        raise Refused(Reason.PERMISSION_DENIED)
    require_scope(principal, scope)


def require_operator(principal: Principal) -> None:
    """Refuse whoever does not run the relay. Raises PERMISSION_DENIED."""
    if principal.role is not Role.OPERATOR or not principal.manages:
        raise Refused(Reason.PERMISSION_DENIED)
