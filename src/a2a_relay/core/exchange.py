"""One call and its answer or answers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from a2a_relay.core.call import Call
from a2a_relay.errors import IllegalMove, Refused
from a2a_relay.wire.frames import NO_HEADERS

if TYPE_CHECKING:
    from a2a_relay.core.session import Session
    from a2a_relay.core.stream import Stream


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
    """Who awaits the one answer of a unary call. Called from the node, synchronously, once."""

    def answer(self, outcome: Outcome) -> None: ...


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
    """The state of one call while it is in flight. `id` is its frame id on the link of the session that took it.

    A unary call has a `sink`, a streaming one a `stream`. Instants are monotonic time in seconds: `expires_at` is that
    of the answer, and of a stream's next event; `ends_at` that of everything.
    """

    __slots__ = (
        "call",
        "deadline",
        "ends_at",
        "expires_at",
        "id",
        "idle_seconds",
        "phase",
        "session",
        "sink",
        "started_at",
        "stream",
    )

    def __init__(
        self, id: str, call: Call, session: Session, started_at: float, idle_seconds: float, ends_at: float = math.inf
    ) -> None:
        self.id = id
        self.call = call
        self.sink: Sink | None = None
        self.stream: Stream | None = None
        self.session = session
        self.started_at = started_at
        self.idle_seconds = idle_seconds
        self.expires_at = started_at + idle_seconds
        self.ends_at = ends_at
        self.phase = Phase.PENDING
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
