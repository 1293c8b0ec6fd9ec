"""A2A over HTTP+JSON: paths below an agent's base become an operation and its params.

Source: A2A 1.0.1 section 11.3 and `a2a.proto` (both name `GET` and `POST` for
`:subscribe`; both are taken), A2A 0.3.0 section 3.5 (the same under `/v1`).
Every 1.0 path may carry A2A's own `tenant` as one extra first segment.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple

from a2a_relay.a2a import jsonbytes
from a2a_relay.a2a.methods import Operation
from a2a_relay.errors import Reason, Refused

MEDIA_TYPE = "application/a2a+json"
_GET = ("GET",)
_POST = ("POST",)
_BOTH = ("GET", "POST")

_NUMBERS = frozenset({"historyLength", "pageSize"})
_BOOLEANS = frozenset({"includeArtifacts"})
_VERSION_PARAMETER = "a2a-version"
_NEED_BODY = frozenset({Operation.SEND, Operation.STREAM, Operation.PUSH_SET})
# The bindings' own words, which are never A2A's `tenant` (decision 11).
_RESERVED = frozenset({"v1", "tasks", "message", "messages", "streams", "ws", "extendedAgentCard", ".well-known"})


class Dialect(StrEnum):
    """Which HTTP+JSON a path belongs to."""

    V10 = "1.0"
    V03 = "0.3"
    PLAIN = "plain"
    """relay-go's paths: `message/send` with `/` for `:`; params in, bare result out."""


class RestPath(NamedTuple):
    """What a path under an agent's base asks for. `ids` are the params that the path names."""

    operation: Operation
    dialect: Dialect
    verbs: tuple[str, ...]
    ids: dict[str, str]


_PLAIN_OPERATIONS = {("message", "send"): Operation.SEND, ("message", "stream"): Operation.STREAM}
_FIXED = {
    ("message:send",): (Operation.SEND, _POST),
    ("message:stream",): (Operation.STREAM, _POST),
    ("tasks",): (Operation.LIST, _GET),
}
_TASK_VERBS = {"cancel": (Operation.CANCEL, _POST), "subscribe": (Operation.SUBSCRIBE, _BOTH)}


def read_path(segments: Sequence[str], verb: str) -> RestPath | None:
    """The operation of the decoded path segments under an agent's base, or None.

    `verb` only tells two operations on one path apart (push configs: set and
    list, get and delete); whether it is allowed at all is in `verbs`.
    """
    if not segments:
        return None
    if segments[0] == "v1":
        return _read(segments[1:], verb, Dialect.V03)
    found = _read(segments, verb, Dialect.V10)
    if found is None and len(segments) > 1 and segments[0] not in _RESERVED:
        inner = _read(segments[1:], verb, Dialect.V10)
        if inner is not None and inner.dialect is Dialect.V10:
            return inner._replace(ids={**inner.ids, "tenant": segments[0]})
    return found


def _read(segments: Sequence[str], verb: str, dialect: Dialect) -> RestPath | None:
    path = tuple(segments)
    if path in _FIXED:
        operation, verbs = _FIXED[path]
        return RestPath(operation, dialect, verbs, {})
    if path == (("extendedAgentCard",) if dialect is Dialect.V10 else ("card",)):
        return RestPath(Operation.EXTENDED_CARD, dialect, _GET, {})
    if dialect is Dialect.V10 and path in _PLAIN_OPERATIONS:
        return RestPath(_PLAIN_OPERATIONS[path], Dialect.PLAIN, _POST, {})
    if len(path) < 2 or path[0] != "tasks":
        return None
    return _read_task(path[1], path[2:], verb, dialect)


def _read_task(task: str, rest: tuple[str, ...], verb: str, dialect: Dialect) -> RestPath | None:
    if not rest:
        id, _, action = task.rpartition(":")
        if id and action in _TASK_VERBS:
            operation, verbs = _TASK_VERBS[action]
            return RestPath(operation, dialect, verbs, {"id": id})
        return RestPath(Operation.GET, dialect, _GET, {"id": task})
    if rest == ("cancel",) and dialect is Dialect.V10:
        return RestPath(Operation.CANCEL, Dialect.PLAIN, _POST, {"id": task})
    if rest == ("pushNotificationConfigs",):
        operation = Operation.PUSH_LIST if verb == "GET" else Operation.PUSH_SET
        return RestPath(operation, dialect, _BOTH, {"taskId": task})
    if len(rest) == 2 and rest[0] == "pushNotificationConfigs":
        operation = Operation.PUSH_DELETE if verb == "DELETE" else Operation.PUSH_GET
        return RestPath(operation, dialect, ("GET", "DELETE"), {"taskId": task, "id": rest[1]})
    return None


def params(path: RestPath, query: Sequence[tuple[str, str]], body: bytes) -> bytes:
    """The params bytes of a call: a POST's body is the params, a GET's come from path and query.

    Ids that the path names are added to the body where it does not repeat them;
    that it does not contradict them is checked by `spans.read`.
    """
    if body:
        return _with_ids(body, path.ids)
    if path.operation in _NEED_BODY:
        raise Refused(Reason.PARSE_ERROR, "a body is needed")
    fields: dict[str, object] = dict(path.ids)
    for name, text in query:
        if name.lower() == _VERSION_PARAMETER:
            continue
        if name in fields:
            raise Refused(Reason.AMBIGUOUS_FIELD, f"the parameter {name[:60]!r} is given twice")
        fields[name] = _typed(name, text)
    return jsonbytes.dump(fields)


def _with_ids(body: bytes, ids: Mapping[str, str]) -> bytes:
    jsonbytes.check_text(body)
    present = jsonbytes.members(body)
    missing = {name: id for name, id in ids.items() if present.get(name, b"null") in (b"null", b'""')}
    if not missing:
        return body
    if not present:
        return jsonbytes.dump(missing)
    if missing.keys() & present.keys():
        kept = {name: raw for name, raw in present.items() if name not in missing}
        body = join_members({**kept, **{name: jsonbytes.dump(id) for name, id in missing.items()}})
        return body
    end = body.rindex(b"}")
    return body[:end] + b"," + jsonbytes.dump(missing)[1:]


def join_members(fields: Mapping[str, bytes]) -> bytes:
    """A JSON object of members whose values are bytes already."""
    return b"{" + b",".join(jsonbytes.dump(name) + b":" + raw for name, raw in fields.items()) + b"}"


def version_parameter(query: Sequence[tuple[str, str]]) -> str | None:
    """The protocol version given as a query parameter (A2A 1.0.1 section 3.6.2)."""
    for name, text in query:
        if name.lower() == _VERSION_PARAMETER:
            return text
    return None


def _typed(name: str, text: str) -> object:
    if name in _NUMBERS:
        if not text.isascii() or not text.isdigit() or len(text) > 18:
            raise Refused(Reason.INVALID_PARAMS, f"the parameter {name!r} must be a number")
        return int(text)
    if name in _BOOLEANS:
        if text not in ("true", "false"):
            raise Refused(Reason.INVALID_PARAMS, f"the parameter {name!r} must be true or false")
        return text == "true"
    return text


def result(answer: bytes) -> bytes:
    """The HTTP+JSON body of a JSON-RPC result: the same bytes, but an empty answer (delete) is written `{}`."""
    return b"{}" if answer == b"null" else answer
