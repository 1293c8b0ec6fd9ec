"""Who a task or a context of an agent's belongs to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from a2a_relay.core.address import Address


class TaskIndex(Protocol):
    """Owners of tasks and contexts, by the id that the agent gave them.

    Reads see every earlier write of this node at once. Writes return before they are durable, and nobody waits for
    them (decision 30): an id that a crash has made us forget belongs to the tenant again. The first owner stays.
    """

    def owner(self, address: Address, id: str) -> str | None:
        """Whose it is, as `Principal.owner` names callers; None when that is not known."""

    def learn(self, address: Address, ids: Sequence[str], owner: str) -> None:
        """These ids are this caller's, unless they are somebody's already."""

    def knows(self, tenant: str) -> bool:
        """Whether anything of a tenant is in here."""
