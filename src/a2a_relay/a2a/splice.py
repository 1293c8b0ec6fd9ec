"""Edits of JSON documents that leave every byte outside the edited values as it was.

A document is never built and written again: blanks, the order of members, escapes, numbers of any size and lone
surrogates stay. Each byte is looked at once per level of the document that the edit names, and one that names objects
with more than `MAX_MEMBERS` members, or arrays with more than `MAX_ELEMENTS`, is refused.

Documents must have passed `jsonbytes.check`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from a2a_relay.a2a import jsonbytes
from a2a_relay.a2a.jsonbytes import MAX_MEMBERS, Malformed
from a2a_relay.errors import Reason

MAX_ELEMENTS = 2000
"""Elements of an array that the relay itself walks."""

_BLANKS = re.compile(rb"[ \t\n\r]*+")
_KEY = re.compile(rb'[ \t\n\r]*+("(?:[^"\\]++|\\.)*+")[ \t\n\r]*+:[ \t\n\r]*+', re.DOTALL)
_BRACE, _BRACKET = b"{["

if jsonbytes.msgspec is not None:
    _object = jsonbytes.msgspec.json.Decoder(dict[str, jsonbytes.msgspec.Raw]).decode
    _array = jsonbytes.msgspec.json.Decoder(list[jsonbytes.msgspec.Raw]).decode


class Member(NamedTuple):
    """One member of an object: its name, and where its value stands."""

    name: str
    start: int
    end: int


class Span(NamedTuple):
    """Where a value stands."""

    start: int
    end: int


class Edit(NamedTuple):
    """What stands between two positions is to be `data`."""

    start: int
    end: int
    data: bytes


Change = Callable[[bytes], bytes | None]
"""Given a value's bytes, what is to stand there; None: it stays."""


class Each:
    """A plan for every element of an array."""

    __slots__ = ("plan",)

    def __init__(self, plan: Plan) -> None:
        self.plan = plan


Plan = Change | Each | Mapping[str, "Plan"]
"""Which values of a document are to be changed: by member names, down to the changes. What is of another type, or
absent, is left alone."""


def change(document: bytes, plan: Plan) -> bytes:
    """The document with the plan carried out; the same object when nothing changed.

    A member that stands twice is changed twice. Raises `Malformed` (INVALID_PARAMS) for what is too long to walk.
    """
    edits: list[Edit] = []
    _plan(document, 0, plan, edits)
    return apply(document, edits)


def apply(document: bytes, edits: Sequence[Edit]) -> bytes:
    """The document with these edits, which are in order and do not overlap."""
    if not edits:
        return document
    pieces: list[bytes] = []
    at = 0
    for edit in edits:
        pieces += (document[at : edit.start], edit.data)
        at = edit.end
    pieces.append(document[at:])
    return b"".join(pieces)


def put(document: bytes, path: Sequence[str], value: bytes) -> bytes:
    """The document with `value` as the member at `path`: in the place of what is there, or as the object's last member.

    The same object when there is no object for it to go into. Raises as `change`.
    """
    *outer, name = path
    found: Plan = lambda data: with_member(data, name, value)  # noqa: E731 - the innermost of the plans below
    for step in reversed(outer):
        found = {step: found}
    return change(document, found)


def with_member(document: bytes, name: str, value: bytes) -> bytes | None:
    """An object with this member replaced, or added as its last; None when the document is no object."""
    if not is_object(document):
        return None
    present = members(document)
    edits = [Edit(member.start, member.end, value) for member in present if member.name == name]
    if not edits:
        end = document.rindex(b"}") if not present else present[-1].end
        comma = b"," if present else b""
        edits = [Edit(end, end, comma + jsonbytes.dump(name) + b":" + value)]
    return apply(document, edits)


def without(document: bytes, spans: Sequence[Span], removed: Sequence[int]) -> bytes:
    """An array or object without some of its elements, each with the comma that parts it from a neighbour.

    `spans` are all its elements in their order, `removed` the indexes of those to go, in their order.
    """
    gone = frozenset(removed)
    kept = [index for index in range(len(spans)) if index not in gone]
    if not kept:
        return apply(document, [Edit(spans[0].start, spans[-1].end, b"")]) if spans else document
    edits = []
    if kept[0] > 0:
        edits.append(Edit(spans[0].start, spans[kept[0]].start, b""))
    for before, after in zip(kept, [*kept[1:], len(spans)], strict=True):
        if after > before + 1:
            edits.append(Edit(spans[before].end, spans[after - 1].end, b""))
    return apply(document, edits)


def is_object(document: bytes) -> bool:
    """Whether a JSON document is an object."""
    return _first(document) == _BRACE


def is_array(document: bytes) -> bool:
    """Whether a JSON document is an array."""
    return _first(document) == _BRACKET


