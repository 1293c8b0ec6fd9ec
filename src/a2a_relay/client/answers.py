"""What an agent's answer says to a person: its text and its state, in A2A 1.0 and 0.3.

1.0 tells members apart by name (`task`, `message`, `statusUpdate`, `artifactUpdate`),
0.3 by `kind`. An agent may send anything, so that every field is looked at before use.
"""

from __future__ import annotations

from typing import Any, NamedTuple

_MEMBERS = ("task", "message", "statusUpdate", "artifactUpdate")
_KINDS = {"task": "task", "message": "message", "status-update": "statusUpdate", "artifact-update": "artifactUpdate"}

FAILED_STATES = frozenset({"failed", "rejected", "canceled"})


class Answer(NamedTuple):
    """One answer or stream event. `state` is 0.3's short word (`completed`, `input-required`), empty for a message.

    `continues` is true for a piece of an artifact that is appended to what came before.
    """

    kind: str
    text: str
    state: str = ""
    task_id: str = ""
    continues: bool = False


def read_answer(result: Any) -> Answer:
    """An answer to a call or one event of a stream; kind `other` for what cannot be told."""
    kind, body = _kind(result)
    if kind == "task":
        return Answer(kind, _task_text(body), _state(body), _string(body.get("id")))
    if kind == "message":
        return Answer(kind, _parts_text(body))
    if kind == "statusUpdate":
        text = _parts_text(_object(_object(body.get("status")).get("message")))
        return Answer(kind, text, _state(body), _string(body.get("taskId")))
    if kind == "artifactUpdate":
        text = _parts_text(_object(body.get("artifact")))
        return Answer(kind, text, task_id=_string(body.get("taskId")), continues=body.get("append") is True)
    return Answer("other", "")


def _kind(result: Any) -> tuple[str, dict[str, Any]]:
    found = _object(result)
    for member in _MEMBERS:
        if isinstance(found.get(member), dict):
            return member, found[member]
    return _KINDS.get(_string(found.get("kind")), "other"), found


def _task_text(task: dict[str, Any]) -> str:
    """The artifacts' text; where there is none, the status message."""
    artifacts = [_parts_text(_object(artifact)) for artifact in _list(task.get("artifacts"))]
    found = "\n".join(text for text in artifacts if text)
    return found or _parts_text(_object(_object(task.get("status")).get("message")))


def _parts_text(holder: dict[str, Any]) -> str:
    return "".join(_part_text(_object(part)) for part in _list(holder.get("parts")))


def _part_text(part: dict[str, Any]) -> str:
    """A text part's text; of any other part one line that says what was there."""
    if isinstance(part.get("text"), str):
        return str(part["text"])
    file = _object(part.get("file")) or part
    name = _string(file.get("filename")) or _string(file.get("name")) or _string(file.get("url"))
    name = name or _string(file.get("uri"))
    what = "data" if "data" in part else "file"
    return f"[{what}{': ' + name if name else ''}]\n"


def _state(holder: dict[str, Any]) -> str:
    state = _string(_object(holder.get("status")).get("state"))
    return state.removeprefix("TASK_STATE_").lower().replace("_", "-").replace("cancelled", "canceled")


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _string(value: Any) -> str:
    return value if isinstance(value, str) else ""
