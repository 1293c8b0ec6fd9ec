"""The stores behind a store URL, opened for a relay or beside one."""

from __future__ import annotations

import os
import signal
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

import structlog

from a2a_relay.errors import SettingsError
from a2a_relay.node.clock import LoopClock
from a2a_relay.ports.audit import AuditLog
from a2a_relay.ports.credentials import CredentialStore
from a2a_relay.ports.directory import Directory
from a2a_relay.ports.mailbox import Mailbox
from a2a_relay.ports.stream_log import StreamLog
from a2a_relay.ports.task_index import TaskIndex
from a2a_relay.settings import Settings

Erase = Callable[[str], Awaitable[Mapping[str, int]]]


class Stores(NamedTuple):
    """What one store URL stands for; `close` makes everything durable and lets go.

    `erase` removes what a tenant has left, but for its record, its keys and the audit log, and tells how much of each.
    """

    directory: Directory
    mailbox: Mailbox
    task_index: TaskIndex
    durable_log: StreamLog | None
    credentials: CredentialStore
    audit: AuditLog
    erase: Erase
    close: Callable[[], None]
    watch: Callable[[Callable[[], None]], None]
    """Has a callback called, from whatever thread, when what is in the store is not what its node knows: somebody else
    has written to it (decision 35), or a tenant was erased."""


class AdministrationStores(NamedTuple):
    """What of a store is administered while a relay runs on it, or none does. `close` makes everything durable."""

    credentials: CredentialStore
    audit: AuditLog
    erase: Erase
    close: Callable[[], None]


TASK_OWNERS_KEPT_SECONDS = 30 * 24 * 3600.0
"""How long it is remembered whose a task is that nobody has asked for."""


LEFT_BEHIND_SECONDS = 7 * 24 * 3600.0
"""Durable streams that were opened longer ago than this are not waited for when a relay starts."""


def open_stores(settings: Settings, clock: LoopClock) -> Stores:
    """Open the store of a relay by its URL: `memory:`, `sqlite:///absolute/path` or `sqlite:relative/path`.

    Raises StoreError or SettingsError.
    """
    url = settings.store
    scheme, _, rest = url.partition(":")
    if scheme == "memory":
        return _open_memory(settings, clock)
    if scheme == "sqlite" and rest.strip("/"):
        path = "/" + rest.lstrip("/") if rest.startswith("/") else rest
        return _open_sqlite(settings, clock, Path(path).absolute())
    raise SettingsError(f"store {url!r}: known are memory: and sqlite:///path")


def _open_memory(settings: Settings, clock: LoopClock) -> Stores:
    from a2a_relay.stores.memory.audit import MemoryAudit
    from a2a_relay.stores.memory.credentials import MemoryCredentials
    from a2a_relay.stores.memory.directory import MemoryDirectory
    from a2a_relay.stores.memory.mailbox import MemoryMailbox
    from a2a_relay.stores.memory.task_index import MemoryTaskIndex

    directory, audit = MemoryDirectory(), MemoryAudit(clock.now)
    mailbox, task_index = MemoryMailbox(clock.now), MemoryTaskIndex(settings.tracked_tasks)
    watchers: list[Callable[[], None]] = []

    async def erase(tenant: str) -> Mapping[str, int]:
        found = {"agents": directory.erase(tenant), "task_owners": task_index.erase(tenant)}
        counts = {**mailbox.erase(tenant), **found}
        for watcher in watchers:
            with suppress(RuntimeError):  # there is no loop that could be told
                watcher()
        return counts

    return Stores(
        directory,
        mailbox,
        task_index,
        None,
        MemoryCredentials(audit),
        audit,
        erase,
        directory.close,
        watchers.append,
    )


def _open_sqlite(settings: Settings, clock: LoopClock, path: Path) -> Stores:
    from a2a_relay.stores.sqlite.audit import SqliteAudit
    from a2a_relay.stores.sqlite.credentials import SqliteCredentials
    from a2a_relay.stores.sqlite.database import Database
    from a2a_relay.stores.sqlite.directory import SqliteDirectory
    from a2a_relay.stores.sqlite.erasure import erase
    from a2a_relay.stores.sqlite.mailbox import SqliteMailbox
    from a2a_relay.stores.sqlite.stream_log import SqliteStreamLog
    from a2a_relay.stores.sqlite.task_index import SqliteTaskIndex

    database = Database(path, on_trouble=_tell_store_trouble, reach=failpoint(os.environ))
    log = SqliteStreamLog(database, clock.call_soon, clock.call_later)
    log.purge(clock.now() - LEFT_BEHIND_SECONDS)
    task_index = SqliteTaskIndex(
        database, clock.now, clock.call_later, settings.tracked_tasks, TASK_OWNERS_KEPT_SECONDS
    )
    task_index.purge()

    credentials = SqliteCredentials(database, clock.now, clock.call_soon, clock.call_later)
    audit = SqliteAudit(database, clock.now)

    async def erase_tenant(tenant: str) -> Mapping[str, int]:
        task_index.erase(tenant)
        counts = await erase(database, tenant)
        task_index.erase(tenant)  # what was asked for meanwhile
        return counts

    def close() -> None:
        task_index.flush()
        credentials.close()
        audit.flush()
        log.close()
        database.close()

    return Stores(
        SqliteDirectory(database),
        SqliteMailbox(database, clock.now),
        task_index,
        log,
        credentials,
        audit,
        erase_tenant,
        close,
        database.watch,
    )


def open_administration(settings: Settings) -> AdministrationStores:
    """Open a store beside the relay that may be running on it. Raises SettingsError for `memory:`, or StoreError."""
    from a2a_relay.stores.sqlite.audit import SqliteAudit
    from a2a_relay.stores.sqlite.credentials import SqliteCredentials
    from a2a_relay.stores.sqlite.database import Database
    from a2a_relay.stores.sqlite.erasure import erase

    if settings.store_file is None:
        raise SettingsError(f"store {settings.store!r}: only an sqlite store can be administered by itself")
    clock = LoopClock()
    database = Database(settings.store_file, on_trouble=_tell_store_trouble, is_guest=True)
    credentials = SqliteCredentials(database, clock.now, clock.call_soon, clock.call_later)
    audit = SqliteAudit(database, clock.now)

    def close() -> None:
        credentials.close()
        audit.flush()
        database.close()

    return AdministrationStores(credentials, audit, partial(erase, database), close)


def _tell_store_trouble(message: str) -> None:
    structlog.get_logger("a2a_relay").error("store_trouble", message=message)


def failpoint(environ: Mapping[str, str]) -> Callable[[str], None]:
    """What `RELAY_FAILPOINT=name[:n]` asks for: the process kills itself when it passes that point the n-th time."""
    name, _, count = environ.get("RELAY_FAILPOINT", "").partition(":")
    left = int(count or 1)

    def reach(point: str) -> None:
        nonlocal left
        if point == name:
            left -= 1
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)

    return reach if name else _pass_by


def _pass_by(_: str) -> None:
    """No point was named."""
