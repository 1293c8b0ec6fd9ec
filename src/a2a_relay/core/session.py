"""One attached agent: what is known of it while its link lives."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from a2a_relay.core.address import Address
from a2a_relay.core.call import Call
from a2a_relay.core.exchange import Exchange
from a2a_relay.core.principal import Principal
from a2a_relay.core.stream_rules import DEFAULT_RULES, StreamRules
from a2a_relay.wire.dialects import Dialect


class Stamper(Protocol):
    """Vouches for the senders of a session's calls."""

    def stamp(self, id: str, call: Call) -> bytes:
        """The `stamp` of a call under its frame id, as JSON."""


@dataclass(slots=True, eq=False)
class Session:
    """A session above a transport. `attached_at` is wall time in seconds.

    Frame ids are `<session>.<n>`, so that an answer from an earlier session of the
    same agent can never be taken for one of this.
    """

    id: str
    address: Address
    principal: Principal
    dialect: Dialect
    attached_at: float
    max_frame: int
    serves_rest_v03: bool = False
    takes_chunks: bool = False
    heeds_credit: bool = False
    """Whether its agent has said so; one that has not is bounded, and not held to it."""
    can_resume: bool = False
    """Whether its agent side can go on with its exchanges over another link."""
    remembers_letters: bool = False
    """Whether its agent side knows a letter again that is delivered a second time, over whichever link."""
    stamper: Stamper | None = None
    """None where its agent has not asked to be shown signed senders: then they cost nothing."""
    instance: str = ""
    """The name of the process that has attached, over all of its links; empty where its agent names none."""
    can_renew: bool = False
    """Whether its agent renews its token over the link."""
    adopts_ids: bool = False
    """Whether its agent takes the ids that the relay suggests (decision 3)."""
    resumed: str = ""
    """The session whose exchanges it has taken over: its agent may not have heard of that, and claim them once more."""
    is_idempotent: bool = False
    """Whether its agent has said that a call may be run twice."""
    is_streaming: bool = False
    """Whether its agent answers in events."""
    has_letters: bool = False
    """Whether letters are waiting for it: a call must not overtake those of its context."""
    is_recovered: bool = False
    """Whether it was found out what an earlier session of its agent has left."""
    late_seconds: float = 0
    """For how long after the deadline of a call its answer is still taken."""
    rules: StreamRules = DEFAULT_RULES
    violations: int = 0
    """How often its agent has sent more than its credit."""
    is_plain: bool = True
    """Whether a call just goes to it: see `review`."""
    is_shared: bool = False
    """Whether tasks of its tenant have owners."""
    is_ready: bool = True
    paused_because: str = ""
    unary_in_flight: int = 0
    streams_in_flight: int = 0
    exchanges: dict[str, Exchange] = field(default_factory=dict)
    _frames: int = 0

    def __post_init__(self) -> None:
        self.review()

    def review(self) -> None:
        """Something has changed that calls must heed."""
        self.is_plain = self.is_ready and not self.has_letters

    def next_frame_id(self) -> str:
        """An id for the next call on this link."""
        self._frames += 1
        return f"{self.id}.{self._frames}"

    def open(self, exchange: Exchange) -> None:
        """Take an exchange in flight."""
        self.exchanges[exchange.id] = exchange
        if exchange.call.streams:
            self.streams_in_flight += 1
        else:
            self.unary_in_flight += 1

    def close(self, exchange: Exchange) -> None:
        """Let an exchange go."""
        if self.exchanges.pop(exchange.id, None) is None:
            return
        if exchange.call.streams:
            self.streams_in_flight -= 1
        else:
            self.unary_in_flight -= 1
