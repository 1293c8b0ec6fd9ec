"""The one seam between the relay and JSON: checks, and members as untouched bytes.

Bodies are handed on as the bytes they came as, so nothing here builds values
out of them. msgspec does the work where it is installed; the standard library
side takes what msgspec refuses although agents accept it (a lone surrogate
escape, as JavaScript writes for a cut emoji), and runtimes without wheels.
"""

from __future__ import annotations

import json
import re
from json.decoder import scanstring  # type: ignore[attr-defined]
from typing import Any

from a2a_relay.errors import Reason, Refused

try:
    import msgspec as _msgspec
except ImportError:  # runtimes without compiled wheels
    msgspec: Any = None
else:
    msgspec = _msgspec
    _OBJECT = _msgspec.json.Decoder(dict[str, _msgspec.Raw])
    _ARRAY = _msgspec.json.Decoder(list[_msgspec.Raw])

MAX_DEPTH = 100
"""Protobuf's JSON parsers stop at 100 levels; Python's own dies near 1,000."""

MAX_MEMBERS = 1000
"""Members of an object that the relay itself reads; what it hands on may have any number."""

_SPACE = re.compile(r"[ \t\n\r]*")
# Possessive, and content with an unterminated string: linear time on whatever comes.
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)', re.DOTALL)
_RUN = re.compile(rb"[\[{]+|[\]}]+")
_ROUNDS = 8
_BRACKETS = b"{}[]"
_NOT_BRACKETS = bytes(byte for byte in range(256) if byte not in _BRACKETS)


class Malformed(Refused):
    """Bytes that are not acceptable JSON."""


def check(data: bytes) -> None:
    """Refuse bytes that may not enter a frame: not UTF-8, not JSON, or too deep."""
    check_text(data)
    if msgspec is not None:
        try:
            msgspec.json.decode(data, type=msgspec.Raw)
            return
        except msgspec.MsgspecError:
            pass  # the tolerant side has the last word
    _scan(data.decode("latin-1"))


def check_text(data: bytes, max_depth: int = MAX_DEPTH) -> None:
    """Refuse what no JSON grammar check sees: invalid UTF-8, and nesting beyond `max_depth`."""
    if not data.isascii():
        try:
            data.decode("utf-8")
        except UnicodeDecodeError as error:
            raise Malformed(Reason.INVALID_UTF8) from error
    if data.count(b"[") + data.count(b"{") > max_depth and _is_deeper(data, max_depth):
        raise Malformed(Reason.TOO_DEEP)


def _is_deeper(data: bytes, levels: int) -> bool:
    """Whether brackets outside strings nest deeper than `levels`.

    A few rounds remove the innermost level each, at C speed, which leaves little
    of what is wide and shallow; the rest is walked in runs, which are few in what
    is deep. So neither a mebibyte of brackets nor a long list costs a long loop.
    """
    brackets = _STRING.sub(b"", data).translate(None, _NOT_BRACKETS)
    for _ in range(_ROUNDS):
        brackets = brackets.replace(b"[]", b".").replace(b"{}", b".").translate(None, b".")
    depth = 0
    for run in _RUN.finditer(brackets):
        size = run.end() - run.start()
        if brackets[run.start()] in b"]}":
            depth -= size
        elif (depth := depth + size) > levels - _ROUNDS:
            return True
    return False


def members(data: bytes) -> dict[str, bytes]:
    """The members of a JSON object, each value as the bytes it stands in.

    `data` must have passed `check`. A key that appears twice is refused
    (AMBIGUOUS_FIELD): two readers would disagree which one counts.
    """
    if msgspec is not None:
        try:
            raw = _OBJECT.decode(data)
        except msgspec.MsgspecError:
            return _tolerant_members(data)
        _require_few(len(raw))
        found = dict(zip(raw, map(bytes, raw.values()), strict=True))
        # Compact JSON is exactly as long as its parts. Whatever is longer has blanks, keys
        # with escapes or beyond ASCII, or a key twice, and the slow side tells which.
        parts = sum(map(len, found)) + sum(map(len, found.values())) + 4 * len(found) + 1
        if found and len(data) == parts:
            return found
    return _tolerant_members(data)


