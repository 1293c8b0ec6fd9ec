"""When to dial again: pure decisions over the way a link has ended."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from a2a_relay.connector.refused import EXIT_REFUSED, EXIT_REPLACED
from a2a_relay.wire import close_codes

_BASE_SECONDS = 0.5
_CAP_SECONDS = 30.0
_MAX_DOUBLINGS = 10
_MAX_HINT_SECONDS = 300.0
LIVED_SECONDS = 10.0
"""A link that was attached for this long was a good one: the next wait starts small again."""

# A relay says these while it refuses, and means "not now" rather than "not with this token".
_NOT_NOW = frozenset(
    code.code
    for code in (
        close_codes.RATE_LIMITED,
        close_codes.GOING_AWAY,
        close_codes.AUTH_TIMEOUT,
        close_codes.INTERNAL,
        close_codes.TOO_SLOW,
        close_codes.NO_BYTES,
        close_codes.SESSION_EXISTS,
    )
)
# Client errors of an HTTP upgrade that time may mend (RFC 9110, RFC 6585, RFC 8470).
_TEMPORARY_STATUS = frozenset({408, 421, 425, 429})


class LinkEnd(NamedTuple):
    """How a link ended, or why there was none."""

    message: str = ""
    close_code: int | None = None
    """What the relay closed with; None where the network did."""
    is_refused: bool = False
    """The relay answered the auth frame with a refusal."""
    is_goaway: bool = False
    reconnect_after_ms: int | None = None
    """The hint of a goaway; None with `is_goaway`: do not come back."""
    http_status: int | None = None
    """What the relay, or something before it, answered instead of a WebSocket."""
    is_bad_certificate: bool = False
    lived_seconds: float = 0.0
    """How long the agent was attached over it; 0 when it never was."""


class Credential(NamedTuple):
    """What is known of the token that was used."""

    can_change: bool
    is_expired: bool
    was_retried: bool
    """The token was re-read at once after the last refusal, to no avail."""


class RetryNow(NamedTuple):
    """Re-read the token and dial at once."""


class RetryAfter(NamedTuple):
    """Dial after this time, which the relay has asked for."""

    seconds: float


class BackOff(NamedTuple):
    """Dial after the next back-off."""


class GiveUp(NamedTuple):
    """Retrying as before cannot help."""

    message: str
    exit_code: int = EXIT_REFUSED


Verdict = RetryNow | RetryAfter | BackOff | GiveUp


def judge(end: LinkEnd, credential: Credential, *, was_attached: bool) -> Verdict:
    """What to do after a link has ended. `was_attached`: any link of this connector ever was."""
    if end.close_code == close_codes.SESSION_REPLACED.code:
        return GiveUp(
            f"another connector has attached as this agent ({end.message or 'session replaced'})", EXIT_REPLACED
        )
    if end.is_refused or end.close_code in (close_codes.AUTH_FAILED.code, close_codes.TOKEN_EXPIRED.code):
        return _judge_refusal(end, credential)
    if end.is_goaway:
        return _obey(end)
    if not close_codes.may_reconnect(end.close_code):
        return GiveUp(f"the relay has closed the link for good: {end.message or end.close_code}")
    if not was_attached:
        return _judge_first_dial(end)
    return BackOff()


def _obey(end: LinkEnd) -> Verdict:
    if end.reconnect_after_ms is not None:
        return RetryAfter(min(end.reconnect_after_ms / 1000, _MAX_HINT_SECONDS))
    if "replaced" in end.message:
        return GiveUp(f"another connector has attached as this agent ({end.message})", EXIT_REPLACED)
    return GiveUp(f"the relay has sent this agent away for good: {end.message or 'no reason given'}")


def _judge_refusal(end: LinkEnd, credential: Credential) -> Verdict:
    why = end.message or "no reason given"
    if end.close_code in _NOT_NOW:
        return BackOff()
    if end.close_code == close_codes.PROTOCOL_ERROR.code:
        return GiveUp(f"the relay refuses this agent: {why}")
    if not credential.can_change:
        return GiveUp(f"the relay refuses the token: {why}")
    if not credential.was_retried:
        return RetryNow()
    if credential.is_expired or end.close_code == close_codes.TOKEN_EXPIRED.code:
        return BackOff()
    return GiveUp(f"the relay refuses the token: {why}")


def _judge_first_dial(end: LinkEnd) -> Verdict:
    """Before the first attach a wrong address is likelier than a relay in trouble; after it, never."""
    if end.is_bad_certificate:
        return GiveUp(f"the relay's certificate is not trusted: {end.message}")
    status = end.http_status
    if status is not None and 300 <= status < 500 and status not in _TEMPORARY_STATUS:
        return GiveUp(f"there is no agent link at this address: {end.message}")
    return BackOff()


class Waits:
    """Full jitter: each wait is a random part of a span that doubles up to 30 s, so that a crowd spreads itself."""

    def __init__(self, random: Callable[[], float]) -> None:
        self._random = random
        self._failures = 0

    def reset(self) -> None:
        """A link was good."""
        self._failures = 0

    def next_seconds(self) -> float:
        """How long to wait before the next try."""
        span = min(_CAP_SECONDS, _BASE_SECONDS * (1 << min(self._failures, _MAX_DOUBLINGS)))
        self._failures += 1
        return span * self._random()
