"""Owners of tasks in SQLite: the latest in memory, all of them in the file, written when it is convenient."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from a2a_relay.core.address import Address
from a2a_relay.stores.sqlite.database import QUERIES, Database, statements_of
from a2a_relay.stores.sqlite.writer import Statement

GATHER_SECONDS = 0.05
"""Nobody waits for these writes: they gather for so long (security rule S3)."""
_HOUR = 3600


class SqliteTaskIndex:
    """Owners by agent and id.

    What was learned stays in memory until there are more than `limit`, so that it is found before it is written. Ids
    that were learned more than `kept_seconds` ago are forgotten by `purge`.
    """

    def __init__(
        self,
        database: Database,
        now: Callable[[], float],
        call_later: Callable[[float, Callable[[], None]], object],
        limit: int,
        kept_seconds: float,
    ) -> None:
        self._database = database
        self._now = now
        self._call_later = call_later
        self._limit = limit
        self._kept_seconds = kept_seconds
        self._owners: dict[tuple[Address, str], str] = {}
        self._tenants: set[str] = set()
        """Those of which something was learned here: it may not be in the file yet."""
        self._unwritten: list[tuple[Address, str]] = []

    def owner(self, address: Address, id: str) -> str | None:
        known = self._owners.get((address, id))
        if known is not None:
            return known
        rows = self._database.read(QUERIES["get_task_owner"], (*address, id))
        if not rows:
            return None
        self._owners[address, id] = rows[0][0]
        self._make_room()
        return str(rows[0][0])

    def learn(self, address: Address, ids: Sequence[str], owner: str) -> None:
        known = self._owners
        for id in ids:
            key = (address, id)
            if key not in known:  # the file is not asked: it keeps the first owner, and a read costs 10 us
                known[key] = owner
                self._tenants.add(address.tenant)
                if not self._unwritten:
                    self._call_later(GATHER_SECONDS, self.flush)
                self._unwritten.append(key)

    def knows(self, tenant: str) -> bool:
        return tenant in self._tenants or bool(self._database.read(QUERIES["has_task_owners"], (tenant,))[0][0])

    def flush(self) -> None:
        """Hand what was learned to the writer."""
        keys, self._unwritten = self._unwritten, []
        if keys:
            hour = int(self._now()) // _HOUR
            rows = [(*address, id, self._owners[address, id], hour) for address, id in keys]
            self._database.write_together(list(statements_of("put_task_owners", rows)))
        self._make_room()

    def erase(self, tenant: str) -> None:
        """Forget what is known of a tenant here; what is in the file is removed from there by others, behind this."""
        self.flush()
        self._owners = {key: owner for key, owner in self._owners.items() if key[0].tenant != tenant}
        self._tenants.discard(tenant)

    def purge(self) -> None:
        """Forget what was learned too long ago."""
        before = int(self._now() - self._kept_seconds) // _HOUR
        self._database.write(Statement(QUERIES["forget_task_owners"], (before,)))

    def _make_room(self) -> None:
        """Let the oldest go, but for what is not with the writer yet."""
        if not self._unwritten:
            while len(self._owners) > self._limit:
                del self._owners[next(iter(self._owners))]
