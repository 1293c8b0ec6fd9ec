"""One call of a client, as the node takes it from any front."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType
from typing import NamedTuple

from a2a_relay.a2a import jsonbytes
from a2a_relay.a2a.methods import Operation
from a2a_relay.a2a.spans import Spans
from a2a_relay.core.address import Address
from a2a_relay.core.position import Position
from a2a_relay.core.principal import Principal
from a2a_relay.wire.frames import Rest

NOTHING: Mapping[str, str] = MappingProxyType({})


def sender_facts(principal: Principal) -> dict[str, object]:
    """What an agent is told of who calls. `via` are the relays that a call has come through."""
    found: dict[str, object] = {
        "identity": principal.identity,
        "role": str(principal.role),
        "tenant": principal.tenant,
        "via": [],
    }
    if principal.key:
        found["key"] = principal.key
    if principal.issuer:
        found["issuer"] = principal.issuer
    return found


class Meta:
    """What an agent is told beside the body; the same for every call that comes with the same headers.

    `version` is the A2A version that the client asked for, `service_headers` are its
    `a2a-*` headers (lower-case names), `traceparent` is W3C's.
    """

    __slots__ = ("_json", "principal", "service_headers", "traceparent", "version")

    def __init__(
        self,
        principal: Principal,
        version: str | None = None,
        service_headers: Mapping[str, str] = NOTHING,
        traceparent: str | None = None,
    ) -> None:
        self.principal = principal
        self.version = version
        self.service_headers = service_headers
        self.traceparent = traceparent
        self._json: bytes | None = None

    @property
    def letter_claims(self) -> Mapping[str, object] | None:
        """What the relay vouches for of a letter beside its sender; None of a call that is none."""
        return None

    @property
    def json(self) -> bytes:
        """The `meta` object of a frame."""
        if self._json is None:
            self._json = jsonbytes.dump(self._fields())
        return self._json

    def _fields(self) -> dict[str, object]:
        principal, headers = self.principal, self.service_headers
        found: dict[str, object] = {"sender": sender_facts(principal)}
        if self.version:
            found["version"] = self.version
        extensions = headers.get("a2a-extensions") or headers.get("x-a2a-extensions")
        if extensions:
            found["extensions"] = extensions
        if headers:
            found["headers"] = dict(headers)
        if self.traceparent:
            found["traceparent"] = self.traceparent
        return found


class Form(Enum):
    """How a call came, as far as its answers depend on it."""

    RPC = "rpc"
    REST = "rest"
    REST_V03 = "rest_0_3"
    """0.3's HTTP+JSON, which is protobuf's JSON."""
    PLAIN = "plain"
    """relay-go's paths."""


class Options(NamedTuple):
    """What a client asks of the relay itself, by headers. Durations in seconds; None where it asks nothing."""

    timeout_seconds: float | None = None
    """The client's own deadline."""
    position: Position | None = None
    """From where a stream that was begun earlier is to be read on."""
    wait_seconds: float | None = None
    """How long to wait for an agent that is away, before the call is queued."""
    ttl_seconds: int | None = None
    """How long the call is worth delivering when it is queued."""
    idempotency_key: str = ""
    respond_async: bool = False
    """Queue the call, whether its agent is attached or not."""


NO_OPTIONS = Options()


class Call(NamedTuple):
    """A routed, authenticated, read call. `params` are the client's JSON bytes.

    `client_id` is the JSON-RPC id's bytes for dialects that carry whole requests.
    """

    address: Address
    meta: Meta
    operation: Operation
    method: str
    params: bytes
    streams: bool
    spans: Spans = Spans()
    client_id: bytes = b"null"
    rest: Rest | None = None
    options: Options = NO_OPTIONS
    request_id: str = ""
    form: Form = Form.RPC

    @property
    def is_rest(self) -> bool:
        """Whether it came over HTTP+JSON."""
        return self.form is not Form.RPC

    @property
    def principal(self) -> Principal:
        """Who calls."""
        return self.meta.principal
