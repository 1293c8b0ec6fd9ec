"""What an upstream's HTTP answers mean in each binding: bodies are cut out as bytes, errors become JSON-RPC errors."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from a2a_relay.a2a import jsonbytes, problems
from a2a_relay.a2a.sse import Event
from a2a_relay.connector.upstream import CallFailed, checked, failed
from a2a_relay.errors import Reason, Refused

_NULL = b"null"
_RESPONSE_LEVELS = 1
"""What a JSON-RPC response puts around its result, which may be as deep as any body."""
_MEMBERS = frozenset({"result", "error", "jsonrpc"})
_ERROR_EVENT = "error"
_STREAM_FAILED_STATUS = 500


class Answer(NamedTuple):
    """A body for the relay; `http_status` only in 0.3's HTTP+JSON."""

    body: bytes
    http_status: int | None = None


class Binding(Protocol):
    """How to read one binding's answers. Both raise `CallFailed` for an error, and for what is no answer."""

    def answer(self, http_status: int, body: bytes) -> Answer: ...

    def event(self, event: Event) -> bytes: ...


class JsonRpc:
    """A2A over JSON-RPC 2.0, of either version."""

    def answer(self, http_status: int, body: bytes) -> Answer:
        fields = _members(body)
        if fields is None or not fields.keys() & _MEMBERS or _is_plain_refusal(http_status, fields):
            raise _not_an_answer(http_status, body)
        return Answer(_result(fields))

    def event(self, event: Event) -> bytes:
        fields = _members(event.data)
        if fields is None:
            raise failed(Reason.INVALID_AGENT_RESPONSE)
        if event.name == _ERROR_EVENT and "error" not in fields:
            raise CallFailed(_error(event.data))
        return _result(fields)


class RestV10:
    """A2A 1.0's HTTP+JSON: the same JSON as the results of JSON-RPC."""

    def answer(self, http_status: int, body: bytes) -> Answer:
        if not 200 <= http_status < 300:
            raise _not_an_answer(http_status, body)
        return Answer(checked(body) if body.strip() else _NULL)

    def event(self, event: Event) -> bytes:
        body = checked(event.data)
        if event.name == _ERROR_EVENT or body.startswith(b'{"error"'):
            raise CallFailed(_error_of_rest(body))
        return body


class RestV03:
    """A2A 0.3's HTTP+JSON: status and body go back as they are."""

    def answer(self, http_status: int, body: bytes) -> Answer:
        return Answer(checked(body) if body.strip() else _NULL, http_status)

    def event(self, event: Event) -> bytes:
        return RestV10.event(RestV10(), event)


JSON_RPC = JsonRpc()
REST_V10 = RestV10()
REST_V03 = RestV03()


def _members(body: bytes) -> dict[str, bytes] | None:
    try:
        jsonbytes.check_text(body, jsonbytes.MAX_DEPTH + _RESPONSE_LEVELS)
        return jsonbytes.members(body)
    except Refused:
        return None


def _result(fields: dict[str, bytes]) -> bytes:
    """The result of a response. One without any member is null: so the SDK's 0.3 server says that a config is gone."""
    error = fields.get("error", _NULL)
    if error != _NULL:
        raise CallFailed(_error(error))
    if "result" not in fields and not fields.keys() >= {"jsonrpc", "id"}:
        raise failed(Reason.INVALID_AGENT_RESPONSE)
    return checked(fields.get("result", _NULL))


def _is_plain_refusal(http_status: int, fields: dict[str, bytes]) -> bool:
    """Whether this is some web framework's `{"error": "..."}` and no JSON-RPC."""
    return http_status >= 400 and fields.get("error", b"{")[:1] != b"{"


def _error(error: bytes) -> bytes:
    """An error that may stand in a frame: an object, or it is no answer."""
    if _members(error) is None:
        raise failed(Reason.INVALID_AGENT_RESPONSE, "the agent's error is not an object")
    return error


def _error_of_rest(body: bytes) -> bytes:
    fields = _members(body) or {}
    if "error" not in fields and fields.keys() & {"code", "message"}:
        body = b'{"error":%b}' % body
    return problems.rpc_error(_STREAM_FAILED_STATUS, body)


def _not_an_answer(http_status: int, body: bytes) -> CallFailed:
    if 200 <= http_status < 300:
        return failed(Reason.INVALID_AGENT_RESPONSE)
    return CallFailed(problems.rpc_error(http_status, body))
