"""The native dialect seen from the agent: what the connector reads and writes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from a2a_relay.a2a import jsonbytes
from a2a_relay.errors import Reason
from a2a_relay.wire import chunks, codec, stamps
from a2a_relay.wire.flow import Window
from a2a_relay.wire.frames import (
    CHUNKS,
    CREDIT,
    LETTERS,
    NATIVE_PROTOCOL,
    NO_HEADERS,
    PROOF,
    RENEW,
    RESUME,
    STAMP,
    Chunk,
    ChunkTaken,
    Ignored,
    Ping,
    Pong,
    Probe,
    Rest,
    Resume,
    Resumed,
    Unreadable,
)
from a2a_relay.wire.proof import Challenge, write_signature


class AuthOk(NamedTuple):
    """The relay has taken the link. A relay that answers without `protocol` speaks relay-go's dialect only."""

    agent: str
    tenant: str
    is_native: bool
    session: str
    heartbeat_seconds: int
    max_frame: int
    public_urls: dict[str, str]
    features: frozenset[str] = frozenset()
    resume_seconds: int = 0
    """For how long the relay waits for this agent after the link was cut; 0 where it does not."""
    streams: tuple[Resumed, ...] = ()
    calls: tuple[str, ...] = ()
    stamp_key: bytes = b""
    """The key of the MACs of this session's calls; empty where the relay does not vouch for senders."""


class AuthRefused(NamedTuple):
    """The relay has refused the link; the close code says whether to come back."""

    message: str


class IncomingRequest(NamedTuple):
    """One call for the agent."""

    id: str
    method: str
    params: bytes
    timeout_ms: int
    stream: bool
    meta: dict[str, Any]
    rest: Rest | None
    window: Window | None = None
    """Of a stream: how far it may be ahead of its reader."""


class Credit(NamedTuple):
    """The relay has taken over a stream's events up to `through`."""

    id: str
    through: int


class Cancel(NamedTuple):
    """Nobody will read this call's answer any more: stop sending for its id."""

    id: str
    reason: str


class Goaway(NamedTuple):
    """Reconnect after this many milliseconds; None: do not come back."""

    reason: str
    reconnect_after_ms: int | None


class TokenExpiring(NamedTuple):
    """The link will end at this instant (ISO 8601), unless its token is renewed."""

    expires_at: str


class TokenRenewed(NamedTuple):
    """The new token counts."""


class TokenRefused(NamedTuple):
    """The new token does not count; the link goes on with the old one."""

    message: str


RelayFrame = (
    AuthOk
    | Challenge
    | TokenExpiring
    | TokenRenewed
    | TokenRefused
    | AuthRefused
    | IncomingRequest
    | Credit
    | Cancel
    | Chunk
    | ChunkTaken
    | Goaway
    | Ping
    | Pong
    | Probe
    | Ignored
    | Unreadable
)

_ID = re.compile(r"[!#-\[\]-~]{1,256}")
"""Ids go into frames as they are."""
_DEFAULT_MAX_FRAME = 1 << 20
_DEFAULT_HEARTBEAT_SECONDS = 30


def read(frame: bytes) -> RelayFrame:
    """One frame of the relay. Never raises: what cannot be read is `Unreadable`."""
    if frame.startswith(chunks.HEAD):
        return _read_chunk(frame)
    try:
        codec.check(frame)
        kind, fields = codec.read(frame)
        return _read(kind, fields)
    except jsonbytes.Malformed as error:
        return Unreadable(error.reason, codec.find_ids(frame))


def _read_chunk(message: bytes) -> RelayFrame:
    try:
        chunk = chunks.read(message)
        _require_id(chunk.id)
        return chunk
    except jsonbytes.Malformed as error:
        return Unreadable(error.reason, codec.find_ids(chunks.head(message)))


