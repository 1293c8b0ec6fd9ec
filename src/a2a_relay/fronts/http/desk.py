"""Where calls are admitted, read and submitted: the decisions of the HTTP front, shared by every lane.

Synchronous and without I/O. A lane brings a head, later a body, and a sink; it
owns bytes and time, and nothing here knows which lane it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from a2a_relay.a2a import agent_card, jsonbytes, jsonrpc
from a2a_relay.a2a.methods import Operation
from a2a_relay.core import access
from a2a_relay.core.address import Address
from a2a_relay.core.call import Call
from a2a_relay.core.exchange import AgentError, Exchange, Outcome, Result, Sink
from a2a_relay.core.limits import BodyBudget
from a2a_relay.core.position import Position
from a2a_relay.core.principal import Principal
from a2a_relay.core.push_targets import PushTargets
from a2a_relay.core.scopes import SCOPE_OF
from a2a_relay.core.stream import Event, Reader, Stream
from a2a_relay.core.target import Route, Surface
from a2a_relay.core.urls import agent_urls
from a2a_relay.errors import Reason, Refused
from a2a_relay.fronts.http.answer import Answer, Headers
from a2a_relay.fronts.http.bindings import Binding, JsonRpcBinding, RestBinding
from a2a_relay.fronts.http.cors import Cors
from a2a_relay.fronts.http.exposure import Exposure
from a2a_relay.fronts.http.head import HeaderBlock, RequestHead
from a2a_relay.fronts.http.reading import read_jsonrpc, read_rest, read_stream
from a2a_relay.node.mail.held import HeldCall
from a2a_relay.node.relay_node import RelayNode

_READS_STREAMS = (SCOPE_OF[Operation.STREAM], SCOPE_OF[Operation.SUBSCRIBE])
"""Either lets a stream of one's own be read on, by whatever it was opened."""
CALL_SURFACES = frozenset({Surface.RPC, Surface.ROOT_RPC, Surface.REST, Surface.STREAM})


class Pace(NamedTuple):
    """When a silent response gives a sign of life, in seconds."""

    head_wait: float
    heartbeat: float
    unary_keepalive: float


@dataclass(frozen=True, slots=True)
class CallRules:
    """What of the settings the front itself applies to calls."""

    pace: Pace
    push_targets: PushTargets
    body_timeout_seconds: float
    legacy_version: str
    root_agent: Address | None = None
    relay_elixir: bool = False
    """Whether relay-elixir's paths are served."""


