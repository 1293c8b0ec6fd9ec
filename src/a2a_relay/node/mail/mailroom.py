"""Where calls go that no agent can be handed at once, or that speak of a task which the relay made.

A send to an agent that is away waits for it a little, then becomes a letter; its sender
is told so by a Task of the relay's own, and whatever is asked of that Task later comes here as well.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from a2a_relay.a2a import facts, tasks
from a2a_relay.a2a.methods import Operation
from a2a_relay.core.address import Address
from a2a_relay.core.call import NO_OPTIONS, Call, Form
from a2a_relay.core.envelope import seal
from a2a_relay.core.exchange import Result, Sink
from a2a_relay.core.letter import ID_PREFIX, Draft, Entry, IdempotencyKey, Letter, LetterEvent, Receipt
from a2a_relay.core.mail_rules import MailPolicy
from a2a_relay.core.principal import Role
from a2a_relay.core.router import away
from a2a_relay.core.session import Session
from a2a_relay.core.stream import Reader, Stream
from a2a_relay.errors import Reason, Refused, StoreError
from a2a_relay.node.jobs import Jobs
from a2a_relay.node.letter_desk import LetterParts
from a2a_relay.node.mail.deliveries import Deliveries
from a2a_relay.node.mail.followers import Followers
from a2a_relay.node.mail.held import Held, HeldCall, HeldStream
from a2a_relay.node.mail.ids import names_relay, new_id
from a2a_relay.node.mail.janitor import Janitor
from a2a_relay.node.mail.late_answers import LateAnswers
from a2a_relay.node.mail.live_keys import LiveKeys, key_of
from a2a_relay.node.mail.presence import Expected
from a2a_relay.node.mail.relay_tasks import RelayTasks
from a2a_relay.node.mail.words import Words, plain_queued, shape_of, shape_of_call
from a2a_relay.node.receipts import Receipts
from a2a_relay.ports.mailbox import Mailbox

if TYPE_CHECKING:
    from a2a_relay.node.relay_node import RelayNode

_ENDS = (LetterEvent.DONE, LetterEvent.EXPIRED, LetterEvent.DEAD, LetterEvent.CANCELED)
SENDS = (Operation.SEND, Operation.STREAM)


class Mailroom:
    """One node's mail. `reach` is told the names of the points that drills break off at."""

    def __init__(self, node: RelayNode, mailbox: Mailbox, policy: MailPolicy, reach: Callable[[str], None]) -> None:
        self.node = node
        self.mailbox = mailbox
        self.policy = policy
        self.reach = reach
        self.jobs = Jobs(node.observer)
        self.receipts = Receipts(node.limits.receipt_feeds, node.limits.receipt_buffer)
        self.words = Words(node.agents, mailbox.durability)
        self.followers = Followers(node.streams)
        self.late = LateAnswers(self)
        self.deliveries = Deliveries(self)
        self.tasks = RelayTasks(self)
        backlog = mailbox.backlog()
        self.accepted = 0
        """How many letters this process has accepted."""
        self.done = 0
        """How many letters were answered in this process."""
        self.waiting = sum(backlog.values())
        """How many letters are waiting: by what this process has told of, put right by the store once a second."""
        self._expected = Expected(node.clock, node.wheel)
        self._keys = LiveKeys(node.clock, node.limits, node.streams)
        self._boxes: set[Address] = set(backlog)
        """Agents for which letters may be waiting."""
        self.held: set[HeldCall] = set()
        """Unary calls that wait for an agent, or for what becomes of them."""
        self.janitor = Janitor(self)

    @property
    def parts(self) -> LetterParts:
        """What senders and operators ask about letters is answered from these."""
        node = self.node
        return LetterParts(
            self.mailbox, self.receipts, node.agents, self.policy, node.observer, self.operated, node.audit
        )

    # calls

    def concerns(self, call: Call, session: Session | None) -> bool:
        """Whether a call is none that just goes to its agent."""
        return (
            session is None
            or not session.is_ready
            or (session.has_letters and call.operation in SENDS)
            or (call.operation is Operation.LIST and call.principal.role is not Role.ADMIN)
            or (call.options is not NO_OPTIONS and (bool(call.options.idempotency_key) or call.options.respond_async))
            or names_relay(call.spans)
        )

    def submit(self, call: Call, sink: Sink) -> HeldCall:
        """Take a unary call. Raises `Refused` where that is known at once."""
        self._require_possible(call)
        held = HeldCall(call, sink, self.node.clock.monotonic())
        self.jobs.start(self._serve(held))
        return held

    def stream(self, call: Call, reader: Reader) -> Stream:
        """Take a streaming call; its stream is open from now on. Raises `Refused` where that is known at once."""
        self._require_possible(call)
        stream = self.node.streams.open_here(call, reader, _nothing)
        self.jobs.start(self._serve(HeldStream(call, stream, self.node.streams)))
        return stream

    def _require_possible(self, call: Call) -> None:
        """Refuse what no waiting would change."""
        session = self.node.find_session(call.address)
        agents = self.node.agents
        if session is None and call.address not in self._boxes and not agents.is_known(call.address):
            raise Refused(Reason.AGENT_NOT_FOUND)
        if call.form is Form.REST_V03:
            view = agents.find(call.address)
            if view is not None and view.lacks_rest_v03:
                raise Refused(Reason.BINDING_NOT_SERVED)
        if (session is not None and session.is_ready) or names_relay(call.spans) or call.operation is Operation.LIST:
            return
        if call.operation not in SENDS or not self._queues(call):
            raise away(session)

    def _queues(self, call: Call) -> bool:
        """Whether a send may become a letter: one that begins a task, at an agent whose calls are queued."""
        return self.policy.rules_for(call.address).offline_queues and (
            call.spans.task_id is None or call.spans.task_id.startswith(ID_PREFIX)
        )

    def abandon(self, held: HeldCall) -> None:
        """Whoever awaited a unary call is gone."""
        held.is_gone = True
        exchange = held.exchange
        if exchange is not None and not held.is_keyed and not self.late.leave(exchange):
            self.node.exchanges.abandon(exchange)

    async def _serve(self, held: Held) -> None:
        if isinstance(held, HeldCall):
            self.held.add(held)
        try:
            if held.call.operation in SENDS:
                await self._send(held)
            elif names_relay(held.call.spans):
                await self.tasks.serve(held)
            elif held.call.operation is Operation.LIST:
                await self.tasks.list(held)
            else:
                self.hand_over(held, held.call)
        except Refused as refused:
            held.refuse(refused)
        except StoreError as error:
            self.tell_trouble(error)
            held.refuse(Refused(Reason.STORE_FAILED))
        except Exception:  # a bug: it is told of, and whoever called is not left waiting
            held.refuse(Refused(Reason.INTERNAL))
            raise
        finally:
            self.held.discard(held)

    async def _send(self, held: Held) -> None:
        """Deliver a message now, or after a short wait, or queue it."""
        key = key_of(held.call, self.node.limits.idempotency_time_seconds)
        async with self._keys.turn(key):
            if not held.is_gone:
                await self._send_once(held, key)

    async def _send_once(self, held: Held, key: IdempotencyKey | None) -> None:
        call = held.call
        if key is not None:
            if self._keys.replay(key, held):
                return
            known = await self.mailbox.recall(call.address.tenant, key)
            if known is not None:
                self._answer_queued(held, known, is_new=False)
                return
        thread = await self.tasks.thread_of(call)
        rules = self.policy.rules_for(call.address)
        if not (thread.is_waiting or (call.options.respond_async and rules.offline_queues)):
            if await self._until_present(held):
                is_overtaking = await self._is_overtaking(call, thread.context)
                if held.is_gone:
                    return
                if not is_overtaking and self.present(call.address) is not None:
                    if key is not None:
                        self._keys.begin(key, held)
                    self.tasks.hand_over(held, thread)
                    return
            elif held.is_gone:
                return  # who has gone while waiting has queued nothing (decision 8)
            if self.present(call.address) is None and (thread.is_agents or not self._queues(call)):
                raise away(self.node.find_session(call.address))
        await self._queue(held, thread.task_id, thread.context)

    async def _until_present(self, held: Held) -> bool:
        """Wait for the agent as long as its caller likes; whether it is there."""
        call = held.call
        if self.present(call.address) is not None:
            return True
        seconds = call.options.wait_seconds
        if seconds is None:
            seconds = self.policy.rules_for(call.address).sync_wait_seconds
            if seconds and facts.returns_at_once(call.params):
                seconds = 0.0
        return bool(seconds) and await self._expected.wait(call.address, seconds) and not held.is_gone

    async def _is_overtaking(self, call: Call, context: str) -> bool:
        """Whether letters of the same context are still to be delivered."""
        session = self.node.find_session(call.address)
        if not context or session is None or not session.has_letters:
            return False
        return await self.mailbox.is_waiting(call.address, context)

    async def _queue(self, held: Held, task_id: str, context: str) -> None:
        """Make a call a letter. Raises `Refused` or StoreError; then nothing was accepted."""
        call = held.call
        rules = self.policy.rules_for(call.address)
        id, is_new_context = new_id(), not context
        context = context or new_id()
        draft = Draft(
            id=id,
            address=call.address,
            owner=call.principal.owner,
            task_id=task_id or id,
            context=context,
            context_id=context,
            envelope=seal(call),
            params=call.params,
            ttl_seconds=min(call.options.ttl_seconds or rules.ttl_seconds, rules.ttl_seconds),
            idempotency=key_of(call, self.node.limits.idempotency_time_seconds),
            is_new_context=is_new_context,
        )
        if self.node.quotas.is_set:
            await self._require_tenant_room(call)
        self.reach("accept.before")
        letter, is_new = await self.mailbox.accept(draft, rules.room)
        self.reach("accept.after")
        if is_new:
            self.publish(letter, LetterEvent.ACCEPTED)
            self.may_hold_letters(call.address)
            self.node.owners.learn(call.address, call.principal.owner, call.spans.context_id or "")
        self._answer_queued(held, letter, is_new=is_new)
        self.deliveries.wake(call.address)

    async def _require_tenant_room(self, call: Call) -> None:
        """Refuse a letter that the tenant has no room for. Raises OverLimit.

        Letters that are accepted at the same instant do not see each other: the limit may be passed by those.
        """
        tenant = call.address.tenant
        if self.node.quotas.mailbox_bytes(tenant):
            held = sum(view.bytes for view in await self.mailbox.mailboxes(tenant))
            self.node.quotas.require_mailbox_room(tenant, held, len(call.params))

    def _answer_queued(self, held: Held, letter: Letter, *, is_new: bool) -> None:
        """Tell whoever made a call that it is a letter, as a Task of what stands now."""
        call = held.call
        if call.form is Form.PLAIN and not call.streams:
            held.answer(Result(plain_queued(letter), 202))
            return
        shape = shape_of_call(call)
        body = tasks.send_result(shape, self.words.task_of(letter, shape))
        if isinstance(held, HeldCall):
            held.answer(Result(body))
        elif letter.state.is_waiting:
            self.follow(held, letter)
        else:
            held.answer(Result(body))

    def follow(self, held: HeldStream, letter: Letter) -> None:
        """Give a stream the Task of a letter, and whatever comes of it."""
        self.followers.add(letter.id, held.stream)
        body = tasks.send_result(shape_of_call(held.call), self.words.task_of(letter))
        self.node.streams.feed(held.stream, body)
        if self.deliveries.in_hand(letter.address, letter.id) is None:  # it may have ended since it was looked up
            self.jobs.start(self.tell_if_ended(letter.address.tenant, letter.id))

    async def tell_if_ended(self, tenant: str, id: str) -> None:
        """Whoever follows a letter that waits no more is told so."""
        try:
            letter = await self.mailbox.find(tenant, id)
        except StoreError as error:
            self.tell_trouble(error)
            return
        if letter is None:
            self.followers.end(id, Refused(Reason.TASK_NOT_FOUND))
        elif not letter.state.is_waiting:
            self.ended(letter)

    async def tell_followers(self) -> None:
        """Whoever follows a letter that has ended unnoticed is told so."""
        for tenant, id in self.followers.followed():
            await self.tell_if_ended(tenant, id)

    def hand_over(self, held: Held, call: Call) -> None:
        """Make a call at its agent now. Raises `Refused`."""
        session = self.node.require_session(call)
        if isinstance(held, HeldCall):
            if not held.is_gone:
                held.exchange = self.node.hand_over(call, session, held)
        else:
            self.node.hand_over_held(call, session, held.stream)

    # agents

    def present(self, address: Address) -> Session | None:
        """The session of an agent that can work now."""
        session = self.node.find_session(address)
        return session if session is not None and session.is_ready else None

    def agent_is_ready(self, session: Session) -> None:
        """An agent has attached, or is ready again: what waits for it goes on."""
        self.janitor.begin()
        session.has_letters = session.address in self._boxes
        session.review()
        self._expected.arrived(session.address)
        if session.has_letters:
            self.deliveries.wake(session.address)

    def may_hold_letters(self, address: Address) -> None:
        """Something was put into an agent's mailbox."""
        self.accepted += 1
        self._boxes.add(address)
        self.janitor.begin()
        session = self.node.find_session(address)
        if session is not None:
            session.has_letters = True
            session.review()

    def is_empty(self, address: Address) -> None:
        """Nothing is left in an agent's mailbox."""
        self._boxes.discard(address)
        session = self.node.find_session(address)
        if session is not None:
            session.has_letters = False
            session.review()

    # what happens to letters

    def publish(self, letter: Letter, event: LetterEvent, reason: str = "") -> None:
        """Tell whoever follows a letter's way."""
        entry = Entry(self.node.clock.now(), event, letter.attempt, reason)
        self.receipts.publish(Receipt(letter.id, letter.address, letter.owner, entry))
        self.node.observer.letter(event, letter.address, reason)
        self.janitor.is_count_stale = True
        if event is LetterEvent.ACCEPTED:
            self.waiting += 1
        elif event in _ENDS:
            self.waiting -= 1
            self.done += event is LetterEvent.DONE

    def ended(self, letter: Letter) -> None:
        """A letter has ended without its agent's answer: whoever follows it is told by a last Task."""
        self.followers.feed(letter.id, tasks.send_result(shape_of(letter), self.words.task_of(letter)))
        self.followers.end(letter.id, None)

    def tell_trouble(self, error: StoreError) -> None:
        """The store has failed: whether the step was taken is found out when it works again."""
        self.janitor.doubt()
        self.node.observer.notice("store_trouble", message=str(error))

    def renew(self) -> None:
        """Learn anew which agents letters are waiting for: another process, or an operator, has changed that."""
        backlog = self.mailbox.backlog()
        self.waiting = sum(backlog.values())
        for address in backlog:
            self.changed(address)

    def operated(self, address: Address) -> None:
        """An operator has changed an agent's letters: there may be more or fewer that wait."""
        self.janitor.is_count_stale = True
        self.changed(address)
        self.jobs.start(self.tell_followers())

    def changed(self, address: Address) -> None:
        """Something was done to an agent's letters by somebody else: there may be some that may go now."""
        self.may_hold_letters(address)
        self.deliveries.wake(address)

    # leaving

    def leave(self) -> None:
        """This process ends: nothing more is handed over, and nobody is waited for."""
        self._expected.give_up()
        self.followers.end_all(Refused(Reason.RELAY_LEAVING))


def _nothing(_: Stream) -> None:
    """A held stream was let go before anything followed by it."""
