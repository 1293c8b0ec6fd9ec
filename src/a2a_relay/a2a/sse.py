"""Server-sent events: framing for clients, and a reader for what an upstream agent streams.

Source: WHATWG HTML 9.2. A2A events are JSON, one per event; the relay writes
each as exactly one `data:` line, because clients in the wild cannot read more.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

HEARTBEAT = b":\n\n"
"""A comment: invisible to clients, and bytes on the wire for those that abort a silent stream."""

# Line ends that some readers honour inside a line. In JSON text U+0085, U+2028 and
# U+2029 can only stand inside strings, where an escape means the same.
_ESCAPES = (
    ("\u0085".encode(), b"\\u0085"),
    ("\u2028".encode(), b"\\u2028"),
    ("\u2029".encode(), b"\\u2029"),
)


def one_line(document: bytes) -> bytes:
    """The same JSON in one line, equal in content (decision 4: SSE framing).

    Raw CR and LF can only stand between tokens in JSON, where they mean nothing.
    """
    if b"\n" in document or b"\r" in document:
        document = document.replace(b"\r", b" ").replace(b"\n", b" ")
    if not document.isascii() and (b"\xc2\x85" in document or b"\xe2\x80" in document):
        for raw, escaped in _ESCAPES:
            document = document.replace(raw, escaped)
    return document


def event(document: bytes) -> bytes:
    """One event that carries a JSON document."""
    return b"data: %b\n\n" % one_line(document)


def event_at(position: bytes, document: bytes) -> bytes:
    """One event of a stream that can be read on from its `id:`."""
    return b"id: %b\ndata: %b\n\n" % (position, one_line(document))


def response_at(position: bytes, id: bytes, result: bytes) -> bytes:
    """The same for a JSON-RPC response around result bytes."""
    return b'id: %b\ndata: {"jsonrpc":"2.0","id":%b,"result":%b}\n\n' % (position, id, one_line(result))


def gap_event(position: bytes, first: int, last: int) -> bytes:
    """The event that tells a resumed reader what is lost: the events `first` to `last`, the latter at `position`."""
    return b'event: gap\nid: %b\ndata: {"lost":{"first":%d,"last":%d}}\n\n' % (position, first, last)


def named_event(name: bytes, document: bytes) -> bytes:
    """One event of another kind than A2A's."""
    return b"event: %b\ndata: %b\n\n" % (name, one_line(document))


def error_event(document: bytes) -> bytes:
    """The event that ends a stream that has failed: a bare end looks like success to every SDK."""
    return named_event(b"error", document)


class Event(NamedTuple):
    """One event as read from a stream; `data` has its lines joined by LF.

    `id` is the last event id: that of an earlier event when this one has none of its own.
    """

    name: str
    data: bytes
    id: str = ""


class Reader:
    """Collects bytes and yields whole events, whatever way the bytes were cut."""

    def __init__(self, max_event_bytes: int) -> None:
        self._max_event_bytes = max_event_bytes
        self._tail = b""
        self._lines: list[bytes] = []
        self._name = ""
        self._id = ""
        self._held = 0
        self._skip_lf = False

    def feed(self, data: bytes) -> Iterator[Event]:
        """Yield the events that `data` completes. Raises ValueError when one grows beyond the limit."""
        if self._skip_lf and data:
            data = data.removeprefix(b"\n")
            self._skip_lf = False
        if not data:
            return
        self._skip_lf = data.endswith(b"\r")
        *lines, self._tail = _split(self._tail + data)
        for line in lines:
            if line:
                self._take(line)
            elif self._lines:
                yield self._finish()
            else:
                self._name, self._held = "", 0
        self._require_room(len(self._tail))

    def _take(self, line: bytes) -> None:
        self._held += len(line) + 1
        self._require_room(0)
        field, _, content = line.partition(b":")
        content = content.removeprefix(b" ")
        if field == b"data":
            self._lines.append(content)
        elif field == b"event":
            self._name = content.decode("utf-8", "replace")
        elif field == b"id" and b"\0" not in content:
            self._id = content.decode("utf-8", "replace")

    @property
    def is_within_event(self) -> bool:
        """Whether an event has begun that is not complete: no writer ends there."""
        return bool(self._tail or self._held)

    def _require_room(self, more: int) -> None:
        if self._held + more > self._max_event_bytes:
            raise ValueError("an event is larger than the limit")

    def _finish(self) -> Event:
        found = Event(self._name or "message", b"\n".join(self._lines), self._id)
        self._lines, self._name, self._held = [], "", 0
        return found


def _split(data: bytes) -> list[bytes]:
    """Lines ended by CRLF, LF or CR; a CR at the very end counts as an end (its LF is skipped later)."""
    if b"\r" in data:
        data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return data.split(b"\n")
