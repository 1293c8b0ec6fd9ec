"""How much of everything there may be. Each limit has its setting, its reason and its place of use."""

from __future__ import annotations

from dataclasses import dataclass

from a2a_relay.core.call import Call
from a2a_relay.core.session import Session
from a2a_relay.errors import Reason, Refused
from a2a_relay.wire.flow import DEFAULT_WINDOW, Window

UNAUTHENTICATED_GRACE_SECONDS = 5.0
"""Links younger than this do not count as idle strangers: 10,000 agents may come back at once (decision 31)."""

FRAME_OVERHEAD_BYTES = 64 * 1024
"""What a frame may be larger than the body that it carries (decision 23)."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one relay; sizes in bytes, durations in seconds."""

    max_body: int = 4 * 1024 * 1024
    older_dialect_max_frame: int = 1024 * 1024
    max_first_frame: int = 128 * 1024
    max_card: int = 64 * 1024
    card_updates_per_minute: int = 10
    unary_in_flight: int = 256
    streams_in_flight: int = 1024
    agents_per_tenant: int = 100_000
    stream_buffer_events: int = 1024
    stream_buffer_bytes: int = 4 * 1024 * 1024
    link_backlog_bytes: int = 16 * 1024 * 1024
    bodies_in_flight_bytes: int = 512 * 1024 * 1024
    """Request bodies held by this process; one tenant may hold half of it."""
    login_failures: int = 20
    """Of one claim (a key's first characters, a token's names) from one network, in a minute; 0: no matter."""
    exempt_addresses: tuple[str, ...] = ("127.0.0.0/8", "::1/128")
    """Where nothing is counted by address."""
    unauthenticated_per_address: int = 200
    """Links of one address that have not authenticated after `UNAUTHENTICATED_GRACE_SECONDS`."""
    auth_timeout_seconds: float = 30
    stream_window: Window = DEFAULT_WINDOW
    """Of a stream whose agent heeds credit."""
    replay_events: int = 1000
    replay_bytes: int = 4 * 1024 * 1024
    """What of a stream stays for a reader that comes back."""
    replay_seconds: float = 300
    """How long after its end."""
    replay_total_bytes: int = 256 * 1024 * 1024
    """Of all streams together; one tenant may hold half of it."""
    detach_grace_seconds: float = 30
    """How long an agent may go on with a stream that nobody reads."""
    resume_grace_seconds: float = 30
    """How long the exchanges of a link that was cut wait for their agent."""
    request_timeout_seconds: float = 600
    session_limit_seconds: float = 0
    """Longest life of a link before its agent is asked to reconnect; 0: no limit."""
    session_grace_seconds: float = 20
    letter_time_seconds: float = 24 * 3600
    """For the answer to a letter."""
    result_ttl_seconds: float = 24 * 3600
    """How long the answer to a letter is kept."""
    dead_ttl_seconds: float = 9 * 24 * 3600
    """How long a letter is kept that is dead or has expired."""
    late_answer_seconds: float = 3600
    """How long after its time a live call may still be answered; 0: not at all."""
    idempotency_time_seconds: float = 24 * 3600
    """How long an Idempotency-Key is remembered."""
    keyed_answers: int = 10_000
    keyed_answers_bytes: int = 64 * 1024 * 1024
    """Answers to calls with an Idempotency-Key, in memory; the oldest go."""
    tracked_tasks: int = 100_000
    """Tasks of agents whose owners are remembered; the longest unused ones are forgotten."""
    receipt_feeds: int = 10
    """Of one party, at a time."""
    receipt_buffer: int = 1024
    """Receipts that wait for the reader of a feed."""

    @property
    def max_frame(self) -> int:
        """The largest frame of a native link, either way."""
        return self.max_body + FRAME_OVERHEAD_BYTES

    @property
    def unwritten_bytes(self) -> int:
        """What of one stream may wait for the disk: never less than what credit allows for."""
        window = self.stream_window
        allowed = window.bytes + window.events * EVENT_OVERHEAD_BYTES + self.max_frame
        return max(allowed, self.stream_buffer_bytes)

    def link_max_frame(self, asked: int | None, *, is_native: bool) -> int:
        """The largest frame to write to an agent: what it said it takes, within this relay's own limit."""
        if asked is not None:
            return min(asked, self.max_frame)
        return self.max_frame if is_native else min(self.older_dialect_max_frame, self.max_frame)


WINDOW_OVERHEAD_BYTES = 2048
"""What a stream counts for beside its events' bodies."""
EVENT_OVERHEAD_BYTES = 64
"""What an event counts for beside its body."""


class WindowBudget:
    """Counts the bytes of all windows, for the process and for each tenant."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._share = limit // 2
        self.held = 0
        self._beyond = 0  # what tenants hold beyond their shares: no other tenant's windows go for that
        self._by_tenant: dict[str, int] = {}

    def take(self, tenant: str, size: int) -> bool:
        """Hold `size` bytes more, or fewer, for a tenant. False when something has to go for it."""
        self.held += size
        before = self._by_tenant.get(tenant, 0)
        after = self._by_tenant[tenant] = before + size
        share = self._share
        if after <= share >= before:
            return self.held - self._beyond <= self._limit
        self._beyond += max(after - share, 0) - max(before - share, 0)
        return after <= share and self.held - self._beyond <= self._limit

    def give_back(self, tenant: str, size: int) -> None:
        """Let `size` bytes of a tenant go."""
        self.take(tenant, -size)
        if self._by_tenant[tenant] <= 0:
            del self._by_tenant[tenant]

    def is_tenants_fault(self, tenant: str) -> bool:
        """Whether a tenant holds more than its own share."""
        return self._by_tenant.get(tenant, 0) > self._share


class BodyBudget:
    """Counts the request bodies in flight, in bytes, for the process and for each tenant."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held = 0
        self._by_tenant: dict[str, int] = {}

    def take(self, tenant: str, size: int) -> None:
        """Hold `size` bytes for a tenant. Raises RELAY_BUSY when they do not fit."""
        tenant_held = self._by_tenant.get(tenant, 0) + size
        if self._held + size > self._limit or tenant_held > self._limit // 2:
            raise Refused(Reason.RELAY_BUSY)
        self._held += size
        self._by_tenant[tenant] = tenant_held

    def give_back(self, tenant: str, size: int) -> None:
        """Let `size` bytes of a tenant go."""
        self._held -= size
        left = self._by_tenant.pop(tenant, 0) - size
        if left > 0:
            self._by_tenant[tenant] = left


def require_room(session: Session, call: Call, limits: Limits) -> None:
    """Refuse a call to an agent that has its fill (decision 31). Raises AGENT_BUSY."""
    full = (
        session.streams_in_flight >= limits.streams_in_flight
        if call.streams
        else session.unary_in_flight >= limits.unary_in_flight
    )
    if full:
        raise Refused(Reason.AGENT_BUSY)


def require_fit(session: Session, frame: bytes) -> None:
    """Refuse a frame that would cost the agent its link (decision 23). Raises AGENT_FRAME_LIMIT."""
    if len(frame) > session.max_frame:
        raise Refused(Reason.AGENT_FRAME_LIMIT, metadata={"limit": str(session.max_frame)})
