"""Every way the relay can say no, in one place.

    RelayError
    |-- Refused          a call, a frame or a credential was refused; carries a `Reason`
    |   `-- OverLimit    somebody has done too much; says when there is more, and of what
    |-- IllegalMove      a state machine was asked for a step it does not have (a bug)
    |-- SettingsError    the relay cannot start as it was asked to
    |-- StoreError       a store cannot be opened or has failed
    `-- MissingExtra     an optional power needs a package extra that is not installed

`Reason` is closed: the same word is the ErrorInfo reason on the wire, the log
field and the metric label. `RULINGS` says what each means on each binding.
"""

from __future__ import annotations

import math
from enum import StrEnum
from typing import NamedTuple


class RelayError(Exception):
    """Root of everything this package raises on purpose."""


class Reason(StrEnum):
    """Why something was refused or has failed."""

    # who is asking
    UNAUTHENTICATED = "UNAUTHENTICATED"
    PERMISSION_DENIED = "PERMISSION_DENIED"
    TENANT_MISMATCH = "TENANT_MISMATCH"
    ADDRESS_REFUSED = "ADDRESS_REFUSED"
    SESSION_EXISTS = "SESSION_EXISTS"
    # what is asked for
    NOT_FOUND = "NOT_FOUND"
    METHOD_NOT_ALLOWED = "METHOD_NOT_ALLOWED"
    AGENT_NOT_FOUND = "AGENT_NOT_FOUND"
    AGENT_AMBIGUOUS = "AGENT_AMBIGUOUS"
    CARD_NOT_PUBLISHED = "CARD_NOT_PUBLISHED"
    TASK_NOT_FOUND = "TASK_NOT_FOUND"
    # how it is asked
    INVALID_TARGET = "INVALID_TARGET"
    INVALID_HTTP = "INVALID_HTTP"
    HEADERS_TOO_LARGE = "HEADERS_TOO_LARGE"
    TARGET_TOO_LONG = "TARGET_TOO_LONG"
    REQUEST_TIMEOUT = "REQUEST_TIMEOUT"
    CONTENT_TYPE_NOT_SUPPORTED = "CONTENT_TYPE_NOT_SUPPORTED"
    TOO_LARGE = "TOO_LARGE"
    INVALID_UTF8 = "INVALID_UTF8"
    TOO_DEEP = "TOO_DEEP"
    PARSE_ERROR = "PARSE_ERROR"
    INVALID_REQUEST = "INVALID_REQUEST"
    METHOD_NOT_FOUND = "METHOD_NOT_FOUND"
    INVALID_PARAMS = "INVALID_PARAMS"
    AMBIGUOUS_FIELD = "AMBIGUOUS_FIELD"
    PUSH_TARGET_REFUSED = "PUSH_TARGET_REFUSED"
    BINDING_NOT_SERVED = "BINDING_NOT_SERVED"
    # what became of it
    AGENT_OFFLINE = "AGENT_OFFLINE"
    AGENT_BUSY = "AGENT_BUSY"
    AGENT_FRAME_LIMIT = "AGENT_FRAME_LIMIT"
    AGENT_TIMEOUT = "AGENT_TIMEOUT"
    AGENT_DISCONNECTED = "AGENT_DISCONNECTED"
    INVALID_AGENT_RESPONSE = "INVALID_AGENT_RESPONSE"
    MAILBOX_FULL = "MAILBOX_FULL"
    LETTER_NOT_FOUND = "LETTER_NOT_FOUND"
    NAME_TAKEN = "NAME_TAKEN"
    IDEMPOTENCY_CONFLICT = "IDEMPOTENCY_CONFLICT"
    IDEMPOTENCY_IN_FLIGHT = "IDEMPOTENCY_IN_FLIGHT"
    TASK_NOT_CANCELABLE = "TASK_NOT_CANCELABLE"
    UNSUPPORTED_OPERATION = "UNSUPPORTED_OPERATION"
    STORE_FAILED = "STORE_FAILED"
    STREAM_TOO_SLOW = "STREAM_TOO_SLOW"
    STREAM_GONE = "STREAM_GONE"
    STREAM_RESUMED = "STREAM_RESUMED"
    CREDIT_EXCEEDED = "CREDIT_EXCEEDED"
    CLIENT_GONE = "CLIENT_GONE"
    RATE_LIMITED = "RATE_LIMITED"
    RELAY_BUSY = "RELAY_BUSY"
    RELAY_LEAVING = "RELAY_LEAVING"
    INTERNAL = "INTERNAL"


class Ruling(NamedTuple):
    """What a reason means on each binding.

    `rpc_http_status` is the HTTP status under JSON-RPC: the standard JSON-RPC
    errors answer 200 there, as every A2A SDK server does.
    """

    http_status: int
    rpc_code: int
    rpc_http_status: int
    grpc_status: str
    temporary: bool
    message: str


