"""The directory in memory; gone with the process."""

from __future__ import annotations

from collections.abc import Sequence

from a2a_relay.core.address import Address
from a2a_relay.ports.directory import AgentRecord


class MemoryDirectory:
    """Agents by tenant."""

    def __init__(self) -> None:
        self._tenants: dict[str, dict[str, AgentRecord]] = {}

    def get(self, address: Address) -> AgentRecord | None:
        return self._tenants.get(address.tenant, {}).get(address.agent)

    def of_tenant(self, tenant: str) -> Sequence[AgentRecord]:
        agents = self._tenants.get(tenant, {})
        return [agents[name] for name in sorted(agents)]

    def count(self, tenant: str) -> int:
        return len(self._tenants.get(tenant, {}))

    def put(self, record: AgentRecord) -> None:
        self._tenants.setdefault(record.address.tenant, {})[record.address.agent] = record

    def forget(self, address: Address) -> bool:
        agents = self._tenants.get(address.tenant, {})
        if agents.pop(address.agent, None) is None:
            return False
        if not agents:
            del self._tenants[address.tenant]
        return True

    def erase(self, tenant: str) -> int:
        """Forget all agents of a tenant; how many."""
        return len(self._tenants.pop(tenant, {}))

    def close(self) -> None:
        self._tenants.clear()
