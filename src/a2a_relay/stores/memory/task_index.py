"""Owners of tasks in memory; the oldest go when there are too many."""

from __future__ import annotations

from collections.abc import Sequence

from a2a_relay.core.address import Address


class MemoryTaskIndex:
    """Owners by agent and id."""

    def __init__(self, limit: int = 200_000) -> None:
        self._limit = limit
        self._owners: dict[tuple[Address, str], str] = {}
        self._tenants: set[str] = set()

    def owner(self, address: Address, id: str) -> str | None:
        return self._owners.get((address, id))

    def learn(self, address: Address, ids: Sequence[str], owner: str) -> None:
        self._tenants.add(address.tenant)
        for id in ids:
            self._owners.setdefault((address, id), owner)
        while len(self._owners) > self._limit:
            del self._owners[next(iter(self._owners))]

    def knows(self, tenant: str) -> bool:
        return tenant in self._tenants

    def erase(self, tenant: str) -> int:
        """Forget a tenant's owners; how many."""
        kept = {key: owner for key, owner in self._owners.items() if key[0].tenant != tenant}
        removed = len(self._owners) - len(kept)
        self._owners = kept
        self._tenants.discard(tenant)
        return removed
