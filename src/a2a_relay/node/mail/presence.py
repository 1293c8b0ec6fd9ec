"""Waiting a little for an agent that is away."""

from __future__ import annotations

import asyncio

from a2a_relay.core.address import Address
from a2a_relay.node.wheel import Wheel, call_off
from a2a_relay.ports.clock import Clock

MAX_WAITING = 256
"""Calls that wait for one agent."""


class Expected:
    """Whoever waits for an agent, in the order in which they came."""

    def __init__(self, clock: Clock, wheel: Wheel) -> None:
        self._clock = clock
        self._wheel = wheel
        self._waiting: dict[Address, dict[asyncio.Future[bool], None]] = {}
        self._is_over = False

    async def wait(self, address: Address, seconds: float) -> bool:
        """Wait so long for an agent; whether it has come. Where too many wait already, nobody else does."""
        if self._is_over or len(self._waiting.get(address, ())) >= MAX_WAITING:
            return False
        arrival: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        slot = self._wheel.put(arrival, self._clock.monotonic() + seconds, _too_late)
        waiting = self._waiting.setdefault(address, {})
        waiting[arrival] = None
        try:
            return await arrival
        finally:
            call_off(slot, arrival)
            waiting.pop(arrival, None)
            if not waiting and self._waiting.get(address) is waiting:  # others may wait anew since the agent has come
                del self._waiting[address]

    def arrived(self, address: Address) -> None:
        """An agent has come."""
        for arrival in self._waiting.pop(address, ()):
            if not arrival.done():
                arrival.set_result(True)

    def give_up(self) -> None:
        """Nobody will come any more, also for whoever would wait later."""
        self._is_over = True
        for waiting in self._waiting.values():
            for arrival in waiting:
                _too_late(arrival)


def _too_late(arrival: asyncio.Future[bool]) -> None:
    if not arrival.done():
        arrival.set_result(False)
