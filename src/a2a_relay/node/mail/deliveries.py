"""Letters leave here: leased in their order, handed to the agent's session, and settled when it has answered."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from a2a_relay.a2a import aliases, methods, spans
from a2a_relay.a2a.methods import BY_OPERATION, Operation
from a2a_relay.core import access
from a2a_relay.core.address import Address
from a2a_relay.core.call import Call, Form
from a2a_relay.core.envelope import open_envelope
from a2a_relay.core.exchange import AgentError, Exchange
from a2a_relay.core.letter import Alias, Answer, AnswerKind, DeadReason, Letter, LetterEvent, back_off
from a2a_relay.core.session import Session
from a2a_relay.errors import Refused, StoreError
from a2a_relay.node.mail.delivery import Delivery, Fate, Verdict
from a2a_relay.node.mail.recovery import Recovery
from a2a_relay.node.mail.relay_tasks import to_agent
from a2a_relay.node.mail.words import LetterMeta, aliases_of
from a2a_relay.node.wheel import Slot, call_off

if TYPE_CHECKING:
    from a2a_relay.node.mail.mailroom import Mailroom

_TROUBLE_SECONDS = 2.0
"""When to try again after the store has failed."""


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
        self._recovery = Recovery(room, self)
        self._leases = 0

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

    def _session(self, address: Address) -> Session | None:
        session = self._node.find_session(address)
        return session if session is not None and session.is_ready and not self._node.is_leaving else None

    async def _drain(self, address: Address) -> None:
        try:
            while True:
                self._draining[address] = False
                await self._walk(address)
                if not self._draining[address]:
                    return
        except StoreError as error:
            self._room.tell_trouble(error)
            self._wake_later(address, _TROUBLE_SECONDS)
        finally:
            del self._draining[address]

    async def _walk(self, address: Address) -> None:
        """Hand over what may go now."""
        session = self._session(address)
        if session is None:
            return
        if not session.is_recovered:
            session.is_recovered = True
            await self._recovery.recover(session)
        free = self._room.policy.rules_for(address).contexts - len(self._in_hand.get(address, ()))
        if free <= 0:
            return
        self._room.reach("drain")
        letters = await self._mailbox.lease(address, self.new_lease(session), free)
        self._room.reach("lease.after")
        for letter in letters:
            self._room.publish(letter, LetterEvent.LEASED)
            await self._hand_over(letter)
        if len(letters) == free:
            self._draining[address] = True
        else:
            await self._rest(address)

    async def _rest(self, address: Address) -> None:
        """Nothing may go now: come back when something may, or know that nothing is left."""
        version = self._room.accepted
        due = await self._mailbox.next_due(address)
        if due is not None:
            self._wake_later(address, due)
        elif not await self._mailbox.is_waiting(address, None) and version == self._room.accepted:
            self._room.is_empty(address)

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
        try:
            call = await self._call_of(letter)
            access.require_call(call.principal, letter.address)
        except Refused as refused:
            await self.bury(letter, DeadReason.TASK_UNKNOWN, refused.message)
            return
        session = self._session(letter.address)
        if session is None:
            await self.give_back(letter, 0, "the agent went away", is_attempt=False)
            return
        if letter.expires_at <= self._node.clock.now():  # since it was leased: never late
            await self.give_back(letter, 0, "it has expired", is_attempt=False)
            return
        delivery = self.take_in_hand(letter, session)
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
        self._room.followers.feed(letter.task_id, renamed)

    def _bound(self, delivery: Delivery) -> None:
        self._room.jobs.start(self._bind(delivery))

    async def _bind(self, delivery: Delivery) -> None:
        letter, alias = delivery.letter, delivery.alias
        try:
            is_bound = await self._mailbox.bind(letter.address, letter.id, letter.lease, alias)
        except StoreError as error:
            self._room.tell_trouble(error)
            return
        self._room.reach("bind.after")
        if is_bound:
            self._room.publish(letter, LetterEvent.WORKING)
            self._node.owners.learn(letter.address, letter.owner, *alias)
            if delivery.is_cancel_wanted:
                self._room.tasks.cancel_at_agent(letter, alias)

    def over(self, delivery: Delivery, verdict: Verdict) -> None:
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
                    delivery, self._node.clock.monotonic() + _TROUBLE_SECONDS, lambda _: self.over(delivery, verdict)
                )
            return
        if delivery.stream is not None:
            self._node.streams.forget(delivery.stream)
        hand = self._in_hand.get(letter.address, {})
        hand.pop(letter.id, None)
        if not hand:
            self._in_hand.pop(letter.address, None)
        self.wake(letter.address)

    async def _carry_out(self, delivery: Delivery, verdict: Verdict) -> None:
        letter = delivery.letter
        match verdict.fate:
            case Fate.ACK if verdict.answer is not None:
                await self._ack(letter, verdict.answer, delivery.alias)
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
            case _:
                pass  # it stays leased: the agent's next session finds it

    async def _ack(self, letter: Letter, answer: Answer, alias: Alias) -> None:
        self._room.reach("answer.before")
        kept = self._node.limits.result_ttl_seconds
        is_acked = await self._mailbox.ack(letter.address, letter.id, letter.lease, answer, alias, kept)
        self._room.reach("answer.after")
        if is_acked:
            self._room.publish(letter, LetterEvent.ACKED)
            self._room.publish(letter, LetterEvent.DONE)
            self._node.owners.learn(letter.address, letter.owner, *alias)
        failure = AgentError(answer.body) if answer.kind is AnswerKind.ERROR else None
        self._room.followers.end(letter.task_id, failure)

    async def bury(self, letter: Letter, reason: DeadReason, why: str = "") -> None:
        kept = self._node.limits.dead_ttl_seconds
        if await self._mailbox.bury(letter.address, letter.id, letter.lease, reason, kept):
            self._room.publish(letter, LetterEvent.DEAD, str(reason))
        self._room.ended(letter)

    async def give_back(self, letter: Letter, delay_seconds: float, reason: str, *, is_attempt: bool) -> None:
        is_back = await self._mailbox.give_back(
            letter.address, letter.id, letter.lease, delay_seconds, reason, is_attempt=is_attempt
        )
        if not is_back:
            return
        now = await self._mailbox.find(letter.address.tenant, letter.id)
        if now is not None and not now.state.is_waiting:
            self._room.publish(letter, LetterEvent.EXPIRED)
            self._room.ended(now)
        else:
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
