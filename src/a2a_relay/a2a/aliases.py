"""The relay's ids of a task and the agent's, written for each other in params and results.

A task that the relay made before its agent gave it an id keeps the relay's id for its clients. So what clients say of
it is told the agent under the agent's ids, and what the agent says under the relay's. Nothing else of a body changes:
an id is rewritten only where A2A has one, and only a string that equals it. Which agent spells in which way is not
judged: bodies are looked at in every spelling of all versions.

Bodies must have passed `jsonbytes.check`. All functions return the very object they were given when nothing in it
changes. Those for params raise `Malformed` (INVALID_PARAMS) where a body is too long to walk (`splice`); a result that
is too long stays as its agent has written it: its receiver is owed an answer, and knows what else it says.
"""

from __future__ import annotations

from collections.abc import Mapping

from a2a_relay.a2a import jsonbytes, splice
from a2a_relay.a2a.jsonbytes import Malformed
from a2a_relay.a2a.methods import Operation
from a2a_relay.a2a.splice import Change, Each, Plan
from a2a_relay.a2a.tasks import Shape

_SENDS = (Operation.SEND, Operation.STREAM)
_EVENTS = (*_SENDS, Operation.SUBSCRIBE)
_PREFIX = "tasks/"


class Aliases:
    """Pairs of ids: the relay's, and the agent's for the same task or context.

    Where two of the relay's ids stand for one of the agent's, the agent's is rewritten to the first of them.
    """

    __slots__ = ("agent_contexts", "agent_tasks", "relay_contexts", "relay_tasks")

    def __init__(self, tasks: Mapping[str, str], contexts: Mapping[str, str]) -> None:
        """`tasks` and `contexts`: the relay's id -> the agent's. Empty ids, and equal ones, are no aliases."""
        self.agent_tasks = _different(tasks)
        self.agent_contexts = _different(contexts)
        self.relay_tasks = _inverse(self.agent_tasks)
        self.relay_contexts = _inverse(self.agent_contexts)


def _different(ids: Mapping[str, str]) -> dict[str, str]:
    return {ours: theirs for ours, theirs in ids.items() if ours and theirs and ours != theirs}