def _first(document: bytes) -> int:
    at = _skip(document, 0)
    return document[at] if at < len(document) else 0


def _plan(document: bytes, base: int, plan: Plan, edits: list[Edit]) -> None:
    """Note the edits that a plan makes of a document, which stands at `base`."""
    if isinstance(plan, Each):
        if is_array(document):
            for start, end in elements(document):
                _plan(document[start:end], base + start, plan.plan, edits)
    elif isinstance(plan, Mapping):
        if is_object(document):
            for name, start, end in members(document):
                inner = plan.get(name)
                if inner is not None:
                    _plan(document[start:end], base + start, inner, edits)
    else:
        data = plan(document)
        if data is not None and data != document:
            edits.append(Edit(base, base + len(document), data))


def members(document: bytes) -> list[Member]:
    """The members of an object in their order, also those that stand twice.

    Raises `Malformed`: not an object, or more than `MAX_MEMBERS` of them.
    """
    if jsonbytes.msgspec is not None:
        try:
            raw = _object(document)
        except jsonbytes.msgspec.MsgspecError:
            return _tolerant_members(document)
        _require_few(len(raw), MAX_MEMBERS)
        found = _places(document, raw)
        if found is not None:
            return found
    return _tolerant_members(document)


def _places(document: bytes, raw: Mapping[str, object]) -> list[Member] | None:
    """Where the members stand whose values msgspec has cut out; None where one stands twice.

    The values have no places of their own. But each stands behind its key, so that keys and lengths tell: and a value
    is compared with what stands there, so that nothing is taken for another.
    """
    found: list[Member] = []
    mark = b"}"
    at = _skip(document, 0) + 1
    for name, value in raw.items():
        key = _KEY.match(document, at)
        data = bytes(value)  # type: ignore[call-overload]
        if key is None or _name(key[1]) != name or not document.startswith(data, key.end()):
            return None
        start = key.end()
        found.append(Member(name, start, start + len(data)))
        at = _skip(document, start + len(data))
        mark = document[at : at + 1]
        if mark != b"," and (mark != b"}" or len(found) != len(raw)):
            return None
        at += 1
    return found if mark == b"}" else None


def elements(document: bytes) -> list[Span]:
    """The elements of an array in their order.

    Raises `Malformed`: not an array, or more than `MAX_ELEMENTS` of them.
    """
    if jsonbytes.msgspec is None:
        return _tolerant_elements(document)
    try:
        raw = _array(document)
    except jsonbytes.msgspec.MsgspecError:
        return _tolerant_elements(document)
    _require_few(len(raw), MAX_ELEMENTS)
    found = []
    at = _skip(document, 0) + 1
    for value in raw:
        start = _skip(document, at)
        end = start + len(bytes(value))
        found.append(Span(start, end))
        at = _skip(document, end) + 1  # behind the comma
    return found


def _tolerant_members(document: bytes) -> list[Member]:
    if not is_object(document):
        raise Malformed(Reason.INVALID_REQUEST, "expected a JSON object")
    text = document.decode("latin-1")
    found: list[Member] = []
    at = _skip(document, _skip(document, 0) + 1)
    while document[at : at + 1] != b"}":
        key = _KEY.match(document, at)
        if key is None:
            raise Malformed(Reason.PARSE_ERROR)
        end = jsonbytes.skip(text, key.end())
        found.append(Member(_name(key[1]), key.end(), end))
        _require_few(len(found), MAX_MEMBERS)
        at = _next(document, end)
    return found


def _tolerant_elements(document: bytes) -> list[Span]:
    if not is_array(document):
        raise Malformed(Reason.INVALID_REQUEST, "expected a JSON array")
    text = document.decode("latin-1")
    found: list[Span] = []
    at = _skip(document, _skip(document, 0) + 1)
    while document[at : at + 1] != b"]":
        end = jsonbytes.skip(text, at)
        found.append(Span(at, end))
        _require_few(len(found), MAX_ELEMENTS)
        at = _next(document, end)
    return found


def _next(document: bytes, at: int) -> int:
    """From the end of a value to the next one, or to the closing bracket."""
    at = _skip(document, at)
    mark = document[at : at + 1]
    if mark == b",":
        return _skip(document, at + 1)
    if mark not in (b"}", b"]"):
        raise Malformed(Reason.PARSE_ERROR)
    return at


def _skip(document: bytes, at: int) -> int:
    blanks = _BLANKS.match(document, at)
    return blanks.end() if blanks else at


def _name(key: bytes) -> str:
    try:
        return key[1:-1].decode() if b"\\" not in key else str(json.loads(key))
    except ValueError as error:
        raise Malformed(Reason.PARSE_ERROR) from error


def _require_few(count: int, limit: int) -> None:
    if count > limit:
        raise Malformed(Reason.INVALID_PARAMS, f"more than {limit} members or elements")
