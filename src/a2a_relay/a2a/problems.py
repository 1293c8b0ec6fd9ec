"""Errors in the shapes of A2A's bindings, and the translation of an agent's error between them.

Source: A2A 1.0.1 section 5.4 (codes) and 11.6 (HTTP+JSON: google.rpc.Status in
`error`, with ErrorInfo in `details`); JSON-RPC 2.0 section 5.1.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from a2a_relay.a2a import jsonbytes
from a2a_relay.errors import RULINGS, Reason, Refused

ERROR_INFO_TYPE = "type.googleapis.com/google.rpc.ErrorInfo"
A2A_DOMAIN = "a2a-protocol.org"
RELAY_DOMAIN = "a2a-relay"
"""ErrorInfo domain of the relay's own errors, so that none is taken for the agent's."""


class ErrorKind(NamedTuple):
    """One JSON-RPC code of A2A in HTTP+JSON."""

    http_status: int
    grpc_status: str
    reason: str


BY_CODE: dict[int, ErrorKind] = {
    -32001: ErrorKind(404, "NOT_FOUND", "TASK_NOT_FOUND"),
    -32002: ErrorKind(400, "FAILED_PRECONDITION", "TASK_NOT_CANCELABLE"),
    -32003: ErrorKind(400, "FAILED_PRECONDITION", "PUSH_NOTIFICATION_NOT_SUPPORTED"),
    -32004: ErrorKind(400, "FAILED_PRECONDITION", "UNSUPPORTED_OPERATION"),
    -32005: ErrorKind(400, "INVALID_ARGUMENT", "CONTENT_TYPE_NOT_SUPPORTED"),
    -32006: ErrorKind(500, "INTERNAL", "INVALID_AGENT_RESPONSE"),
    -32007: ErrorKind(400, "FAILED_PRECONDITION", "EXTENDED_AGENT_CARD_NOT_CONFIGURED"),
    -32008: ErrorKind(400, "FAILED_PRECONDITION", "EXTENSION_SUPPORT_REQUIRED"),
    -32009: ErrorKind(400, "FAILED_PRECONDITION", "VERSION_NOT_SUPPORTED"),
    -32700: ErrorKind(400, "INVALID_ARGUMENT", "PARSE_ERROR"),
    -32600: ErrorKind(400, "INVALID_ARGUMENT", "INVALID_REQUEST"),
    -32601: ErrorKind(404, "NOT_FOUND", "METHOD_NOT_FOUND"),
    -32602: ErrorKind(400, "INVALID_ARGUMENT", "INVALID_PARAMS"),
    -32603: ErrorKind(500, "INTERNAL", "INTERNAL_ERROR"),
}
_OTHER = ErrorKind(500, "INTERNAL", "AGENT_ERROR")
# What a connector says of its upstream, in the relay's own codes.
_RELAY_CODES = {
    RULINGS[reason].rpc_code: ErrorKind(RULINGS[reason].http_status, RULINGS[reason].grpc_status, str(reason))
    for reason in (Reason.AGENT_OFFLINE, Reason.AGENT_TIMEOUT, Reason.AGENT_DISCONNECTED)
}
_BY_REASON = {kind.reason: code for code, kind in BY_CODE.items()}
_BY_HTTP_STATUS = {404: -32001, 400: -32602, 405: -32601, 501: -32004}


def error_info(refused: Refused) -> dict[str, Any]:
    """The ErrorInfo of a refusal by the relay."""
    return {
        "@type": ERROR_INFO_TYPE,
        "reason": str(refused.reason),
        "domain": RELAY_DOMAIN,
        "metadata": refused.metadata,
    }


def refusal_body(refused: Refused) -> bytes:
    """The HTTP+JSON body of a refusal by the relay."""
    return jsonbytes.dump(
        {
            "error": {
                "code": refused.ruling.http_status,
                "status": refused.ruling.grpc_status,
                "message": refused.message,
                "details": [error_info(refused)],
            }
        }
    )


def rest_error(error: bytes) -> tuple[int, bytes]:
    """An agent's JSON-RPC error object as HTTP status and HTTP+JSON body.

    Message and data travel as the bytes they are: `data` that is an array becomes
    `details` itself (that is what A2A 1.0 puts there), anything else is kept
    beside an ErrorInfo under `data`.
    """
    fields = jsonbytes.members(error)
    code = _integer(fields.get("code"))
    kind = BY_CODE.get(code) or _RELAY_CODES.get(code, _OTHER)
    info = {"@type": ERROR_INFO_TYPE, "reason": kind.reason, "domain": A2A_DOMAIN, "metadata": {"code": str(code)}}
    data = fields.get("data", b"null")
    extra = b""
    if data[:1] == b"[":
        details = data if data != b"[]" else jsonbytes.dump([info])
    else:
        details = jsonbytes.dump([info])
        if data != b"null":
            extra = b',"data":' + data
    body = b'{"error":{"code":%d,"status":"%b","message":%b,"details":%b%b}}' % (
        kind.http_status,
        kind.grpc_status.encode(),
        fields.get("message", b'""'),
        details,
        extra,
    )
    return kind.http_status, body


def rpc_error(http_status: int, body: bytes) -> bytes:
    """The way back of `rest_error`: an upstream's HTTP+JSON error as the bytes of a JSON-RPC error object."""
    try:
        jsonbytes.check(body)
        fields = jsonbytes.members(jsonbytes.members(body)["error"])
    except (Refused, KeyError):
        return jsonbytes.dump({"code": -32603, "message": f"the agent answered HTTP {http_status}"})
    details = fields.get("details", b"[]")
    code = _code_of(details) or _BY_HTTP_STATUS.get(http_status, -32603)
    kept = fields.get("data", details)
    data = b',"data":' + kept if kept not in (b"[]", b"null") else b""
    return b'{"code":%d,"message":%b%b}' % (code, fields.get("message", b'""'), data)


def _code_of(details: bytes) -> int | None:
    for detail in jsonbytes.value(details) if details[:1] == b"[" else ():
        if isinstance(detail, dict) and detail.get("domain") == A2A_DOMAIN:
            metadata = detail.get("metadata")
            said = metadata.get("code") if isinstance(metadata, dict) else None
            known = _BY_REASON.get(str(detail.get("reason")))
            return _integer(said.encode()) if known is None and isinstance(said, str) else known
    return None


def _integer(data: bytes | None) -> int:
    try:
        return int(data or b"", 10)
    except ValueError:
        return -32603
