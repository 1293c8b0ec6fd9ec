"""What every dialect can do."""

from __future__ import annotations

from typing import Protocol

from a2a_relay.wire.flow import Window
from a2a_relay.wire.frames import AgentFrame, Request, Welcome

UNREADABLE_AUTH = "auth required"
NO_AUTH = "expected auth message"
LATE_AUTH = "auth timeout"
"""What is wrong with a first frame, in relay-go's words: a dialect may have others."""


class Dialect(Protocol):
    """Frames in, events out, and back. Stateless, so that one object serves every link.

    `read` never raises: what cannot be read is an `Unreadable`, with the call's
    id where it can be found. A writer returns None where the dialect has no such frame.
    """

    name: str
    results_are_events: bool
    """Whether the `result` of a streaming call is one event of it: this dialect ends every stream in so many words."""
    confirms_cancels: bool
    """Whether an end may come for a call that the relay has cancelled and forgotten."""
    streams: bool
    """Whether an answer may come as events; where it may not, a streaming call has one answer."""
    has_credit: bool
    """Whether an agent heeds `credit`; for one that does not, the relay bounds what waits for a slow reader."""

    def read(self, frame: bytes) -> AgentFrame: ...

    def welcome(self, welcome: Welcome) -> bytes | None: ...

    def refusal(self, message: str) -> bytes | None: ...

    def request(self, id: str, request: Request, timeout_ms: int, window: Window | None = None) -> bytes:
        """`window` for a call that streams."""

    def credit(self, id: str, window: Window, through: int) -> bytes | None: ...

    def cancel(self, id: str, reason: str) -> bytes | None: ...

    def goaway(self, reason: str, reconnect_after_ms: int | None) -> bytes | None: ...

    def probe(self, id: str) -> bytes | None: ...

    def pong(self) -> bytes | None: ...


class LeanDialect:
    """What a dialect is without any of the frames that not every dialect has."""

    results_are_events = False
    confirms_cancels = False
    streams = False
    has_credit = False

    def credit(self, id: str, window: Window, through: int) -> bytes | None:
        return None

    def cancel(self, id: str, reason: str) -> bytes | None:
        return None

    def goaway(self, reason: str, reconnect_after_ms: int | None) -> bytes | None:
        return None

    def probe(self, id: str) -> bytes | None:
        return None

    def pong(self) -> bytes | None:
        return None
