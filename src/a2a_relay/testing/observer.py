"""An observer that remembers."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from a2a_relay.core.address import Address
from a2a_relay.core.letter import LetterEvent
from a2a_relay.core.session import Session
from a2a_relay.errors import Reason
from a2a_relay.ports.observer import CallReport, StreamCounters, StreamReport
from a2a_relay.wire.close_codes import CloseCode


@dataclass
class RecordingObserver:
    """Implements `ports.observer.Observer`: one list for each thing that is told."""

    calls: list[CallReport] = field(default_factory=list)
    attached: list[tuple[Session, bool]] = field(default_factory=list)
    """Sessions, and whether each replaced one."""
    closed: list[tuple[Session, CloseCode | None]] = field(default_factory=list)
    refused_links: list[tuple[Reason, str, str]] = field(default_factory=list)
    """Reason, message and peer."""
    refused_frames: list[tuple[Session, str]] = field(default_factory=list)
    streams: StreamCounters = field(default_factory=StreamCounters)
    letters: list[tuple[LetterEvent, Address, str]] = field(default_factory=list)
    ended_streams: list[StreamReport] = field(default_factory=list)
    stripped_headers: list[tuple[str, ...]] = field(default_factory=list)
    notices: list[tuple[str, dict[str, object]]] = field(default_factory=list)

    @property
    def refused_frame_reasons(self) -> list[str]:
        """Why frames were refused, in order."""
        return [reason for _, reason in self.refused_frames]

    def call_finished(self, report: CallReport) -> None:
        """Keep the report."""
        self.calls.append(report)

    def stream_ended(self, report: StreamReport) -> None:
        """Keep the report."""
        self.ended_streams.append(report)

    def letter(self, event: LetterEvent, address: Address, reason: str) -> None:
        """Keep what has happened."""
        self.letters.append((event, address, reason))

    def session_attached(self, session: Session, *, replaced: bool) -> None:
        """Keep the session."""
        self.attached.append((session, replaced))

    def session_closed(self, session: Session, code: CloseCode | None) -> None:
        """Keep the session and its code."""
        self.closed.append((session, code))

    def link_refused(self, reason: Reason, message: str, peer: str) -> None:
        """Keep the refusal."""
        self.refused_links.append((reason, message, peer))

    def headers_stripped(self, names: Collection[str], address: Address) -> None:
        """Keep the names."""
        self.stripped_headers.append(tuple(names))

    def frame_refused(self, session: Session, reason: str) -> None:
        """Keep the refusal."""
        self.refused_frames.append((session, reason))

    def notice(self, event: str, **facts: object) -> None:
        """Keep the notice."""
        self.notices.append((event, facts))
