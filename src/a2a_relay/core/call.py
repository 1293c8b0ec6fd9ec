"""One call of a client, as the node takes it from any front."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from a2a_relay.a2a.methods import Operation
from a2a_relay.a2a.spans import Spans
from a2a_relay.core.address import Address
from a2a_relay.core.principal import Principal
from a2a_relay.wire.frames import Rest


@dataclass(slots=True)
class Call:
    """A routed, authenticated, read call; not changed after it was made. `params` are the client's JSON bytes.

    `service_headers` are the `a2a-*` headers (lower-case names) that travel to the
    agent; `client_id` is the JSON-RPC id's bytes for dialects that carry whole requests.
    """

    address: Address
    principal: Principal
    operation: Operation
    method: str
    params: bytes
    streams: bool
    spans: Spans = Spans()
    version: str | None = None
    service_headers: Mapping[str, str] = field(default_factory=dict)
    traceparent: str | None = None
    client_id: bytes = b"null"
    rest: Rest | None = None
    timeout_seconds: float | None = None
    request_id: str = ""

    def meta(self) -> dict[str, object]:
        """What the agent is told beside the body."""
        found: dict[str, object] = {
            "sender": {
                "identity": self.principal.identity,
                "role": str(self.principal.role),
                "tenant": self.principal.tenant,
            }
        }
        if self.version:
            found["version"] = self.version
        extensions = self.service_headers.get("a2a-extensions") or self.service_headers.get("x-a2a-extensions")
        if extensions:
            found["extensions"] = extensions
        if self.service_headers:
            found["headers"] = dict(self.service_headers)
        if self.traceparent:
            found["traceparent"] = self.traceparent
        return found
