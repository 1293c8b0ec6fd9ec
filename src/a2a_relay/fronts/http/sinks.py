"""Where the node leaves the events of a stream that is written by a coroutine."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from typing import NamedTuple

from a2a_relay.core.exchange import AgentError, Outcome
from a2a_relay.core.stream import Event, offset_of
from a2a_relay.errors import Refused
from a2a_relay.wire.frames import NO_HEADERS

_MAX_EVENTS = 16
_MAX_BYTES = 64 * 1024


class Gap(NamedTuple):
    """What a resumed reader has missed: the events `first` to `last`, the latter at `position`."""

    first: int
    last: int
    position: bytes


class StreamSink:
    """A few events between a stream and its client; it takes more when these are written."""

    def __init__(self) -> None:
        self._held_bytes = 0
        self._wake = asyncio.Event()
        self.items: deque[Event | Gap] = deque()
        self.headers: Mapping[str, str] = NO_HEADERS
        self.answered: Outcome | None = None
        self.is_over = False
        self.failure: AgentError | Refused | None = None

    def answer(self, outcome: Outcome) -> None:
        self.answered = outcome
        self.is_over = True
        self._wake.set()

    def event(self, event: Event, headers: Mapping[str, str]) -> bool:
        self.headers = headers
        self.items.append(event)
        self._held_bytes += len(event.body)
        self._wake.set()
        return len(self.items) < _MAX_EVENTS and self._held_bytes < _MAX_BYTES

    def gap(self, first: int, last: Event) -> None:
        self.items.append(Gap(first, offset_of(last), last.position))
        self._wake.set()

    def end(self, failure: AgentError | Refused | None) -> None:
        self.failure = failure
        self.is_over = True
        self._wake.set()

    async def wait(self, seconds: float) -> bool:
        """Wait until there is something to take; False when `seconds` passed without."""
        if self.items or self.is_over:
            return True
        self._wake.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            return False
        return True

    def take(self) -> list[Event | Gap]:
        """Everything that is there."""
        taken = list(self.items)
        self.items.clear()
        self._held_bytes = 0
        return taken
