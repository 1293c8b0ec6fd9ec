"""Places in streams, as SSE's `id:` and `Last-Event-ID` name them."""

from __future__ import annotations

import re
from typing import NamedTuple

_POSITION = re.compile(r"([A-Za-z0-9_-]{22})\.([0-9a-f]{1,16})-([0-9]{1,15})", re.ASCII)
_STREAM_ID = re.compile(r"[A-Za-z0-9_-]{22}", re.ASCII)


class Position(NamedTuple):
    """A place in a stream: `<stream>.<epoch>-<offset>`.

    `stream` is 128 random bits; `epoch` tells apart two lives of one offset; `offset` is the number of the last
    event that was read. The epoch of `at_start` is empty and fits any.
    """

    stream: str
    epoch: str
    offset: int

    @classmethod
    def parse(cls, text: str) -> Position | None:
        """Read a `Last-Event-ID`; None when it is none of ours."""
        found = _POSITION.fullmatch(text)
        return None if found is None else cls(found[1], found[2], int(found[3]))

    @classmethod
    def at_start(cls, stream: str) -> Position | None:
        """Before the first event of a stream; None when that is no stream's id."""
        return cls(stream, "", 0) if _STREAM_ID.fullmatch(stream) else None
