"""What the relay reads of answers, events and sends to know how a task of its own goes on.

Nothing here judges a body: what cannot be read is `other`, or absent.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from a2a_relay.a2a import jsonbytes, splice
from a2a_relay.a2a.jsonbytes import Malformed

if TYPE_CHECKING or jsonbytes.msgspec is not None:
    import msgspec
    from msgspec import Struct


class Kind(StrEnum):
    """What an answer or an event is."""

    TASK = "task"
    MESSAGE = "message"
    STATUS = "status"
    ARTIFACT = "artifact"
    OTHER = "other"


class Facts(NamedTuple):
    """What is known of an answer or event; an id is None where it is absent or empty.

    `state` is spelled as the agent spells it.
    """

    kind: Kind
    task_id: str | None = None
    context_id: str | None = None
    state: str | None = None


NO_FACTS = Facts(Kind.OTHER)

WRAPPERS = {
    "task": Kind.TASK,
    "message": Kind.MESSAGE,
    "msg": Kind.MESSAGE,
    "statusUpdate": Kind.STATUS,
    "status_update": Kind.STATUS,
    "artifactUpdate": Kind.ARTIFACT,
    "artifact_update": Kind.ARTIFACT,
}
"""The members under which 1.0 and 0.3's HTTP+JSON put what they answer, in protobuf's spelling too."""
_KINDS = {
    "task": Kind.TASK,
    "message": Kind.MESSAGE,
    "status-update": Kind.STATUS,
    "artifact-update": Kind.ARTIFACT,
}

Fields = Mapping[str, bytes]


def read_facts(body: bytes) -> Facts:
    """What a result, or an event of a stream, is and says, in whatever version; checked JSON bytes."""
    found = _read_usual(body)
    return found if found is not None else _read_any(body)


def unwrap(body: bytes) -> tuple[Kind, Fields, bytes]:
    """What a result or event is, its members, and its bytes without the member that it may stand under."""
    fields = fields_of(body)
    kind = _bare_kind(fields)
    if kind is not Kind.OTHER:
        return kind, fields, body
    for name, kind in WRAPPERS.items():
        inner = fields.get(name)
        if inner is not None and splice.is_object(inner):
            return kind, fields_of(inner), inner
    return Kind.OTHER, fields, body


def fields_of(data: bytes) -> dict[str, bytes]:
    """The members of an object; none for what is no object, or too large. The last one counts, as in most readers."""
    try:
        return {name: data[start:end] for name, start, end in splice.members(data)}
    except Malformed:
        return {}


def text_of(fields: Fields, *names: str) -> str | None:
    """The first of these members that is a string with something in it; none that has lone surrogates, as no id has."""
    for name in names:
        try:
            found = jsonbytes.text(fields.get(name))
        except (Malformed, UnicodeDecodeError):
            found = None
        if found and jsonbytes.has_utf8(found):
            return found
    return None


def _bare_kind(fields: Fields) -> Kind:
    kind = text_of(fields, "kind")
    if kind in _KINDS:
        return _KINDS[kind]
    if text_of(fields, "id") and "status" in fields:
        return Kind.TASK
    if text_of(fields, "messageId", "message_id"):
        return Kind.MESSAGE
    if text_of(fields, "taskId", "task_id"):
        return Kind.STATUS if "status" in fields else Kind.ARTIFACT if "artifact" in fields else Kind.OTHER
    return Kind.OTHER


def _read_any(body: bytes) -> Facts:
    kind, fields, _ = unwrap(body)
    if kind is Kind.OTHER:
        return NO_FACTS
    task_id = text_of(fields, "id") if kind is Kind.TASK else text_of(fields, "taskId", "task_id")
    status = fields_of(fields.get("status", b""))
    return Facts(kind, task_id, text_of(fields, "contextId", "context_id"), text_of(status, "state"))


def returns_at_once(params: bytes) -> bool:
    """Whether a send says that it is to be answered at once: 1.0's `returnImmediately`, or 0.3's `blocking: false`.

    What it leaves unset is False: also in 0.3's HTTP+JSON, whose readers take an unset `blocking` for false, since its
    clients leave it unset without meaning anything by it.
    """
    configuration = fields_of(fields_of(params).get("configuration", b""))
    return configuration.get("returnImmediately") == b"true" or configuration.get("blocking") == b"false"


if not TYPE_CHECKING and jsonbytes.msgspec is None:  # runtimes without compiled wheels

    def _read_usual(_body):
        return None

else:

    class _Status(Struct, gc=False):
        state: str | None = None

    class _Bare(Struct, gc=False, rename="camel"):
        kind: str = ""
        id: str | None = None
        task_id: str | None = None
        context_id: str | None = None
        message_id: str | None = None
        status: _Status | None = None

    class _Result(_Bare, gc=False, rename="camel"):
        task: _Bare | None = None
        message: _Bare | None = None
        status_update: _Bare | None = None
        artifact_update: _Bare | None = None

    _read_result = msgspec.json.Decoder(_Result).decode

    def _read_usual(body: bytes) -> Facts | None:
        """The facts of the usual bodies in one pass; None for whatever else."""
        try:
            found = _read_result(body)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return None
        inner: _Bare = found
        if found.kind in _KINDS:
            kind = _KINDS[found.kind]
        elif found.id or found.task_id or found.message_id:
            return None
        elif found.task is not None:
            kind, inner = Kind.TASK, found.task
        elif found.message is not None:
            kind, inner = Kind.MESSAGE, found.message
        elif found.status_update is not None:
            kind, inner = Kind.STATUS, found.status_update
        elif found.artifact_update is not None:
            kind, inner = Kind.ARTIFACT, found.artifact_update
        else:
            return None
        task_id = inner.id if kind is Kind.TASK else inner.task_id
        if (not task_id or not inner.context_id) and (b"_id" in body or b"\\u" in body):
            return None  # in protobuf's spelling perhaps
        state = inner.status.state if inner.status is not None else None
        return Facts(kind, task_id or None, inner.context_id or None, state or None)
