"""One call and its answer or answers."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from a2a_relay.core.call import Call
from a2a_relay.errors import IllegalMove, Refused
from a2a_relay.wire.frames import NO_HEADERS

if TYPE_CHECKING:
    from a2a_relay.core.session import Session


class Result(NamedTuple):
    """The agent's result bytes and `a2a-*` headers; `http_status` only for a 0.3 REST answer."""

    body: bytes
    http_status: int | None = None
    headers: Mapping[str, str] = NO_HEADERS


class AgentError(NamedTuple):
    """The agent's JSON-RPC error object, as bytes."""

    body: bytes


Outcome = Result | AgentError | Refused


class Sink(Protocol):
    """Who reads an exchange. Called from the node, synchronously, never after the final call.

    A unary exchange ends with one `answer`. A streaming one has any number of
    `event`, then one `end`; or one `answer` instead, when nothing was streamed.
    """

    def answer(self, outcome: Outcome) -> None:
        """The only answer."""

    def event(self, result: Result) -> bool:
        """One event; False when the reader is too slow to take it, which ends the stream."""

    def end(self, failure: AgentError | Refused | None) -> None:
        """The end of the stream; None is the agent's own regular end."""


class Phase(Enum):
    """Where an exchange stands."""

    PENDING = "pending"
    STREAMING = "streaming"
    DONE = "done"


_MOVES = {
    Phase.PENDING: (Phase.STREAMING, Phase.DONE),
    Phase.STREAMING: (Phase.STREAMING, Phase.DONE),
    Phase.DONE: (),
}


class Exchange:
    """The state of one call while it is in flight. `id` is its frame id on the session's link."""

    __slots__ = (
        "call",
        "deadline",
        "events",
        "expires_at",
        "id",
        "last_seq",
        "phase",
        "session",
        "sink",
        "started_at",
        "timeout_seconds",
    )

    def __init__(self, id: str, call: Call, sink: Sink, session: Session, started_at: float, expires_at: float) -> None:
        self.id = id
        self.call = call
        self.sink = sink
        self.session = session
        self.started_at = started_at
        self.expires_at = expires_at
        self.timeout_seconds = expires_at - started_at
        self.phase = Phase.PENDING
        self.last_seq = 0
        self.events = 0
        self.deadline: dict[Any, Any] = {}
        """The slot of its timer."""

    @property
    def is_done(self) -> bool:
        """Whether the final answer or end was given."""
        return self.phase is Phase.DONE

    def move(self, phase: Phase) -> None:
        """Go on to `phase`. Raises IllegalMove: an exchange that is done stays so."""
        if phase not in _MOVES[self.phase]:
            raise IllegalMove(f"exchange {self.id} is {self.phase.value} and cannot become {phase.value}")
        self.phase = phase

    def takes(self, seq: int | None) -> bool:
        """Whether an event is the next one: a sequence number that was seen is dropped."""
        if seq is None:
            self.last_seq += 1
            return True
        if seq <= self.last_seq:
            return False
        self.last_seq = seq
        return True
