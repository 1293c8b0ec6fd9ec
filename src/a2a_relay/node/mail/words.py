"""What the relay itself says of a letter, in the words of its sender's version of A2A."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from a2a_relay.a2a import aliases, jsonbytes, tasks
from a2a_relay.a2a.agent_card import RELAY_EXTENSION
from a2a_relay.a2a.aliases import Aliases
from a2a_relay.a2a.methods import Operation
from a2a_relay.a2a.tasks import Shape, TaskState, timestamp
from a2a_relay.core.call import Call, Form, Meta
from a2a_relay.core.envelope import open_envelope
from a2a_relay.core.letter import Alias, AnswerKind, Letter, LetterState
from a2a_relay.node.agents import Agents

_STATES = {
    LetterState.QUEUED: TaskState.SUBMITTED,
    LetterState.LEASED: TaskState.WORKING,
    LetterState.DONE: TaskState.COMPLETED,
    LetterState.EXPIRED: TaskState.FAILED,
    LetterState.DEAD: TaskState.FAILED,
    LetterState.CANCELED: TaskState.CANCELED,
}
_PLAIN = {LetterState.QUEUED: "queued", LetterState.LEASED: "queued"}


class LetterMeta(Meta):
    """What an agent is told beside the body of a letter."""

    __slots__ = ("_letter",)

    def __init__(self, meta: Meta, letter: Letter) -> None:
        super().__init__(meta.principal, meta.version, meta.service_headers, meta.traceparent)
        self._letter = letter

    @property
    def letter_claims(self) -> Mapping[str, object]:
        return {"letter": self._letter.id, "accepted_at": int(self._letter.accepted_at)}

    def _fields(self) -> dict[str, object]:
        letter = self._letter
        found = super()._fields() | {
            "letter": letter.id,
            "attempt": letter.attempt,
            "queued_at": timestamp(letter.accepted_at),
            "expires_at": timestamp(letter.expires_at),
            "task_id": letter.task_id,
            "context_id": letter.context_id,
        }
        return found | {"restored": True} if letter.is_restored else found


class Words:
    """Tasks and other answers of the relay's own making."""

    def __init__(self, agents: Agents, durability: str) -> None:
        self._agents = agents
        self._durability = durability

    def task_of(self, letter: Letter, shape: Shape | None = None) -> bytes:
        """The Task of a letter as it stands: the agent's own when it has given one, under the relay's ids.

        `shape` is how its sender reads one, where that is known already.
        """
        shape, answer = shape or shape_of(letter), letter.answer
        if answer is not None and letter.state is LetterState.DONE:
            if answer.kind is AnswerKind.TASK:
                return aliases.rewrite_result(answer.body, Operation.GET, aliases_of(letter))
            if answer.kind is AnswerKind.MESSAGE:
                return tasks.task_of_message(
                    shape,
                    aliases.rewrite_result(answer.body, Operation.GET, aliases_of(letter)),
                    id=letter.task_id,
                    context_id=letter.context_id,
                    at=letter.ended_at or letter.accepted_at,
                    metadata=self._facts(letter),
                )
        state = _STATES[letter.state]
        if answer is not None and answer.kind is AnswerKind.ERROR:
            state = TaskState.FAILED
        return tasks.write_task(
            shape,
            id=letter.task_id,
            context_id=letter.context_id,
            state=state,
            at=letter.ended_at or letter.accepted_at,
            message_text=_why(letter),
            metadata=self._facts(letter),
        )

    def _facts(self, letter: Letter) -> dict[str, Any]:
        """What the relay says of its own task, under its extension's URI."""
        last_seen_at = self._agents.last_seen_at(letter.address)
        facts: dict[str, Any] = {
            "letter": letter.id,
            "state": str(letter.state),
            "queued_at": timestamp(letter.accepted_at),
            "expires_at": timestamp(letter.expires_at),
            "durability": self._durability,
        }
        if letter.position is not None:
            facts["position"] = letter.position
        if letter.attempt:
            facts["attempt"] = letter.attempt
        if letter.reason:
            facts["reason"] = letter.reason
        if last_seen_at:
            facts["agent_last_seen_at"] = timestamp(last_seen_at)
        return {RELAY_EXTENSION: facts}


def plain_queued(letter: Letter) -> bytes:
    """relay-go's answer for a queued message."""
    text = "the agent is away: the message is delivered when it comes back"
    return jsonbytes.dump({"status": plain_status(letter), "task_id": letter.task_id, "message": text})


def plain_state(letter: Letter) -> bytes:
    """relay-go's answer to a poll: `queued`, or `completed` with the agent's answer."""
    head = jsonbytes.dump({"status": plain_status(letter), "task_id": letter.task_id})
    answer = letter.answer
    if answer is None:
        return head
    if answer.kind is AnswerKind.ERROR:
        return head[:-1] + b',"error":%b}' % answer.body
    body = aliases.rewrite_result(answer.body, Operation.GET, aliases_of(letter))
    if shape_of(letter) is not Shape.V03:
        body = b'{"%b":%b}' % (answer.kind.encode(), body)
    return head[:-1] + b',"response":%b}' % body


def plain_status(letter: Letter) -> str:
    """relay-go's word for a letter's state."""
    return _PLAIN.get(letter.state, "completed" if letter.state is LetterState.DONE else str(letter.state))


def shape_of_call(call: Call) -> Shape:
    """How whoever made a call reads a Task."""
    return Shape.of(call.method, is_protobuf=call.form is Form.REST_V03)


def shape_of(letter: Letter) -> Shape:
    """How the sender of a letter reads a Task."""
    return shape_of_call(open_envelope(letter.address, letter.envelope, b""))


def aliases_of(letter: Letter, alias: Alias | None = None) -> Aliases:
    """The relay's ids of a letter's Task beside the agent's own, as far as there are any."""
    found = letter.alias if alias is None else alias
    return Aliases({letter.task_id: found.task_id}, {letter.context_id: found.context_id})


def _why(letter: Letter) -> str | None:
    """What a person should read beside the state of a task that has failed."""
    match letter.state:
        case LetterState.EXPIRED:
            return "The message expired before the agent could take it."
        case LetterState.DEAD:
            return f"The message could not be delivered: {letter.reason.replace('_', ' ')}."
        case LetterState.DONE if letter.answer is not None and letter.answer.kind is AnswerKind.ERROR:
            return jsonbytes.text(jsonbytes.members(letter.answer.body).get("message")) or "The agent has failed."
    return None
