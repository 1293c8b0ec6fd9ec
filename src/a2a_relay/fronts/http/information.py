"""What the relay tells about itself and its agents: info, health, directories, cards."""

from __future__ import annotations

from typing import Any

import a2a_relay
from a2a_relay.a2a import jsonbytes, rest
from a2a_relay.core import access
from a2a_relay.core.address import Address
from a2a_relay.core.principal import Principal
from a2a_relay.core.target import Route, Surface
from a2a_relay.core.urls import agent_urls
from a2a_relay.errors import Reason, Refused
from a2a_relay.fronts.http import cards
from a2a_relay.fronts.http.answer import Answer, instant, json_answer
from a2a_relay.fronts.http.exposure import Exposure
from a2a_relay.fronts.http.head import RequestHead
from a2a_relay.fronts.http.request import HttpRequest
from a2a_relay.node.agents import AgentView
from a2a_relay.node.relay_node import RelayNode

CAPABILITIES = (
    "a2a-0.3",
    "a2a-0.3-rest",
    "a2a-1.0-rest",
    "body-limit",
    "byte-transparency",
    "card-when-away",
    "cards-lossless",
    "directory-state",
    "error-data",
    "frame-limit",
    "http-auth-status",
    "idempotency-key",
    "in-flight-limit",
    "late-answer",
    "letter-receipts",
    "letter-workbench",
    "livez-readyz",
    "mailbox",
    "mailbox-limit",
    "native-link",
    "offline-503",
    "openclaw",
    "respond-async",
    "roles",
    "service-headers",
    "session-replaced",
    "sse-heartbeat",
    "stream-credit",
    "stream-resume",
    "streaming",
    "strict-input",
    "unary-keepalive",
)
"""What this relay can do beyond relay-go, by the conformance suite's names."""

_CARD_FRAME_BYTES = 1024
"""What a body may be larger than the card in it."""

_ENDPOINTS = {
    "agent_link": "WS /agent",
    "health": "GET /health",
    "directory": "GET /.well-known/agents",
    "agents": "GET /t/{tenant}/agents",
    "card": "GET /t/{tenant}/a2a/{agent}/.well-known/agent-card.json",
    "json_rpc": "POST /t/{tenant}/a2a/{agent}/",
    "http_json": "POST /t/{tenant}/a2a/{agent}/message:send",
}


