"""relay-go's frames, which every agent of today speaks.

agent -> auth {token, agent_id, tenant, agent_card}     relay -> auth_ok {agent_id, tenant} | error {message}
relay -> a2a.request {id, method, params, timeout_ms}   agent -> a2a.response {id, result | error}
both  -> ping / pong
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from a2a_relay.a2a import jsonbytes
from a2a_relay.a2a.methods import relay_go_name
from a2a_relay.errors import Reason
from a2a_relay.wire import codec, compact
from a2a_relay.wire.dialects.base import LeanDialect
from a2a_relay.wire.flow import Window
from a2a_relay.wire.frames import (
    AgentFrame,
    Auth,
    Claim,
    Ignored,
    Ping,
    Pong,
    Request,
    Response,
    Resume,
    Unreadable,
    Welcome,
)

REQUEST = b'{"type":"a2a.request","payload":{"id":"%b","method":%b,"params":%b,"timeout_ms":%d}}'
"""The frame of a call, around its id, its method's name, its params and its time in milliseconds."""

_MAX_INSTANCE = 64


class RelayGoDialect(LeanDialect):
    """The base of all dialects that share relay-go's envelope."""

    name = "relay-go"

    def read(self, frame: bytes) -> AgentFrame:
        try:
            jsonbytes.check_text(frame, codec.MAX_DEPTH)
            return self._read_compact(frame) or self._read(*codec.read(frame))
        except jsonbytes.Malformed as error:
            return Unreadable(error.reason, codec.find_ids(frame))

    def _read_compact(self, frame: bytes) -> AgentFrame | None:
        return compact.response(frame)

    def _read(self, kind: str, fields: dict[str, bytes]) -> AgentFrame:
        if kind == "a2a.response":
            return read_response(codec.payload(fields))
        if kind == "ping":
            return Ping()
        if kind == "pong":
            return Pong()
        if kind == "auth":
            return read_auth(fields)
        return Ignored(kind[:64])

    def welcome(self, welcome: Welcome) -> bytes:
        return codec.write_flat("auth_ok", agent_id=welcome.agent, tenant=welcome.tenant)

    def refusal(self, message: str) -> bytes:
        return codec.write_flat("error", message=message)

    def request(self, id: str, request: Request, timeout_ms: int, window: Window | None = None) -> bytes:
        return REQUEST % (
            id.encode(),
            method_name(request.method),
            request.params,
            timeout_ms,
        )

    def pong(self) -> bytes:
        return b'{"type":"pong"}'


@lru_cache(1024)
def method_name(method: str) -> bytes:
    """The name that relay-go knows a method by, as JSON."""
    return jsonbytes.dump(relay_go_name(method))


def read_auth(fields: dict[str, bytes]) -> Auth:
    """The auth frame of every dialect. `agent_id` and `tenant` are not read: they count only from the token."""
    dialect = jsonbytes.text(fields.get("protocol")) or jsonbytes.text(fields.get("dialect")) or ""
    card = codec.present(fields, "agent_card")
    return Auth(
        token=jsonbytes.text(fields.get("token")) or "",
        agent_card=card if card is not None and card[:1] == b"{" and card != b"{}" else None,
        dialect=dialect,
        adopts_ids=codec.flag(fields, "adopts_ids"),
        rest_v03=codec.flag(fields, "rest_0_3"),
        max_frame=codec.integer(fields, "max_frame"),
        features=frozenset(codec.texts(fields, "features")),
        resume=_read_resume(fields),
        instance=_read_instance(jsonbytes.text(fields.get("instance"))),
    )


def _read_instance(text: str | None) -> str:
    """The name of an instance; none where it is no plain, short one."""
    return text if text is not None and text.isascii() and text.isprintable() and len(text) <= _MAX_INSTANCE else ""


def _read_resume(fields: dict[str, bytes]) -> Resume:
    """`resume`, as far as it can be read: what is not understood is not claimed."""
    data = codec.present(fields, "resume")
    found = jsonbytes.value(data) if data is not None else None
    if not isinstance(found, dict) or not isinstance(found.get("session"), str):
        return Resume()
    listed = found.get("streams")
    claims = [_read_claim(item) for item in listed] if isinstance(listed, list) else []
    calls = found.get("calls")
    return Resume(
        found["session"],
        tuple(claim for claim in claims if claim is not None),
        tuple(id for id in calls if isinstance(id, str)) if isinstance(calls, list) else (),
    )


def _read_claim(item: Any) -> Claim | None:
    if not isinstance(item, dict):
        return None
    id, first, last = item.get("id"), item.get("first"), item.get("last")
    if not isinstance(id, str) or not id.isascii() or type(first) is not int or type(last) is not int:
        return None
    return Claim(id, first, last)


def read_response(payload: dict[str, bytes]) -> AgentFrame:
    """The one answer of a call, from the members that hold it."""
    id = codec.required_text(payload, "id")
    error = codec.present(payload, "error")
    if error is not None:
        if error[:1] != b"{":
            return Unreadable(Reason.INVALID_AGENT_RESPONSE, (id,))
        jsonbytes.members(error)
        return Response(id, error=error)
    if "result" not in payload:
        return Unreadable(Reason.INVALID_AGENT_RESPONSE, (id,))
    return Response(
        id,
        result=payload["result"],
        http_status=codec.integer(payload, "status"),
        headers=codec.service_headers(payload),
    )


RELAY_GO = RelayGoDialect()
