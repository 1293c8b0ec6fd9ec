"""JSON-RPC 2.0 as A2A uses it: the envelope is read and rebuilt, what it carries stays bytes.

Source: A2A 1.0.1 section 9, A2A 0.3.0 section 6.11, JSON-RPC 2.0.
"""

from __future__ import annotations

from a2a_relay.a2a import compact, jsonbytes
from a2a_relay.a2a.compact import Envelope
from a2a_relay.a2a.methods import is_acceptable_name
from a2a_relay.a2a.problems import error_info
from a2a_relay.errors import Reason, Refused

NO_PARAMS = b"{}"


class BadRequest(Refused):
    """A request that cannot be read; `id` is what could be learned of its id (`null` if nothing)."""

    def __init__(self, reason: Reason, message: str | None, id: bytes) -> None:
        super().__init__(reason, message)
        self.id = id


def read(body: bytes) -> Envelope:
    """Read one request. Raises `BadRequest`."""
    try:
        jsonbytes.check_text(body)
        found = compact.envelope(body)
        if found is not None:
            return found
        fields = jsonbytes.members(body)
    except jsonbytes.Malformed as error:
        raise _unreadable(error, body) from error
    id = fields.get("id", b"")
    known_id = id if _is_id(id) else b"null"
    if jsonbytes.text(fields.get("jsonrpc")) != "2.0":
        raise BadRequest(Reason.INVALID_REQUEST, 'jsonrpc must be "2.0"', known_id)
    if not _is_id(id):
        raise BadRequest(Reason.INVALID_REQUEST, "id must be a string or an integer", b"null")
    method = jsonbytes.text(fields.get("method"))
    if not method:
        raise BadRequest(Reason.INVALID_REQUEST, "method must be a string", id)
    if not is_acceptable_name(method):
        raise BadRequest(Reason.METHOD_NOT_FOUND, None, id)
    params = fields.get("params", NO_PARAMS)
    if params[:1] not in b"{n" and params != b"[]":
        raise BadRequest(Reason.INVALID_PARAMS, "params must be an object", id)
    return Envelope(id, method, NO_PARAMS if params in (b"null", b"[]") else params)


def _unreadable(error: jsonbytes.Malformed, body: bytes) -> BadRequest:
    if error.reason is Reason.INVALID_REQUEST and body.lstrip()[:1] == b"[":
        return BadRequest(Reason.INVALID_REQUEST, "batch requests are not supported", b"null")
    return BadRequest(error.reason, error.message, b"null")


def _is_id(id: bytes) -> bool:
    """Strings and integers; A2A has no notifications, so that `null` names nobody."""
    if id[:1] == b'"':
        return True
    return id.lstrip(b"-").isdigit()


def request(id: bytes, method: str, params: bytes) -> bytes:
    """A whole JSON-RPC request around params bytes."""
    return b'{"jsonrpc":"2.0","id":%b,"method":%b,"params":%b}' % (id, jsonbytes.dump(method), params)


def result_response(id: bytes, result: bytes) -> bytes:
    """A JSON-RPC response around result bytes."""
    return b'{"jsonrpc":"2.0","id":%b,"result":%b}' % (id, result)


def error_response(id: bytes, error: bytes) -> bytes:
    """A JSON-RPC response around the bytes of an error object."""
    return b'{"jsonrpc":"2.0","id":%b,"error":%b}' % (id, error)


def refusal(refused: Refused) -> bytes:
    """The JSON-RPC error object of a refusal by the relay (A2A 1.0.1 section 9.5: ErrorInfo in `data`)."""
    return jsonbytes.dump({"code": refused.ruling.rpc_code, "message": refused.message, "data": [error_info(refused)]})
