"""The native dialect `a2a-relay/1`: relay-go's frames, and streams, cancel, state, goaway and probes.

relay -> a2a.request {id, method, params, timeout_ms, stream, window, meta, rest?}
agent -> a2a.nack {id, reason, retry_after_ms}: not taken, nothing delivered; a2a.accept {id}: works on the letter
agent -> a2a.event {id, seq, result} ... a2a.end {id, error?}      relay -> a2a.credit {id, events, bytes, through}
                                                                   relay -> a2a.cancel {id, reason}
both  -> a2a.chunk {id, last} and bytes, or {id, taken}: a frame above 64 KiB in pieces
agent -> agent.state {state, reason}, card.update {agent_card}     relay -> relay.goaway {reason, reconnect_after_ms}
both  -> relay.probe {id}
relay -> auth.challenge {nonce, relay, epoch, tenant, agent}       agent -> auth.proof {signature}
agent -> token.renew {token}                  relay -> token.renewed {expires_at} | token.refused {reason, message}
relay -> token.expiring {expires_at}
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from a2a_relay.a2a import jsonbytes
from a2a_relay.a2a.tasks import timestamp
from a2a_relay.errors import Reason, Refused
from a2a_relay.wire import chunks, codec, compact
from a2a_relay.wire.dialects.relay_go import RelayGoDialect
from a2a_relay.wire.flow import Window
from a2a_relay.wire.frames import (
    CHUNKS,
    CREDIT,
    LETTERS,
    NATIVE_PROTOCOL,
    RESUME,
    STAMP,
    Accept,
    AgentFrame,
    AgentState,
    AuthProof,
    CardUpdate,
    Nack,
    Probe,
    Request,
    Resumed,
    StreamEnd,
    StreamEvent,
    TokenRenew,
    Unreadable,
    Welcome,
)
from a2a_relay.wire.proof import Challenge, read_signature

MAX_RETRY_AFTER_SECONDS = 3600


class NativeDialect(RelayGoDialect):
    """What the connector speaks."""

    name = "native"
    has_credit = True
    streams = True

    def read(self, frame: bytes) -> AgentFrame:
        if frame.startswith(chunks.HEAD):
            try:
                return chunks.read(frame)
            except jsonbytes.Malformed as error:
                return Unreadable(error.reason, codec.find_ids(chunks.head(frame)))
        return super().read(frame)

    def _read_compact(self, frame: bytes) -> AgentFrame | None:
        return compact.event(frame) if frame.startswith(compact.EVENT_HEAD) else compact.response(frame)

    def _read(self, kind: str, fields: dict[str, bytes]) -> AgentFrame:
        match kind:
            case "a2a.event":
                return _read_event(codec.payload(fields))
            case "a2a.end":
                return _read_end(codec.payload(fields))
            case "a2a.nack":
                return _read_nack(codec.payload(fields))
            case "a2a.accept":
                return Accept(codec.required_text(codec.payload(fields), "id"))
            case "agent.state":
                payload = codec.payload(fields)
                return AgentState(
                    is_ready=codec.required_text(payload, "state") != "paused",
                    reason=(jsonbytes.text(payload.get("reason")) or "")[:200],
                )
            case "card.update":
                return CardUpdate(codec.payload(fields).get("agent_card", b"null"))
            case "relay.probe":
                return Probe(codec.required_text(codec.payload(fields), "id")[:64])
            case "auth.proof":
                return AuthProof(read_signature(codec.required_text(codec.payload(fields), "signature")))
            case "token.renew":
                return TokenRenew(codec.required_text(codec.payload(fields), "token"))
        return super()._read(kind, fields)

    def welcome(self, welcome: Welcome) -> bytes:
        features, more = [CHUNKS, CREDIT, RESUME, LETTERS], dict[str, Any]()
        if welcome.stamp_key:
            features.append(STAMP)
            more["stamp_key"] = welcome.stamp_key.hex()
        return codec.write_flat(
            "auth_ok",
            agent_id=welcome.agent,
            tenant=welcome.tenant,
            protocol=NATIVE_PROTOCOL,
            session=welcome.session,
            heartbeat_seconds=welcome.heartbeat_seconds,
            max_frame=welcome.max_frame,
            max_body=welcome.max_body,
            public_urls=dict(welcome.public_urls),
            features=features,
            resume_seconds=welcome.resume_seconds,
            streams=[_resumed(stream) for stream in welcome.streams],
            calls=list(welcome.calls),
            **more,
        )

    def request(self, id: str, request: Request, timeout_ms: int, window: Window | None = None) -> bytes:
        return _REQUEST % (
            id.encode(),
            _name(request.method),
            request.params,
            timeout_ms,
            _UNARY if window is None and request.rest is None else _options(request, window),
            request.meta.json,
        )

    def stamped_request(self, id: str, request: Request, timeout_ms: int, window: Window | None, stamp: bytes) -> bytes:
        """`request` for an agent that is shown who vouches for the sender: `stamp` is a member of its `meta`."""
        return _STAMPED_REQUEST % (
            id.encode(),
            _name(request.method),
            request.params,
            timeout_ms,
            _UNARY if window is None and request.rest is None else _options(request, window),
            request.meta.json[:-1],
            stamp,
        )

    def credit(self, id: str, window: Window, through: int) -> bytes | None:
        return b'{"type":"a2a.credit","payload":{"id":"%b","events":%d,"bytes":%d,"through":%d}}' % (
            id.encode(),
            window.events,
            window.bytes,
            through,
        )

    def cancel(self, id: str, reason: str) -> bytes | None:
        return codec.write_payload("a2a.cancel", id=id, reason=reason)

    def goaway(self, reason: str, reconnect_after_ms: int | None) -> bytes | None:
        return codec.write_payload("relay.goaway", reason=reason, reconnect_after_ms=reconnect_after_ms)

    def probe(self, id: str) -> bytes | None:
        return codec.write_payload("relay.probe", id=id)


_REQUEST = b'{"type":"a2a.request","payload":{"id":"%b","method":%b,"params":%b,"timeout_ms":%d,%b,"meta":%b}}'
_STAMPED_REQUEST = _REQUEST.replace(b'"meta":%b', b'"meta":%b,"stamp":%b}')


def challenge(asked: Challenge) -> bytes:
    """Ask for a proof of possession."""
    return codec.write_payload("auth.challenge", **asked._asdict())


def expiring(expires_at: float) -> bytes:
    """The link will end at this instant, unless its token is renewed."""
    return codec.write_payload("token.expiring", expires_at=timestamp(expires_at))


def renewed(expires_at: float | None) -> bytes:
    """The new token counts; None: it has no end."""
    return codec.write_payload("token.renewed", expires_at=None if expires_at is None else timestamp(expires_at))


def renewal_refused(refused: Refused) -> bytes:
    """The new token does not count, and the old one goes on."""
    return codec.write_payload("token.refused", reason=str(refused.reason), message=refused.message)


_UNARY = b'"stream":false'
_name = lru_cache(1024)(jsonbytes.dump)


def _resumed(stream: Resumed) -> dict[str, Any]:
    return {"id": stream.id, "gone": True} if stream.through is None else {"id": stream.id, "through": stream.through}


def _options(request: Request, window: Window | None) -> bytes:
    parts = [_UNARY if window is None else b'"stream":true,"window":{"events":%d,"bytes":%d}' % window]
    if request.rest is not None:
        rest: dict[str, Any] = {
            "verb": request.rest.verb,
            "segments": request.rest.segments,
            "query": request.rest.query,
        }
        parts.append(b'"rest":' + jsonbytes.dump(rest))
    return b",".join(parts)


def _read_event(payload: dict[str, bytes]) -> AgentFrame:
    id = codec.required_text(payload, "id")
    seq = codec.integer(payload, "seq")
    if "result" not in payload or (seq is None and codec.present(payload, "seq") is not None):
        return Unreadable(Reason.INVALID_AGENT_RESPONSE, (id,))
    return StreamEvent(id, seq, payload["result"], codec.service_headers(payload))


def _read_nack(payload: dict[str, bytes]) -> AgentFrame:
    after_ms = codec.integer(payload, "retry_after_ms")
    return Nack(
        id=codec.required_text(payload, "id"),
        reason=(jsonbytes.text(payload.get("reason")) or "")[:200],
        retry_after_seconds=None if after_ms is None else min(-(-after_ms // 1000), MAX_RETRY_AFTER_SECONDS),
    )


def _read_end(payload: dict[str, bytes]) -> AgentFrame:
    id = codec.required_text(payload, "id")
    error = codec.present(payload, "error")
    if error is not None and error[:1] != b"{":
        return Unreadable(Reason.INVALID_AGENT_RESPONSE, (id,))
    return StreamEnd(id, error)


NATIVE = NativeDialect()
