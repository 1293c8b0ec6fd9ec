"""relay-elixir's link, at its own path: bare JSON-RPC requests out, bare responses in, streams as `stream_*` frames.

agent -> auth {token, agent_card}                      relay -> auth_success | {error, reason}
relay -> {jsonrpc, id, method, params, streaming?}     agent -> {id, result | error}
agent -> stream_chunk {request_id, result} ... stream_end {request_id} | stream_error {request_id, error}
"""

from __future__ import annotations

from a2a_relay.a2a import jsonbytes
from a2a_relay.errors import Reason
from a2a_relay.wire import codec
from a2a_relay.wire.dialects.bare import BareDialect, Fields, write_request
from a2a_relay.wire.dialects.base import LATE_AUTH, NO_AUTH, UNREADABLE_AUTH
from a2a_relay.wire.dialects.relay_go import read_auth
from a2a_relay.wire.flow import Window
from a2a_relay.wire.frames import AgentFrame, Ignored, Request, StreamEnd, StreamEvent, Unreadable, Welcome

_CHUNK_BODIES = ("result", "event", "data", "chunk", "content")
"""Where agents put a chunk's body: relay-elixir handed the whole frame on, so that there is no one name for it."""

_WORDS = {
    UNREADABLE_AUTH: "invalid JSON",
    NO_AUTH: "first message must be auth",
    LATE_AUTH: "auth timeout",
}


class RelayElixirDialect(BareDialect):
    """What agents of relay-elixir speak. There is no cancel, goaway or probe, and no ping but WebSocket's."""

    name = "relay-elixir"
    streams = True

    def welcome(self, welcome: Welcome) -> bytes | None:
        return b'{"type":"auth_success"}'

    def refusal(self, message: str) -> bytes | None:
        if message in _WORDS:
            return jsonbytes.dump({"error": _WORDS[message]})
        return jsonbytes.dump({"error": "authentication failed", "reason": message})

    def request(self, id: str, request: Request, timeout_ms: int, window: Window | None = None) -> bytes:
        return write_request(id, request, b',"streaming":true' if request.streams else b"")

    def _read(self, fields: Fields) -> AgentFrame:
        kind = jsonbytes.text(fields.get("type")) or ""
        match kind:
            case "auth":
                return read_auth(fields)
            case "stream_chunk":
                return _read_chunk(fields)
            case "stream_end":
                return StreamEnd(codec.required_text(fields, "request_id"))
            case "stream_error":
                return _read_stream_error(fields)
        if kind and not {"result", "error"} & fields.keys():
            return Ignored(kind[:64])
        return super()._read(fields)


def _read_chunk(fields: dict[str, bytes]) -> AgentFrame:
    id = codec.required_text(fields, "request_id")
    for name in _CHUNK_BODIES:
        body = codec.present(fields, name)
        if body is not None:
            return StreamEvent(id, None, body)
    return Unreadable(Reason.INVALID_AGENT_RESPONSE, (id,))


def _read_stream_error(fields: dict[str, bytes]) -> AgentFrame:
    id, error = codec.required_text(fields, "request_id"), fields.get("error", b"")
    if error[:1] == b"{":
        jsonbytes.members(error)
        return StreamEnd(id, error)
    if jsonbytes.text(error) is None:
        return Unreadable(Reason.INVALID_AGENT_RESPONSE, (id,))
    return StreamEnd(id, b'{"code":-32603,"message":%b}' % error)


RELAY_ELIXIR = RelayElixirDialect()
