"""What the connector needs from the agent beside it, however that agent is reached."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import structlog

from a2a_relay.a2a import jsonbytes, jsonrpc
from a2a_relay.a2a.problems import ERROR_INFO_TYPE, RELAY_DOMAIN
from a2a_relay.connector.refused import place_of
from a2a_relay.errors import Reason, Refused
from a2a_relay.wire.agent_side import IncomingRequest
from a2a_relay.wire.frames import NO_HEADERS

UPSTREAM_UNAVAILABLE = "UPSTREAM_UNAVAILABLE"
"""ErrorInfo reason: the agent is not running, and nothing of the call has reached it (decision 21)."""

_AGENT_OFFLINE_CODE = -32052
_INTERNAL_CODE = -32603
_LOG = structlog.get_logger("a2a_relay.connector")


class CallFailed(Exception):
    """A call has an error for its answer; `error` is the JSON-RPC error object as bytes."""

    def __init__(self, error: bytes) -> None:
        self.error = error
        super().__init__(error[:200].decode("utf-8", "replace"))


class UpstreamDown(CallFailed):
    """The agent could not be reached at all: nothing was delivered."""

    def __init__(self, why: str) -> None:
        self.why = why
        super().__init__(
            error_object(_AGENT_OFFLINE_CODE, "the agent behind the connector is not running", UPSTREAM_UNAVAILABLE)
        )


class Output(Protocol):
    """Where one call's answer goes. Bodies are checked JSON bytes; a call answers once or sends events."""

    max_body: int
    """The largest body that fits into a frame of this link, in bytes."""

    async def answer(
        self, body: bytes, http_status: int | None = None, headers: Mapping[str, str] = NO_HEADERS
    ) -> None:
        """The one answer. `http_status` only for calls of 0.3 REST."""

    async def event(self, body: bytes, headers: Mapping[str, str] = NO_HEADERS) -> None:
        """One event of a stream; waits while the link is slow. `headers` count with the first."""


class Upstream(Protocol):
    """One agent."""

    @property
    def adopts_ids(self) -> bool:
        """Whether it takes the ids that the relay suggests (decision 3), as far as its card is known."""

    @property
    def serves_rest_v03(self) -> bool:
        """Whether calls of 0.3's HTTP+JSON can be made, as far as its card is known."""

    async def start(self) -> None:
        """Called once before anything else."""

    async def aclose(self) -> None:
        """Called once after everything else."""

    async def read_card(self) -> bytes | None:
        """The agent's card, None when it has none. Raises `UpstreamDown` when it is not running."""

    async def call(self, request: IncomingRequest, output: Output) -> None:
        """Make one call; a stream ends when this returns. Raises `CallFailed`. Cancellation stops it at once."""


def error_object(code: int, message: str, reason: str) -> bytes:
    """A JSON-RPC error object of the connector's own, with its ErrorInfo."""
    info: dict[str, Any] = {"@type": ERROR_INFO_TYPE, "reason": reason, "domain": RELAY_DOMAIN, "metadata": {}}
    return jsonbytes.dump({"code": code, "message": message, "data": [info]})


def failed(reason: Reason, message: str | None = None) -> CallFailed:
    """A failure for one of the relay's own reasons."""
    return CallFailed(jsonrpc.refusal(Refused(reason, message)))


def broken(method: str, error: Exception) -> CallFailed:
    """The connector's own fault in a call: the log learns where, the caller that it was so."""
    _LOG.error("call_failed", method=method, error=place_of(error))
    return CallFailed(error_object(_INTERNAL_CODE, "the connector has failed", str(Reason.INTERNAL)))


def too_large(what: str, max_bytes: int) -> CallFailed:
    """The agent's answer does not fit into a frame; the link lives on (decision 23)."""
    message = f"{what} is larger than the {max_bytes} bytes that the link takes"
    return CallFailed(error_object(_INTERNAL_CODE, message, str(Reason.AGENT_FRAME_LIMIT)))


def checked(body: bytes) -> bytes:
    """A body that may enter a frame. Raises `CallFailed` with INVALID_AGENT_RESPONSE."""
    try:
        jsonbytes.check(body)
    except Refused as refused:
        raise failed(Reason.INVALID_AGENT_RESPONSE, f"the agent's answer: {refused.message}") from None
    return body
