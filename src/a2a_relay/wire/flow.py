"""Flow control of one stream over a link: credit, sequence numbers, and what is kept until it is acknowledged.

An agent may have sent, beyond `through` (the last event that the relay has taken
over), as many events and bytes of bodies as the stream's window has. An event larger
than half of the window may be sent whenever half of it is free, so that no size is
ever stuck. The relay moves `through` at the latest when half of the window is taken.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import NamedTuple

from a2a_relay.wire.frames import NO_HEADERS


class Window(NamedTuple):
    """How far an agent may be ahead of its reader."""

    events: int = 64
    bytes: int = 256 * 1024

    @property
    def half_events(self) -> int:
        """So many events taken are worth a credit frame."""
        return max(self.events // 2, 1)

    @property
    def half_bytes(self) -> int:
        """So many bytes taken are worth a credit frame."""
        return max(self.bytes // 2, 1)

    def has_room(self, events: int, held: int, size: int) -> bool:
        """Whether a body of `size` bytes may follow `events` events of `held` bytes that are not taken yet."""
        if not events:
            return True
        return events < self.events and held + min(size, self.half_bytes) <= self.bytes


DEFAULT_WINDOW = Window()


class Kept(NamedTuple):
    """An event that may have to be sent again."""

    seq: int
    body: bytes
    headers: Mapping[str, str]


class Outgoing:
    """The agent's end of one stream: numbers its events, knows which may go, and keeps them until they are taken.

    `window` None: the relay gives no credit, nothing is held back and nothing is kept.
    """

    __slots__ = ("_held", "_kept", "_window", "error", "id", "is_ended", "last", "through")

    def __init__(self, id: str, window: Window | None) -> None:
        self.id = id
        self.last = 0
        self.through = 0
        self.is_ended = False
        self.error: bytes | None = None
        """The error that it ended with."""
        self._window = window
        self._kept: deque[Kept] = deque()
        self._held = 0

    @property
    def keeps(self) -> bool:
        """Whether events are kept until they are taken, so that the stream can go on over another link."""
        return self._window is not None

    @property
    def is_settled(self) -> bool:
        """Whether the relay has taken all of it, its end too."""
        return self.is_ended and (self._window is None or self.through > self.last)

    def has_room(self, size: int) -> bool:
        """Whether an event with a body of `size` bytes may be sent now."""
        return self._window is None or self._window.has_room(len(self._kept), self._held, size)

    def event(self, body: bytes, headers: Mapping[str, str] = NO_HEADERS) -> int:
        """Take the next event; its sequence number."""
        self.last += 1
        if self._window is not None:
            self._kept.append(Kept(self.last, body, headers))
            self._held += len(body)
        return self.last

    def end(self, error: bytes | None = None) -> None:
        """Nothing follows. The relay acknowledges the end as it does an event, by the number after the last."""
        self.is_ended, self.error = True, error

    def credit(self, through: int) -> None:
        """The relay has taken everything up to `through`; an older or impossible number changes nothing."""
        if not self.through < through <= self.last + self.is_ended:
            return
        self.through = through
        kept = self._kept
        while kept and kept[0].seq <= through:
            self._held -= len(kept.popleft().body)

    def after(self, seq: int) -> Kept | None:
        """The first event behind `seq` that is kept: what is to be sent next when `seq` was sent last."""
        if not self._kept or self._kept[-1].seq <= seq:
            return None
        return self._kept[max(seq + 1 - self._kept[0].seq, 0)]

    def unacknowledged(self) -> list[Kept]:
        """What must be sent again over a new link, in order; then the end, when it has ended."""
        return list(self._kept)
