"""What happens to letters, told to those who follow them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from a2a_relay.core import access
from a2a_relay.core.letter import Receipt
from a2a_relay.core.principal import Principal
from a2a_relay.errors import Reason, Refused


class Feed:
    """Receipts between the node and one reader, who must `close` it in the end."""

    def __init__(
        self, limit: int, agents: frozenset[str] | None, agent: str, id: str, on_close: Callable[[Feed], None]
    ) -> None:
        """`limit`: how many receipts may wait. `agent`, `id`: of which letters; empty: of any.

        `agents` are those that its reader may see, None: all.
        """
        self._limit = limit
        self._agents = agents
        self._agent = agent
        self._id = id
        self._on_close = on_close
        self._items: deque[Receipt] = deque()
        self._wake = asyncio.Event()
        self.failure: Refused | None = None
        """Why nothing comes any more: it was read too slowly, or its reader may not any more."""
        self.principal: Principal | None = None

    def put(self, receipt: Receipt) -> None:
        """Leave a receipt, if it is of a letter that is followed here."""
        if (self._id and self._id != receipt.id) or (self._agent and self._agent != receipt.address.agent):
            return
        if self._agents is not None and receipt.address.agent not in self._agents:
            return
        if len(self._items) >= self._limit:
            self.failure = Refused(Reason.STREAM_TOO_SLOW)
            self.close()
        else:
            self._items.append(receipt)
        self._wake.set()

    def refuse(self, refused: Refused) -> None:
        """Its reader may not read any more."""
        self.failure = refused
        self.close()
        self._wake.set()

    def take(self) -> list[Receipt]:
        """Everything that is there."""
        taken = list(self._items)
        self._items.clear()
        return taken

    async def wait(self, seconds: float) -> bool:
        """Wait until there is something to take, or a failure; False when `seconds` passed without."""
        if self._items or self.failure is not None:
            return True
        self._wake.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            return False
        return True

    def close(self) -> None:
        """Nobody follows here any more."""
        self._on_close(self)


class Receipts:
    """Hands each receipt to the feeds of its letter's sender, and to those of the tenant's admins."""

    def __init__(self, feeds_per_party: int, buffer: int) -> None:
        self._feeds_per_party = feeds_per_party
        self._buffer = buffer
        self._by_owner: dict[tuple[str, str], set[Feed]] = {}
        self._by_tenant: dict[str, set[Feed]] = {}
        """Of admins, who see all of it."""
        self._counts: dict[tuple[str, str], int] = {}

    def __len__(self) -> int:
        """How many feeds there are."""
        return sum(self._counts.values())

    def feeds(self) -> list[Feed]:
        """Everybody who follows."""
        return [feed for feeds in (*self._by_owner.values(), *self._by_tenant.values()) for feed in feeds]

    def publish(self, receipt: Receipt) -> None:
        """Tell everybody who follows this letter, without waiting for anybody."""
        tenant = receipt.address.tenant
        for feeds in (self._by_owner.get((tenant, receipt.owner)), self._by_tenant.get(tenant)):
            for feed in tuple(feeds or ()):
                feed.put(receipt)

    def follow(self, principal: Principal, tenant: str, agent: str = "", id: str = "") -> Feed:
        """Follow one's own letters from now on, an admin all of the tenant: of one agent, or one letter, if named.

        Whether it is the principal's tenant to follow is not asked here.
        Raises RATE_LIMITED when the party has its fill of feeds.
        """
        party = (tenant, principal.owner)
        if self._counts.get(party, 0) >= self._feeds_per_party:
            raise Refused(Reason.RATE_LIMITED, "too many feeds of receipts at a time")
        self._counts[party] = self._counts.get(party, 0) + 1
        is_admin = access.is_admin(principal)
        feeds = self._by_tenant.setdefault(tenant, set()) if is_admin else self._by_owner.setdefault(party, set())

        def forget(feed: Feed) -> None:
            if feed not in feeds:
                return
            feeds.remove(feed)
            self._counts[party] -= 1
            if not self._counts[party]:
                del self._counts[party]
            if not feeds:
                if is_admin:
                    del self._by_tenant[tenant]
                else:
                    del self._by_owner[party]

        feed = Feed(self._buffer, principal.agents, agent, id, forget)
        feed.principal = principal
        feeds.add(feed)
        return feed
