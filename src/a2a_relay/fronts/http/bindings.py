"""How each HTTP binding writes results, errors and events. Pure: bytes in, answers out."""

from __future__ import annotations

from typing import Protocol

from a2a_relay.a2a import jsonrpc, problems, rest, sse
from a2a_relay.core.exchange import AgentError, Outcome, Result
from a2a_relay.core.stream import Event
from a2a_relay.errors import Refused
from a2a_relay.fronts.http.answer import JSON, Answer, Headers, refusal_headers, rest_refusal

EVENT_STREAM = "text/event-stream"
# Some proxies hold back what has no length unless they are told not to.
UNBUFFERED: Headers = (("cache-control", "no-cache"), ("x-accel-buffering", "no"))


class Binding(Protocol):
    """One binding's way of writing."""

    keeps_alive: bool
    """Whether a long unary call may send blanks before its answer (decision 5)."""

    def answer(self, outcome: Outcome) -> Answer:
        """The one answer of a call."""

    def event(self, event: Event) -> bytes:
        """One SSE event."""

    def error_event(self, failure: AgentError | Refused) -> bytes:
        """The SSE event that ends a failed stream."""


class JsonRpcBinding:
    """JSON-RPC 2.0: every answer is an envelope with the request's id."""

    keeps_alive = True

    def __init__(self, id: bytes = b"null", *, errors_as_events: bool = False) -> None:
        self.id = id
        self._errors_as_events = errors_as_events

    def answer(self, outcome: Outcome) -> Answer:
        if isinstance(outcome, Result):
            headers = tuple(outcome.headers.items())
            return tuple.__new__(Answer, (200, jsonrpc.result_response(self.id, outcome.body), JSON, headers))
        if isinstance(outcome, AgentError):
            body = jsonrpc.error_response(self.id, outcome.body)
            # 0.3's own servers answer a stream's early error as an event, and its clients read nothing else
            return Answer(200, sse.event(body), EVENT_STREAM) if self._errors_as_events else Answer(200, body)
        return Answer(
            outcome.ruling.rpc_http_status,
            jsonrpc.error_response(self.id, jsonrpc.refusal(outcome)),
            JSON,
            refusal_headers(outcome),
        )

    def event(self, event: Event) -> bytes:
        return sse.response_at(event.position, self.id, event.body)

    def error_event(self, failure: AgentError | Refused) -> bytes:
        body = failure.body if isinstance(failure, AgentError) else jsonrpc.refusal(failure)
        return sse.error_event(jsonrpc.error_response(self.id, body))


class RestBinding:
    """HTTP+JSON 1.0: the result is the body, an error is google.rpc.Status."""

    keeps_alive = False

    def __init__(self, media_type: str = rest.MEDIA_TYPE) -> None:
        self._media_type = media_type

    def answer(self, outcome: Outcome) -> Answer:
        match outcome:
            case Result():
                status = outcome.http_status or 200
                body = rest.result(outcome.body)
                return Answer(status, body, self._media_type, tuple(outcome.headers.items()))
            case AgentError():
                status, body = problems.rest_error(outcome.body)
                return Answer(status, body)
        return rest_refusal(outcome)

    def event(self, event: Event) -> bytes:
        return sse.event_at(event.position, event.body)

    def error_event(self, failure: AgentError | Refused) -> bytes:
        body = (
            problems.rest_error(failure.body)[1] if isinstance(failure, AgentError) else problems.refusal_body(failure)
        )
        return sse.error_event(body)
