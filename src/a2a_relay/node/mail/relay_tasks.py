"""What is asked of tasks that the relay has made: before their agent wakes, while it works, and after."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from a2a_relay.a2a import aliases, facts, jsonbytes, listing, methods
from a2a_relay.a2a.aliases import Aliases
from a2a_relay.a2a.methods import BY_OPERATION, Operation
from a2a_relay.a2a.tasks import is_terminal
from a2a_relay.core.call import Call, Meta
from a2a_relay.core.envelope import open_envelope
from a2a_relay.core.exchange import Outcome, Result
from a2a_relay.core.letter import Alias, AnswerKind, Filter, Letter, LetterEvent, LetterState
from a2a_relay.core.principal import Role
from a2a_relay.errors import Reason, Refused
from a2a_relay.node.mail.delivery import Question
from a2a_relay.node.mail.held import Held, HeldCall
from a2a_relay.node.mail.ids import is_relays
from a2a_relay.node.mail.words import aliases_of, shape_of_call

if TYPE_CHECKING:
    from a2a_relay.node.mail.mailroom import Mailroom

NO_ALIASES = Aliases({}, {})
_MAX_PLACE_DIGITS = 18

_NAMED_IN_LISTS = 200
"""Of how many of its newest letters a caller finds its own ids in the agent's list; of older ones, the agent's."""


class Thread(NamedTuple):
    """What a message goes on with: the relay's task, and the context that orders it."""

    names: Aliases = NO_ALIASES
    task_id: str = ""
    context: str = ""
    is_waiting: bool = False
    """Whether letters are waiting before it."""
    is_agents: bool = False
    """Whether the task is the agent's own: while that is away, such a message is not queued but behind letters."""


