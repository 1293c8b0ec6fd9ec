"""What a running relay does for its audit log: publish its head, remove what is too old, ship what is new."""

from __future__ import annotations

from pathlib import Path

import structlog

from a2a_relay.ports.audit import AuditLog
from a2a_relay.ports.clock import Clock
from a2a_relay.telemetry.audit_ship import SHIP_SECONDS, AuditShipper, open_target
from a2a_relay.telemetry.audit_watch import HEAD_SECONDS, AuditWatch
from a2a_relay.telemetry.rounds import Rounds


class AuditDuties:
    """Begins on the running loop. `watch` has the head that was published last."""

    def __init__(self, audit: AuditLog, clock: Clock, *, ship: str, keep_seconds: float, note: Path) -> None:
        """`ship` and `keep_seconds` as the settings have them; `note` is the file that remembers what was shipped.

        Raises SettingsError for a place to ship to that there cannot be.
        """
        self.watch = AuditWatch(audit, clock, keep_seconds)
        self._audit = audit
        self._log = structlog.get_logger("a2a_relay")
        self._rounds = [Rounds(clock, HEAD_SECONDS, self.watch.round, self._tell_trouble)]
        self._shipper: AuditShipper | None = None
        target = open_target(ship)
        if target is not None:
            self._shipper = AuditShipper(audit, target, note, clock.monotonic)
            self._rounds.append(Rounds(clock, SHIP_SECONDS, self._shipper.round, self._tell_not_shipped))

    async def begin(self) -> None:
        for rounds in self._rounds:
            rounds.begin()

    async def close(self) -> None:
        """Do it a last time; nothing may be written any more."""
        for rounds in self._rounds:
            await rounds.close()
        self._audit.flush()
        if self._shipper is not None:
            await self._shipper.close()
        self.watch.publish()

    def _tell_trouble(self, error: Exception) -> None:
        self._log.warning("audit_trouble", error=str(error) or repr(error))

    def _tell_not_shipped(self, error: Exception) -> None:
        self._log.warning("audit_not_shipped", error=str(error) or repr(error))
