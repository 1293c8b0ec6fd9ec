"""Rates: how often something may happen, and the closed list of limits that can be set. Pure: instants come in."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import NamedTuple

_ROUNDING_SECONDS = 1e-9
"""What sums of intervals may be off: a burst must not lose its last one to a rounding error."""
MAX_LIMIT = 1e15


class Subject(StrEnum):
    """Whose limit it is."""

    TENANT = "tenant"
    KEY = "key"
    """Of one party: a key, or whoever comes with a token."""
    AGENT = "agent"
    """Of the calls to one agent, whoever makes them."""


class Limit(NamedTuple):
    """One limit that can be set: its unit, what it bounds, and whose it can be."""

    unit: str
    help: str
    subjects: tuple[Subject, ...]
    is_whole: bool = True


_ALL = (Subject.TENANT, Subject.KEY, Subject.AGENT)
_PARTIES = (Subject.TENANT, Subject.KEY)

LIMITS: Mapping[str, Limit] = {
    "calls_per_second": Limit("1/s", "calls, in the long run", _ALL, is_whole=False),
    "calls_burst": Limit("calls", "calls at once; unset: those of one second", _ALL),
    "calls_in_flight": Limit("calls", "calls that wait for their answers", _PARTIES),
    "streams_in_flight": Limit("streams", "streams that are being read", _PARTIES),
    "stream_bytes_per_second": Limit("bytes/s", "bytes of streamed events, of all streams together", _PARTIES),
    "reads_per_second": Limit("1/s", "reads of directories, cards and letters", _PARTIES, is_whole=False),
    "sessions": Limit("sessions", "agents that are attached", (Subject.TENANT,)),
    "mailbox_bytes": Limit("bytes", "letters that wait, of all agents together", (Subject.TENANT,)),
}
"""Every limit by its name. The value 0 means that there is none."""


def is_limit(name: str) -> bool:
    """Whether a limit of this name can be set."""
    return name in LIMITS


def check_limit(name: str, value: object, subject: Subject | None = None) -> None:
    """Raises ValueError, with a sentence, for a name or a value that no limit (of this subject) has."""
    known = [known for known, limit in LIMITS.items() if subject is None or subject in limit.subjects]
    if name not in known:
        whose = f" of {'an' if subject is Subject.AGENT else 'a'} {subject}" if subject is not None else ""
        raise ValueError(f"there is no limit {name!r}{whose}; the limits are {', '.join(known)}")
    limit = LIMITS[name]
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= MAX_LIMIT:
        raise ValueError(f"{name} is a number of {limit.unit}, 0 for none")
    if limit.is_whole and value != int(value):
        raise ValueError(f"{name} is a whole number of {limit.unit}, 0 for none")


def check_limits(limits: Iterable[tuple[str, float]], subject: Subject | None = None) -> dict[str, float]:
    """The limits by name, each of them checked. Raises ValueError; a name that comes twice counts as it comes last."""
    found: dict[str, float] = {}
    for name, value in limits:
        check_limit(name, value, subject)
        found[name] = float(value)
    return found


class Rate(NamedTuple):
    """How often, in the long run, and how many at once: `burst` of them refill in `tolerance` seconds."""

    per_second: float
    burst: float
    interval: float
    tolerance: float

    @classmethod
    def of(cls, per_second: float, burst: float = 0) -> Rate | None:
        """The rate; None for 0, which is no limit. Without a burst as many may come at once as in one second."""
        if per_second <= 0:
            return None
        burst = max(burst or math.ceil(per_second), 1)
        return cls(per_second, burst, 1 / per_second, burst / per_second)

    @property
    def window_seconds(self) -> int:
        """Over how many seconds a client may think of it as a quota."""
        return max(1, math.ceil(self.burst / self.per_second - _ROUNDING_SECONDS))

    @property
    def quota(self) -> int:
        """So many in these seconds."""
        return max(1, int(self.per_second * self.window_seconds + _ROUNDING_SECONDS))


class Bucket:
    """A bucket of one rate (GCRA): in any `t` seconds never more than `burst + per_second * t` are let through.

    Its whole state is one instant, at which it will be full again; what is refused costs nothing.
    """

    __slots__ = ("full_at",)

    def __init__(self) -> None:
        self.full_at = -math.inf

    def wait(self, rate: Rate, now: float) -> float:
        """For how many seconds there is nothing to take; 0 when there is."""
        full_at = self.full_at
        wait = (full_at - now if full_at > now else 0.0) + rate.interval - rate.tolerance
        return wait if wait > _ROUNDING_SECONDS else 0.0

    def try_take(self, rate: Rate, now: float) -> float:
        """Take one, if there is one; 0, or for how many seconds there is none."""
        full_at = self.full_at
        if full_at < now:
            full_at = now
        wait = full_at - now + rate.interval - rate.tolerance
        if wait > _ROUNDING_SECONDS:
            return wait
        self.full_at = full_at + rate.interval
        return 0.0

    def take(self, rate: Rate, now: float, count: float = 1) -> None:
        """Take what there is, and beyond it: whoever must not overdraw asks `wait` before."""
        full_at = self.full_at
        self.full_at = (full_at if full_at > now else now) + rate.interval * count

    def left(self, rate: Rate, now: float) -> int:
        """How many may come at once now."""
        behind = max(self.full_at - now, 0.0)
        return max(0, int((rate.tolerance - behind + _ROUNDING_SECONDS) * rate.per_second))
