"""The WebSocket binding proposed for A2A, subprotocol `a2a.v1`: JSON-RPC 2.0 both ways, told apart by `id`.

relay -> {jsonrpc, id, method, params, serviceParams?}      agent -> {id, result | error}
                                                  a stream: {id, result} ... {id, streamEnd: true} | {id, error}
relay -> {jsonrpc, id, cancelStream: true}                  agent -> {id, streamEnd: true}

Here the agent has dialled, and the relay is the binding's client. The credential is in the upgrade's
`Authorization`, so that there are no frames of a handshake. An older draft has `event` for a stream's `result`.

Source: a2aproject/A2A#1864.
"""

from __future__ import annotations

from a2a_relay.a2a import jsonbytes
from a2a_relay.a2a.versions import VERSION_HEADER
from a2a_relay.errors import Reason
from a2a_relay.wire import codec
from a2a_relay.wire.dialects.bare import BareDialect, Fields, write_request
from a2a_relay.wire.flow import Window
from a2a_relay.wire.frames import AgentFrame, Ignored, Meta, Request, StreamEnd, StreamEvent, Unreadable, Welcome

_BODIES = ("result", "error", "event")


class A2aV1Dialect(BareDialect):
    """Bare JSON-RPC. A result of a streaming call is an event of it; its end is a frame of its own."""

    name = "a2a.v1"
    streams = True
    results_are_events = True
    confirms_cancels = True

    def welcome(self, welcome: Welcome) -> bytes | None:
        return None

    def refusal(self, message: str) -> bytes | None:
        return None

    def request(self, id: str, request: Request, timeout_ms: int, window: Window | None = None) -> bytes:
        return write_request(id, request, _service_params(request.meta))

    def cancel(self, id: str, reason: str) -> bytes | None:
        """Written for unary calls too, to which it means nothing: which call streams is not known here."""
        return b'{"jsonrpc":"2.0","id":"%b","cancelStream":true}' % id.encode()

    def _read(self, fields: Fields) -> AgentFrame:
        method = jsonbytes.text(fields.get("method"))
        if method is not None:  # an agent calls nobody over its own link
            return Ignored(method[:64])
        id = codec.required_text(fields, "id")
        if codec.flag(fields, "streamEnd"):
            if any(name in fields for name in _BODIES):  # a body that nobody would see
                return Unreadable(Reason.INVALID_AGENT_RESPONSE, (id,))
            return StreamEnd(id)
        if "event" in fields and "result" not in fields and codec.present(fields, "error") is None:
            return StreamEvent(id, None, fields["event"])
        return super()._read(fields)


def _service_params(meta: Meta) -> bytes:
    """The member `serviceParams` behind the others; nothing when the client has sent no such headers."""
    params = dict(meta.service_headers)
    if meta.version:
        params[VERSION_HEADER] = meta.version
    return b',"serviceParams":' + jsonbytes.dump(params) if params else b""


A2A_V1 = A2aV1Dialect()
