"""The Task that a stream has told so far, for whoever asks later."""

from __future__ import annotations

from collections.abc import Iterator

from a2a_relay.a2a import jsonbytes, rest, splice
from a2a_relay.a2a.facts import Fields, Kind, fields_of, text_of, unwrap
from a2a_relay.a2a.jsonbytes import Malformed
from a2a_relay.a2a.splice import Edit
from a2a_relay.a2a.tasks import Shape, TaskState

_CHUNK = 64
"""What a kept piece costs beside its bytes."""


class _Artifact:
    """An artifact as it came, and the insides of the `parts` arrays that were appended to it."""

    __slots__ = ("added", "data")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.added: list[bytes] = []

    @property
    def size(self) -> int:
        return len(self.data) + _CHUNK + sum(len(chunk) + _CHUNK for chunk in self.added)

    def joined(self) -> bytes:
        if not self.added:
            return self.data
        edits = []
        for name, start, end in splice.members(self.data):
            if name == "parts" and splice.is_array(self.data[start:end]):
                present = _inside(self.data[start:end])
                chunks = [present, *self.added] if present else self.added
                edits = [Edit(start, end, b"[" + b",".join(chunks) + b"]")]
        return splice.apply(self.data, edits) if edits else splice.put(self.data, ("parts",), _array(self.added))


class Snapshot:
    """Folds the events of one task into a Task, or into the Message that answered it.

    Events are those of the agent, in order, checked JSON bytes in any version; what cannot be read is passed over.
    A Task event replaces all that was; a status is replaced by the next one; an artifact by the next one of its
    `artifactId`, or with `append` its parts are added to those that are there. History and metadata stay as the last
    Task event had them. A Message is the answer, whatever updates come after it.

    What is kept stays within `max_bytes`: an artifact, or a part of one, that goes beyond is left out, and so is the
    history of a Task that is too large on its own; `is_truncated` tells.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._message: bytes | None = None
        self._task: bytes = b""
        self._status: bytes = b""
        self._artifacts: dict[str, _Artifact] = {}
        self._artifacts_size = 0
        self.is_truncated = False

    def fold(self, event: bytes) -> None:
        """Take the next event of the stream, or the result of a unary call."""
        kind, fields, data = unwrap(event)
        if kind is Kind.MESSAGE:
            self._replace(b"")
            self._message = data
        elif kind is Kind.TASK:
            self._take_task(fields, data)
        elif self._message is not None:
            return
        elif kind is Kind.STATUS:
            self._begin(fields)
            self._take_status(fields.get("status", b""))
        elif kind is Kind.ARTIFACT:
            self._begin(fields)
            append = fields.get("append") == b"true"
            self._take_artifact(fields.get("artifact", b""), append=append)

    def answer(self) -> tuple[Kind, bytes] | None:
        """The Task so far, or the Message, bare, in the shape that the agent speaks; None before the first event."""
        if self._message is not None:
            return Kind.MESSAGE, self._message
        if not self._task:
            return None
        task = self._task
        if self._status:
            task = splice.put(task, ("status",), self._status)
        if self._artifacts:
            task = splice.put(
                task, ("artifacts",), _array([artifact.joined() for artifact in self._artifacts.values()])
            )
        return Kind.TASK, task

    def _replace(self, task: bytes) -> None:
        self._message = None
        self._task = task
        self._status = b""
        self._artifacts = {}
        self._artifacts_size = 0
        self.is_truncated = False

    def _begin(self, fields: Fields) -> None:
        """A Task from the ids of an update, where the stream has begun with one; its state is the update's to tell."""
        if self._task:
            return
        is_v03 = "kind" in fields
        shape = Shape.V03 if is_v03 else Shape.V10
        task: dict[str, object] = {"kind": "task"} if is_v03 else {}
        task["id"] = text_of(fields, "taskId", "task_id") or ""
        context_id = text_of(fields, "contextId", "context_id")
        if context_id:
            task["contextId"] = context_id
        task["status"] = {"state": TaskState.WORKING.spelled(shape)}
        self._replace(jsonbytes.dump(task))

    def _take_task(self, fields: Fields, data: bytes) -> None:
        artifacts = fields.get("artifacts", b"")
        if splice.is_array(artifacts):  # they go into the place where they were
            data = splice.put(data, ("artifacts",), b"[]")
        self._replace(data)
        if len(data) > self._max_bytes:
            self.is_truncated = True
            self._task = rest.join_members({name: fields[name] for name in _ESSENTIAL if name in fields})
            self._take_status(fields.get("status", b""))
        for artifact in _elements(artifacts):
            self._take_artifact(artifact, append=False)

    def _take_status(self, status: bytes) -> None:
        if not splice.is_object(status):
            return
        self._make_room(len(status))
        if len(self._task) + len(status) > self._max_bytes:
            self.is_truncated = True
            status = rest.join_members({name: data for name, data in fields_of(status).items() if name == "state"})
        self._status = status

    def _make_room(self, size: int) -> None:
        """A status goes before artifacts: those that came last give way."""
        while self._artifacts and len(self._task) + size + self._artifacts_size > self._max_bytes:
            _, artifact = self._artifacts.popitem()
            self._artifacts_size -= artifact.size
            self.is_truncated = True

    def _take_artifact(self, data: bytes, *, append: bool) -> None:
        fields = fields_of(data)
        if not fields:
            return
        # One without an id is like no other: it is kept under a name that no id has.
        id = text_of(fields, "artifactId", "artifact_id") or f"\0{len(self._artifacts)}"
        present = self._artifacts.get(id)
        if append and present is not None:
            chunk = _inside(fields.get("parts", b""))
            if chunk and self._has_room(len(chunk) + _CHUNK):
                present.added.append(chunk)
                self._artifacts_size += len(chunk) + _CHUNK
            return
        if present is not None:
            self._artifacts_size -= present.size
        artifact = _Artifact(data)
        if self._has_room(artifact.size):
            self._artifacts[id] = artifact
            self._artifacts_size += artifact.size
        else:
            self._artifacts.pop(id, None)

    def _has_room(self, size: int) -> bool:
        fits = len(self._task) + len(self._status) + self._artifacts_size + size <= self._max_bytes
        self.is_truncated = self.is_truncated or not fits
        return fits


_ESSENTIAL = ("kind", "id", "contextId", "context_id")


def _array(elements: list[bytes]) -> bytes:
    return b"[" + b",".join(elements) + b"]"


def _inside(array: bytes) -> bytes:
    """What stands between the brackets of an array; nothing for what is no array."""
    return array[array.index(b"[") + 1 : array.rindex(b"]")].strip(b" \t\n\r") if splice.is_array(array) else b""


def _elements(array: bytes) -> Iterator[bytes]:
    if splice.is_array(array):
        try:
            yield from (array[start:end] for start, end in splice.elements(array))
        except Malformed:
            return
