"""A sink for whoever awaits one answer."""

from __future__ import annotations

import asyncio

from a2a_relay.core.exchange import Outcome


class Waiter:
    """Resolves a future with the outcome of a unary exchange."""

    def __init__(self) -> None:
        self.outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

    def answer(self, outcome: Outcome) -> None:
        if not self.outcome.done():
            self.outcome.set_result(outcome)
