"""The dialects an agent link may speak, and how one is chosen."""

from __future__ import annotations

from a2a_relay.wire.dialects.base import Dialect
from a2a_relay.wire.dialects.native import NATIVE, NativeDialect
from a2a_relay.wire.dialects.openclaw import OPENCLAW, OpenclawDialect
from a2a_relay.wire.dialects.relay_go import RELAY_GO, RelayGoDialect
from a2a_relay.wire.frames import NATIVE_PROTOCOL, Auth

__all__ = [
    "NATIVE",
    "OPENCLAW",
    "RELAY_GO",
    "Dialect",
    "NativeDialect",
    "OpenclawDialect",
    "RelayGoDialect",
    "choose",
]

_BY_NAME: dict[str, Dialect] = {NATIVE_PROTOCOL: NATIVE, "native": NATIVE, "openclaw": OPENCLAW, "relay-go": RELAY_GO}
_OPENCLAW_CARD_URL = b'"a2a-relay://'


def choose(auth: Auth) -> Dialect:
    """The dialect an agent speaks: what it asked for, then what can be seen in its card, then relay-go's."""
    asked = _BY_NAME.get(auth.dialect)
    if asked is not None:
        return asked
    if auth.agent_card is not None and _OPENCLAW_CARD_URL in auth.agent_card:
        return OPENCLAW
    return RELAY_GO
