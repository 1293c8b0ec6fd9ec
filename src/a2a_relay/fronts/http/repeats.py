"""Heads that were read before: a client on a kept-alive connection sends the same one again and again.

What is known is known byte for byte, as the HTTP parser has taken it: a request
line, and on each connection the headers of its last request. Only the digits of
the body's length may differ.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from a2a_relay.core.target import Route
from a2a_relay.fronts.http.head import HeaderBlock

_LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]{1,8})(?=\r\n)", re.IGNORECASE)
_MAX_DIGITS = 8
_MAX_LINES = 16384


class RequestLine(NamedTuple):
    """A request line of a relayed call."""

    verb: str
    target: bytes
    route: Route


class KnownLines(dict[bytes, RequestLine]):
    """Request lines of this process by their bytes; bounded."""

    def learn(self, raw: bytes, line: RequestLine) -> None:
        """Keep a line that the parser has taken."""
        if len(self) >= _MAX_LINES:
            self.clear()
        self[raw] = line


class KnownHeaders:
    """The headers of a connection's last request, and what was read of them."""

    __slots__ = ("_after", "_before", "block")

    def __init__(self, before: bytes, after: bytes, block: HeaderBlock) -> None:
        self._before = before
        self._after = after
        self.block = block

    @classmethod
    def learn(cls, raw: bytes, block: HeaderBlock) -> KnownHeaders | None:
        """From the line end before the first header to the blank line; None for a body without a plain length."""
        found = list(_LENGTH.finditer(raw))
        if len(found) != 1 or block.by_name.get("content-length") != found[0][1].decode() or block.ends_connection:
            return None
        return cls(raw[: found[0].start(1)], raw[found[0].end(1) :], block)

    def match(self, data: bytes, at: int) -> tuple[int, int] | None:
        """Where the body of a request begins whose headers begin `at`, and how long it is; None when they differ."""
        if not data.startswith(self._before, at):
            return None
        at += len(self._before)
        end = data.find(b"\r", at, at + _MAX_DIGITS + 1)
        digits = data[at:end]
        if end < 0 or not digits.isdigit() or not data.startswith(self._after, end):
            return None
        return end + len(self._after), int(digits)
