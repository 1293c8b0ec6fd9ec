"""The HTTP side of the admin API, whose meaning is given from outside."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from a2a_relay.core.principal import Principal
from a2a_relay.core.target import Route
from a2a_relay.errors import Reason, Refused, StoreError
from a2a_relay.fronts.http.answer import Answer, rest_refusal
from a2a_relay.fronts.http.request import HttpRequest
from a2a_relay.fronts.http.responding import Responder, Sent
from a2a_relay.node.relay_node import RelayNode

MAX_ORDER_BYTES = 64 * 1024
NO_STORE = (("cache-control", "no-store"),)
Administer = Callable[[Principal, str, str, Sequence[tuple[str, str]], bytes], Awaitable[Answer]]
"""Answers who asks, by a verb, for a path below the base, with a query and a body. Raises Refused or StoreError."""


class AdminFront:
    """Authenticates, reads the body, and writes the answer in the form of the REST binding's errors."""

    def __init__(self, node: RelayNode, administer: Administer, *, body_timeout_seconds: float) -> None:
        self._node = node
        self._administer = administer
        self._body_timeout_seconds = body_timeout_seconds

    async def serve(self, request: HttpRequest, route: Route, responder: Responder) -> Sent:
        """Answer one request, whatever comes of it, but for a client that has gone."""
        outcome: Refused | None = None
        try:
            answer = await self._answer(request, route)
        except Refused as refused:
            outcome = refused
        except StoreError as error:
            self._node.observer.notice("store_trouble", message=str(error))
            outcome = Refused(Reason.STORE_FAILED)
        if outcome is not None:
            if outcome.reason is Reason.CLIENT_GONE:
                raise outcome
            answer = rest_refusal(outcome)
            answer = answer._replace(headers=(*answer.headers, *NO_STORE))
        await responder.whole(answer)
        return Sent(answer.status, outcome)

    async def _answer(self, request: HttpRequest, route: Route) -> Answer:
        principal = self._node.authenticate(request.credential, request.client.rpartition(":")[0])
        body = b""
        if request.verb in ("POST", "PATCH"):
            request.block.require_json()
            body = await request.body(MAX_ORDER_BYTES, self._body_timeout_seconds)
        return await self._administer(principal, request.verb, "/".join(route.segments), route.query, body)
