"""What holds for the letters of one agent: the relay's defaults, and its operator's word."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from a2a_relay.core.address import Address, is_covered
from a2a_relay.core.letter import Room


class MailRules(NamedTuple):
    """Durations in seconds.

    `offline_queues`: whether calls to an agent that is away become letters, or are refused. A letter lives for
    `ttl_seconds` at most, is handed over `attempts` times at most, and letters of `contexts` contexts are handed over
    at a time. `sync_wait_seconds` is how long a call waits for its agent before it is queued; 0: not at all.
    """

    offline_queues: bool = True
    room: Room = Room()
    ttl_seconds: float = 9 * 86400
    attempts: int = 5
    contexts: int = 4
    sync_wait_seconds: float = 3


DEFAULT_RULES = MailRules()


class AgentMailRule(NamedTuple):
    """What an operator says of one agent's letters, or of those of every agent (`*`); None: what holds otherwise."""

    tenant: str
    agent: str
    offline_queues: bool | None = None
    letters: int | None = None
    bytes: int | None = None
    ttl_seconds: float | None = None
    attempts: int | None = None
    contexts: int | None = None
    sync_wait_seconds: float | None = None

    def applied_to(self, rules: MailRules) -> MailRules:
        """`rules`, as far as this one says nothing else."""
        letters, size = rules.room
        return MailRules(
            offline_queues=rules.offline_queues if self.offline_queues is None else self.offline_queues,
            room=Room(letters if self.letters is None else self.letters, size if self.bytes is None else self.bytes),
            ttl_seconds=rules.ttl_seconds if self.ttl_seconds is None else self.ttl_seconds,
            attempts=rules.attempts if self.attempts is None else self.attempts,
            contexts=rules.contexts if self.contexts is None else self.contexts,
            sync_wait_seconds=rules.sync_wait_seconds if self.sync_wait_seconds is None else self.sync_wait_seconds,
        )


@dataclass(frozen=True, slots=True)
class MailPolicy:
    """The relay's own word on letters, and its operator's on those of single agents."""

    defaults: MailRules = DEFAULT_RULES
    agents: tuple[AgentMailRule, ...] = ()

    def rules_for(self, address: Address) -> MailRules:
        """The rules of one agent. Where several rules of the operator speak of the same, the last one counts."""
        rules = self.defaults
        for rule in self.agents:
            if is_covered(address, rule.tenant, rule.agent):
                rules = rule.applied_to(rules)
        return rules
