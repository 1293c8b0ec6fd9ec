"""The observer that writes log lines. Never a token, a body or a message; control characters escaped."""

from __future__ import annotations

import logging
import sys
from collections.abc import Collection, MutableMapping
from typing import Any, TextIO

import structlog

from a2a_relay.core.address import Address
from a2a_relay.core.letter import LetterEvent
from a2a_relay.core.session import Session
from a2a_relay.errors import Reason
from a2a_relay.ports.observer import CallReport, StreamCounters, StreamReport
from a2a_relay.wire.close_codes import CloseCode

SLOW_SECONDS = 5.0
"""A call longer than this is worth a line even when only failures are logged (decision 25)."""

_TEXT_LIMIT = 500


class LogObserver:
    """Writes lines by decision 25: failed, refused and slow calls; every call, every n-th, or none, by setting."""

    def __init__(self, access_log: str) -> None:
        self._log = structlog.get_logger("a2a_relay")
        self._access_log = access_log
        self._every = int(access_log) if access_log.isdigit() else 0
        self._calls = 0
        self.streams = StreamCounters()
        self.stripped_headers = 0

    def call_finished(self, report: CallReport) -> None:
        if not self._is_worth_a_line(report):
            return
        facts: dict[str, Any] = {
            "request_id": report.request_id,
            "method": report.method,
            "status": report.status,
            "duration_ms": round(report.duration_seconds * 1000, 2),
        }
        if report.peer:
            facts["peer"] = report.peer
        if report.address is not None:
            facts["tenant"] = report.address.tenant
            facts["agent"] = report.address.agent
        if report.reason is not None:
            facts["reason"] = str(report.reason)
        if report.is_agent_error:
            facts["reason"] = "AGENT_ERROR"
        if report.events:
            facts["events"] = report.events
        self._log.info("call", **facts)

    def _is_worth_a_line(self, report: CallReport) -> bool:
        if self._access_log == "off":
            return False
        if self._access_log == "all":
            return report.is_call or report.status >= 400
        if report.reason is not None or report.status >= 500 or report.duration_seconds > SLOW_SECONDS:
            return True
        self._calls += 1
        return bool(self._every) and self._calls % self._every == 0

    def stream_ended(self, report: StreamReport) -> None:
        """The call's own line tells of it; a stream that the relay ended, or whose reader came back, has one too."""
        if report.resumes or (report.reason is not None and report.reason is not Reason.CLIENT_GONE):
            self._log.info(
                "stream_ended",
                tenant=report.address.tenant,
                agent=report.address.agent,
                method=report.method,
                events=report.events,
                bytes=report.bytes,
                windows_full=report.windows_full,
                resumes=report.resumes,
                reason=None if report.reason is None else str(report.reason),
            )

    def letter(self, event: LetterEvent, address: Address, reason: str) -> None:
        """Letters that were given up or have expired have a line; of the others the receipts tell."""
        if event in (LetterEvent.DEAD, LetterEvent.EXPIRED):
            self._log.warning("letter_lost", tenant=address.tenant, agent=address.agent, reason=reason or str(event))

    def session_attached(self, session: Session, *, replaced: bool) -> None:
        self._log.info("agent_attached", **_of(session), dialect=session.dialect.name, replaced=replaced)

    def session_closed(self, session: Session, code: CloseCode | None) -> None:
        why = code.reason if code is not None else "ended by the agent or the network"
        self._log.info("agent_detached", **_of(session), why=why)

    def link_refused(self, reason: Reason, message: str, peer: str) -> None:
        self._log.warning("link_refused", reason=str(reason), message=message, peer=peer)

    def headers_stripped(self, names: Collection[str], address: Address) -> None:
        """The first has a line, and then each that doubles their number: whoever sends them may send many."""
        self.stripped_headers += 1
        if self.stripped_headers.bit_count() == 1:
            self._log.warning(
                "headers_stripped",
                tenant=address.tenant,
                agent=address.agent,
                names=", ".join(sorted(names)[:8]),
                total=self.stripped_headers,
            )

    def frame_refused(self, session: Session, reason: str) -> None:
        self._log.warning("frame_refused", **_of(session), reason=reason)

    def notice(self, event: str, **facts: object) -> None:
        self._log.warning(event, **facts)


def _of(session: Session) -> dict[str, str]:
    return {"tenant": session.address.tenant, "agent": session.address.agent, "session": session.id}


def configure(*, log_format: str, level: str, stream: TextIO | None = None) -> None:
    """Set up structlog: console in a terminal, one JSON object a line otherwise."""
    out = stream or sys.stderr
    as_console = log_format == "console" or (log_format == "auto" and out.isatty())
    renderer: Any = (
        structlog.dev.ConsoleRenderer(colors=out.isatty()) if as_console else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _escape,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(out),
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    root.handlers = [_Bridge(logging.WARNING)]


class _Bridge(logging.Handler):
    """What libraries log becomes lines of ours: no tracebacks for what a peer has done wrong."""

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        facts = {"error": repr(error)} if error is not None else {}
        log = structlog.get_logger("a2a_relay")
        log.log(record.levelno, "library", source=record.name, message=record.getMessage().strip(), **facts)


def _escape(_logger: object, _name: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Escape control characters and bound texts, so that no line can be forged or flood the log (S18)."""
    for key, text in event.items():
        if isinstance(text, str) and (len(text) > _TEXT_LIMIT or not text.isprintable()):
            event[key] = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text[:_TEXT_LIMIT])
    return event
