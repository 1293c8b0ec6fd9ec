"""The audit log looked after: its head published where whoever changes the file does not reach, its old end removed."""

from __future__ import annotations

import structlog

from a2a_relay.core.audit import AuditFact
from a2a_relay.ports.audit import AuditHead, AuditLog
from a2a_relay.ports.clock import Clock

HEAD_SECONDS = 60.0
"""How often the head is looked at."""
_DAY_SECONDS = 24 * 3600.0
_REPEAT_SECONDS = 3600.0
"""A head that has not changed is published again so often: silence tells nothing."""


class AuditWatch:
    """`round` is to be called every HEAD_SECONDS. `published` is the head that was published last, for metrics."""

    def __init__(self, audit: AuditLog, clock: Clock, keep_seconds: float) -> None:
        self.published: AuditHead | None = None
        self._audit = audit
        self._clock = clock
        self._keep_seconds = keep_seconds
        self._published_at = 0.0
        self._purged_at: float | None = None
        self._log = structlog.get_logger("a2a_relay")

    async def round(self) -> None:
        """Remove what is too old, once a day; publish the head when it is another. Raises StoreError."""
        now = self._clock.monotonic()
        if self._purged_at is None or now - self._purged_at >= _DAY_SECONDS:
            count = await self._audit.purge(self._clock.now() - self._keep_seconds)
            self._purged_at = now
            if count:
                self._audit.write(AuditFact("", "relay", "audit.purge", times=count))
        self.publish()

    def publish(self) -> None:
        """Write the head into the log of the process."""
        head, now = self._audit.head, self._clock.monotonic()
        is_due = head != self.published or now - self._published_at >= _REPEAT_SECONDS
        if head.number and is_due:
            self.published, self._published_at = head, now
            self._log.info("audit_head", number=head.number, hash=head.hash)
