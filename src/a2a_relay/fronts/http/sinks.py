"""Where the node leaves the events of a stream that is written by a coroutine."""

from __future__ import annotations

import asyncio
from collections import deque

from a2a_relay.core.exchange import AgentError, Outcome, Result
from a2a_relay.errors import Refused


class StreamSink:
    """Buffers events between the link and one client, within bounds.

    A reader that is slower than the bound loses this stream, and no other.
    """

    def __init__(self, max_events: int, max_bytes: int) -> None:
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._held_bytes = 0
        self._wake = asyncio.Event()
        self.events: deque[Result] = deque()
        self.answered: Outcome | None = None
        self.is_over = False
        self.failure: AgentError | Refused | None = None

    def answer(self, outcome: Outcome) -> None:
        self.answered = outcome
        self.is_over = True
        self._wake.set()

    def event(self, result: Result) -> bool:
        size = self._held_bytes + len(result.body)
        if self.events and (len(self.events) >= self._max_events or size > self._max_bytes):
            return False
        self._held_bytes = size
        self.events.append(result)
        self._wake.set()
        return True

    def end(self, failure: AgentError | Refused | None) -> None:
        self.failure = failure
        self.is_over = True
        self._wake.set()

    async def wait(self, seconds: float) -> bool:
        """Wait until there is something to take; False when `seconds` passed without."""
        if self.events or self.is_over:
            return True
        self._wake.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            return False
        return True

    def take(self) -> list[Result]:
        """Everything that is there."""
        taken = list(self.events)
        self.events.clear()
        self._held_bytes = 0
        return taken
