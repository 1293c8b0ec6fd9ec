"""The audit log on its way to where it is read: JSON lines on standard output, in a file, or to a webhook.

The log itself is the buffer: what cannot be shipped stays there until it can, or is too old. What was shipped is
remembered by number and hash, so that a restart ships nothing twice but what was under way.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, Protocol
from urllib.parse import urlsplit

from a2a_relay.core.audit import FIRST_HASH, AuditRecord
from a2a_relay.errors import RelayError, SettingsError
from a2a_relay.ports.audit import AuditLog
from a2a_relay.settings import is_loopback

SHIP_SECONDS = 1.0
"""How often it is looked for new entries."""
BATCH = 200
"""Entries of one delivery."""
MAX_PAUSE_SECONDS = 60.0
"""A target that fails is tried again after twice as long each time, and after so long at most."""
_DOUBLINGS = 16
_WEBHOOK_SECONDS = 10.0


class Place(NamedTuple):
    """The last entry that was shipped."""

    number: int = 0
    hash: str = FIRST_HASH


class Target(Protocol):
    """Where entries go."""

    async def deliver(self, lines: bytes) -> None:
        """Take JSON lines. Raises OSError when it cannot take them now."""

    async def close(self) -> None: ...


class AuditShipper:
    """Ships what is new, in order. `round` is to be called every SHIP_SECONDS.

    `note` is the file that remembers how far it has come: a target that took a batch which could not be noted any more
    gets it again.
    """

    def __init__(self, audit: AuditLog, target: Target, note: Path, monotonic: Callable[[], float]) -> None:
        self._audit = audit
        self._target = target
        self._note = note
        self._monotonic = monotonic
        self._place: Place | None = None
        self._failures = 0
        self._retry_at = 0.0

    async def round(self) -> None:
        """Ship whatever is new. Raises OSError or StoreError when it could not; then the next try waits a while."""
        if self._failures and self._monotonic() < self._retry_at:
            return
        try:
            await self._ship()
        except OSError:
            self._failures += 1
            pause = SHIP_SECONDS * 2 ** min(self._failures, _DOUBLINGS)
            self._retry_at = self._monotonic() + min(pause, MAX_PAUSE_SECONDS)
            raise
        self._failures = 0

    async def close(self) -> None:
        """Ship what is left, unless the target has just refused; what stays behind is shipped after the next start."""
        with suppress(OSError, RelayError):
            if not self._failures:
                await self._ship()
        await self._target.close()

    async def _ship(self) -> None:
        if self._place is None:
            self._place = await self._confirmed(await asyncio.to_thread(_read_place, self._note))
        if self._audit.head.number == self._place.number:
            return
        while records := await self._audit.behind(self._place.number, BATCH):
            await self._target.deliver(lines_of(records))
            self._place = Place(records[-1].number, records[-1].hash)
            await asyncio.to_thread(_write_place, self._note, self._place)

    async def _confirmed(self, place: Place) -> Place:
        """The place, when it is one of this log; else its beginning."""
        records = await self._audit.behind(place.number - 1, 1)
        is_known = records and (records[0].number > place.number or records[0].hash == place.hash)
        return place if is_known else Place()


def lines_of(records: Sequence[AuditRecord]) -> bytes:
    """One JSON object a line, with everything that the hash is over."""
    return b"".join(
        json.dumps(
            {
                "number": record.number,
                "at": record.at,
                **record.fact._asdict(),
                "previous": record.previous,
                "hash": record.hash,
            },
            separators=(",", ":"),
        ).encode()
        + b"\n"
        for record in records
    )


class FileTarget:
    """A file that its owner alone may read. It is opened for each delivery, so that it may be rotated."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def deliver(self, lines: bytes) -> None:
        await asyncio.to_thread(_append, self._path, lines)

    async def close(self) -> None:
        """Nothing is open."""


class StdoutTarget:
    """Standard output, where a container's log is read."""

    async def deliver(self, lines: bytes) -> None:
        await asyncio.to_thread(self._write, lines)

    async def close(self) -> None:
        """It stays open."""

    @staticmethod
    def _write(lines: bytes) -> None:
        sys.stdout.buffer.write(lines)
        sys.stdout.buffer.flush()


class WebhookTarget:
    """A URL that takes JSON lines by POST and answers 2xx."""

    def __init__(self, url: str) -> None:
        import httpx

        self._url = url
        self._client = httpx.AsyncClient(timeout=_WEBHOOK_SECONDS, headers={"User-Agent": "a2a-relay"})

    async def deliver(self, lines: bytes) -> None:
        import httpx

        try:
            answer = await self._client.post(
                self._url, content=lines, headers={"Content-Type": "application/x-ndjson"}, follow_redirects=False
            )
        except httpx.HTTPError as error:
            raise ConnectionError(f"the audit webhook cannot be reached: {type(error).__name__}") from error
        if not answer.is_success:
            raise ConnectionError(f"the audit webhook answered {answer.status_code}")

    async def close(self) -> None:
        await self._client.aclose()


def open_target(ship: str) -> Target | None:
    """What the setting `audit_ship` names; None for `none`. Raises SettingsError."""
    if ship == "none":
        return None
    if ship == "stdout":
        return StdoutTarget()
    parts = urlsplit(ship)
    if parts.scheme in ("http", "https"):
        is_local = is_loopback(parts.hostname or "")
        if not parts.hostname or (parts.scheme == "http" and not is_local):
            raise SettingsError("audit_ship: a webhook must be https://, or on this machine")
        return WebhookTarget(ship)
    return FileTarget(Path(ship).expanduser())


def _append(path: Path, lines: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with open(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600), "wb") as file:
        file.write(lines)
        file.flush()
        os.fsync(file.fileno())


def _write_place(note: Path, place: Place) -> None:
    partial = note.with_name(note.name + ".partial")
    partial.unlink(missing_ok=True)
    _append(partial, json.dumps(place._asdict()).encode())
    partial.replace(note)


def _read_place(note: Path) -> Place:
    """What was written there; the log's beginning when nothing was, or nothing that can be read."""
    try:
        found = json.loads(note.read_bytes())
        return Place(int(found["number"]), str(found["hash"]))
    except (FileNotFoundError, KeyError, TypeError, ValueError):
        return Place()
