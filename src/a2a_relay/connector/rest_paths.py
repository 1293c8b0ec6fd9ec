"""One operation to one HTTP+JSON request: every id is one encoded path segment, whatever it holds.

The way back of `a2a.rest`. Source: A2A 1.0.1 section 11.3; security rule S11.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import quote, urlencode

from a2a_relay.a2a import jsonbytes
from a2a_relay.a2a.methods import Operation
from a2a_relay.errors import Reason, Refused
from a2a_relay.wire.frames import Rest

_V03_PREFIX = "v1"
_V03_VERBS = frozenset({"GET", "POST", "DELETE"})
_QUERY_SAFE = "%&=+:,;@/?!$'()*~-._"


class RestCall(NamedTuple):
    """`path` begins with a slash and stands below the interface's own; `body` is None where the verb takes none."""

    verb: str
    path: str
    query: str
    body: bytes | None


class _Template(NamedTuple):
    verb: str
    path: str
    """`{name}` is filled with the encoded field of that name."""


_TEMPLATES = {
    Operation.SEND: _Template("POST", "message:send"),
    Operation.STREAM: _Template("POST", "message:stream"),
    Operation.GET: _Template("GET", "tasks/{id}"),
    Operation.LIST: _Template("GET", "tasks"),
    Operation.CANCEL: _Template("POST", "tasks/{id}:cancel"),
    Operation.SUBSCRIBE: _Template("POST", "tasks/{id}:subscribe"),
    Operation.PUSH_SET: _Template("POST", "tasks/{taskId}/pushNotificationConfigs"),
    Operation.PUSH_GET: _Template("GET", "tasks/{taskId}/pushNotificationConfigs/{id}"),
    Operation.PUSH_LIST: _Template("GET", "tasks/{taskId}/pushNotificationConfigs"),
    Operation.PUSH_DELETE: _Template("DELETE", "tasks/{taskId}/pushNotificationConfigs/{id}"),
    Operation.EXTENDED_CARD: _Template("GET", "extendedAgentCard"),
}


def render(operation: Operation, params: bytes) -> RestCall:
    """A 1.0 call as HTTP+JSON. Raises `Refused` for an id that cannot be one path segment."""
    template = _TEMPLATES.get(operation)
    if template is None:
        raise Refused(Reason.METHOD_NOT_FOUND)
    fields = jsonbytes.members(params)
    path = "/" + template.path
    used = {"tenant"}
    for name in ("id", "taskId"):
        if f"{{{name}}}" in path:
            path = path.replace(f"{{{name}}}", encode_segment(_text(fields, name)))
            used.add(name)
    if fields.get("tenant", b"null") not in (b"null", b'""'):
        path = f"/{encode_segment(_text(fields, 'tenant'))}{path}"
    if template.verb == "POST":
        return RestCall("POST", path, "", params)
    return RestCall(template.verb, path, urlencode(list(_query(fields, used)), errors="replace"), None)


def render_v03(rest: Rest, params: bytes) -> RestCall:
    """A call of 0.3's HTTP+JSON, which crosses the link in parts. Raises `Refused`."""
    if rest.verb not in _V03_VERBS:
        raise Refused(Reason.METHOD_NOT_ALLOWED)
    segments = rest.segments if rest.segments[:1] == (_V03_PREFIX,) else (_V03_PREFIX, *rest.segments)
    path = "".join("/" + encode_segment(segment, keep=":") for segment in segments)
    return RestCall(rest.verb, path, quote(rest.query, safe=_QUERY_SAFE), params if rest.verb == "POST" else None)


def encode_segment(text: str, keep: str = "") -> str:
    """One path segment that stays one, for servers that decode before they split too. Raises `Refused`."""
    if text in ("", ".", "..") or "/" in text or "\\" in text or not text.isprintable():
        raise Refused(Reason.INVALID_PARAMS, "an id that is empty, dots, or holds slashes or control characters")
    return quote(text, safe=keep)


def _text(fields: dict[str, bytes], name: str) -> str:
    found = jsonbytes.text(fields.get(name))
    if found is None:
        raise Refused(Reason.INVALID_PARAMS, f"the field {name!r} must be a string")
    return found


def _query(fields: dict[str, bytes], used: set[str]) -> Iterator[tuple[str, str]]:
    """Fields as query parameters (A2A 1.0.1 section 11.5): numbers, booleans and enums as they are written."""
    for name, raw in fields.items():
        if name in used or raw == b"null":
            continue
        values = jsonbytes.elements(raw) if raw[:1] == b"[" else [raw]
        for value in values:
            text = jsonbytes.text(value)
            yield name, text if text is not None else value.decode()
