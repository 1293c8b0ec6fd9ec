"""The HTTP side of the admin API, whose meaning is given from outside."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from a2a_relay.core.principal import Principal
from a2a_relay.core.target import Route
from a2a_relay.errors import Reason, Refused, StoreError
from a2a_relay.fronts.http.answer import JSON, Answer, rest_refusal
from a2a_relay.fronts.http.request import HttpRequest
from a2a_relay.fronts.http.responding import Responder, Sent
from a2a_relay.node.relay_node import RelayNode

MAX_ORDER_BYTES = 64 * 1024
DESCRIPTION = ("openapi.json",)
NO_STORE = (("cache-control", "no-store"),)
Administer = Callable[[Principal, str, str, Sequence[tuple[str, str]], bytes], Awaitable[Answer]]
"""Answers who asks, by a verb, for a path below the base, with a query and a body. Raises Refused or StoreError."""


class AdminFront:
    """Authenticates, reads the body, and writes the answer in the form of the REST binding's errors."""

    def __init__(
        self, node: RelayNode, administer: Administer, description: bytes, *, body_timeout_seconds: float
    ) -> None:
        """`description` is the OpenAPI document, which anybody may read."""
        self._node = node
        self._administer = administer
        self._description = description
        self._body_timeout_seconds = body_timeout_seconds

    async def serve(self, request: HttpRequest, route: Route, responder: Responder) -> Sent:
        """Answer one request, whatever comes of it, but for a client that has gone."""
        try:
            answer = await self._answer(request, route)
        except (Refused, StoreError) as error:
            return await self._refuse(error, responder)
        await responder.whole(answer)
        return Sent(answer.status, None)

    async def _refuse(self, error: Refused | StoreError, responder: Responder) -> Sent:
        if isinstance(error, StoreError):
            self._node.observer.notice("store_trouble", message=str(error))
            error = Refused(Reason.STORE_FAILED)
        if error.reason is Reason.CLIENT_GONE:
            raise error
        answer = rest_refusal(error)
        await responder.whole(answer._replace(headers=(*answer.headers, *NO_STORE)))
        return Sent(answer.status, error)

    async def _answer(self, request: HttpRequest, route: Route) -> Answer:
        if route.segments == DESCRIPTION:
            if request.verb not in ("GET", "HEAD"):
                raise Refused(Reason.METHOD_NOT_ALLOWED, metadata={"allow": "GET"})
            return Answer(200, self._description, JSON, NO_STORE)
        principal = self._node.authenticate(request.credential, request.host)
        body = b""
        if request.verb in ("POST", "PATCH"):
            request.block.require_json()
            body = await request.body(MAX_ORDER_BYTES, self._body_timeout_seconds)
        return await self._administer(principal, request.verb, "/".join(route.segments), route.query, body)
