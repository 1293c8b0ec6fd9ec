"""Letters leave here: leased in their order, handed to the agent's session, and settled when it has answered."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from a2a_relay.a2a import aliases, methods, spans
from a2a_relay.a2a.methods import BY_OPERATION, Operation
from a2a_relay.core import access
from a2a_relay.core.address import Address
from a2a_relay.core.call import Call, Form
from a2a_relay.core.envelope import open_envelope
from a2a_relay.core.exchange import AgentError, Exchange
from a2a_relay.core.letter import Alias, Answer, AnswerKind, DeadReason, Letter, LetterEvent, LetterState, back_off
from a2a_relay.core.session import Session
from a2a_relay.errors import Refused, StoreError
from a2a_relay.node.mail.delivery import TROUBLE_SECONDS, Delivery, Fate, Verdict
from a2a_relay.node.mail.recovery import Recovery
from a2a_relay.node.mail.relay_tasks import to_agent
from a2a_relay.node.mail.words import LetterMeta, aliases_of
from a2a_relay.node.wheel import Slot, call_off

if TYPE_CHECKING:
    from a2a_relay.node.mail.mailroom import Mailroom


class Deliveries:
    """The drain of every attached agent's mailbox: at most one walks it at a time."""

    def __init__(self, room: Mailroom) -> None:
        self._room = room
        self._node = room.node
        self._mailbox = room.mailbox
        self._in_hand: dict[Address, dict[str, Delivery]] = {}
        self._draining: dict[Address, bool] = {}
        """Whose mailbox is walked, and whether there was a reason to begin again meanwhile."""
        self._timers: dict[Address, Slot] = {}
        self._held_until: dict[Address, float] = {}
        """Agents whose letters are held back, and until when (monotonic)."""
        self._recovery = Recovery(room, self)
        self._leases = 0
        self._torn: dict[Address, dict[str, set[str]]] = {}
        """Leases of which not everything was handed over, because the store has failed: each with what was."""

    def in_hand(self, address: Address, id: str) -> Delivery | None:
        """The delivery of a letter that an agent has now."""
        return self._in_hand.get(address, {}).get(id)

    def of_exchange(self, session: Session, exchange_id: str) -> Delivery | None:
        """The delivery that an exchange belongs to."""
        exchange = session.exchanges.get(exchange_id)
        if exchange is None:
            return None
        found = exchange.sink if exchange.stream is None else exchange.stream.reader
        return found if isinstance(found, Delivery) else None

    def leave(self, exchange: Exchange) -> bool:
        """This process ends; whether an exchange is a letter's, whose lease then stays for the next one."""
        found = exchange.sink if exchange.stream is None else exchange.stream.reader
        if not isinstance(found, Delivery):
            return False
        found.is_over = True
        return True

    # the drain

    def wake(self, address: Address) -> None:
        """There may be something to hand over."""
        if address in self._draining:
            self._draining[address] = True
        elif self._session(address) is not None:
            self._draining[address] = False
            self._room.jobs.start(self._drain(address))

    def hold(self, address: Address, seconds: float) -> None:
        """Hand an agent no letters for so long: it may not be who it says it is, and its owner was told."""
        self._held_until[address] = self._node.clock.monotonic() + seconds
        self._node.clock.call_later(seconds, lambda: self._hold_over(address))

    def _hold_over(self, address: Address) -> None:
        if self._node.clock.monotonic() >= self._held_until.get(address, math.inf):  # else it was held anew since
            del self._held_until[address]
            self.wake(address)

    def _session(self, address: Address) -> Session | None:
        session = self._node.find_session(address)
        if session is None or not session.is_ready or self._node.is_leaving or address in self._held_until:
            return None
        return session

    async def _drain(self, address: Address) -> None:
        try:
            while True:
                self._draining[address] = False
                await self._walk(address)
                if not self._draining[address]:
                    return
        except StoreError as error:
            self._room.tell_trouble(error)
            self._wake_later(address, TROUBLE_SECONDS)
        finally:
            del self._draining[address]

    async def _walk(self, address: Address) -> None:
        """Hand over what may go now."""
        session = self._session(address)
        if session is None:
            return
        if not session.is_recovered:
            session.is_recovered = True
            try:
                await self._recovery.recover(session)
            except StoreError:
                session.is_recovered = False
                raise
            self._torn.pop(address, None)
        free = self._room.policy.rules_for(address).contexts - len(self._in_hand.get(address, ()))
        if free <= 0:
            return
        self._room.reach("drain")
        lease = self.new_lease(session)
        handed_over = self._torn.setdefault(address, {})[lease] = set[str]()
        letters = await self._mailbox.lease(address, lease, free)
        self._room.reach("lease.after")
        for letter in letters:
            self._room.publish(letter, LetterEvent.LEASED)
            await self._hand_over(letter)
            handed_over.add(letter.id)
        self._forget_lease(address, lease)
        if len(letters) == free:
            self._draining[address] = True
        else:
            await self._rest(address)

    def _forget_lease(self, address: Address, lease: str) -> None:
        torn = self._torn.get(address, {})
        torn.pop(lease, None)
        if not torn:
            self._torn.pop(address, None)

    def was_never_handed_over(self, letter: Letter) -> bool:
        """Whether a leased letter is known to have stayed here, because the store failed before its turn came."""
        handed_over = self._torn.get(letter.address, {}).get(letter.lease)
        return handed_over is not None and letter.id not in handed_over

    async def _rest(self, address: Address) -> None:
        """Nothing may go now: come back when something may, or know that nothing is left."""
        version = self._room.accepted
        due = await self._mailbox.next_due(address)
        if due is not None:
            self._wake_later(address, due)
        elif await self._is_empty(address) and version == self._room.accepted:
            self._room.is_empty(address)

    async def _is_empty(self, address: Address) -> bool:
        """Whether nothing waits, and nothing is leased: a letter whose answer is late waits for nothing."""
        return not await self._mailbox.is_waiting(address, None) and not await self._mailbox.leased(address)

    def _wake_later(self, address: Address, seconds: float) -> None:
        slot = self._timers.pop(address, None)
        if slot is not None:
            call_off(slot, (self, address))
        self._timers[address] = self._node.wheel.put(
            (self, address), self._node.clock.monotonic() + seconds, lambda _: self._due(address)
        )

    def _due(self, address: Address) -> None:
        self._timers.pop(address, None)
        self.wake(address)

    # one letter

    async def _hand_over(self, letter: Letter) -> None:
        """Make the call of a letter, as what its agent speaks: a stream, or one answer (decision 10)."""
        if not letter.params:  # its answer was late, and an operator has redriven it: nobody can make that call again
            await self.bury(letter, DeadReason.DELIVERED_UNKNOWN)
            return
        try:
            call = await self._call_of(letter)
            access.require_call(call.principal, letter.address)
        except Refused:
            await self.bury(letter, DeadReason.TASK_UNKNOWN)
            return
        session = self._session(letter.address)
        if session is None:
            await self.give_back(letter, 0, "the agent went away", is_attempt=False)
            return
        if letter.expires_at <= self._node.clock.now():
            await self.give_back(letter, 0, "it has expired", is_attempt=False)
            return
        delivery = self.take_in_hand(letter._replace(alias=Alias()), session)  # what it makes of it now counts
        seconds = self._node.limits.letter_time_seconds
        try:
            if session.is_streaming:
                delivery.stream = self._node.hand_over_stream(_as_stream(call), session, delivery, seconds)
            else:
                self._node.hand_over(_as_unary(call), session, delivery, seconds)
        except Refused as refused:
            delivery.answer(refused)
        self._room.reach("frame.after")

    def take_in_hand(self, letter: Letter, session: Session) -> Delivery:
        """From now on a letter is this session's."""
        delivery = Delivery(letter, session, self._node.limits.max_body, self.event, self._bound, self.over)
        self._in_hand.setdefault(letter.address, {})[letter.id] = delivery
        return delivery

    def new_lease(self, session: Session) -> str:
        """A name under which a session holds letters."""
        self._leases += 1
        return f"{session.id}/{self._leases}"

    async def _call_of(self, letter: Letter) -> Call:
        """The call as it is made now. Raises TASK_NOT_FOUND when it continues what never came to be."""
        call = open_envelope(letter.address, letter.envelope, letter.params)
        call = call._replace(spans=spans.read(call.operation, call.params, is_protobuf=call.form is Form.REST_V03))
        names = await self._room.tasks.names_at_delivery(call, letter)
        call = to_agent(call._replace(meta=LetterMeta(call.meta, letter)), names)
        if call.spans.task_id is None:
            context_id = names.agent_contexts.get(letter.context_id, letter.context_id)
            call = call._replace(params=aliases.insert_context(call.params, context_id))
        return call

    def event(self, delivery: Delivery, body: bytes) -> None:
        """Hand what an agent has said to whoever follows."""
        letter = delivery.letter
        renamed = aliases.rewrite_result(body, Operation.STREAM, aliases_of(letter, delivery.alias))
        self._room.followers.feed(letter.id, renamed)

    def _bound(self, delivery: Delivery) -> None:
        self._room.jobs.start(self._bind(delivery))

    async def _bind(self, delivery: Delivery) -> None:
        letter, alias = delivery.letter, delivery.alias
        try:
            is_bound = await self._mailbox.bind(letter.address, letter.id, letter.lease, alias)
        except StoreError as error:
            self._room.tell_trouble(error)
        else:
            self._room.reach("bind.after")
            delivery.is_bound = is_bound
            if is_bound:
                self._room.publish(letter, LetterEvent.WORKING)
                self._node.owners.learn(letter.address, letter.owner, *alias)
        if delivery.is_cancel_wanted:
            self._room.tasks.cancel_at_agent(letter, alias)

    def over(self, delivery: Delivery, verdict: Verdict) -> None:
        """Carry out what is to become of a letter; where its answer may not be all of it, ask the agent first."""
        if not self._recovery.doubts(delivery, verdict):
            self.settle(delivery, verdict)

    def settle(self, delivery: Delivery, verdict: Verdict) -> None:
        """Carry out what is to become of a letter."""
        self._room.jobs.start(self._settle(delivery, verdict))

    async def _settle(self, delivery: Delivery, verdict: Verdict) -> None:
        letter = delivery.letter
        try:
            await self._carry_out(delivery, verdict)
        except StoreError as error:
            self._room.tell_trouble(error)
            if not self._node.is_leaving:  # what has come is not lost while this process lives
                self._node.wheel.put(
                    delivery, self._node.clock.monotonic() + TROUBLE_SECONDS, lambda _: self.settle(delivery, verdict)
                )
            return
        if delivery.stream is not None:
            self._node.streams.forget(delivery.stream)
        hand = self._in_hand.get(letter.address, {})
        if hand.get(letter.id) is delivery:  # else it was leased again since
            del hand[letter.id]
        if not hand:
            self._in_hand.pop(letter.address, None)
        self.wake(letter.address)

    async def _carry_out(self, delivery: Delivery, verdict: Verdict) -> None:
        letter = delivery.letter
        match verdict.fate:
            case Fate.ACK if verdict.answer is not None:
                await self.ack(letter, verdict.answer, delivery.alias)
                is_error = verdict.answer.kind is AnswerKind.ERROR
                self._room.followers.end(letter.id, AgentError(verdict.answer.body) if is_error else None)
            case Fate.BURY if verdict.dead is not None:
                await self.bury(letter, verdict.dead)
            case Fate.NOT_TAKEN:
                delay = back_off(1, self._node.random()) if verdict.delay_seconds is None else verdict.delay_seconds
                await self.give_back(letter, delay, verdict.reason, is_attempt=False)
            case Fate.AGAIN:
                if letter.attempt >= self._room.policy.rules_for(letter.address).attempts:
                    await self.bury(letter, DeadReason.ATTEMPTS_EXHAUSTED)
                else:
                    delay = back_off(letter.attempt, self._node.random())
                    await self.give_back(letter, delay, verdict.reason, is_attempt=True)
            case _:  # it stays leased: the agent's next session finds it, which may be there already
                if delivery.alias.task_id and not delivery.is_bound and not self._node.is_leaving:
                    await self._mailbox.bind(letter.address, letter.id, letter.lease, delivery.alias)
                current = self._node.find_session(letter.address)
                if current is not None:
                    current.is_recovered = False

    async def ack(self, letter: Letter, answer: Answer, alias: Alias) -> None:
        self._room.reach("answer.before")
        kept = self._node.limits.result_ttl_seconds
        is_acked = await self._mailbox.ack(letter.address, letter.id, letter.lease, answer, alias, kept)
        self._room.reach("answer.after")
        if is_acked or await self._is_now(letter, LetterState.DONE):
            self._room.publish(letter, LetterEvent.ACKED)
            self._room.publish(letter, LetterEvent.DONE)
            self._node.owners.learn(letter.address, letter.owner, *alias)

    async def _is_now(self, letter: Letter, state: LetterState) -> bool:
        """Whether a step that says it was not taken was taken before, when the store seemed to fail."""
        found = await self._mailbox.find(letter.address.tenant, letter.id)
        return found is not None and found.state is state

    async def bury(self, letter: Letter, reason: DeadReason) -> None:
        """Give a letter up that is leased here. Raises StoreError."""
        kept = self._node.limits.dead_ttl_seconds
        is_buried = await self._mailbox.bury(letter.address, letter.id, letter.lease, reason, kept)
        if is_buried or await self._is_now(letter, LetterState.DEAD):
            self._room.publish(letter, LetterEvent.DEAD, str(reason))
            now = self._node.clock.now()
            self._room.ended(letter._replace(state=LetterState.DEAD, reason=str(reason), ended_at=now))

    async def give_back(self, letter: Letter, delay_seconds: float, reason: str, *, is_attempt: bool) -> None:
        """Queue a letter again that is leased here; one that has expired is told of by the next sweep.

        Raises StoreError.
        """
        is_back = await self._mailbox.give_back(
            letter.address, letter.id, letter.lease, delay_seconds, reason, is_attempt=is_attempt
        )
        if is_back and letter.expires_at > self._node.clock.now():
            self._room.publish(letter, LetterEvent.RETURNED, reason)


def _as_stream(call: Call) -> Call:
    """A send as the streaming operation with the same params."""
    if call.operation is not Operation.SEND:
        return call
    rest = call.rest
    if rest is not None:
        rest = replace(rest, segments=(*rest.segments[:-1], "message:stream"))
    return call._replace(operation=Operation.STREAM, method=_name(call, Operation.STREAM), streams=True, rest=rest)


def _as_unary(call: Call) -> Call:
    """A streaming send as the one that is answered once."""
    if call.operation is not Operation.STREAM:
        return call
    rest = call.rest
    if rest is not None:
        rest = replace(rest, segments=(*rest.segments[:-1], "message:send"))
    return call._replace(operation=Operation.SEND, method=_name(call, Operation.SEND), streams=False, rest=rest)


def _name(call: Call, operation: Operation) -> str:
    row = BY_OPERATION[operation]
    return row.v10 if methods.speaks_v10(call.method) else row.v03