def _read(kind: str, fields: dict[str, bytes]) -> RelayFrame:
    match kind:
        case "a2a.request":
            return _read_request(codec.payload(fields))
        case "a2a.credit":
            payload = codec.payload(fields)
            return Credit(codec.required_text(payload, "id"), codec.integer(payload, "through") or 0)
        case "a2a.cancel":
            payload = codec.payload(fields)
            return Cancel(codec.required_text(payload, "id"), jsonbytes.text(payload.get("reason")) or "")
        case "ping":
            return Ping()
        case "pong":
            return Pong()
        case "relay.probe":
            return Probe(codec.required_text(codec.payload(fields), "id"))
        case "relay.goaway":
            payload = codec.payload(fields)
            return Goaway(jsonbytes.text(payload.get("reason")) or "", codec.integer(payload, "reconnect_after_ms"))
        case "token.expiring":
            return TokenExpiring(codec.required_text(codec.payload(fields), "expires_at")[:64])
        case "token.renewed":
            return TokenRenewed()
        case "token.refused":
            payload = codec.payload(fields)
            return TokenRefused(jsonbytes.text(payload.get("message")) or codec.required_text(payload, "reason"))
        case "auth.challenge":
            payload = codec.payload(fields)
            return Challenge(*(codec.required_text(payload, name) for name in Challenge._fields))
        case "auth_ok":
            return _read_welcome(fields)
        case "error" | "auth_error":
            message = jsonbytes.text(fields.get("message")) or jsonbytes.text(fields.get("error"))
            return AuthRefused(message or "refused")
    return Ignored(kind[:64])


def _read_welcome(fields: dict[str, bytes]) -> AuthOk:
    urls = jsonbytes.value(fields["public_urls"]) if "public_urls" in fields else {}
    return AuthOk(
        agent=jsonbytes.text(fields.get("agent_id")) or "",
        tenant=jsonbytes.text(fields.get("tenant")) or "",
        is_native=jsonbytes.text(fields.get("protocol")) == NATIVE_PROTOCOL,
        session=jsonbytes.text(fields.get("session")) or "",
        heartbeat_seconds=codec.integer(fields, "heartbeat_seconds") or _DEFAULT_HEARTBEAT_SECONDS,
        max_frame=codec.integer(fields, "max_frame") or _DEFAULT_MAX_FRAME,
        public_urls={str(name): str(url) for name, url in urls.items()} if isinstance(urls, dict) else {},
        features=frozenset(codec.texts(fields, "features")),
        resume_seconds=codec.integer(fields, "resume_seconds") or 0,
        streams=_read_resumed(codec.present(fields, "streams")),
        calls=tuple(id for id in codec.texts(fields, "calls") if _ID.fullmatch(id)),
        stamp_key=_read_stamp_key(jsonbytes.text(fields.get("stamp_key")) or ""),
    )


def _read_stamp_key(text: str) -> bytes:
    """A key that cannot be read is none: then nothing can be checked, and nothing is believed."""
    try:
        key = bytes.fromhex(text)
    except ValueError:
        return b""
    return key if len(key) == stamps.KEY_BYTES else b""


def _read_resumed(data: bytes | None) -> tuple[Resumed, ...]:
    found = jsonbytes.value(data) if data is not None else None
    if not isinstance(found, list):
        return ()
    return tuple(
        Resumed(item["id"], item["through"] if type(item.get("through")) is int else None)
        for item in found
        if isinstance(item, dict) and isinstance(item.get("id"), str) and _ID.fullmatch(item["id"])
    )


def _require_id(id: str) -> str:
    """Refuse an id that could not be written again as it is."""
    if _ID.fullmatch(id) is None:
        raise jsonbytes.Malformed(Reason.INVALID_REQUEST, "a call needs an id of printable ASCII")
    return id


def _read_request(payload: dict[str, bytes]) -> IncomingRequest:
    meta = jsonbytes.value(payload["meta"]) if "meta" in payload else {}
    return IncomingRequest(
        id=_require_id(codec.required_text(payload, "id")),
        method=codec.required_text(payload, "method"),
        params=payload.get("params", b"{}"),
        timeout_ms=codec.integer(payload, "timeout_ms") or 30_000,
        stream=codec.flag(payload, "stream"),
        meta=meta if isinstance(meta, dict) else {},
        rest=_read_rest(payload.get("rest")),
        window=_read_window(payload.get("window")),
    )


def _read_window(data: bytes | None) -> Window | None:
    found = jsonbytes.value(data) if data is not None else None
    if not isinstance(found, dict):
        return None
    events, size = found.get("events"), found.get("bytes")
    return Window(events, size) if type(events) is int and type(size) is int else None


