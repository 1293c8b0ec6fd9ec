"""openclaw-a2a: relay-go's frames, but `params` is a whole JSON-RPC request, and a refusal is `auth_error`.

The plugin answers from the inner request, which the relay builds for whatever
binding the client used; it knows the slashed method names and logs unknown frames.
"""

from __future__ import annotations

from a2a_relay.a2a import jsonrpc
from a2a_relay.a2a.methods import relay_go_name
from a2a_relay.wire import codec
from a2a_relay.wire.dialects.relay_go import REQUEST, RelayGoDialect, method_name
from a2a_relay.wire.flow import Window
from a2a_relay.wire.frames import Request


class OpenclawDialect(RelayGoDialect):
    """The dialect of the one agent plugin in the wild."""

    name = "openclaw"

    def refusal(self, message: str) -> bytes:
        return codec.write_flat("auth_error", error=message)

    def request(self, id: str, request: Request, timeout_ms: int, window: Window | None = None) -> bytes:
        client_id = request.client_id if request.client_id != b"null" else b'"%b"' % id.encode()
        return REQUEST % (
            id.encode(),
            method_name(request.method),
            jsonrpc.request(client_id, relay_go_name(request.method), request.params),
            timeout_ms,
        )


OPENCLAW = OpenclawDialect()
