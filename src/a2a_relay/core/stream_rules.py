"""What holds for the streams of one agent: its operator's word, then its card's, then the relay's defaults."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from a2a_relay.core.address import Address, is_covered


class StreamRules(NamedTuple):
    """Durations in seconds; `total_seconds` 0 is no limit. `is_durable`: whether windows survive the relay."""

    idle_seconds: float = 600
    total_seconds: float = 0
    is_durable: bool = False


DEFAULT_RULES = StreamRules()


class AgentRule(NamedTuple):
    """What an operator says of one agent, or of every agent of a tenant (`agent` is `*`)."""

    tenant: str
    agent: str
    idle_seconds: float | None = None
    total_seconds: float | None = None
    is_durable: bool | None = None

    def is_for(self, address: Address) -> bool:
        """Whether it speaks of this agent."""
        return is_covered(address, self.tenant, self.agent)


@dataclass(frozen=True, slots=True)
class StreamPolicy:
    """The relay's own word. An agent's card may ask for less time than `defaults`, never for more.

    `windows` is `memory` or `durable` for everybody, or `agent`: durable for those whose cards ask for it.
    """

    defaults: StreamRules = DEFAULT_RULES
    windows: str = "agent"
    agents: tuple[AgentRule, ...] = ()

    def rules_for(self, address: Address, params: Mapping[str, Any]) -> StreamRules:
        """The rules of one agent; `params` are those of the relay's extension on its card.

        Of the operator's own rules the last fitting one counts.
        """
        idle = _shorter(self.defaults.idle_seconds, params.get("streamIdleSeconds"))
        total = _shorter(self.defaults.total_seconds, params.get("streamTotalSeconds"))
        is_durable = self.windows == "durable" or (self.windows == "agent" and params.get("streamWindow") == "durable")
        for rule in self.agents:
            if rule.is_for(address):
                idle = idle if rule.idle_seconds is None else rule.idle_seconds
                total = total if rule.total_seconds is None else rule.total_seconds
                is_durable = is_durable if rule.is_durable is None else rule.is_durable
        return StreamRules(idle, total, is_durable)


_LONGEST_SECONDS = 10**9
"""No card means more than a generation; and what is beyond a float would not be a number any more."""


def _shorter(limit: float, asked: Any) -> float:
    """What is asked, when it is a duration within the limit (0: none)."""
    if isinstance(asked, bool) or not isinstance(asked, int | float) or not 0 < asked <= _LONGEST_SECONDS:
        return limit
    return min(float(asked), limit) if limit else float(asked)