class CallDesk:
    """The decisions about one call, in their order: `admit` by the head, `read` the body, `submit`."""

    def __init__(self, node: RelayNode, exposure: Exposure, rules: CallRules, cors: Cors | None = None) -> None:
        """Without `cors` no page of another origin may read answers."""
        self.cors = cors
        self.node = node
        self.rules = rules
        self._exposure = exposure
        self.quotas = node.quotas
        self.bodies = BodyBudget(node.limits.bodies_in_flight_bytes)
        """What is held for calls in flight; whoever submits a call counts its body here until the call is over."""

    def admit(self, block: HeaderBlock, route: Route, host: str) -> tuple[Principal, Address]:
        """Who calls, and whom. Decided by the head alone, before a body costs anything. Raises `Refused`.

        `host` is the numeric address of whoever calls.
        """
        found = self.identify(block, route, host)
        if block.stripped:
            self.node.observer.headers_stripped(block.stripped, found[1])
        block.require_json()
        block.require_length(self.node.limits.max_body)
        return found

    def identify(self, block: HeaderBlock, route: Route, host: str) -> tuple[Principal, Address]:
        """Who calls, and whom: what must be asked again even when a head was admitted before. Raises `Refused`."""
        principal = self.node.authenticate(block.credential, host)
        address = route.address
        if address is None:
            address = self.node.agents.at_root(principal, self.rules.root_agent)
        else:
            access.require_call(principal, address)
        if self.quotas.is_set:
            self.quotas.require_call(principal, address)
        return principal, address

    def client_host(self, block: HeaderBlock, peer: str) -> str:
        """The numeric address of whoever asks through a trusted proxy."""
        return self._exposure.client_host(block.by_name, peer)

    def read(
        self, head: RequestHead, route: Route, principal: Principal, address: Address, body: bytes
    ) -> tuple[Call, Binding]:
        """Read the call. Raises `Refused`; with a JSON-RPC id, where one is known, as `jsonrpc.BadRequest`."""
        limit = self.node.limits.max_body
        if len(body) > limit:
            raise Refused(Reason.TOO_LARGE, metadata={"limit": str(limit)})
        if route.surface is Surface.STREAM:
            access.require_scope(principal, *_READS_STREAMS)
            return self._read_stream(head, route.segments[0], principal, address)
        if route.surface is Surface.REST:
            call, binding = read_rest(head, route, principal, body, self.rules.push_targets)
        else:
            call, binding = read_jsonrpc(head, address, principal, body, self.rules.push_targets)
        if principal.scopes is not None:
            _require_scopes(call)
        if call.operation is Operation.EXTENDED_CARD:
            return call, CardBinding(binding, self._card_rewrite(head, call))
        return call, binding

    def _read_stream(self, head: RequestHead, id: str, principal: Principal, address: Address) -> tuple[Call, Binding]:
        """A stream at its own URL. Raises STREAM_GONE, and METHOD_NOT_ALLOWED: whoever asks sends its reader away."""
        if head.verb == "HEAD":
            raise Refused(Reason.METHOD_NOT_ALLOWED, metadata={"allow": "GET"})
        position = head.block.options.position or Position.at_start(id)
        if position is None or position.stream != id:
            raise Refused(Reason.STREAM_GONE)
        return read_stream(head, principal, position, self.node.streams.find(principal, address, position).head)

    def submit(self, call: Call, sink: Sink) -> Exchange | HeldCall:
        """Hand a unary call to the node. Raises `Refused`."""
        try:
            return self.node.submit(call, sink)
        except Refused as refused:
            raise self._with_names(call, refused) from refused

    def stream(self, call: Call, reader: Reader) -> Stream:
        """Hand a streaming call to the node. Raises `Refused`."""
        try:
            return self.node.stream(call, reader)
        except Refused as refused:
            raise self._with_names(call, refused) from refused

    def _with_names(self, call: Call, refused: Refused) -> Refused:
        """To the tenant's own caller a wrong name lists the right ones."""
        if refused.reason is not Reason.AGENT_NOT_FOUND or call.principal.tenant != call.address.tenant:
            return refused
        names = self.node.agents.names_for(call.principal)
        return Refused(refused.reason, metadata={"agents": ", ".join(names[:20])} if names else {})

    def _card_rewrite(self, head: RequestHead, call: Call) -> agent_card.Rewrite:
        record = self.node.agents.find(call.address)
        urls = agent_urls(self._exposure.base_url(head.headers, head.scheme, head.client), call.address)
        rest_v03 = record is not None and record.record.serves_rest_v03
        return agent_card.Rewrite(urls, self.rules.legacy_version, rest_v03)


def _require_scopes(call: Call) -> None:
    """Refuse what the caller's scopes do not let through, under the id of the call. Raises PERMISSION_DENIED.

    A message that brings a push configuration sets one.
    """
    try:
        access.require_operation(call.principal, call.operation, call.method)
        if call.spans.push_url is not None:
            access.require_scope(call.principal, SCOPE_OF[Operation.PUSH_SET])
    except Refused as refused:
        if call.is_rest:
            raise
        raise jsonrpc.BadRequest(refused.reason, refused.message, call.client_id) from refused


def stream_headers(call: Call, stream: Stream | None) -> Headers:
    """Where a stream can be read on. `stream` is None while the node still hands out what a reader had missed."""
    if stream is not None:
        id = stream.head.id
    elif call.options.position is not None:
        id = call.options.position.stream
    else:
        return ()
    tenant, agent = call.address
    return (("a2a-relay-stream", f"/t/{tenant}/a2a/{agent}/streams/{id}"),)


def refusal_answer(refused: Refused, route: Route, binding: Binding | None) -> Answer:
    """A refusal in the binding of the call, as far as that is known yet."""
    if isinstance(refused, jsonrpc.BadRequest):
        binding = JsonRpcBinding(refused.id)
    elif binding is None:
        binding = RestBinding() if route.surface in (Surface.REST, Surface.STREAM) else JsonRpcBinding()
    return binding.answer(refused)


class CardBinding:
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

    def event(self, event: Event) -> bytes:
        return self._binding.event(event)

    def error_event(self, failure: AgentError | Refused) -> bytes:
        return self._binding.error_event(failure)
