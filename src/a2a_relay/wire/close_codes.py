"""Why a link is closed, and whether the agent should come back (RFC 6455 section 7.4.2: 4000-4999 are ours)."""

from __future__ import annotations

from typing import NamedTuple


class CloseCode(NamedTuple):
    """One way to close a link. `reconnect` False means that retrying as before cannot help."""

    code: int
    reason: str
    reconnect: bool


NORMAL = CloseCode(1000, "normal", reconnect=True)
GOING_AWAY = CloseCode(1001, "going away", reconnect=True)
FRAME_TOO_LARGE = CloseCode(1009, "frame too large", reconnect=True)
INTERNAL = CloseCode(1011, "internal error", reconnect=True)
PROTOCOL_ERROR = CloseCode(4000, "protocol error", reconnect=False)
AUTH_FAILED = CloseCode(4001, "authentication failed", reconnect=False)
TOKEN_EXPIRED = CloseCode(4002, "token expired", reconnect=True)
AUTH_TIMEOUT = CloseCode(4003, "no auth frame in time", reconnect=True)
TOO_SLOW = CloseCode(4004, "frames are read too slowly", reconnect=True)
RATE_LIMITED = CloseCode(4005, "rate limited", reconnect=True)
SESSION_REPLACED = CloseCode(4006, "session replaced", reconnect=False)
NO_BYTES = CloseCode(4007, "no byte arrived in time", reconnect=True)
SESSION_EXISTS = CloseCode(4008, "session exists", reconnect=True)

BY_CODE = {
    code.code: code
    for code in (
        NORMAL,
        GOING_AWAY,
        FRAME_TOO_LARGE,
        INTERNAL,
        PROTOCOL_ERROR,
        AUTH_FAILED,
        TOKEN_EXPIRED,
        AUTH_TIMEOUT,
        TOO_SLOW,
        RATE_LIMITED,
        SESSION_REPLACED,
        NO_BYTES,
        SESSION_EXISTS,
    )
}


def may_reconnect(code: int | None) -> bool:
    """Whether an agent whose link ended with this code should dial again (unknown codes: yes)."""
    known = BY_CODE.get(code) if code is not None else None
    return known is None or known.reconnect
