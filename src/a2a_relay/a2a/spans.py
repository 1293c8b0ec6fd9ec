"""The one strict reader of the few fields that the relay may look at.

Ids own tasks, order letters and guard tenants, so that the relay and the agent
must never read two different ones out of the same bytes. Agents are lenient:
protobuf's JSON takes `task_id` for `taskId` and lets the later one win, some
match keys without regard to case. Therefore a key that means one of these
fields in any spelling must be spelled canonically, once, and agree with the
path; everything else is handed on as bytes (security rule S1).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from a2a_relay.a2a import compact, jsonbytes
from a2a_relay.a2a.methods import Operation
from a2a_relay.errors import Reason, Refused


class Spans(NamedTuple):
    """What the relay has read of one call's params; None where absent."""

    task_id: str | None = None
    context_id: str | None = None
    reference_task_ids: tuple[str, ...] = ()
    tenant: str | None = None
    push_url: str | None = None
    role: str | None = None
    """The message's role: `ROLE_USER` in 1.0, `user` in 0.3."""


def _fold(key: str) -> str:
    # casefold, as Go's decoder folds: it takes U+017F for s and U+212A for k
    return key.casefold().replace("_", "")


class _Level(NamedTuple):
    """The fields of one object that carry authority: folded spelling -> canonical spelling."""

    fields: dict[str, str]


def _level(*names: str) -> _Level:
    return _Level({_fold(name): name for name in names})


# 1.0's, 0.3's and (in 0.3's HTTP+JSON) protobuf's name of the push config of a send
_PUSH_MEMBERS = ("taskPushNotificationConfig", "pushNotificationConfig", "pushNotification")
_RESOURCE_NAMES = ("name", "parent")
_RESOURCE_PREFIX = "tasks/"
_TASK_NAMES = ("id", "taskId")
_PUSH_NAMES = ("taskId",)
_V03_PUSH_NAMES = ("id", "taskId")
"""Under which a request names its task: the first is right, and some reader may take the others for it."""
MAX_REFERENCES = 1000
# `request` is the name of `message` in 0.3's proto: its clients write it, protobuf readers take both
_SEND = _level("tenant", "message", "request", "configuration")
_MESSAGE = _level("messageId", "taskId", "contextId", "referenceTaskIds")
_CONFIGURATION = _level(*_PUSH_MEMBERS)
_PUSH = _level(
    "tenant", "taskId", "id", "url", "pushNotificationConfigId", "pushNotificationConfig", "name", "parent", "config"
)
_TASK = _level("tenant", "id", "taskId", "name")
_LIST = _level("tenant", "contextId")
_CARD = _level("tenant")

_SENDS = (Operation.SEND, Operation.STREAM)
_LEVELS = {
    Operation.SEND: _SEND,
    Operation.STREAM: _SEND,
    Operation.GET: _TASK,
    Operation.CANCEL: _TASK,
    Operation.SUBSCRIBE: _TASK,
    Operation.LIST: _LIST,
    Operation.PUSH_SET: _PUSH,
    Operation.PUSH_GET: _PUSH,
    Operation.PUSH_LIST: _PUSH,
    Operation.PUSH_DELETE: _PUSH,
    Operation.EXTENDED_CARD: _CARD,
}


def read(
    operation: Operation,
    params: bytes,
    path: Mapping[str, str] | None = None,
    *,
    is_v03: bool = False,
    is_protobuf: bool = False,
) -> Spans:
    """Read the authority-bearing fields of one call.

    `params` are checked JSON bytes (`jsonbytes.check`); `path` holds the ids that
    the request target named (`id`, `taskId`, `tenant`), which the body must not
    contradict; `is_v03` tells 0.3's JSON-RPC apart, whose push requests call the
    task `id`, `is_protobuf` 0.3's HTTP+JSON, whose own clients write protobuf's
    field names (`task_id`): there either spelling is taken, but not both. Raises
    `Refused` with AMBIGUOUS_FIELD or INVALID_PARAMS.
    """
    if path is None and operation in _SENDS:
        said = compact.message(params)
        if said is not None:
            return tuple.__new__(
                Spans, (said.task_id or None, said.context_id or None, (), None, None, said.role or None)
            )
    level = _LEVELS.get(operation)
    if level is None or params == b"null":
        return Spans()
    strict = _strict_protobuf if is_protobuf else _strict
    fields = strict(level, params)
    _agree(fields, path or {})
    if level is _PUSH and fields.get("config", b"null") != b"null":
        _agree(strict(_PUSH, fields["config"]), {"taskId": path["taskId"]} if path and "taskId" in path else {})
    tenant = _string(fields, "tenant")
    if operation in _SENDS:
        return _read_send(fields, tenant, strict)
    if operation is Operation.LIST:
        return Spans(context_id=_string(fields, "contextId"), tenant=tenant)
    if level is _PUSH:
        names = _V03_PUSH_NAMES if is_v03 and operation is not Operation.PUSH_SET else _PUSH_NAMES
        found = _read_push(fields, tenant, strict, names)
    else:
        names = _TASK_NAMES
        found = Spans(task_id=_task_of(fields, names), tenant=tenant)
    if path is None and found.task_id != _string(fields, names[0]):
        raise Refused(Reason.AMBIGUOUS_FIELD, f"the task is named by the field {names[0]!r}")
    return found


