"""The agent as a function of the user's own: no server, no SDK."""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import structlog

from a2a_relay.a2a import jsonbytes
from a2a_relay.connector.refused import place_of
from a2a_relay.connector.upstream import CallFailed, Output, checked, error_object
from a2a_relay.wire.agent_side import IncomingRequest

Body = bytes | Mapping[str, Any] | list[Any] | None
Handler = Callable[[IncomingRequest], Awaitable[Body] | AsyncIterator[Body]]
"""An async function (one answer), or an async generator (the events of a stream; of a unary call the last counts).

It gets the call as it crossed the link: `method`, `params` (JSON bytes), `stream`, `meta`. It returns the result as
JSON bytes or as a value, and may raise `AgentError`.
"""

_INTERNAL_CODE = -32603
_LOG = structlog.get_logger("a2a_relay.connector")


class AgentError(Exception):
    """What a handler raises to answer with a JSON-RPC error (codes: A2A 1.0.1 section 5.4)."""

    def __init__(self, code: int, message: str, data: object = None) -> None:
        self.code = code
        self.data = data
        super().__init__(message)

    def as_bytes(self) -> bytes:
        """The JSON-RPC error object."""
        document: dict[str, object] = {"code": self.code, "message": str(self)}
        if self.data is not None:
            document["data"] = self.data
        return jsonbytes.dump(document)


class HandlerUpstream:
    """Calls the function. It takes the ids that the relay suggests, as `IncomingRequest.meta` names them."""

    adopts_ids = True
    serves_rest_v03 = False

    def __init__(self, handler: Handler, card: bytes | None) -> None:
        self._handler = handler
        self._card = card

    async def start(self) -> None:
        """A function is always there."""

    async def aclose(self) -> None:
        """Nothing is held."""

    async def read_card(self) -> bytes | None:
        return self._card

    async def call(self, request: IncomingRequest, output: Output) -> None:
        try:
            found = self._handler(request)
            if inspect.isawaitable(found):
                await output.answer(_body(await found))
                return
            async with _closing(found):
                if request.stream:
                    async for event in found:
                        await output.event(_body(event))
                else:
                    last: Body = None
                    async for event in found:
                        last = event
                    await output.answer(_body(last))
        except AgentError as error:
            raise CallFailed(error.as_bytes()) from error
        except CallFailed:
            raise
        except Exception as error:
            _LOG.warning("handler_failed", method=request.method, error=place_of(error))
            raise CallFailed(error_object(_INTERNAL_CODE, "the agent has failed", "HANDLER_FAILED")) from error


@asynccontextmanager
async def _closing(events: AsyncIterator[Body]) -> AsyncIterator[None]:
    """A generator whose events nobody wants any more ends now, and not when it happens to be collected."""
    try:
        yield
    finally:
        if isinstance(events, AsyncGenerator):
            await events.aclose()


def _body(found: Body) -> bytes:
    return checked(found) if isinstance(found, bytes) else jsonbytes.dump(found)
