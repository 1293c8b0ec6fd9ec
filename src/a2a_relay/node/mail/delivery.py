"""One letter on its way through its agent: what comes of it, and what that means for the letter."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from typing import NamedTuple

from a2a_relay.a2a import jsonbytes
from a2a_relay.a2a.facts import read_facts
from a2a_relay.a2a.problems import RELAY_DOMAIN
from a2a_relay.a2a.snapshot import Snapshot
from a2a_relay.core.exchange import AgentError, Outcome, Result
from a2a_relay.core.letter import Alias, Answer, AnswerKind, DeadReason, Letter
from a2a_relay.core.session import Session
from a2a_relay.core.stream import Event, Stream
from a2a_relay.errors import RULINGS, Reason, Refused

_RETRY_CODES = {
    RULINGS[reason].rpc_code: reason
    for reason in (Reason.AGENT_OFFLINE, Reason.AGENT_TIMEOUT, Reason.AGENT_DISCONNECTED)
}
"""What a connector says when it could not get an answer: the letter has not been answered."""


TROUBLE_SECONDS = 2.0
"""When to try again after the store has failed."""


class Fate(Enum):
    """What is to be done with a letter now."""

    ACK = "ack"
    AGAIN = "again"
    """It was handed over, and has to be once more."""
    NOT_TAKEN = "not_taken"
    """Nothing was delivered: queue it again, that was no attempt."""
    BURY = "bury"
    LEAVE = "leave"
    """Its lease stays: another session or process will find out."""


class Verdict(NamedTuple):
    """A fate with what belongs to it."""

    fate: Fate
    answer: Answer | None = None
    reason: str = ""
    delay_seconds: float | None = None
    dead: DeadReason | None = None


class Delivery:
    """Sink and reader of a letter's exchange. Says once, through `on_over`, what is to become of it.

    `on_bound` hears of the ids that the agent has given; `on_event` of each body that the agent has sent.
    """

    def __init__(
        self,
        letter: Letter,
        session: Session,
        max_bytes: int,
        on_event: Callable[[Delivery, bytes], None],
        on_bound: Callable[[Delivery], None],
        on_over: Callable[[Delivery, Verdict], None],
    ) -> None:
        self.letter = letter
        self.session = session
        self.alias = letter.alias
        self.stream: Stream | None = None
        self.is_accepted = False
        """Whether the agent has said that it works on it."""
        self.is_cancel_wanted = False
        self.is_bound = bool(letter.alias.task_id)
        """Whether the store knows the agent's ids."""
        self.is_confirmed = False
        """Whether the agent was asked what has become of the task: what it says then is the answer."""
        self.is_over = False
        self._snapshot = Snapshot(max_bytes)
        self._on_event = on_event
        self._on_bound = on_bound
        self._on_over = on_over

    # a sink

    def answer(self, outcome: Outcome) -> None:
        if isinstance(outcome, Result):
            self._take(outcome.body)
            self._finish(None)
        else:
            self._finish(outcome)

    # a reader

    def event(self, event: Event, headers: Mapping[str, str]) -> bool:
        self._take(event.body)
        return True

    def gap(self, first: int, last: Event) -> None:
        """Its window was too small for a moment; the snapshot goes on with what follows."""

    def end(self, failure: AgentError | Refused | None) -> None:
        self._finish(failure)

    def resume_from(self, task: bytes) -> None:
        """What the agent says of the task of a letter whose events were lost."""
        self._snapshot.fold(task)

    def go_on(self, alias: Alias) -> None:
        """What seemed to be the answer was not all of it: the agent tells the rest of this task."""
        self.is_over, self.is_confirmed = False, True
        if not self.alias.task_id:
            self.alias = alias

    def _take(self, body: bytes) -> None:
        self._snapshot.fold(body)
        if not self.alias.task_id:
            said = read_facts(body)
            if said.task_id:
                self.alias = Alias(said.task_id, said.context_id or "")
                self._on_bound(self)
        self._on_event(self, body)

    def _finish(self, failure: AgentError | Refused | None) -> None:
        if self.is_over:
            return
        self.is_over = True
        self._on_over(self, self._verdict(failure))

    def _verdict(self, failure: AgentError | Refused | None) -> Verdict:
        if isinstance(failure, Refused):
            return self._refused(failure)
        if isinstance(failure, AgentError):
            reason = _reason_of_connector(failure.body)
            if reason is Reason.AGENT_OFFLINE or (reason is not None and may_run_again(self.session)):
                return Verdict(Fate.AGAIN, reason=_message(failure.body))
            if reason is not None:
                return Verdict(Fate.BURY, dead=DeadReason.DELIVERED_UNKNOWN)
            return Verdict(Fate.ACK, Answer(AnswerKind.ERROR, failure.body))
        said = self._snapshot.answer()
        if said is None:
            return Verdict(Fate.AGAIN, reason="the agent gave no answer")
        kind, body = said
        return Verdict(Fate.ACK, Answer(AnswerKind(kind.value), body))

    def _refused(self, refused: Refused) -> Verdict:
        match refused.reason:
            case Reason.AGENT_OFFLINE:  # a nack
                return Verdict(Fate.NOT_TAKEN, reason=refused.message, delay_seconds=refused.retry_after_seconds)
            case Reason.AGENT_BUSY:
                return Verdict(Fate.NOT_TAKEN, reason=refused.message, delay_seconds=1)
            case Reason.AGENT_FRAME_LIMIT | Reason.TOO_LARGE:
                return Verdict(Fate.BURY, dead=DeadReason.TOO_LARGE)
            case Reason.BINDING_NOT_SERVED:
                return Verdict(Fate.BURY, dead=DeadReason.NOT_SERVED)
            case Reason.RELAY_LEAVING:
                return Verdict(Fate.LEAVE)
            case Reason.AGENT_DISCONNECTED if self.alias.task_id:
                return Verdict(Fate.LEAVE)
        if may_run_again(self.session):
            return Verdict(Fate.AGAIN, reason=str(refused.reason).lower())
        return Verdict(Fate.BURY, dead=DeadReason.DELIVERED_UNKNOWN)


class Question:
    """The sink of a call that the relay itself makes."""

    def __init__(self, on_answer: Callable[[Outcome], None]) -> None:
        self._on_answer = on_answer

    def answer(self, outcome: Outcome) -> None:
        self._on_answer(outcome)


def may_run_again(session: Session) -> bool:
    """Whether a letter that an agent may have begun can be handed to it once more (decision 9)."""
    return session.remembers_letters or session.is_idempotent


def code_of(error: bytes) -> int:
    """The code of a JSON-RPC error object; 0 where there is none."""
    try:
        code = jsonbytes.members(error).get("code", b"")
    except Refused:
        return 0
    return int(code) if code.lstrip(b"-").isdigit() else 0


def _reason_of_connector(error: bytes) -> Reason | None:
    """Why the connector has got no answer; None when the error is the agent's own."""
    return _RETRY_CODES.get(code_of(error)) if RELAY_DOMAIN.encode() in error else None


def _message(error: bytes) -> str:
    return (jsonbytes.text(jsonbytes.members(error).get("message")) or "")[:200]
