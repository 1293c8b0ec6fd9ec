"""Calls and principals with everything filled in that a test does not speak of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from a2a_relay.a2a.methods import BY_NAME, Operation
from a2a_relay.core.address import Address
from a2a_relay.core.call import Call, Meta, Options
from a2a_relay.core.principal import Principal, Role

TENANT = "acme"
AGENT = "zaf"


def make_address(name: str = f"{TENANT}/{AGENT}") -> Address:
    """An address from its text, `tenant/agent`."""
    tenant, _, agent = name.partition("/")
    return Address(tenant, agent)


def make_principal(
    tenant: str = TENANT, role: Role = Role.ADMIN, identity: str = "admin:test", attaches_as: str | None = None
) -> Principal:
    """A principal whose credential does not expire."""
    return Principal(tenant, role, identity, attaches_as)


def make_call(
    method: str = "SendMessage",
    params: bytes = b'{"message":{}}',
    *,
    address: Address | None = None,
    principal: Principal | None = None,
    meta: Mapping[str, Any] | None = None,
    **fields: Any,
) -> Call:
    """A call as a front would have read it; streams when its method does.

    `meta` are fields of its `Meta`; fields of its `Options` are given by their names.
    """
    options = {name: fields.pop(name) for name in Options._fields if name in fields}
    address = address or make_address()
    known = BY_NAME.get(method)
    return Call(
        address=address,
        meta=Meta(principal or make_principal(address.tenant), **(meta or {})),
        operation=known.operation if known is not None else Operation.EXTENSION,
        method=method,
        params=params,
        streams=fields.pop("streams", known.streams if known is not None else False),
        options=Options(**options),
        **fields,
    )
