"""Answers that come after their callers were told that none did (decision 5)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from a2a_relay.a2a import jsonrpc
from a2a_relay.a2a.facts import read_facts
from a2a_relay.a2a.methods import Operation
from a2a_relay.a2a.snapshot import Snapshot
from a2a_relay.core.envelope import seal
from a2a_relay.core.exchange import AgentError, Exchange, Outcome, Result, Sink
from a2a_relay.core.letter import Alias, Answer, AnswerKind, DeadReason, Draft, Letter, LetterEvent
from a2a_relay.core.session import Session
from a2a_relay.errors import Reason, Refused, StoreError
from a2a_relay.node.mail.delivery import TROUBLE_SECONDS, Delivery, Question
from a2a_relay.node.mail.ids import new_id

if TYPE_CHECKING:
    from a2a_relay.node.mail.mailroom import Mailroom

_SHARE = 4
"""One in so many of the calls that an agent may have in flight may be late: they stay for long, and cost no caller."""


class LateAnswers:
    """Calls whose deadline has passed, and whose agents may still answer: each is a letter that is leased already."""

    def __init__(self, room: Mailroom) -> None:
        self._room = room
        self._node = room.node
        self._ids: set[str] = set()
        """Letters whose answer is awaited, or is being kept."""

    def has(self, letter_id: str) -> bool:
        """Whether this letter's answer is awaited here."""
        return letter_id in self._ids

    def take(self, exchange: Exchange) -> bool:
        """The deadline of a unary call has passed; whether its answer is still awaited, for a later question."""
        limits, sink = self._node.limits, exchange.sink
        if (
            exchange.call.operation is not Operation.SEND
            or not limits.late_answer_seconds
            or self._node.is_leaving
            or sink is None
            or isinstance(sink, Delivery | Question | _Late)
            or self._has_its_fill(exchange.session)
        ):
            return False
        late = _Late(self, sink)
        exchange.sink = late
        exchange.expires_at = self._node.clock.monotonic() + limits.late_answer_seconds
        self._room.jobs.start(self._note(exchange, late))
        return True

    def _has_its_fill(self, session: Session) -> bool:
        """Whether so many late answers of an agent are awaited that calls in time would find no room beside them."""
        late = sum(isinstance(exchange.sink, _Late) for exchange in session.exchanges.values())
        return late * _SHARE >= self._node.limits.unary_in_flight

    def leave(self, exchange: Exchange) -> bool:
        """Whoever awaited a call is gone; whether its answer is taken all the same."""
        if isinstance(exchange.sink, _Late):
            exchange.sink.leave()
            return True
        return False

    async def _note(self, exchange: Exchange, late: _Late) -> None:
        """Write down that an answer is awaited, and tell the caller under which task it will be found."""
        call, limits, room = exchange.call, self._node.limits, self._room
        id = new_id()
        context = call.spans.context_id or new_id()
        draft = Draft(
            id=id,
            address=call.address,
            owner=call.principal.owner,
            task_id=id,
            context=context,
            context_id=context,
            envelope=seal(call),
            params=b"",
            ttl_seconds=limits.late_answer_seconds,
            leased_by=f"{exchange.session.id}/late/{id}",
        )
        self._ids.add(id)
        try:
            letter, _ = await room.mailbox.accept(draft, room.policy.rules_for(call.address).room)
        except (Refused, StoreError) as error:
            self._ids.discard(id)
            self._node.exchanges.cancel(exchange, Refused(Reason.AGENT_TIMEOUT))
            if isinstance(error, StoreError):
                room.tell_trouble(error)
            return
        room.publish(letter, LetterEvent.ACCEPTED)
        late.tell_caller(Refused(Reason.AGENT_TIMEOUT, metadata={"task": id}))
        if late.outcome is not None:
            await self._keep(letter, late.outcome)
        else:
            late.letter = letter

    def came(self, letter: Letter, outcome: Outcome) -> None:
        """The agent has answered after all, or never will."""
        self._room.jobs.start(self._keep(letter, outcome))

    async def _keep(self, letter: Letter, outcome: Outcome) -> None:
        room, deliveries = self._room, self._room.deliveries
        try:
            if isinstance(outcome, Refused):
                await deliveries.bury(letter, DeadReason.DELIVERED_UNKNOWN)
            else:
                answer, alias = _answer(outcome, self._node.limits.max_body)
                await deliveries.ack(letter, answer, alias)
                await room.tell_if_ended(letter.address.tenant, letter.id)
        except StoreError as error:
            room.tell_trouble(error)
            if not self._node.is_leaving:
                at = self._node.clock.monotonic() + TROUBLE_SECONDS
                self._node.wheel.put(letter.id, at, lambda _: self.came(letter, outcome))
                return
        self._ids.discard(letter.id)
        deliveries.wake(letter.address)


class _Late:
    """The sink of a call whose caller was, or is just being, told that no answer came in time."""

    def __init__(self, answers: LateAnswers, caller: Sink) -> None:
        self._answers = answers
        self._caller: Sink | None = caller
        self.letter: Letter | None = None
        self.outcome: Outcome | None = None

    def tell_caller(self, outcome: Outcome) -> None:
        """Answer whoever called, once."""
        caller, self._caller = self._caller, None
        if caller is not None:
            caller.answer(outcome)

    def answer(self, outcome: Outcome) -> None:
        self.tell_caller(outcome)
        self.outcome = outcome
        if self.letter is not None:
            self._answers.came(self.letter, outcome)

    def leave(self) -> None:
        """Whoever called is gone; the answer is taken all the same."""
        self._caller = None


def _answer(outcome: Result | AgentError, max_bytes: int) -> tuple[Answer, Alias]:
    """A late outcome as a letter keeps it."""
    if isinstance(outcome, AgentError):
        return Answer(AnswerKind.ERROR, outcome.body), Alias()
    snapshot = Snapshot(max_bytes)
    snapshot.fold(outcome.body)
    found, said = snapshot.answer(), read_facts(outcome.body)
    if found is None:
        return Answer(AnswerKind.ERROR, jsonrpc.refusal(Refused(Reason.INVALID_AGENT_RESPONSE))), Alias()
    kind, body = found
    return Answer(AnswerKind(kind.value), body), Alias(said.task_id or "", said.context_id or "")