class Information:
    """Everything that is answered from what the node knows, without asking an agent."""

    def __init__(
        self,
        node: RelayNode,
        exposure: Exposure,
        *,
        legacy_version: str,
        card_max_age: int,
        cards_are_public: bool,
        root_agent: Address | None = None,
    ) -> None:
        self._node = node
        self._exposure = exposure
        self._legacy_version = legacy_version
        self._card_max_age = card_max_age
        self._cards_are_public = cards_are_public
        self._root = root_agent

    def answer(self, request: RequestHead, route: Route) -> Answer:
        """The answer of one surface. Raises `Refused`."""
        match route.surface:
            case Surface.HEALTH:
                return self._health()
            case Surface.LIVEZ:
                return json_answer({"status": "ok"})
            case Surface.READYZ:
                return self._readyz()
            case Surface.INFO:
                return self._info(request)
            case Surface.DIRECTORY:
                listed = self._listed(request, self._reader(request))
                return Answer(200, b'{"agents":%b,"count":%d}' % (_array(listed), len(listed)))
            case Surface.TENANT_DIRECTORY:
                return self._tenant_directory(request, route)
            case Surface.DIRECTORY_ENTRY:
                return self._forget(request, route)
            case Surface.CARD:
                return self._card(request, route.agent, self._cards_are_public)
            case Surface.ROOT_CARD:
                return self._root_card(request)
            case Surface.ORIGINAL_CARD:
                return self._original_card(request, route.agent)
        raise Refused(Reason.NOT_FOUND)

    def _health(self) -> Answer:
        """relay-go's health page."""
        counts = self._node.snapshot()
        return json_answer(
            {
                "status": "ok",
                "version": a2a_relay.__version__,
                "agents_connected": counts.agents_attached,
                "pending_requests": counts.calls_in_flight,
                "queued_messages": counts.letters_waiting,
                "completed_tasks": counts.letters_done,
                "durability": self._node.durability,
            }
        )

    def _readyz(self) -> Answer:
        if self._node.is_leaving:
            return json_answer({"status": "leaving"}, 503)
        return json_answer({"status": "ok"})

    def _info(self, request: RequestHead) -> Answer:
        document: dict[str, Any] = {
            "name": "a2a-relay",
            "version": a2a_relay.__version__,
            "docs": "https://github.com/a2a-relay/a2a-relay",
            "endpoints": _ENDPOINTS,
            "capabilities": CAPABILITIES,
        }
        if "authorization" in request.headers:
            principal = self._reader(request)
            listed = self._listed(request, principal)
            tail = b',"tenant":%b,"agents":%b}' % (jsonbytes.dump(principal.tenant), _array(listed))
            return Answer(200, jsonbytes.dump(document)[:-1] + tail)
        return json_answer(document)

    def _tenant_directory(self, request: RequestHead, route: Route) -> Answer:
        principal = self._reader(request)
        access.require_tenant(principal, route.agent.tenant)
        return Answer(200, _array(self._listed(request, principal)))

    def _forget(self, request: RequestHead, route: Route) -> Answer:
        principal = self._node.authenticate(request.credential)
        access.require_admin(principal, route.agent.tenant, "agents:write")
        if not self._node.agents.forget(route.agent):
            raise Refused(Reason.AGENT_NOT_FOUND)
        return Answer(204, b"")

    async def register(self, request: HttpRequest, route: Route, body_timeout_seconds: float) -> Answer:
        """Make an agent known that has not attached yet: 201, or 200 where it is known. Raises `Refused`."""
        principal = self._node.authenticate(request.credential)
        access.require_admin(principal, route.agent.tenant, "agents:write")
        request.block.require_json()
        limit = self._node.limits.max_card + _CARD_FRAME_BYTES
        body = await request.body(limit, body_timeout_seconds)
        if body:
            jsonbytes.check(body)
        card = jsonbytes.members(body).get("card") if body else None
        is_new = self._node.agents.expect(route.agent, card)
        view = self._node.agents.find(route.agent)
        entry = b"{}" if view is None else _entry(view, self._base_url(request))
        return Answer(201 if is_new else 200, entry)

    def _reader(self, request: RequestHead) -> Principal:
        """Whoever reads, which is counted. Raises `Refused`."""
        principal = self._node.authenticate(request.credential)
        if self._node.quotas.is_set:
            self._node.quotas.require_read(principal)
        return principal

    def _listed(self, request: RequestHead, principal: Principal) -> list[bytes]:
        base_url = self._base_url(request)
        return [_entry(view, base_url) for view in self._node.agents.of_tenant(principal.tenant)]

    def _card(self, request: RequestHead, address: Address, is_public: bool) -> Answer:
        if not is_public:
            access.require_call(self._reader(request), address)
        view = self._node.agents.find(address)
        if view is None:
            raise Refused(Reason.AGENT_NOT_FOUND)
        return cards.card_answer(
            request,
            view.record,
            self._base_url(request),
            legacy_version=self._legacy_version,
            max_age_seconds=self._card_max_age,
            is_shared=is_public and self._exposure.is_configured,
        )

    def _root_card(self, request: RequestHead) -> Answer:
        """The card of the caller's only agent; it never crosses tenants."""
        principal = self._node.authenticate(request.credential)
        return self._card(request, self._node.agents.at_root(principal.tenant, self._root), is_public=False)

    def _original_card(self, request: RequestHead, address: Address) -> Answer:
        principal = self._reader(request)
        access.require_call(principal, address)
        access.require_admin(principal, address.tenant, "agents:read")
        view = self._node.agents.find(address)
        if view is None:
            raise Refused(Reason.AGENT_NOT_FOUND)
        return cards.original_answer(view.record)

    def _base_url(self, request: RequestHead) -> str:
        return self._exposure.base_url(request.headers, request.scheme, request.client)


def _array(items: list[bytes]) -> bytes:
    return b"[" + b",".join(items) + b"]"


def _entry(view: AgentView, base_url: str) -> bytes:
    """One agent in a list, as JSON bytes: relay-go's members, then its state (decision 26)."""
    address = view.record.address
    url = agent_urls(base_url, address)["JSONRPC"]
    entry: dict[str, bytes] = {"id": jsonbytes.dump(address.agent), "state": jsonbytes.dump(view.state)}
    if view.attached_at is not None:
        entry["connected_at"] = jsonbytes.dump(instant(view.attached_at))
    if view.record.last_seen_at:
        entry["last_seen_at"] = jsonbytes.dump(instant(view.record.last_seen_at))
    if view.record.agent_card is not None:
        fields = jsonbytes.members(view.record.agent_card)
        entry |= {name: fields[name] for name in ("name", "description", "skills", "capabilities") if name in fields}
        entry["cardUrl"] = jsonbytes.dump(f"{url}.well-known/agent-card.json")
    entry["url"] = jsonbytes.dump(url)
    return rest.join_members(entry)