class RelayTasks:
    """Get, list, cancel, subscribe and push configurations of the relay's own tasks."""

    def __init__(self, room: Mailroom) -> None:
        self._room = room
        self._node = room.node
        self._mailbox = room.mailbox

    # look-ups

    async def letter_of(self, call: Call, task_id: str) -> Letter:
        """The letter behind a task of the relay's. Raises TASK_NOT_FOUND: unknown and foreign look alike."""
        letter = await self._mailbox.find(call.address.tenant, task_id)
        if letter is None or letter.address != call.address or not may_see(call, letter):
            raise Refused(Reason.TASK_NOT_FOUND)
        return letter

    async def _is_agents(self, call: Call, task_id: str) -> bool:
        """Whether the agent has taken the relay's id, and the letter has gone since."""
        letter = await self._mailbox.find(call.address.tenant, task_id)
        return letter is None and self._node.owners.may_see(call, task_id)

    async def thread_of(self, call: Call) -> Thread:
        """What a message of a client goes on with. Raises TASK_NOT_FOUND or UNSUPPORTED_OPERATION."""
        spans = call.spans
        tasks, contexts = await self._names(call)
        task_id, context, is_queued = "", spans.context_id or "", False
        is_agents = spans.task_id is not None and (
            not is_relays(spans.task_id) or await self._is_agents(call, spans.task_id)
        )
        if spans.task_id is not None and not is_agents:
            letter = await self.letter_of(call, spans.task_id)
            task_id, context = letter.task_id, letter.context
            if letter.alias.task_id:
                tasks[letter.task_id] = letter.alias.task_id
                contexts[letter.context_id] = letter.alias.context_id
            elif letter.state.is_waiting:
                is_queued = True
            else:
                raise Refused(Reason.UNSUPPORTED_OPERATION, "the task has ended")
        is_waiting = bool(context) and await self._mailbox.is_waiting(call.address, context)
        return Thread(Aliases(tasks, contexts), task_id, context, is_queued or is_waiting, is_agents)

    async def _names(self, call: Call) -> tuple[dict[str, str], dict[str, str]]:
        """The agent's ids for the relay's references and context of a call: of tasks, and of contexts."""
        tasks: dict[str, str] = {}
        contexts: dict[str, str] = {}
        spans = call.spans
        if spans.context_id is not None and is_relays(spans.context_id):
            letter = await self._mailbox.find_context(call.address, spans.context_id)
            if letter is not None:
                if not may_see(call, letter):
                    raise Refused(Reason.TASK_NOT_FOUND)
                contexts[letter.context_id] = letter.alias.context_id
            else:  # its agent has taken the relay's id, perhaps, and the letter has gone since
                self._node.owners.require_own(call, spans.context_id)
        for id in filter(is_relays, spans.reference_task_ids):
            tasks[id] = (await self.letter_of(call, id)).alias.task_id
        return tasks, contexts

    async def names_at_delivery(self, call: Call, letter: Letter) -> Aliases:
        """The agent's ids for everything of the relay's that a letter speaks of. Raises TASK_NOT_FOUND."""
        tasks, contexts = await self._names(call)
        before = await self._mailbox.find_context(letter.address, letter.context_id)
        if before is not None and may_see(call, before):
            contexts[letter.context_id] = before.alias.context_id
        if call.spans.task_id is not None and is_relays(call.spans.task_id):
            first = await self.letter_of(call, call.spans.task_id)
            if not first.alias.task_id:
                raise Refused(Reason.TASK_NOT_FOUND)
            tasks[first.task_id] = first.alias.task_id
            contexts[first.context_id] = first.alias.context_id
        return Aliases(tasks, contexts)

    # calls of clients

    async def serve(self, held: Held) -> None:
        """Answer a call that speaks of the relay's task, or hand it on under the agent's names. Raises `Refused`."""
        call = held.call
        if not is_relays(call.spans.task_id):
            await self._by_context(held)
            return
        task_id = call.spans.task_id or ""
        if await self._is_agents(call, task_id):
            self._room.hand_over(held, call)
            return
        letter = await self.letter_of(call, task_id)
        match call.operation:
            case Operation.GET:
                self._get(held, letter)
            case Operation.CANCEL:
                await self._cancel(held, letter)
            case Operation.SUBSCRIBE:
                self._subscribe(held, letter)
            case _:
                if not letter.alias.task_id:
                    raise Refused(Reason.UNSUPPORTED_OPERATION, "the agent has not got this task yet")
                self._forward(held, aliases_of(letter))

    async def _by_context(self, held: Held) -> None:
        if held.call.operation is Operation.LIST:
            await self.list(held)
        else:
            self._forward(held, Aliases(*await self._names(held.call)))

    def _forward(self, held: Held, names: Aliases) -> None:
        """Make the call at the agent, under its own names. Raises `Refused`."""
        self.hand_over(held, Thread(names))

    def hand_over(self, held: Held, thread: Thread) -> None:
        """Make a call at its agent; what comes back has the relay's names. Raises `Refused`."""
        call = held.call
        if thread.names.relay_tasks or thread.names.relay_contexts:
            renaming = partial(aliases.rewrite_result, operation=call.operation, aliases=thread.names)
            if isinstance(held, HeldCall):
                held.renaming = renaming
            else:
                held.stream.on_body = renaming
            call = to_agent(call, thread.names)
        self._room.hand_over(held, call)

    def _get(self, held: Held, letter: Letter) -> None:
        known = Result(self._room.words.task_of(letter))
        if letter.alias.task_id and isinstance(held, HeldCall) and self._room.present(letter.address) is not None:
            held.on_outcome = lambda outcome: outcome if isinstance(outcome, Result) else known
            self._forward(held, aliases_of(letter))
        else:
            held.answer(known)

    async def _cancel(self, held: Held, letter: Letter) -> None:
        if letter.state is LetterState.QUEUED:
            canceled = await self._mailbox.cancel(
                letter.address.tenant, letter.id, self._node.limits.result_ttl_seconds
            )
            if canceled is not None:
                self._room.publish(canceled, LetterEvent.CANCELED)
                self._room.ended(canceled)
                held.answer(Result(self._room.words.task_of(canceled)))
                self._room.deliveries.wake(letter.address)
                return
            letter = await self.letter_of(held.call, letter.task_id)
        delivery = self._room.deliveries.in_hand(letter.address, letter.id)
        # What the delivery knows may not be in the store yet.
        alias = letter.alias if letter.alias.task_id or delivery is None else delivery.alias
        if alias.task_id:
            self._forward(held, aliases_of(letter, alias))
        elif delivery is not None and delivery.stream is not None and not delivery.is_over:
            delivery.is_cancel_wanted = True
            held.answer(Result(self._room.words.task_of(letter)))
        else:
            raise Refused(Reason.TASK_NOT_CANCELABLE)

    def _subscribe(self, held: Held, letter: Letter) -> None:
        if isinstance(held, HeldCall):
            raise Refused(Reason.UNSUPPORTED_OPERATION)
        is_here = self._room.deliveries.in_hand(letter.address, letter.id) is not None
        if is_here or letter.state is LetterState.QUEUED or (letter.state.is_waiting and not letter.alias.task_id):
            self._room.follow(held, letter)
        elif letter.alias.task_id and not _has_ended(letter):
            self._forward(held, aliases_of(letter))
        else:
            raise Refused(Reason.UNSUPPORTED_OPERATION, "the task has ended")

    async def list(self, held: Held) -> None:
        """The agent's list; while it is away, the relay's own tasks of it."""
        if self._room.present(held.call.address) is None:
            await self._list_own(held)
            return
        tasks, contexts = await self._names(held.call)
        if held.call.principal.role is not Role.ADMIN:  # an admin's list is the agent's, as it is
            mine = Filter(agent=held.call.address.agent, owner=held.call.principal.owner)
            page = await self._mailbox.list(held.call.address.tenant, mine, None, _NAMED_IN_LISTS)
            for letter in page.letters:
                tasks.setdefault(letter.task_id, letter.alias.task_id)
                contexts.setdefault(letter.context_id, letter.alias.context_id)
        self._forward(held, Aliases(tasks, contexts))

    async def _list_own(self, held: Held) -> None:
        """The relay's own tasks of an agent that is away: the caller's, and for an admin the tenant's."""
        call = held.call
        query = listing.read_list(call.params)
        owner = "" if call.principal.role is Role.ADMIN else call.principal.owner
        filter = Filter(agent=call.address.agent, owner=owner, context_id=query.context_id or "")
        after = _place(query.page_token)
        page = await self._mailbox.list(call.address.tenant, filter, after, query.page_size)
        found = []
        for listed in page.letters:
            letter = await self._mailbox.find(listed.address.tenant, listed.id)
            if letter is not None and letter.id == letter.task_id:
                found.append(self._room.words.task_of(letter))
        next_token = "" if page.next is None else str(page.next)
        held.answer(Result(listing.write_list(found, next_token, query.page_size, page.total)))

    # calls of the relay's own

    def call_at_agent(self, letter: Letter, alias: Alias, operation: Operation) -> Call:
        """A question of the relay's own about a letter's task, in its sender's name and version."""
        call = open_envelope(letter.address, letter.envelope, b"")
        row = BY_OPERATION[operation]
        return Call(
            address=letter.address,
            meta=Meta(call.principal, call.meta.version),
            operation=operation,
            method=row.v10 if methods.speaks_v10(call.method) else row.v03,
            params=jsonbytes.dump({"id": alias.task_id}),
            streams=row.streams,
        )

    def cancel_at_agent(self, letter: Letter, alias: Alias) -> None:
        """Ask the agent to cancel a task whose sender wanted that before the agent had named it."""
        session = self._room.present(letter.address)
        if session is not None:
            call = self.call_at_agent(letter, alias, Operation.CANCEL)
            try:
                self._node.hand_over(call, session, Question(_ignore))
            except Refused as refused:
                self._node.observer.notice("cancel_refused", letter=letter.id, reason=str(refused.reason))


