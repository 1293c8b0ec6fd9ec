"""Tasks that the relay makes itself: queued calls, and how they ended.

They are written in the shape that the caller speaks: A2A 1.0's, that of 0.3's JSON-RPC, or that of 0.3's HTTP+JSON
(protobuf's JSON).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from enum import Enum, StrEnum
from typing import Any

from a2a_relay.a2a import jsonbytes, splice
from a2a_relay.a2a.methods import speaks_v10


class Shape(Enum):
    """How Tasks and results are written."""

    V10 = "1.0"
    """Both bindings of 1.0."""
    V03 = "0.3"
    """0.3's JSON-RPC: `kind` tells what an object is, and a result stands bare."""
    V03_REST = "0.3 HTTP+JSON"
    """0.3's HTTP+JSON, which is protobuf's JSON."""

    @classmethod
    def of(cls, method: str, *, is_protobuf: bool) -> Shape:
        """The shape of a call's answers: `is_protobuf` for what came over 0.3's HTTP+JSON, else its method tells."""
        if is_protobuf:
            return cls.V03_REST
        return cls.V10 if speaks_v10(method) else cls.V03


class TaskState(StrEnum):
    """The states of A2A's tasks, as 0.3's JSON-RPC spells them."""

    SUBMITTED = "submitted"
    WORKING = "working"
    INPUT_REQUIRED = "input-required"
    AUTH_REQUIRED = "auth-required"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELED = "canceled"
    REJECTED = "rejected"

    def spelled(self, shape: Shape) -> str:
        """As it stands in a Task of this shape."""
        if shape is Shape.V03:
            return self.value
        if self is TaskState.CANCELED and shape is Shape.V03_REST:
            return "TASK_STATE_CANCELLED"  # 0.3's proto has two L
        return f"TASK_STATE_{self.name}"


_BY_SPELLING = {state.spelled(shape): state for state in TaskState for shape in Shape}
_TERMINAL = frozenset({TaskState.COMPLETED, TaskState.FAILED, TaskState.CANCELED, TaskState.REJECTED})
_INTERRUPTED = frozenset({TaskState.INPUT_REQUIRED, TaskState.AUTH_REQUIRED})


def state_of(spelling: str | None) -> TaskState | None:
    """The state of this name in any version's spelling; None for what is no state."""
    return _BY_SPELLING.get(spelling or "")


def is_terminal(spelling: str | None) -> bool:
    """Whether a task in this state, in any version's spelling, never changes again."""
    return state_of(spelling) in _TERMINAL


def is_interrupted(spelling: str | None) -> bool:
    """Whether a task in this state, in any version's spelling, waits for its client."""
    return state_of(spelling) in _INTERRUPTED


def write_task(
    shape: Shape,
    *,
    id: str,
    context_id: str,
    state: TaskState,
    at: float,
    message_text: str | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> bytes:
    """A Task of the relay's own, valid in its version.

    `at` is when it came into this state, wall time in seconds; `message_text` what its status says as the agent.
    """
    message = None if message_text is None else _message(shape, id, context_id, state, message_text)
    return _task(shape, id, context_id, state, at, message, metadata)


def task_of_message(
    shape: Shape,
    message: bytes,
    *,
    id: str,
    context_id: str,
    at: float,
    metadata: Mapping[str, Any] | None = None,
) -> bytes:
    """A completed Task whose status carries an agent's Message, as it is; its ids are the caller's to rewrite."""
    return _task(shape, id, context_id, TaskState.COMPLETED, at, message, metadata)


def send_result(shape: Shape, task: bytes) -> bytes:
    """The result of a send, or the event of a stream, that is this Task."""
    return task if shape is Shape.V03 else b'{"task":' + task + b"}"


def timestamp(at: float) -> str:
    """An instant of wall time as A2A writes it: ISO 8601 in UTC, with milliseconds and `Z`."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _task(
    shape: Shape,
    id: str,
    context_id: str,
    state: TaskState,
    at: float,
    message: bytes | None,
    metadata: Mapping[str, Any] | None,
) -> bytes:
    kind: dict[str, Any] = {"kind": "task"} if shape is Shape.V03 else {}
    status: dict[str, Any] = {"state": state.spelled(shape), "timestamp": timestamp(at)}
    task = jsonbytes.dump(
        {**kind, "id": id, "contextId": context_id, "status": status}
        | ({} if metadata is None else {"metadata": dict(metadata)})
    )
    return task if message is None else splice.put(task, ("status", "message"), message)


def _message(shape: Shape, id: str, context_id: str, state: TaskState, text: str) -> bytes:
    # One task comes into one such state once: its message needs no chance for an id of its own.
    fields: dict[str, Any] = {"messageId": f"{id}-{state.value}", "taskId": id, "contextId": context_id}
    if shape is Shape.V03:
        fields |= {"kind": "message", "role": "agent", "parts": [{"kind": "text", "text": text}]}
    else:
        fields |= {"role": "ROLE_AGENT", "content" if shape is Shape.V03_REST else "parts": [{"text": text}]}
    return jsonbytes.dump(fields)