def _read_rest(data: bytes | None) -> Rest | None:
    if data is None:
        return None
    found = jsonbytes.value(data)
    if not isinstance(found, dict):
        return None
    listed = found.get("segments")
    segments = tuple(str(item) for item in listed) if isinstance(listed, list) else ()
    return Rest(str(found.get("verb", "GET")), segments, str(found.get("query", "")))


def auth(
    token: str,
    agent_card: bytes | None,
    *,
    max_frame: int,
    adopts_ids: bool = False,
    rest_v03: bool = False,
    resume: Resume | None = None,
    checks_stamps: bool = False,
    instance: str = "",
    can_renew: bool = False,
    can_prove: bool = False,
) -> bytes:
    """The first frame of a native agent. `instance` names its process, over all of its links."""
    features = [CHUNKS, CREDIT, RESUME, LETTERS]
    features += [STAMP] * checks_stamps + [RENEW] * can_renew + [PROOF] * can_prove
    fields: dict[str, Any] = {
        "token": token,
        "protocol": NATIVE_PROTOCOL,
        "max_frame": max_frame,
        "adopts_ids": adopts_ids,
        "rest_0_3": rest_v03,
        "features": features,
    }
    if instance:
        fields["instance"] = instance
    if resume is not None:
        fields["resume"] = {
            "session": resume.session,
            "streams": [claim._asdict() for claim in resume.streams],
            "calls": list(resume.calls),
        }
    frame = codec.write_flat("auth", **fields)
    return frame if agent_card is None else frame[:-1] + b',"agent_card":' + agent_card + b"}"


def proof(signature: bytes) -> bytes:
    """The answer to a challenge."""
    return codec.write_payload("auth.proof", signature=write_signature(signature))


def renew(token: str) -> bytes:
    """A new token for the link that is there."""
    return codec.write_payload("token.renew", token=token)


def result(id: str, body: bytes, http_status: int | None = None, headers: Mapping[str, str] = NO_HEADERS) -> bytes:
    """The answer of a call."""
    status = b"" if http_status is None else b',"status":%d' % http_status
    return codec.write("a2a.response", b'{"id":"%b","result":%b%b%b}' % (id.encode(), body, status, _tail(headers)))


def error(id: str, body: bytes) -> bytes:
    """The error of a call; `body` is a JSON-RPC error object."""
    return codec.write("a2a.response", b'{"id":"%b","error":%b}' % (id.encode(), body))


def event(id: str, seq: int, body: bytes, headers: Mapping[str, str] = NO_HEADERS) -> bytes:
    """One event of a stream; `seq` counts from 1. `headers` belong to the first."""
    return codec.write("a2a.event", b'{"id":"%b","seq":%d,"result":%b%b}' % (id.encode(), seq, body, _tail(headers)))


def _tail(headers: Mapping[str, str]) -> bytes:
    return b',"headers":' + jsonbytes.dump(dict(headers)) if headers else b""


def end(id: str, body: bytes | None = None) -> bytes:
    """The end of a stream, with its error if it failed."""
    tail = b"" if body is None else b',"error":' + body
    return codec.write("a2a.end", b'{"id":"%b"%b}' % (id.encode(), tail))


def nack(id: str, reason: str, retry_after_ms: int | None = None) -> bytes:
    """This call was not taken, and nothing of it delivered."""
    return codec.write_payload("a2a.nack", id=id, reason=reason, retry_after_ms=retry_after_ms)


def accept(id: str) -> bytes:
    """The agent works on the letter that was delivered under this id."""
    return codec.write_payload("a2a.accept", id=id)


def state(*, is_ready: bool, reason: str) -> bytes:
    """Whether the agent can work."""
    return codec.write_payload("agent.state", state="ready" if is_ready else "paused", reason=reason)


def card_update(agent_card: bytes) -> bytes:
    """A new agent card, without reconnecting."""
    return codec.write("card.update", b'{"agent_card":%b}' % agent_card)


def probe(id: str) -> bytes:
    """The answer to a probe."""
    return codec.write_payload("relay.probe", id=id)


PONG = b'{"type":"pong"}'