def _ruling(
    http_status: int,
    rpc_code: int,
    grpc_status: str,
    message: str,
    *,
    temporary: bool = False,
    rpc_http_status: int | None = None,
) -> Ruling:
    return Ruling(http_status, rpc_code, rpc_http_status or http_status, grpc_status, temporary, message)


# Relay-made codes come from -32050..-32099, which neither JSON-RPC nor A2A uses
# (A2A 1.0.1 section 5.4 ends at -32009).
RULINGS: dict[Reason, Ruling] = {
    Reason.UNAUTHENTICATED: _ruling(401, -32050, "UNAUTHENTICATED", "a valid bearer token is required"),
    Reason.PERMISSION_DENIED: _ruling(403, -32056, "PERMISSION_DENIED", "this credential may not do that"),
    Reason.TENANT_MISMATCH: _ruling(403, -32056, "PERMISSION_DENIED", "tenant mismatch"),
    Reason.ADDRESS_REFUSED: _ruling(403, -32056, "PERMISSION_DENIED", "not from this address"),
    Reason.SESSION_EXISTS: _ruling(409, -32072, "ALREADY_EXISTS", "the agent is attached already"),
    Reason.NOT_FOUND: _ruling(404, -32057, "NOT_FOUND", "nothing is served here"),
    Reason.METHOD_NOT_ALLOWED: _ruling(405, -32600, "UNIMPLEMENTED", "this path takes another HTTP method"),
    Reason.AGENT_NOT_FOUND: _ruling(404, -32051, "NOT_FOUND", "no such agent"),
    Reason.AGENT_AMBIGUOUS: _ruling(400, -32602, "INVALID_ARGUMENT", "several agents: name one in the path"),
    Reason.CARD_NOT_PUBLISHED: _ruling(404, -32058, "NOT_FOUND", "agent has published no card"),
    Reason.TASK_NOT_FOUND: _ruling(404, -32001, "NOT_FOUND", "task not found", rpc_http_status=200),
    Reason.INVALID_TARGET: _ruling(400, -32600, "INVALID_ARGUMENT", "the request target is not acceptable"),
    Reason.INVALID_HTTP: _ruling(400, -32600, "INVALID_ARGUMENT", "the HTTP request is malformed"),
    Reason.HEADERS_TOO_LARGE: _ruling(431, -32600, "INVALID_ARGUMENT", "the request headers are too large"),
    Reason.TARGET_TOO_LONG: _ruling(414, -32600, "INVALID_ARGUMENT", "the request target is too long"),
    Reason.REQUEST_TIMEOUT: _ruling(408, -32600, "DEADLINE_EXCEEDED", "the request was not received in time"),
    Reason.CONTENT_TYPE_NOT_SUPPORTED: _ruling(415, -32005, "INVALID_ARGUMENT", "the body must be JSON"),
    Reason.TOO_LARGE: _ruling(413, -32600, "RESOURCE_EXHAUSTED", "the body is larger than the limit"),
    Reason.INVALID_UTF8: _ruling(400, -32700, "INVALID_ARGUMENT", "the body is not valid UTF-8"),
    Reason.TOO_DEEP: _ruling(400, -32700, "INVALID_ARGUMENT", "the JSON is nested deeper than 100 levels"),
    Reason.PARSE_ERROR: _ruling(400, -32700, "INVALID_ARGUMENT", "the body is not valid JSON", rpc_http_status=200),
    Reason.INVALID_REQUEST: _ruling(400, -32600, "INVALID_ARGUMENT", "not a JSON-RPC 2.0 request", rpc_http_status=200),
    Reason.METHOD_NOT_FOUND: _ruling(404, -32601, "UNIMPLEMENTED", "unknown method", rpc_http_status=200),
    Reason.INVALID_PARAMS: _ruling(400, -32602, "INVALID_ARGUMENT", "the params are not valid", rpc_http_status=200),
    Reason.AMBIGUOUS_FIELD: _ruling(400, -32602, "INVALID_ARGUMENT", "a field can be read in two ways"),
    Reason.PUSH_TARGET_REFUSED: _ruling(
        400, -32003, "FAILED_PRECONDITION", "this push notification target is not allowed"
    ),
    Reason.BINDING_NOT_SERVED: _ruling(501, -32004, "UNIMPLEMENTED", "the agent does not serve this binding"),
    Reason.AGENT_OFFLINE: _ruling(503, -32052, "UNAVAILABLE", "the agent is not attached", temporary=True),
    Reason.AGENT_BUSY: _ruling(
        429, -32059, "RESOURCE_EXHAUSTED", "the agent has too many calls in flight", temporary=True
    ),
    Reason.AGENT_FRAME_LIMIT: _ruling(
        413, -32600, "RESOURCE_EXHAUSTED", "the body is larger than the agent's frame limit"
    ),
    Reason.AGENT_TIMEOUT: _ruling(504, -32053, "DEADLINE_EXCEEDED", "the agent did not answer in time"),
    Reason.AGENT_DISCONNECTED: _ruling(502, -32054, "UNAVAILABLE", "the agent's link ended before its answer"),
    Reason.INVALID_AGENT_RESPONSE: _ruling(500, -32006, "INTERNAL", "the agent's answer could not be understood"),
    Reason.MAILBOX_FULL: _ruling(429, -32067, "RESOURCE_EXHAUSTED", "the agent's mailbox is full", temporary=True),
    Reason.LETTER_NOT_FOUND: _ruling(404, -32057, "NOT_FOUND", "no such letter"),
    Reason.NAME_TAKEN: _ruling(409, -32071, "ALREADY_EXISTS", "this name is taken"),
    Reason.IDEMPOTENCY_CONFLICT: _ruling(
        422, -32068, "FAILED_PRECONDITION", "this Idempotency-Key was used for another request"
    ),
    Reason.IDEMPOTENCY_IN_FLIGHT: _ruling(
        409, -32069, "ABORTED", "the first request with this Idempotency-Key is not over yet", temporary=True
    ),
    Reason.TASK_NOT_CANCELABLE: _ruling(
        400, -32002, "FAILED_PRECONDITION", "the task cannot be cancelled", rpc_http_status=200
    ),
    Reason.UNSUPPORTED_OPERATION: _ruling(
        400, -32004, "FAILED_PRECONDITION", "the task does not allow that", rpc_http_status=200
    ),
    Reason.STORE_FAILED: _ruling(503, -32070, "UNAVAILABLE", "the relay's store has failed", temporary=True),
    Reason.STREAM_TOO_SLOW: _ruling(503, -32060, "RESOURCE_EXHAUSTED", "the stream was read too slowly"),
    Reason.STREAM_GONE: _ruling(410, -32064, "OUT_OF_RANGE", "this stream is not here, or not yours"),
    Reason.STREAM_RESUMED: _ruling(409, -32065, "ABORTED", "the stream is read over another connection now"),
    Reason.CREDIT_EXCEEDED: _ruling(502, -32066, "RESOURCE_EXHAUSTED", "the agent sent more than its reader took"),
    Reason.CLIENT_GONE: _ruling(499, -32061, "CANCELLED", "the client went away"),
    Reason.RATE_LIMITED: _ruling(429, -32055, "RESOURCE_EXHAUSTED", "too many requests", temporary=True),
    Reason.RELAY_BUSY: _ruling(503, -32063, "UNAVAILABLE", "the relay holds too many bodies in flight", temporary=True),
    Reason.RELAY_LEAVING: _ruling(503, -32062, "UNAVAILABLE", "the relay is shutting down", temporary=True),
    Reason.INTERNAL: _ruling(500, -32603, "INTERNAL", "internal error of the relay"),
}


