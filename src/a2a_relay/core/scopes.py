"""Scopes: what a credential may do, by standard names, and which of them an operation needs."""

from __future__ import annotations

from collections.abc import Mapping

from a2a_relay.a2a.methods import Operation
from a2a_relay.core.principal import Role

ANY_METHOD = "method:*"
"""Methods that A2A does not know (S12); `method:<name>` for a single one."""

SCOPE_OF: Mapping[Operation, str] = {
    Operation.SEND: "message:send",
    Operation.STREAM: "message:stream",
    Operation.GET: "tasks:read",
    Operation.LIST: "tasks:read",
    Operation.SUBSCRIBE: "tasks:read",
    Operation.CANCEL: "tasks:write",
    Operation.PUSH_GET: "push:read",
    Operation.PUSH_LIST: "push:read",
    Operation.PUSH_SET: "push:write",
    Operation.PUSH_DELETE: "push:write",
    Operation.EXTENDED_CARD: "agents:read",
}
"""What an operation needs. One that A2A does not know needs `method:<name>` or ANY_METHOD."""

CALLING = frozenset({*SCOPE_OF.values(), "letters:read"})
"""What a sender may do by default, and an agent under its own name; ANY_METHOD with it where tenants are open."""
WORKBENCH = frozenset({"agents:write", "letters:write"})
"""What an admin may do beyond CALLING to agents and letters of its tenant."""
MANAGING = frozenset({"keys:read", "keys:write", "limits:read", "limits:write", "audit:read", "tenant:write"})
"""What a key's admin may do beyond that."""
BODIES = "letters:body"
"""Seeing bodies of others: given by a tenant's own admin for a limited time, never by default (S17)."""
KNOWN = CALLING | WORKBENCH | MANAGING | {BODIES, ANY_METHOD}

_METHOD = "method:"


def method_scope(method: str) -> str:
    """The scope that lets a single method of an extension through."""
    return _METHOD + method


def is_known(scope: str) -> bool:
    """Whether a key may be given this scope."""
    return scope in KNOWN or (scope.startswith(_METHOD) and len(scope) > len(_METHOD))


def default_scopes(role: Role, *, is_open: bool) -> frozenset[str] | None:
    """What a key of this role may do when its maker does not say; None: all that the role may."""
    if role in (Role.ADMIN, Role.OPERATOR):
        return None
    return CALLING | {ANY_METHOD} if is_open else CALLING


def grants(scopes: frozenset[str] | None, operation: Operation, method: str) -> bool:
    """Whether these scopes let an operation through; None lets everything through."""
    if scopes is None:
        return True
    needed = SCOPE_OF.get(operation)
    if needed is None:
        return ANY_METHOD in scopes or _METHOD + method in scopes
    return needed in scopes
