"""Who watches: logs now, metrics and traces later."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from a2a_relay.core.address import Address
from a2a_relay.core.letter import LetterEvent
from a2a_relay.core.session import Session
from a2a_relay.errors import Reason
from a2a_relay.wire.close_codes import CloseCode


class CallReport(NamedTuple):
    """One call that is over. Never holds a body, a message or a credential.

    `status` is the HTTP status or 0 where there was none; `duration_seconds` from
    the request's arrival to its last byte. `is_call` tells a relayed call from a
    question to the relay itself.
    """

    request_id: str
    address: Address | None
    method: str
    status: int
    reason: Reason | None
    duration_seconds: float
    events: int = 0
    is_agent_error: bool = False
    is_call: bool = True
    peer: str = ""


@dataclass(slots=True)
class StreamCounters:
    """Totals of all streams of a process, moved on in place because an event has no time to tell of itself."""

    events: int = 0
    bytes: int = 0
    """Of bodies."""
    windows_full: int = 0
    """How often an agent had to wait for a reader."""
    resumes: int = 0
    gaps: int = 0
    """Resumes that found events gone."""
    slow_ended: int = 0
    """Streams ended because they were read too slowly."""


class StreamReport(NamedTuple):
    """One stream that is over. `reason` is the relay's own for ending it."""

    address: Address
    method: str
    events: int
    bytes: int
    windows_full: int
    resumes: int
    reason: Reason | None
    is_agent_error: bool


class Observer(Protocol):
    """Told what happens, synchronously; must be cheap and must not raise."""

    streams: StreamCounters

    def letter(self, event: LetterEvent, address: Address, reason: str) -> None:
        """Something has happened to a letter."""

    def stream_ended(self, report: StreamReport) -> None: ...

    def call_finished(self, report: CallReport) -> None: ...

    def session_attached(self, session: Session, *, replaced: bool) -> None: ...

    def session_closed(self, session: Session, code: CloseCode | None) -> None: ...

    def link_refused(self, reason: Reason, message: str, peer: str) -> None: ...

    def headers_stripped(self, names: Collection[str], address: Address) -> None:
        """A client has sent headers that only the relay may set; they go no further.

        Told once for headers that a connection repeats byte for byte.
        """

    def frame_refused(self, session: Session, reason: str) -> None:
        """A frame was counted and dropped: unreadable, unknown id, or of another session."""

    def notice(self, event: str, **facts: object) -> None:
        """Anything else worth a line."""
