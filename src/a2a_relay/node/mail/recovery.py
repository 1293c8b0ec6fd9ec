"""Letters that are leased and in nobody's hand: their session or the whole process is gone.

One to whose task the agent has given an id is asked for, by GetTask, and followed again; so it is never run
twice. One that has none is handed over again, where its agent's side knows it again or has said that this is no matter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING

from a2a_relay.a2a import facts, tasks
from a2a_relay.a2a.facts import Kind
from a2a_relay.a2a.methods import Operation
from a2a_relay.core.exchange import AgentError, Outcome, Result
from a2a_relay.core.letter import Alias, AnswerKind, DeadReason
from a2a_relay.core.session import Session
from a2a_relay.core.stream import Event
from a2a_relay.errors import Reason, Refused
from a2a_relay.node.mail.delivery import Delivery, Fate, Question, Verdict, code_of, may_run_again
from a2a_relay.node.mail.words import shape_of

if TYPE_CHECKING:
    from a2a_relay.node.mail.deliveries import Deliveries
    from a2a_relay.node.mail.mailroom import Mailroom

_UNSUPPORTED = -32004
"""What an agent on the SDK answers to a message for a task that has ended."""
_POLL_SECONDS = 5.0
"""How often an agent that cannot stream is asked for a task whose events were lost."""


class Recovery:
    """What is done when an agent attaches for which letters were left leased."""

    def __init__(self, room: Mailroom, deliveries: Deliveries) -> None:
        self._room = room
        self._node = room.node
        self._mailbox = room.mailbox
        self._deliveries = deliveries

    async def recover(self, session: Session) -> None:
        """Take over what is leased of this agent's letters and in nobody's hand here. Raises StoreError."""
        for letter in await self._mailbox.leased(session.address):
            held = self._deliveries.in_hand(session.address, letter.id)
            if (held is not None and held.letter.lease == letter.lease) or self._room.late.has(letter.id):
                continue
            if self._deliveries.was_never_handed_over(letter):
                await self._deliveries.give_back(letter, 0, "the store has failed", is_attempt=False)
                continue
            lease = self._deliveries.new_lease(session)
            if not await self._mailbox.take_over(session.address, letter.id, letter.lease, lease):
                continue
            letter = letter._replace(lease=lease)
            if not letter.params:  # a call whose answer was late, and will not come any more
                await self._deliveries.bury(letter, DeadReason.DELIVERED_UNKNOWN)
            elif letter.alias.task_id:
                self._ask(self._deliveries.take_in_hand(letter, session))
            elif not may_run_again(session) or not letter.params:  # one whose answer was late has none
                await self._deliveries.bury(letter, DeadReason.DELIVERED_UNKNOWN)
            elif letter.attempt >= self._room.policy.rules_for(letter.address).attempts:
                await self._deliveries.bury(letter, DeadReason.ATTEMPTS_EXHAUSTED)
            else:
                await self._deliveries.give_back(letter, 0, "the session was lost", is_attempt=True)

    def doubts(self, delivery: Delivery, verdict: Verdict) -> bool:
        """Whether the agent is asked for a letter's task before its answer counts; then that goes on from here.

        An error of one that was delivered before may only say that its task is there already, under the suggested id.
        A stream that was delivered before may have gone on where the relay had lost what came before.
        """
        letter, answer, session = delivery.letter, verdict.answer, delivery.session
        if answer is None or delivery.is_confirmed or self._node.is_leaving:
            return False
        alias = delivery.alias
        if answer.kind is AnswerKind.ERROR and session.adopts_ids and letter.id == letter.task_id:
            is_doubtful = letter.attempt > 1 or code_of(answer.body) == _UNSUPPORTED
            alias = alias if alias.task_id else Alias(letter.task_id, letter.context_id)
        else:
            is_again = letter.attempt > 1 and delivery.stream is not None and session.remembers_letters
            is_doubtful = is_again and answer.kind is AnswerKind.TASK and bool(alias.task_id)
        current = self._room.present(letter.address)
        if not is_doubtful or current is None:
            return False
        call = self._room.tasks.call_at_agent(letter, alias, Operation.GET)
        try:
            self._node.hand_over(call, current, Question(partial(self._confirmed, delivery, verdict, alias)))
        except Refused:
            return False
        return True

    def _confirmed(self, delivery: Delivery, verdict: Verdict, alias: Alias, outcome: Outcome) -> None:
        match outcome:
            case Result(body=body) if facts.read_facts(body).kind is Kind.TASK:
                delivery.go_on(alias)
                self._answered(delivery, outcome)
            case Refused(reason=Reason.AGENT_DISCONNECTED | Reason.RELAY_LEAVING):
                self._deliveries.settle(delivery, Verdict(Fate.LEAVE))
            case _:
                self._deliveries.settle(delivery, verdict)

    def _ask(self, delivery: Delivery) -> None:
        """Ask the agent what has become of a task whose events were lost."""
        session = self._node.find_session(delivery.letter.address)
        if session is None or self._node.is_leaving:
            delivery.answer(Refused(Reason.AGENT_DISCONNECTED))
            return
        delivery.session = session
        call = self._room.tasks.call_at_agent(delivery.letter, delivery.alias, Operation.GET)
        try:
            self._node.hand_over(call, session, Question(partial(self._answered, delivery)))
        except Refused:
            self._ask_later(delivery)

    def _ask_later(self, delivery: Delivery) -> None:
        self._node.wheel.put(delivery, self._node.clock.monotonic() + _POLL_SECONDS, self._ask)

    def _answered(self, delivery: Delivery, outcome: Outcome) -> None:
        match outcome:
            case Result(body=body):
                state = facts.read_facts(body).state
                said = tasks.send_result(shape_of(delivery.letter), body)
                if state is None or tasks.is_terminal(state) or tasks.is_interrupted(state):
                    delivery.answer(Result(said))
                elif delivery.session.is_streaming:
                    delivery.resume_from(said)
                    self._follow(delivery)
                else:
                    self._ask_later(delivery)
            case AgentError() if may_run_again(delivery.session):
                self._deliveries.over(delivery, Verdict(Fate.AGAIN, reason="the agent has lost the task"))
            case AgentError():
                self._deliveries.over(delivery, Verdict(Fate.BURY, dead=DeadReason.DELIVERED_UNKNOWN))
            case Refused(reason=Reason.AGENT_DISCONNECTED | Reason.RELAY_LEAVING):
                delivery.answer(outcome)
            case _:
                self._ask_later(delivery)

    def _follow(self, delivery: Delivery) -> None:
        """Read the task's further events; when they end, for whatever reason, ask again."""
        session = self._room.present(delivery.letter.address)
        if session is None:  # it has answered, and is gone
            self._ask_later(delivery)
            return
        delivery.session = session
        call = self._room.tasks.call_at_agent(delivery.letter, delivery.alias, Operation.SUBSCRIBE)
        follow = _Follow(delivery, self._ask, self._ask_later)
        try:
            delivery.stream = self._node.hand_over_stream(call, session, follow, self._node.limits.letter_time_seconds)
        except Refused:
            self._ask_later(delivery)


class _Follow:
    """The reader of a subscription that stands in for a letter's lost stream."""

    def __init__(
        self, delivery: Delivery, on_end: Callable[[Delivery], None], on_failure: Callable[[Delivery], None]
    ) -> None:
        self._delivery = delivery
        self._on_end = on_end
        self._on_failure = on_failure
        self._has_come = False

    def answer(self, outcome: Outcome) -> None:
        self._on_failure(self._delivery)

    def event(self, event: Event, headers: Mapping[str, str]) -> bool:
        self._has_come = True
        return self._delivery.event(event, headers)

    def gap(self, first: int, last: Event) -> None:
        """The task is asked for once more when this is over."""

    def end(self, failure: AgentError | Refused | None) -> None:
        if self._has_come:
            self._on_end(self._delivery)
        else:
            self._on_failure(self._delivery)
