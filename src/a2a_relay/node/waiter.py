"""A sink for whoever awaits one answer."""

from __future__ import annotations

import asyncio

from a2a_relay.core.exchange import AgentError, Outcome, Result
from a2a_relay.errors import Reason, Refused


class Waiter:
    """Resolves a future with the outcome of a unary exchange."""

    def __init__(self) -> None:
        self.outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

    def answer(self, outcome: Outcome) -> None:
        if not self.outcome.done():
            self.outcome.set_result(outcome)

    def event(self, result: Result) -> bool:
        return False

    def end(self, failure: AgentError | Refused | None) -> None:
        self.answer(failure or Refused(Reason.INVALID_AGENT_RESPONSE, "the agent ended without an answer"))