def _read_send(fields: dict[str, bytes], tenant: str | None, strict: _Strict) -> Spans:
    if "message" in fields and "request" in fields:
        raise Refused(Reason.AMBIGUOUS_FIELD, "two messages")
    message = strict(_MESSAGE, fields.get("message") or fields.get("request", b"{}"))
    references: tuple[str, ...] = ()
    if "referenceTaskIds" in message and message["referenceTaskIds"] != b"null":
        references = _references(message["referenceTaskIds"])
    push_url = None
    if fields.get("configuration", b"null") != b"null":
        configuration = strict(_CONFIGURATION, fields["configuration"])
        named = [name for name in _PUSH_MEMBERS if configuration.get(name, b"null") != b"null"]
        if len(named) > 1:
            raise Refused(Reason.AMBIGUOUS_FIELD, "two push notification configs")
        for name in named:
            said = _read_push(strict(_PUSH, configuration[name]), None, strict)
            push_url = said.push_url
            if said.task_id not in (None, _string(message, "taskId")):
                raise Refused(Reason.AMBIGUOUS_FIELD, "the push notification config names another task")
    return Spans(
        _string(message, "taskId"),
        _string(message, "contextId"),
        references,
        tenant,
        push_url,
        _string(message, "role"),
    )


def _read_push(
    fields: dict[str, bytes], tenant: str | None, strict: _Strict, names: tuple[str, ...] = _PUSH_NAMES
) -> Spans:
    """Push configs: flat with `taskId` in 1.0; nested in 0.3, whose get, list and delete call the task `id`."""
    url, task_id = _string(fields, "url"), _task_of(fields, names)
    for nested in ("pushNotificationConfig", "config"):
        if fields.get(nested, b"null") != b"null":
            inner = _read_push(strict(_PUSH, fields[nested]), tenant, strict)
            if url is not None and inner.push_url is not None:
                raise Refused(Reason.AMBIGUOUS_FIELD, "two push notification targets")
            url = url or inner.push_url
            task_id = _same_task(task_id, inner.task_id)
    return Spans(task_id=task_id, tenant=tenant, push_url=url)


def _task_of(fields: dict[str, bytes], names: tuple[str, ...]) -> str | None:
    """The task that an object is about, under whichever name some reader may take for it: all must say the same."""
    task_id = None
    for name in names:
        task_id = _same_task(task_id, _string(fields, name))
    for name in _RESOURCE_NAMES:
        said = _string(fields, name) or ""
        if said.startswith(_RESOURCE_PREFIX):
            task_id = _same_task(task_id, said.removeprefix(_RESOURCE_PREFIX).partition("/")[0] or None)
    return task_id


def _same_task(known: str | None, said: str | None) -> str | None:
    if known is not None and said is not None and known != said:
        raise Refused(Reason.AMBIGUOUS_FIELD, "two tasks are named")
    return known or said


def _references(data: bytes) -> tuple[str, ...]:
    """The ids of an array. Bounded before it is built: a body full of ids must not hold the event loop."""
    if data.count(b",") >= MAX_REFERENCES:
        raise Refused(Reason.INVALID_PARAMS, f"more than {MAX_REFERENCES} referenceTaskIds")
    found = jsonbytes.value(data)
    if not isinstance(found, list):
        raise Refused(Reason.INVALID_PARAMS, "referenceTaskIds must be an array")
    if not all(jsonbytes.has_utf8(item) for item in found if isinstance(item, str)):
        raise Refused(Reason.INVALID_PARAMS, "referenceTaskIds hold half a character")
    return tuple(item for item in found if isinstance(item, str))


def _strict(level: _Level, data: bytes) -> dict[str, bytes]:
    """The members of `data`, none of which may be another spelling of a field of `level`."""
    fields = _members(data)
    for key in fields:
        canonical = level.fields.get(_fold(key))
        if canonical is not None and canonical != key:
            raise Refused(Reason.AMBIGUOUS_FIELD, f"spell the field {canonical!r} that way")
    return fields


def _strict_protobuf(level: _Level, data: bytes) -> dict[str, bytes]:
    """As `_strict`, for a reader that takes protobuf's field names too; found under the canonical ones."""
    found: dict[str, bytes] = {}
    for key, item in _members(data).items():
        canonical = level.fields.get(_fold(key), key)
        if canonical != key and _snake(canonical) != key:
            raise Refused(Reason.AMBIGUOUS_FIELD, f"spell the field {canonical!r} that way")
        if canonical in found:
            raise Refused(Reason.AMBIGUOUS_FIELD, f"the field {canonical!r} stands twice, in two spellings")
        found[canonical] = item
    return found


def _snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)


def _members(data: bytes) -> dict[str, bytes]:
    try:
        return jsonbytes.members(data)
    except jsonbytes.Malformed as error:
        if error.reason is Reason.AMBIGUOUS_FIELD:
            raise
        raise Refused(Reason.INVALID_PARAMS, error.message) from error


_Strict = Callable[[_Level, bytes], dict[str, bytes]]


def _agree(fields: dict[str, bytes], path: Mapping[str, str]) -> None:
    """What the path names, the body may repeat but not contradict; 0.3's proto names it `tasks/{id}/...`."""
    for name, expected in path.items():
        said = _string(fields, name)
        if said is not None and said != expected:
            raise Refused(Reason.AMBIGUOUS_FIELD, f"the field {name!r} differs from the path")
    task = path.get("taskId") or path.get("id")
    for name in _RESOURCE_NAMES if task is not None else ():
        said = _string(fields, name)
        if said is not None and said != f"tasks/{task}" and not said.startswith(f"tasks/{task}/"):
            raise Refused(Reason.AMBIGUOUS_FIELD, f"the field {name!r} differs from the path")


def _string(fields: dict[str, bytes], name: str) -> str | None:
    data = fields.get(name)
    if data is None or data == b"null":
        return None
    found = jsonbytes.text(data)
    if found is None:
        raise Refused(Reason.INVALID_PARAMS, f"the field {name!r} must be a string")
    if not jsonbytes.has_utf8(found):
        raise Refused(Reason.INVALID_PARAMS, f"the field {name!r} holds half a character")
    return found or None
