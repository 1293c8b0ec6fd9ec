"""The dialects an agent link may speak, and how one is chosen."""

from __future__ import annotations

from a2a_relay.wire.dialects.a2a_v1 import A2A_V1, A2aV1Dialect
from a2a_relay.wire.dialects.base import Dialect
from a2a_relay.wire.dialects.native import NATIVE, NativeDialect
from a2a_relay.wire.dialects.openclaw import OPENCLAW, OpenclawDialect
from a2a_relay.wire.dialects.relay_elixir import RELAY_ELIXIR, RelayElixirDialect
from a2a_relay.wire.dialects.relay_go import RELAY_GO, RelayGoDialect
from a2a_relay.wire.frames import NATIVE_PROTOCOL, Auth

__all__ = [
    "A2A_V1",
    "BY_SUBPROTOCOL",
    "NATIVE",
    "OPENCLAW",
    "RELAY_ELIXIR",
    "RELAY_GO",
    "A2aV1Dialect",
    "Dialect",
    "NativeDialect",
    "OpenclawDialect",
    "RelayElixirDialect",
    "RelayGoDialect",
    "choose",
]

_BY_NAME: dict[str, Dialect] = {NATIVE_PROTOCOL: NATIVE, "native": NATIVE, "openclaw": OPENCLAW, "relay-go": RELAY_GO}
BY_SUBPROTOCOL: dict[str, Dialect] = {"a2a.v1": A2A_V1}
"""Dialects that the WebSocket upgrade asks for, in the order of preference."""
_OPENCLAW_CARD_URL = b'"a2a-relay://'


def choose(auth: Auth, settled: Dialect | None = None) -> Dialect:
    """The dialect an agent speaks: what its upgrade has settled, what it asked for, what its card shows, relay-go's."""
    if settled is not None:
        return settled
    asked = _BY_NAME.get(auth.dialect)
    if asked is not None:
        return asked
    if auth.agent_card is not None and _OPENCLAW_CARD_URL in auth.agent_card:
        return OPENCLAW
    return RELAY_GO