def _inverse(ids: Mapping[str, str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for ours, theirs in ids.items():
        found.setdefault(theirs, ours)
    return found


def rewrite_result(body: bytes, operation: Operation, aliases: Aliases) -> bytes:
    """The result of an operation, or one event of its stream, with the relay's ids for the agent's."""
    try:
        return _rewrite_result(body, operation, aliases)
    except Malformed:
        return body


def _rewrite_result(body: bytes, operation: Operation, aliases: Aliases) -> bytes:
    tasks, contexts = aliases.relay_tasks, aliases.relay_contexts
    if not _mentions(body, tasks, contexts):
        return body
    names = _Names(tasks, contexts)
    if operation is Operation.LIST:
        return splice.change(body, {"tasks": Each(names.body())})
    if operation is Operation.PUSH_LIST:  # 0.3's JSON-RPC answers with a bare array
        configs = Each(names.push_config())
        return splice.change(body, configs if splice.is_array(body) else {"configs": configs})
    if operation in (Operation.PUSH_SET, Operation.PUSH_GET):
        return splice.change(body, names.push_config())
    if operation in (Operation.GET, Operation.CANCEL):
        return splice.change(body, names.body())
    if operation in _EVENTS:
        return splice.change(body, names.event())
    return body


def rewrite_params(params: bytes, operation: Operation, shape: Shape, aliases: Aliases) -> bytes:
    """The params of an operation with the agent's ids for the relay's."""
    tasks, contexts = aliases.agent_tasks, aliases.agent_contexts
    if not _mentions(params, tasks, contexts):
        return params
    names = _Names(tasks, contexts)
    if operation in _SENDS:
        return splice.change(params, names.send())
    if operation in (Operation.GET, Operation.CANCEL, Operation.SUBSCRIBE):
        return splice.change(params, {"id": names.task, "name": names.resource})
    if operation is Operation.LIST:
        return splice.change(params, names.context_fields())
    if operation in (Operation.PUSH_SET, Operation.PUSH_GET, Operation.PUSH_LIST, Operation.PUSH_DELETE):
        plan = names.push_config()
        if shape is Shape.V03 and operation is not Operation.PUSH_SET:  # 0.3's JSON-RPC calls the task `id` there
            plan["id"] = names.task
        return splice.change(params, plan)
    return params


def insert_context(params: bytes, context_id: str) -> bytes:
    """The params of a send whose message has this contextId, unless it has one that is not empty."""
    value = jsonbytes.dump(context_id)
    return splice.change(params, dict.fromkeys(_MESSAGE_NAMES, lambda message: _with_context(message, value)))


_MESSAGE_NAMES = ("message", "request")
"""`request` is the name of `message` in 0.3's proto: its clients write it."""
_CONTEXT_NAMES = ("contextId", "context_id")
_NOTHING = (b"null", b'""')


def _with_context(message: bytes, value: bytes) -> bytes | None:
    if not splice.is_object(message):
        return None
    for name, start, end in splice.members(message):
        if name in _CONTEXT_NAMES:  # a second one beside it would be refused as a duplicate, whatever its spelling
            return splice.with_member(message, name, value) if message[start:end] in _NOTHING else None
    return splice.with_member(message, "contextId", value)


def _mentions(body: bytes, tasks: Mapping[str, str], contexts: Mapping[str, str]) -> bool:
    """Whether any of the ids may stand in a body: it stands there as it is, or something is escaped."""
    if b"\\" in body:
        return bool(tasks or contexts)
    return any(_bytes(id) in body for ids in (tasks, contexts) for id in ids)


def _bytes(id: str) -> bytes:
    return id.encode("utf-8", "surrogatepass")


def _swap(ids: Mapping[str, str]) -> Change:
    def change(data: bytes) -> bytes | None:
        found = ids.get(jsonbytes.text(data) or "")
        return None if found is None else jsonbytes.dump(found)

    return change


def _swap_resource(ids: Mapping[str, str]) -> Change:
    """For the resource names of 0.3's proto: `tasks/{id}`, `tasks/{id}/pushNotificationConfigs/{config}`."""

    def change(data: bytes) -> bytes | None:
        name = jsonbytes.text(data) or ""
        if not name.startswith(_PREFIX):
            return None
        id, slash, rest = name[len(_PREFIX) :].partition("/")
        found = ids.get(id)
        return None if found is None else jsonbytes.dump(f"{_PREFIX}{found}{slash}{rest}")

    return change


class _Names:
    """Plans for the places where A2A has ids; protobuf's spellings stand beside the canonical ones."""

    __slots__ = ("context", "resource", "task")

    def __init__(self, tasks: Mapping[str, str], contexts: Mapping[str, str]) -> None:
        self.task = _swap(tasks)
        self.context = _swap(contexts)
        self.resource = _swap_resource(tasks)

    def context_fields(self) -> dict[str, Plan]:
        return dict.fromkeys(_CONTEXT_NAMES, self.context)

    def message(self) -> dict[str, Plan]:
        references = Each(self.task)
        return {
            **self.context_fields(),
            "taskId": self.task,
            "task_id": self.task,
            "referenceTaskIds": references,
            "reference_task_ids": references,
        }

    def body(self) -> dict[str, Plan]:
        """A Task, a Message or an update: no field of one means something else in another."""
        message = self.message()
        return {
            **message,
            "id": self.task,
            "status": {"message": message, "update": message},
            "history": Each(message),
        }

    def event(self) -> dict[str, Plan]:
        """The result of a send, or an event: wrapped (1.0, and 0.3's HTTP+JSON) or bare (0.3's JSON-RPC)."""
        body = self.body()
        wrapped = ("task", "message", "msg", "statusUpdate", "status_update", "artifactUpdate", "artifact_update")
        return {**body, **dict.fromkeys(wrapped, body)}

    def send(self) -> dict[str, Plan]:
        configs = ("taskPushNotificationConfig", "pushNotificationConfig", "pushNotification")
        configuration: dict[str, Plan] = dict.fromkeys(configs, self.push_config())
        return {**dict.fromkeys(_MESSAGE_NAMES, self.message()), "configuration": configuration}

    def push_config(self) -> dict[str, Plan]:
        """A config, or a request about one. Its `id` is its own, though SDKs give it the task's: it is left alone."""
        return {
            "taskId": self.task,
            "task_id": self.task,
            "name": self.resource,
            "parent": self.resource,
            "config": {"name": self.resource},
        }
