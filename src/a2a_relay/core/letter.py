"""One letter: a call that is kept for its agent until it is answered, expires or is given up.

    accepted -> QUEUED -> LEASED -> DONE
                  ^ |        | \
                  | |        |  -> DEAD -> (redriven) QUEUED
                  | |        v
                  | |      (nacked, or its session is gone) QUEUED, later
                  | -> EXPIRED, CANCELED
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from a2a_relay.core.address import Address
from a2a_relay.errors import IllegalMove

ID_PREFIX = "rly-"
"""Ids that the relay makes begin so; without it nothing is looked up (decision 22)."""


class LetterState(StrEnum):
    """Where a letter stands."""

    QUEUED = "queued"
    LEASED = "leased"
    DONE = "done"
    EXPIRED = "expired"
    DEAD = "dead"
    CANCELED = "canceled"

    @property
    def is_waiting(self) -> bool:
        """Whether it is still to be answered, and counts for its mailbox."""
        return self in (LetterState.QUEUED, LetterState.LEASED)


_MOVES = {
    LetterState.QUEUED: (LetterState.LEASED, LetterState.EXPIRED, LetterState.DEAD, LetterState.CANCELED),
    LetterState.LEASED: (LetterState.QUEUED, LetterState.DONE, LetterState.EXPIRED, LetterState.DEAD),
    LetterState.DONE: (),
    LetterState.EXPIRED: (LetterState.QUEUED,),
    LetterState.DEAD: (LetterState.QUEUED,),
    LetterState.CANCELED: (),
}


def require_move(before: LetterState, after: LetterState) -> None:
    """Raise IllegalMove unless a letter may go from one state to the other."""
    if after not in _MOVES[before]:
        raise IllegalMove(f"a letter that is {before} cannot become {after}")


class DeadReason(StrEnum):
    """Why a letter was given up."""

    ATTEMPTS_EXHAUSTED = "attempts_exhausted"
    """It was handed over as often as it may be, and never answered."""
    DELIVERED_UNKNOWN = "delivered_unknown"
    """It was handed over to an agent that does not remember letters, whose session ended before the answer."""
    TOO_LARGE = "too_large"
    """The agent's link does not take a frame of this size."""
    NOT_SERVED = "not_served"
    """The agent does not serve the binding that the call came over."""
    TASK_UNKNOWN = "task_unknown"
    """It continues a task that never came to be."""


class LetterEvent(StrEnum):
    """What a receipt says has happened."""

    ACCEPTED = "accepted"
    LEASED = "leased"
    WORKING = "working"
    """The agent has given its task an id."""
    RETURNED = "returned"
    """It was not taken, or its session was lost: it is queued again."""
    ACKED = "acked"
    DONE = "done"
    EXPIRED = "expired"
    DEAD = "dead"
    CANCELED = "canceled"
    REDRIVEN = "redriven"
    RESTORED = "restored"
    """A backup was restored in which it was not answered yet: it may have been since."""


class Entry(NamedTuple):
    """One line of a letter's history. `at` is wall time in seconds."""

    at: float
    event: LetterEvent
    attempt: int = 0
    reason: str = ""


class Receipt(NamedTuple):
    """One thing that has happened to a letter, as its sender is told."""

    id: str
    address: Address
    owner: str
    entry: Entry


class AnswerKind(StrEnum):
    """What the agent's final answer was."""

    TASK = "task"
    MESSAGE = "message"
    ERROR = "error"


class Answer(NamedTuple):
    """A final answer: the bytes of a Task, of a Message, or of a JSON-RPC error object, with the agent's own ids."""

    kind: AnswerKind
    body: bytes


class Alias(NamedTuple):
    """The ids that the agent gave to a task of the relay's; empty while it has given none."""

    task_id: str = ""
    context_id: str = ""


class IdempotencyKey(NamedTuple):
    """`scope` stands for tenant, caller, agent, operation and key together; `digest` for the body."""

    scope: str
    digest: bytes
    seconds: float
    """How long it is remembered."""


class Draft(NamedTuple):
    """A letter that is to be accepted.

    `task_id` is the relay's task it belongs to: its own id, or that of the letter it continues. `context` is what it is
    ordered by, within its agent; `context_id` the A2A context that its Task carries. `leased_by`: a session that was
    handed the call already (its answer is late), so that it is leased from the beginning and has no turn to wait for.
    `is_new_context`: the relay has just made the context, so that no letter of it can be waiting.
    """

    id: str
    address: Address
    owner: str
    task_id: str
    context: str
    context_id: str
    envelope: bytes
    params: bytes
    ttl_seconds: float
    idempotency: IdempotencyKey | None = None
    leased_by: str = ""
    is_new_context: bool = False

    @property
    def size(self) -> int:
        """What it counts for in its mailbox, in bytes."""
        return len(self.params) + len(self.envelope)


class Letter(NamedTuple):
    """A letter as the store has it. Instants are wall time in seconds.

    `params` are empty when they were removed: a letter that is done needs them no more. `lease` names who has it;
    only its holder moves it on. `position` counts the letters before it in its mailbox, when it is
    accepted; None later.
    """

    id: str
    address: Address
    owner: str
    task_id: str
    context: str
    context_id: str
    envelope: bytes
    params: bytes
    state: LetterState
    attempt: int
    accepted_at: float
    expires_at: float
    lease: str = ""
    alias: Alias = Alias()
    answer: Answer | None = None
    reason: str = ""
    ended_at: float | None = None
    number: int = 0
    """Its place in the order of acceptance, over all mailboxes of the store."""
    position: int | None = None
    is_restored: bool = False
    history: tuple[Entry, ...] = ()


class Room(NamedTuple):
    """How much one mailbox may hold of what is not answered yet."""

    letters: int = 999
    bytes: int = 64 * 1024 * 1024


class Filter(NamedTuple):
    """Which letters of a tenant are meant; an empty text means any. `before` is an instant of acceptance."""

    agent: str = ""
    owner: str = ""
    state: str = ""
    reason: str = ""
    context_id: str = ""
    id: str = ""
    before: float | None = None
    agents: tuple[str, ...] | None = None
    """Only letters to these, whatever else is asked for; None: to any."""


class Act(NamedTuple):
    """Who does something to letters of others, and why: it is written down beside it."""

    actor: str
    reason: str


class MailboxView(NamedTuple):
    """One mailbox as an operator sees it. `oldest_at` is when its oldest waiting letter was accepted."""

    address: Address
    queued: int
    leased: int
    dead: int
    bytes: int
    oldest_at: float | None
    is_paused: bool


class AuditEntry(NamedTuple):
    """One administrative act. `touched` is how many letters it changed."""

    at: float
    tenant: str
    actor: str
    action: str
    target: str
    touched: int
    reason: str


BACK_OFF_SECONDS = 1.0
MAX_BACK_OFF_SECONDS = 300.0


def back_off(attempt: int, chance: float) -> float:
    """How long a letter waits after its `attempt`th failed attempt: doubling, with a random part (`chance` in [0, 1)).

    Half of it is certain, so that an agent that fails at once is not asked at once.
    """
    span = min(BACK_OFF_SECONDS * float(2 ** min(max(attempt - 1, 0), 20)), MAX_BACK_OFF_SECONDS)
    return span * (0.5 + chance / 2)
