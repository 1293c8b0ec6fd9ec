"""Relayed calls over HTTP: read, submit, answer; JSON-RPC and HTTP+JSON alike."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

from a2a_relay.a2a import agent_card, jsonbytes, jsonrpc
from a2a_relay.a2a.methods import Operation
from a2a_relay.core import access
from a2a_relay.core.address import Address
from a2a_relay.core.call import Call
from a2a_relay.core.exchange import AgentError, Exchange, Outcome, Result
from a2a_relay.core.limits import BodyBudget
from a2a_relay.core.principal import Principal
from a2a_relay.core.push_targets import PushTargets
from a2a_relay.core.target import Route, Surface
from a2a_relay.core.urls import agent_urls
from a2a_relay.errors import Reason, Refused
from a2a_relay.fronts.http.answer import Answer
from a2a_relay.fronts.http.bindings import Binding, JsonRpcBinding, RestBinding
from a2a_relay.fronts.http.exposure import Exposure
from a2a_relay.fronts.http.reading import ReadCall, read_jsonrpc, read_rest
from a2a_relay.fronts.http.request import HttpRequest
from a2a_relay.fronts.http.responding import Pace, Responder, Sent
from a2a_relay.fronts.http.sinks import StreamSink
from a2a_relay.node.relay_node import RelayNode
from a2a_relay.node.waiter import Waiter


@dataclass(frozen=True, slots=True)
class CallRules:
    """What of the settings the front itself applies to calls."""

    pace: Pace
    push_targets: PushTargets
    body_timeout_seconds: float
    legacy_version: str
    root_agent: Address | None = None


class Calls:
    """The call surfaces of the HTTP front."""

    def __init__(self, node: RelayNode, exposure: Exposure, rules: CallRules) -> None:
        self._node = node
        self._exposure = exposure
        self._rules = rules
        self._bodies = BodyBudget(node.limits.bodies_in_flight_bytes)

    async def serve(self, request: HttpRequest, route: Route, responder: Responder) -> tuple[Sent, str]:
        """Answer one call; what was sent, and the method's name for the log."""
        binding = _first_binding(route)
        method = route.surface.value
        try:
            principal = self._node.authenticate(request.credential)
            address = self._address(route, principal)
            request.require_json()
            body = await request.body(self._node.limits.max_body, self._rules.body_timeout_seconds)
            read = self._read(request, route, address, principal, body)
            binding, method = read.binding, read.call.method
            self._bodies.take(principal.tenant, len(body))
            try:
                sent = await self._relay(request, read, responder)
            finally:
                self._bodies.give_back(principal.tenant, len(body))
        except Refused as refused:
            if refused.reason is Reason.CLIENT_GONE:
                return Sent(0, refused), method
            if isinstance(refused, jsonrpc.BadRequest):
                binding = JsonRpcBinding(refused.id)
            await responder.whole(binding.answer(refused))
            return Sent(responder.status, refused), method
        return sent, method

    def _address(self, route: Route, principal: Principal) -> Address:
        """Whom the call is for: the path's agent, or the only one that the caller has."""
        if route.address is not None:
            access.require_call(principal, route.address)
            return route.address
        return self._node.agents.at_root(principal.tenant, self._rules.root_agent)

    def _read(
        self, request: HttpRequest, route: Route, address: Address, principal: Principal, body: bytes
    ) -> ReadCall:
        if route.surface is Surface.REST:
            return read_rest(request, route, principal, body, self._rules.push_targets)
        return read_jsonrpc(request, address, principal, body, self._rules.push_targets)

    async def _relay(self, request: HttpRequest, read: ReadCall, responder: Responder) -> Sent:
        call, binding = read.call, read.binding
        if call.operation is Operation.EXTENDED_CARD:
            binding = _CardBinding(binding, self._card_rewrite(request, call))
        limits = self._node.limits
        sink = StreamSink(limits.stream_buffer_events, limits.stream_buffer_bytes) if call.streams else Waiter()
        exchange = self._submit(call, sink, binding)
        write = (
            responder.stream(sink, binding, self._rules.pace)
            if isinstance(sink, StreamSink)
            else responder.unary(sink, binding, self._rules.pace)
        )
        return await self._until_gone(request, exchange, write)

    def _submit(self, call: Call, sink: StreamSink | Waiter, binding: Binding) -> Exchange:
        try:
            return self._node.submit(call, sink)
        except Refused as refused:
            if refused.reason is Reason.AGENT_NOT_FOUND and access.sees_hidden_reasons(call.principal, call.address):
                names = [view.record.address.agent for view in self._node.agents.of_tenant(call.address.tenant)]
                metadata = {"agents": ", ".join(names[:20])} if names else {}
                refused = Refused(refused.reason, metadata=metadata)
            if isinstance(binding, JsonRpcBinding):
                bad = jsonrpc.BadRequest(refused.reason, refused.message, binding.id)
                bad.metadata, bad.retry_after_seconds = refused.metadata, refused.retry_after_seconds
                raise bad from refused
            raise refused from None

    async def _until_gone(self, request: HttpRequest, exchange: Exchange, write: Coroutine[Any, Any, Sent]) -> Sent:
        """Write the response, unless the client goes away first; either way the exchange is freed."""
        try:
            async with asyncio.TaskGroup() as tasks:
                writing = tasks.create_task(write)
                gone = tasks.create_task(request.gone())
                await asyncio.wait({writing, gone}, return_when=asyncio.FIRST_COMPLETED)
                gone.cancel()
                if not writing.done():
                    writing.cancel()
        finally:
            self._node.abandon(exchange)
        return Sent(0, Refused(Reason.CLIENT_GONE)) if writing.cancelled() else writing.result()

    def _card_rewrite(self, request: HttpRequest, call: Call) -> agent_card.Rewrite:
        record = self._node.agents.find(call.address)
        urls = agent_urls(self._exposure.base_url(request.headers, request.scheme, request.client), call.address)
        rest_v03 = record is not None and record.record.serves_rest_v03
        return agent_card.Rewrite(urls, self._rules.legacy_version, rest_v03)


class _CardBinding:
    """A binding whose result is a card: it passes the same rewriting as the public one (rule S2)."""

    keeps_alive = False

    def __init__(self, binding: Binding, rewrite: agent_card.Rewrite) -> None:
        self._binding = binding
        self._rewrite = rewrite

    def answer(self, outcome: Outcome) -> Answer:
        if isinstance(outcome, Result):
            try:
                jsonbytes.check(outcome.body)
                outcome = outcome._replace(body=self._rewrite(outcome.body).body)
            except Refused:
                outcome = Refused(Reason.INVALID_AGENT_RESPONSE, "the extended card could not be read")
        return self._binding.answer(outcome)

    def event(self, result: bytes) -> bytes:
        return self._binding.event(result)

    def error_event(self, failure: AgentError | Refused) -> bytes:
        return self._binding.error_event(failure)


def _first_binding(route: Route) -> Binding:
    """The binding in which a refusal is written before the body was read."""
    if route.surface is Surface.REST:
        return RestBinding()
    return JsonRpcBinding()