class Refused(RelayError):
    """A call, a frame or a credential was refused for a `Reason`.

    `retry_after_seconds` becomes Retry-After; `metadata` goes into ErrorInfo
    and must hold nothing that the caller may not see.
    """

    def __init__(
        self,
        reason: Reason,
        message: str | None = None,
        *,
        retry_after_seconds: int | None = None,
        metadata: dict[str, str] | None = None,
    ) -> None:
        self.reason = reason
        self.ruling = RULINGS[reason]
        self.message = message or self.ruling.message
        self.metadata = metadata or {}
        if retry_after_seconds is None and self.ruling.temporary:
            retry_after_seconds = 1
        self.retry_after_seconds = retry_after_seconds
        super().__init__(f"{reason}: {self.message}")


class Quota(NamedTuple):
    """What somebody has used up, as clients are told it: `amount` of `name` in `window_seconds` (None: at a time)."""

    name: str
    amount: int
    window_seconds: int | None = None


class OverLimit(Refused):
    """Somebody has done more than a limit allows (RATE_LIMITED). `wait_seconds` is until there is some of it again.

    `hold_seconds` is for how long the answer is to be kept back: whoever goes on regardless is slowed by that.
    """

    def __init__(self, quota: Quota, limit: str, subject: str, wait_seconds: float, hold_seconds: float = 0.0) -> None:
        self.quota = quota
        self.hold_seconds = hold_seconds
        super().__init__(
            Reason.RATE_LIMITED,
            f"too much: the {subject}'s limit {limit}",
            retry_after_seconds=max(1, math.ceil(wait_seconds)),
            metadata={"limit": limit, "subject": subject},
        )


class IllegalMove(RelayError):
    """A state machine was asked for a step that it does not have."""


class SettingsError(RelayError):
    """The relay cannot start as it was asked to; the message says how to mend it."""


class StoreError(RelayError):
    """A store cannot be opened, or has failed."""


class MissingExtra(RelayError):
    """An optional power needs a package extra that is not installed."""

    def __init__(self, power: str, extra: str) -> None:
        super().__init__(f"{power} needs an extra package: pip install 'a2a-relay[{extra}]'")