def may_see(call: Call, letter: Letter) -> bool:
    """Whether a letter is its caller's, or the caller an admin of its tenant."""
    return call.principal.role is Role.ADMIN or letter.owner == call.principal.owner


def to_agent(call: Call, names: Aliases) -> Call:
    """A call under the agent's ids."""
    params = aliases.rewrite_params(call.params, call.operation, shape_of_call(call), names)
    rest = call.rest
    if rest is not None:  # `tasks/{id}:cancel`: the id may have a verb behind it
        rest = replace(rest, segments=tuple(_renamed(segment, names) for segment in rest.segments))
    return call._replace(params=params, rest=rest)


def _place(page_token: str) -> int | None:
    """Where a page of the relay's own list begins. Raises INVALID_PARAMS for a token that it has never given."""
    if page_token and not (page_token.isascii() and page_token.isdigit() and len(page_token) <= _MAX_PLACE_DIGITS):
        raise Refused(Reason.INVALID_PARAMS, "the field 'pageToken' is none of this list's")
    return int(page_token) if page_token else None


def _renamed(segment: str, names: Aliases) -> str:
    id, colon, verb = segment.partition(":")
    return names.agent_tasks.get(id, id) + colon + verb


def _has_ended(letter: Letter) -> bool:
    answer = letter.answer
    if answer is None or answer.kind is not AnswerKind.TASK:
        return letter.state is not LetterState.LEASED
    state = facts.read_facts(answer.body).state
    return state is not None and is_terminal(state)


def _ignore(_: Outcome) -> None:
    """Whatever comes of it shows in the task's own events."""
