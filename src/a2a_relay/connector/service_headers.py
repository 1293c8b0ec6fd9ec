"""HTTP headers of a call: what travels to the upstream agent, and what comes back."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from a2a_relay.a2a.methods import BY_NAME, speaks_v10
from a2a_relay.a2a.versions import V10, VERSION_HEADER
from a2a_relay.connector.refused import ConnectorRefused
from a2a_relay.wire.agent_side import IncomingRequest
from a2a_relay.wire.codec import is_service_header

SENDER_HEADER = "a2a-relay-sender"
"""Who makes the call: the relay's signed statement (a compact JWS) once the connector has checked it.

Where senders are not checked, the bare name that the relay has said, percent-encoded where it is not plain ASCII.
"""
CHECKED = "checked_sender"
"""Member of a call's `meta`, set by the connector alone: the statement that was checked."""
TASK_ID_HEADER = "a2a-relay-task-id"
CONTEXT_ID_HEADER = "a2a-relay-context-id"
"""Ids that the relay suggests for what becomes of a letter."""

_LETTER_FACTS = {
    "letter": "a2a-relay-letter",
    "attempt": "a2a-relay-attempt",
    "queued_at": "a2a-relay-queued-at",
    "task_id": TASK_ID_HEADER,
    "context_id": CONTEXT_ID_HEADER,
}
"""What the relay says of a letter, by member of `meta`, and the header that it goes into."""

_PRINTABLE = re.compile(r"[\x20-\x7e]{0,4096}")
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}")
_LIKE_A_STATEMENT = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
"""A name of this form would be taken for a statement."""
_TRACEPARENT = re.compile(r"[0-9a-f-]{55,128}")
_SENDER_SAFE = "!\"#$&'()*+,/:;<=>?@[]^`{|}~-._ "


def outgoing(request: IncomingRequest) -> dict[str, str]:
    """The headers of a call that the relay has handed over; names are lower-case."""
    meta = request.meta
    found = dict(_service_headers(meta.get("headers")))
    version = meta.get("version")
    if isinstance(version, str) and _PRINTABLE.fullmatch(version):
        found[VERSION_HEADER] = version
    elif request.rest is None and request.method in BY_NAME and speaks_v10(request.method):
        found[VERSION_HEADER] = V10
    traceparent = meta.get("traceparent")
    if isinstance(traceparent, str) and _TRACEPARENT.fullmatch(traceparent):
        found["traceparent"] = traceparent
    stated = _stated_sender(meta)
    if stated:
        found[SENDER_HEADER] = stated
    found.update(_letter_headers(meta))
    return found


def _stated_sender(meta: Mapping[str, Any]) -> str:
    """The relay's signed statement where it was checked, else the name that it said."""
    checked = meta.get(CHECKED)
    if isinstance(checked, str):
        return checked
    stated = quote(sender(meta), safe=_SENDER_SAFE, errors="replace").strip()
    return "" if _LIKE_A_STATEMENT.fullmatch(stated) else stated


def _letter_headers(meta: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    for name, header in _LETTER_FACTS.items():
        fact = meta.get(name)
        text = str(fact) if type(fact) in (str, int) else ""
        if text.strip() and _PRINTABLE.fullmatch(text):
            yield header, text.strip()


def sender(meta: Mapping[str, Any]) -> str:
    """The identity that the relay has stamped on a call; empty when it said none."""
    stamp = meta.get("sender")
    identity = stamp.get("identity") if isinstance(stamp, dict) else None
    return identity if isinstance(identity, str) else ""


def incoming(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The `a2a-*` headers of an answer, which go back to the client."""
    return {
        name.lower(): text for name, text in headers if is_service_header(name.lower()) and _PRINTABLE.fullmatch(text)
    }


def _service_headers(found: object) -> Iterable[tuple[str, str]]:
    if not isinstance(found, dict):
        return
    for name, text in found.items():
        if isinstance(text, str) and is_service_header(str(name)) and _PRINTABLE.fullmatch(text):
            yield str(name), text.strip()


def read_header_file(path: str) -> dict[str, str]:
    """The headers of a file, one `Name: value` a line (`#` begins a comment). Raises `ConnectorRefused`."""
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConnectorRefused(f"the header file {path} cannot be read: {error}") from error
    found: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, colon, text = line.partition(":")
        if not colon or not _NAME.fullmatch(name.strip()) or not _PRINTABLE.fullmatch(text.strip()):
            raise ConnectorRefused(f"line {number} of the header file {path} is not `Name: value`")
        found[name.strip().lower()] = text.strip()
    return found