def _tolerant_members(data: bytes) -> dict[str, bytes]:
    """`members` by the standard library.

    Latin-1 maps every byte to one character, so that the decoder's positions
    in the text are positions in the bytes.
    """
    text = data.decode("latin-1")
    at = _blanks(text, 0)
    if text[at : at + 1] != "{":
        _scan(text)
        raise Malformed(Reason.INVALID_REQUEST, "expected a JSON object")
    found: dict[str, bytes] = {}
    at = _blanks(text, at + 1)
    if text[at : at + 1] == "}":
        _expect_end(text, at + 1)
        return found
    while True:
        key, at = _key(text, at)
        start = _blanks(text, at)
        at = skip(text, start)
        if key in found:
            raise Malformed(Reason.AMBIGUOUS_FIELD, f"the field {_shown(key)} appears twice")
        found[key] = data[start:at]
        _require_few(len(found))
        at = _blanks(text, at)
        mark = text[at : at + 1]
        if mark == "}":
            _expect_end(text, at + 1)
            return found
        if mark != ",":
            raise Malformed(Reason.PARSE_ERROR)
        at = _blanks(text, at + 1)


def _require_few(count: int) -> None:
    if count > MAX_MEMBERS:
        raise Malformed(Reason.INVALID_PARAMS, f"an object with more than {MAX_MEMBERS} members")


def _key(text: str, at: int) -> tuple[str, int]:
    if text[at : at + 1] != '"':
        raise Malformed(Reason.PARSE_ERROR)
    try:
        _, end = scanstring(text, at + 1, True)
        key = json.loads(text[at:end].encode("latin-1"))
    except ValueError as error:
        raise Malformed(Reason.PARSE_ERROR) from error
    at = _blanks(text, end)
    if text[at : at + 1] != ":":
        raise Malformed(Reason.PARSE_ERROR)
    return key, at + 1


def elements(data: bytes) -> list[bytes]:
    """The elements of a JSON array, each as the bytes it stands in."""
    if msgspec is not None:
        try:
            return [bytes(item) for item in _ARRAY.decode(data)]
        except msgspec.MsgspecError:
            pass
    text = data.decode("latin-1")
    at = _blanks(text, 0)
    if text[at : at + 1] != "[":
        raise Malformed(Reason.INVALID_REQUEST, "expected a JSON array")
    found: list[bytes] = []
    at = _blanks(text, at + 1)
    while text[at : at + 1] != "]":
        start = at
        at = skip(text, start)
        found.append(data[start:at])
        at = _blanks(text, at)
        if text[at : at + 1] == ",":
            at = _blanks(text, at + 1)
    return found


def value(data: bytes) -> Any:
    """The Python value of a small, already checked document (a card, a frame's envelope).

    Raises `Malformed` also for numbers that Python could not write again.
    """
    try:
        return _VALUES.decode(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise Malformed(Reason.PARSE_ERROR) from error


def text(data: bytes | None) -> str | None:
    """The value of a JSON string, or None when `data` is anything else."""
    if not data or data[:1] != b'"':
        return None
    if b"\\" not in data:
        return data[1:-1].decode("utf-8")
    found = value(data)
    return found if isinstance(found, str) else None


def has_utf8(text: str) -> bool:
    """Whether a text can be written as UTF-8: one with a lone surrogate can be neither stored nor compared there."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def dump(document: Any) -> bytes:
    """Compact JSON bytes of a value the relay made itself.

    A lone surrogate is escaped, because it has no UTF-8 form.
    """
    try:
        return _encode(document)
    except UnicodeEncodeError:
        return json.dumps(document, separators=(",", ":")).encode()


_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def _encode(document: Any) -> bytes:
    if msgspec is None:
        return _ENCODER.encode(document).encode()
    return bytes(msgspec.json.encode(document))


def _blanks(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at


def _expect_end(text: str, at: int) -> None:
    if _blanks(text, at) != len(text):
        raise Malformed(Reason.PARSE_ERROR)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise ValueError(text)
    return number


_VALUES = json.JSONDecoder(parse_float=_finite, parse_constant=_refuse_constant)

# Numbers are never evaluated: they pass as bytes whatever their size, and
# Python refuses to build integers of more than 4,300 digits.
_DECODER = json.JSONDecoder(parse_int=len, parse_float=len, parse_constant=_refuse_constant)


def skip(text: str, at: int) -> int:
    """The position after the JSON value at `at`, in bytes that were decoded as Latin-1."""
    return _scan(text, at, whole=False)


def _scan(text: str, at: int = 0, *, whole: bool = True) -> int:
    """Skip one JSON value from `at`; the position after it."""
    try:
        _, end = _DECODER.raw_decode(text, _blanks(text, at))
    except (ValueError, RecursionError) as error:
        raise Malformed(Reason.PARSE_ERROR) from error
    if whole:
        _expect_end(text, end)
    return end


def _shown(key: str) -> str:
    return json.dumps(key[:60])
