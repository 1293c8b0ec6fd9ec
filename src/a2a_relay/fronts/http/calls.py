"""Relayed calls over ASGI: the plain lane, complete under any server."""

from __future__ import annotations

from a2a_relay.core.call import Call
from a2a_relay.core.target import Route
from a2a_relay.errors import OverLimit, Reason, Refused
from a2a_relay.fronts.http.bindings import Binding
from a2a_relay.fronts.http.desk import CallDesk, refusal_answer, stream_headers
from a2a_relay.fronts.http.request import HttpRequest
from a2a_relay.fronts.http.responding import Responder, Sent, is_there_after, until_gone
from a2a_relay.fronts.http.sinks import StreamSink
from a2a_relay.node.quotas import Place
from a2a_relay.node.waiter import Waiter


class Calls:
    """Serves one call after the other as coroutines."""

    def __init__(self, desk: CallDesk) -> None:
        self._desk = desk

    async def serve(self, request: HttpRequest, route: Route, responder: Responder) -> tuple[Sent, str]:
        """Answer one call; what was sent, and the method's name for the log."""
        desk, node = self._desk, self._desk.node
        call: Call | None = None
        binding: Binding | None = None
        try:
            principal, address = desk.admit(request.block, route, request.host)
            body = await request.body(node.limits.max_body, desk.rules.body_timeout_seconds)
            call, binding = desk.read(request, route, principal, address, body)
            desk.bodies.take(principal.tenant, len(body))
            place: Place | None = None
            try:
                if desk.quotas.is_set:
                    place = desk.quotas.enter(principal, is_stream=call.streams)
                sent = await self._relay(request, call, binding, responder)
            finally:
                desk.bodies.give_back(principal.tenant, len(body))
                if place is not None:
                    place.leave()
        except Refused as refused:
            method = call.method if call is not None else route.surface.value
            if refused.reason is Reason.CLIENT_GONE:
                return Sent(0, refused), method
            if isinstance(refused, OverLimit) and not await is_there_after(request, refused.hold_seconds):
                return Sent(0, refused), method
            await responder.whole(refusal_answer(refused, route, binding))
            return Sent(responder.status, refused), method
        return sent, call.method

    async def _relay(self, request: HttpRequest, call: Call, binding: Binding, responder: Responder) -> Sent:
        node, pace = self._desk.node, self._desk.rules.pace
        if call.streams:
            sink = StreamSink()
            stream = self._desk.stream(call, sink)
            write = responder.stream(
                sink, binding, pace, stream_headers(call, stream), lambda: node.read_on(stream, sink)
            )
            return await until_gone(request, write, lambda: node.leave_stream(stream, sink))
        waiter = Waiter()
        exchange = self._desk.submit(call, waiter)
        return await until_gone(request, responder.unary(waiter, binding, pace), lambda: node.abandon(exchange))
