"""Which sessions live here. One per address; the newest wins."""

from __future__ import annotations

from collections.abc import Iterator

from a2a_relay.core.address import Address
from a2a_relay.core.session import Session


class Hub:
    """The live sessions of this node."""

    def __init__(self) -> None:
        self._sessions: dict[Address, Session] = {}
        self._by_tenant: dict[str, dict[str, Session]] = {}

    def attach(self, session: Session) -> Session | None:
        """Take a session; the one that it replaces, if any."""
        replaced = self._sessions.get(session.address)
        self._sessions[session.address] = session
        self._by_tenant.setdefault(session.address.tenant, {})[session.address.agent] = session
        return replaced

    def detach(self, session: Session) -> bool:
        """Let a session go, unless a successor has taken its place. True when it was the current one."""
        if self._sessions.get(session.address) is not session:
            return False
        del self._sessions[session.address]
        agents = self._by_tenant[session.address.tenant]
        del agents[session.address.agent]
        if not agents:
            del self._by_tenant[session.address.tenant]
        return True

    def find(self, address: Address) -> Session | None:
        """The live session at an address."""
        return self._sessions.get(address)

    def of_tenant(self, tenant: str) -> dict[str, Session]:
        """The live sessions of a tenant by agent; not to be changed."""
        return self._by_tenant.get(tenant, {})

    def __iter__(self) -> Iterator[Session]:
        return iter(list(self._sessions.values()))

    def __len__(self) -> int:
        return len(self._sessions)
