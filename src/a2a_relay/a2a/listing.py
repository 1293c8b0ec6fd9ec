"""Lists of tasks: what a client asks of one, and what the relay writes or leaves of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from a2a_relay.a2a import jsonbytes, rest, splice
from a2a_relay.a2a.facts import fields_of, text_of
from a2a_relay.a2a.jsonbytes import Malformed
from a2a_relay.a2a.splice import Edit
from a2a_relay.a2a.tasks import TaskState, state_of
from a2a_relay.errors import Reason, Refused

DEFAULT_PAGE_SIZE = 50
MAX_PAGE_SIZE = 100
_MAX_TOKEN = 1000
_UNSPECIFIED = ("TASK_STATE_UNSPECIFIED", "unknown")


class ListQuery(NamedTuple):
    """What a client asks of a list; None and the empty token where it asks nothing.

    `after_at` is wall time in seconds: only tasks whose status is of then or later. How much history a task is to show
    is not read: the relay's own tasks have none.
    """

    context_id: str | None = None
    status: TaskState | None = None
    page_size: int = DEFAULT_PAGE_SIZE
    page_token: str = ""
    after_at: float | None = None
    include_artifacts: bool = False


def read_list(params: bytes) -> ListQuery:
    """The params of ListTasks; checked JSON bytes. Raises `Refused` (INVALID_PARAMS)."""
    fields = {} if params == b"null" else jsonbytes.members(params)
    fields = {name: data for name, data in fields.items() if data != b"null"}
    token = _text(fields, "pageToken")
    if len(token) > _MAX_TOKEN:
        raise _invalid("pageToken", "is too long")
    artifacts = fields.get("includeArtifacts", b"false")
    if artifacts not in (b"true", b"false"):
        raise _invalid("includeArtifacts", "must be true or false")
    return ListQuery(
        _text(fields, "contextId") or None,
        _status(_text(fields, "status")),
        _page_size(fields.get("pageSize", b"%d" % DEFAULT_PAGE_SIZE)),
        token,
        _instant(_text(fields, "statusTimestampAfter")),
        artifacts == b"true",
    )


def write_list(tasks: Sequence[bytes], next_page_token: str, page_size: int, total_size: int) -> bytes:
    """The result of ListTasks, which has the same shape wherever it is served; an empty token: the list ends here."""
    return rest.join_members(
        {
            "tasks": b"[" + b",".join(tasks) + b"]",
            "nextPageToken": jsonbytes.dump(next_page_token),
            "pageSize": b"%d" % page_size,
            "totalSize": b"%d" % total_size,
        }
    )


def filter_list(body: bytes, keep: Callable[[str, str], bool]) -> bytes:
    """The result of ListTasks without the tasks that `keep`, asked with a task's id and contextId, does not want.

    An absent contextId is the empty text. What has no id is removed, for nobody can say whose it is. Where a task was
    removed, `totalSize` becomes the number of those that are left on this page: how many others have is not told. The
    rest stays byte for byte, and a body from which nothing is removed is returned as the same object. Raises
    `Malformed` for a list that is too long to walk: it must not be handed on unread.
    """
    if not splice.is_object(body):
        return body
    edits: list[Edit] = []
    kept = removed = 0
    members = splice.members(body)
    for name, start, end in members:
        if name == "tasks" and splice.is_array(body[start:end]):
            tasks = body[start:end]
            spans = splice.elements(tasks)
            gone = [index for index, (at, to) in enumerate(spans) if not _is_wanted(tasks[at:to], keep)]
            kept += len(spans) - len(gone)
            removed += len(gone)
            edits.append(Edit(start, end, splice.without(tasks, spans, gone)))
    if not removed:
        return body
    edits += [Edit(start, end, b"%d" % kept) for name, start, end in members if name == "totalSize"]
    return splice.apply(body, sorted(edits))


def _is_wanted(task: bytes, keep: Callable[[str, str], bool]) -> bool:
    fields = fields_of(task) if splice.is_object(task) else {}
    id = text_of(fields, "id")
    return id is not None and keep(id, text_of(fields, "contextId", "context_id") or "")


def _text(fields: Mapping[str, bytes], name: str) -> str:
    data = fields.get(name, b'""')
    try:
        found = jsonbytes.text(data)
    except Malformed as error:
        raise _invalid(name, "must be a string") from error
    if found is None:
        raise _invalid(name, "must be a string")
    return found


def _status(spelling: str) -> TaskState | None:
    if not spelling or spelling in _UNSPECIFIED:
        return None
    state = state_of(spelling)
    if state is None:
        raise _invalid("status", "is not a task state")
    return state


def _page_size(data: bytes) -> int:
    if not data.isdigit() or len(data) > 3 or not 1 <= int(data) <= MAX_PAGE_SIZE:
        raise _invalid("pageSize", f"must be a number from 1 to {MAX_PAGE_SIZE}")
    return int(data)


def _instant(text: str) -> float | None:
    if not text:
        return None
    try:
        instant: Any = datetime.fromisoformat(text)
        return float((instant if instant.tzinfo is not None else instant.replace(tzinfo=UTC)).timestamp())
    except (ValueError, OverflowError) as error:
        raise _invalid("statusTimestampAfter", "must be an ISO 8601 timestamp") from error


def _invalid(name: str, complaint: str) -> Refused:
    return Refused(Reason.INVALID_PARAMS, f"the field {name!r} {complaint}")
