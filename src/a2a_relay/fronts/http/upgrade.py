"""What an agent's upgrade settles before the first frame: the dialect, by path or subprotocol, and the credential."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from a2a_relay.core.credential import Credential
from a2a_relay.core.target import Surface
from a2a_relay.fronts.http.head import bearer
from a2a_relay.node.relay_node import RelayNode
from a2a_relay.wire.dialects import BY_SUBPROTOCOL, RELAY_ELIXIR, Dialect
from a2a_relay.wire.frames import NO_HEADERS, Auth

LINK_SURFACES = frozenset({Surface.AGENT_LINK, Surface.RELAY_ELIXIR_LINK})


class Upgrade(NamedTuple):
    """`dialect` is None where the first frame settles it. A link with a subprotocol has its credential in `headers`."""

    dialect: Dialect | None = None
    subprotocol: str | None = None
    headers: Mapping[str, str] = NO_HEADERS

    def authenticate(self, node: RelayNode) -> Auth | None:
        """The credential that the upgrade has brought, which may attach; None: the first frame brings one.

        Raises `Refused`: the upgrade is to be refused, before a link begins.
        """
        if self.subprotocol is None:
            return None
        auth = Auth(bearer(self.headers))
        node.require_attach(node.authenticate(Credential(auth.token)))
        return auth


def read_upgrade(surface: Surface, headers: Mapping[str, str]) -> Upgrade:
    """What the path of an upgrade and its headers (lower-case names) settle."""
    if surface is Surface.RELAY_ELIXIR_LINK:
        return Upgrade(RELAY_ELIXIR)
    offered = {name.strip() for name in headers.get("sec-websocket-protocol", "").split(",")}
    for name, dialect in BY_SUBPROTOCOL.items():
        if name in offered:
            return Upgrade(dialect, name, headers)
    return Upgrade()
