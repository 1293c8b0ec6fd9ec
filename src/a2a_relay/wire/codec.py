"""Frames to bytes and back, for the envelope `{"type": ..., "payload": {...}}`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from a2a_relay.a2a import jsonbytes
from a2a_relay.errors import Reason
from a2a_relay.wire.frames import NO_HEADERS

_ID = re.compile(rb'"(?:request_)?id"\s*:\s*"([A-Za-z0-9._-]{1,64})"')

_SERVICE_NAME = re.compile(r"(?:x-)?a2a-[a-z0-9-]{1,60}", re.ASCII)
_HEADER_TEXT = re.compile(r"[\x20-\x7e]*")

MAX_DEPTH = jsonbytes.MAX_DEPTH + 4
"""A frame puts levels around a body: itself, its payload, openclaw's request, and one to spare."""

MAX_HEADERS_BYTES = 16 * 1024
"""Of one answer; they are kept as long as its stream, and few clients read more."""

_FEW = 8

Fields = Mapping[str, bytes]


def check(frame: bytes) -> None:
    """Refuse a frame that is not UTF-8 or nests too deeply. Raises `Malformed`."""
    jsonbytes.check_text(frame, MAX_DEPTH)


def read(frame: bytes) -> tuple[str, dict[str, bytes]]:
    """The type of a frame that was checked, and its other top-level members as bytes. Raises `Malformed`."""
    fields = jsonbytes.members(frame)
    kind = jsonbytes.text(fields.pop("type", None))
    if kind is None:
        raise jsonbytes.Malformed(Reason.INVALID_REQUEST, "a frame needs a type")
    return kind, fields


def payload(fields: Fields) -> dict[str, bytes]:
    """The members of a frame's payload. Raises `Malformed`."""
    return jsonbytes.members(fields.get("payload", b"{}"))


def required_text(fields: Fields, name: str) -> str:
    """A member that must be a string. Raises `Malformed`."""
    found = jsonbytes.text(fields.get(name))
    if found is None:
        raise jsonbytes.Malformed(Reason.INVALID_REQUEST, f"a frame needs a string {name!r}")
    return found


def integer(fields: Fields, name: str) -> int | None:
    """A member that is a small non-negative integer, or None."""
    data = fields.get(name, b"")
    return int(data) if data.isdigit() and len(data) <= 15 else None


def present(fields: Fields, name: str) -> bytes | None:
    """A member's bytes, or None when it is absent or null."""
    data = fields.get(name, b"null")
    return None if data == b"null" else data


def service_headers(fields: Fields) -> Mapping[str, str]:
    """The `a2a-*` headers that an agent answers with; the relay's own names, anything else and too many are dropped."""
    data = fields.get("headers")
    if data is None:
        return NO_HEADERS
    found = jsonbytes.value(data)
    if not isinstance(found, dict):
        return NO_HEADERS
    kept, size = {}, 0
    for name, text in found.items():
        if isinstance(text, str) and is_service_header(name) and len(text) <= 4096 and _HEADER_TEXT.fullmatch(text):
            size += len(name) + len(text)
            if size <= MAX_HEADERS_BYTES:
                kept[name] = text
    return kept


def is_service_header(name: str) -> bool:
    """Whether a lower-case header name is one of A2A's that passes through the relay (A2A 1.0.1 section 3.2.6)."""
    return _SERVICE_NAME.fullmatch(name) is not None and not name.startswith(("a2a-relay-", "x-a2a-relay-"))


def flag(fields: Fields, name: str) -> bool:
    """Whether a member is `true`."""
    return fields.get(name) == b"true"


def texts(fields: Fields, name: str) -> tuple[str, ...]:
    """The strings of a member that is a list of them."""
    data = present(fields, name)
    found = jsonbytes.value(data) if data is not None else None
    return tuple(item for item in found if isinstance(item, str)) if isinstance(found, list) else ()


def find_ids(frame: bytes) -> tuple[str, ...]:
    """What in a broken frame looks like the id of a call: the first few and the last few, its body may hold others."""
    found = [match.decode() for match in _ID.findall(frame)]
    return tuple(found[:_FEW] + found[_FEW:][-_FEW:])


def write(kind: str, body: bytes) -> bytes:
    """A frame around payload bytes."""
    return b'{"type":"%b","payload":%b}' % (kind.encode(), body)


def write_flat(kind: str, **fields: Any) -> bytes:
    """A frame whose members stand beside its type."""
    return jsonbytes.dump({"type": kind, **fields})


def write_payload(kind: str, **fields: Any) -> bytes:
    """A frame whose payload the relay made itself."""
    return write(kind, jsonbytes.dump(fields))
