"""Runs of events as bytes, and back: what one commit took of one stream."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

_LENGTH = 4
"""Bytes of the length before each body, big-endian."""


def join_bodies(bodies: Iterable[bytes]) -> bytes:
    """Bodies, each with its length before it."""
    parts: list[bytes] = []
    for body in bodies:
        parts += (len(body).to_bytes(_LENGTH, "big"), body)
    return b"".join(parts)


def part_bodies(joined: bytes) -> list[bytes]:
    """The bodies that were joined. Raises ValueError when these are not joined bodies."""
    bodies, end = [], 0
    while end < len(joined):
        start = end + _LENGTH
        end = start + int.from_bytes(joined[end:start], "big")
        if end > len(joined) or start > len(joined):
            raise ValueError("a body is cut off")
        bodies.append(joined[start:end])
    return bodies


def last_run(rows: Iterable[Sequence[Any]]) -> tuple[int, list[bytes]]:
    """The last event's number, and the bodies that lead up to it without a gap, of rows `first, last, bodies`.

    Rows are in order. One that cannot be read, or that overlaps the one before it, counts its events and has none of
    them.
    """
    through, run = 0, list[bytes]()
    for first, last, joined in rows:
        bodies = _readable(first, last, joined) if first > through else None
        if bodies is None or first != through + 1:
            run = []
        run += bodies or ()
        through = max(through, last)
    return through, run


def _readable(first: int, last: int, joined: object) -> list[bytes] | None:
    """The bodies of a row; None when it is damaged."""
    if not isinstance(joined, bytes):
        return None
    try:
        bodies = part_bodies(joined)
    except ValueError:
        return None
    return bodies if bodies and len(bodies) == last - first + 1 else None
