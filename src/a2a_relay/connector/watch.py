"""Whether the upstream is there: looked at now and then, and probed while it is away (decision 21)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import structlog

from a2a_relay.connector.refused import ConnectorRefused, one_line
from a2a_relay.connector.upstream import Upstream, UpstreamDown

LOOK_SECONDS = 15.0
"""How often a running upstream is asked for its card: a stop or a changed card is seen without a call."""
_FIRST_PROBE_SECONDS = 1.0
_MAX_PROBE_SECONDS = 15.0
_MAX_DOUBLINGS = 5
_LOG = structlog.get_logger("a2a_relay.connector")

Wait = Callable[[asyncio.Event, float], Awaitable[None]]
"""Waits for an event, at most so many seconds."""


class Watch:
    """The state of the upstream as last seen. `changed` is awaited after every look that found something new."""

    def __init__(self, upstream: Upstream, changed: Callable[[], Awaitable[None]], wait: Wait) -> None:
        self.is_ready = True
        self.reason = ""
        self.card: bytes | None = None
        self._upstream = upstream
        self._changed = changed
        self._wait = wait
        self._stirred = asyncio.Event()
        self._probes = 0

    def report_down(self, why: str) -> None:
        """A call has found the upstream away: say so, and begin to probe."""
        self._set_away(why)
        self._stirred.set()

    async def look(self) -> None:
        """Read the card once. Raises `ConnectorRefused` when the user's own card cannot be read."""
        try:
            card = await self._upstream.read_card()
        except UpstreamDown as down:
            self._set_away(down.why)
            return
        if card is not None:
            self.card = card
        if not self.is_ready:
            self.is_ready, self.reason, self._probes = True, "", 0
            _LOG.info("ready")

    async def run(self) -> None:
        """Keep looking."""
        while True:
            await self._wait(self._stirred, self._next_seconds())
            if self._stirred.is_set():
                self._stirred.clear()
            else:
                with suppress(ConnectorRefused):  # a card that has become unreadable is the one last seen
                    await self.look()
            await self._changed()

    def _set_away(self, why: str) -> None:
        if self.is_ready:
            self.is_ready, self.reason = False, f"the upstream is not running: {one_line(why)}"
            self._probes = 0
            _LOG.warning("paused", reason=self.reason)

    def _next_seconds(self) -> float:
        if self.is_ready:
            return LOOK_SECONDS
        self._probes += 1
        return min(_FIRST_PROBE_SECONDS * (1 << min(self._probes - 1, _MAX_DOUBLINGS)), _MAX_PROBE_SECONDS)


async def wait_for(event: asyncio.Event, seconds: float) -> None:
    """The `Wait` of the real clock."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
