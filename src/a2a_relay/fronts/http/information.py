"""What the relay tells about itself and its agents: info, health, directories, cards."""

from __future__ import annotations

from typing import Any, NamedTuple

import a2a_relay
from a2a_relay.a2a import jsonbytes, rest
from a2a_relay.core import access
from a2a_relay.core.address import Address
from a2a_relay.core.principal import Principal, Role
from a2a_relay.core.public_url import is_loopback
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

_KEYS_CACHED_SECONDS = 300
"""Whoever meets a key that is not in its copy asks again all the same."""

_ENDPOINTS = {
    "agent_link": "WS /agent",
    "health": "GET /health",
    "directory": "GET /.well-known/agents",
    "keys": "GET /.well-known/jwks.json",
    "agents": "GET /t/{tenant}/agents",
    "card": "GET /t/{tenant}/a2a/{agent}/.well-known/agent-card.json",
    "json_rpc": "POST /t/{tenant}/a2a/{agent}/",
    "http_json": "POST /t/{tenant}/a2a/{agent}/message:send",
}


_BY_CREDENTIAL = (("cache-control", "private"), ("vary", "Authorization"))
"""Of an answer that depends on who asks: no cache that others share may keep it (S8)."""
_FORWARDED = frozenset({"forwarded", "x-forwarded-for", "x-real-ip"})


class InformationRules(NamedTuple):
    """What of the settings is applied here. `card_max_age` in seconds."""

    legacy_version: str
    card_max_age: int
    cards_are_public: bool
    tenants_are_open: bool = True
    root_agent: Address | None = None


class Information:
    """Everything that is answered from what the node knows, without asking an agent."""

    def __init__(
        self,
        node: RelayNode,
        exposure: Exposure,
        rules: InformationRules,
    ) -> None:
        self._node = node
        self._exposure = exposure
        self._rules = rules

    def answer(self, request: RequestHead, route: Route) -> Answer:
        """The answer of one surface. Raises `Refused`."""
        match route.surface:
            case Surface.HEALTH:
                return self._health(request)
            case Surface.LIVEZ:
                return json_answer({"status": "ok"})
            case Surface.READYZ:
                return self._readyz()
            case Surface.INFO:
                return self._info(request)
            case Surface.JWKS:
                return self._key_set()
            case Surface.DIRECTORY:
                principal = self._reader(request)
                listed = self._listed(request, principal, principal.tenant)
                body = b'{"agents":%b,"count":%d}' % (_array(listed), len(listed))
                return Answer(200, body, headers=_BY_CREDENTIAL)
            case Surface.TENANT_DIRECTORY:
                return self._tenant_directory(request, route)
            case Surface.DIRECTORY_ENTRY:
                return self._forget(request, route)
            case Surface.CARD:
                return self._card(request, route.agent)
            case Surface.ROOT_CARD:
                return self._root_card(request)
            case Surface.ORIGINAL_CARD:
                return self._original_card(request, route.agent)
        raise Refused(Reason.NOT_FOUND)

    def _health(self, request: RequestHead) -> Answer:
        """relay-go's health page. Its counts are of all tenants: where strangers share, for those who run the relay."""
        found: dict[str, Any] = {"status": "ok", "version": a2a_relay.__version__}
        if not self._rules.tenants_are_open and not self._is_operators(request):
            return json_answer(found, headers=_BY_CREDENTIAL)
        counts = self._node.snapshot()
        found |= {
            "agents_connected": counts.agents_attached,
            "pending_requests": counts.calls_in_flight,
            "queued_messages": counts.letters_waiting,
            "completed_tasks": counts.letters_done,
            "durability": self._node.durability,
        }
        return json_answer(found, headers=() if self._rules.tenants_are_open else _BY_CREDENTIAL)

    def _is_operators(self, request: RequestHead) -> bool:
        """Whether an operator asks, or somebody on this machine; not what a proxy on it passes on for a stranger.

        A credential that is no good is none here: whoever watches a relay's health is not told that it is ill.
        """
        headers = request.headers
        if "authorization" in headers:
            try:
                return self._reader(request).role is Role.OPERATOR
            except Refused:
                return False
        return not headers.keys() & _FORWARDED and is_loopback(request.client.rpartition(":")[0].strip("[]"))

    def _readyz(self) -> Answer:
        if self._node.is_leaving:
            return json_answer({"status": "leaving"}, 503)
        return json_answer({"status": "ok"})

    def _key_set(self) -> Answer:
        """What the relay's signatures are checked with: for anybody, and to be kept for a while."""
        key_set = self._node.stamps.key_set if self._node.stamps is not None else None
        if key_set is None:
            raise Refused(Reason.NOT_FOUND)
        cached = ("cache-control", f"public, max-age={_KEYS_CACHED_SECONDS}")
        return Answer(200, key_set, headers=(cached,))

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
            listed = []
            if access.has_scope(principal, "agents:read"):
                listed = self._listed(request, principal, principal.tenant)
            tail = b',"tenant":%b,"agents":%b}' % (jsonbytes.dump(principal.tenant), _array(listed))
            return Answer(200, jsonbytes.dump(document)[:-1] + tail, headers=_BY_CREDENTIAL)
        return json_answer(document, headers=(("vary", "Authorization"),))

    def _tenant_directory(self, request: RequestHead, route: Route) -> Answer:
        principal = self._reader(request)
        access.require_tenant(principal, route.agent.tenant)
        listed = self._listed(request, principal, route.agent.tenant)
        return Answer(200, _array(listed), headers=_BY_CREDENTIAL)

    def _forget(self, request: RequestHead, route: Route) -> Answer:
        principal = self._reader(request)
        _require_workbench(principal, route.agent)
        if not self._node.agents.forget(route.agent):
            raise Refused(Reason.AGENT_NOT_FOUND)
        return Answer(204, b"")

    async def register(self, request: HttpRequest, route: Route, body_timeout_seconds: float) -> Answer:
        """Make an agent known that has not attached yet: 201, or 200 where it is known. Raises `Refused`."""
        principal = self._reader(request)
        _require_workbench(principal, route.agent)
        if principal.role is Role.OPERATOR and not self._rules.tenants_are_open and not self._is_tenant(route.agent):
            raise Refused(Reason.AGENT_NOT_FOUND)
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
        principal = self._node.authenticate(request.credential, request.host)
        if self._node.quotas.is_set:
            self._node.quotas.require_read(principal)
        return principal

    def _is_tenant(self, address: Address) -> bool:
        return self._node.credentials is not None and self._node.credentials.tenant(address.tenant) is not None

    def _listed(self, request: RequestHead, principal: Principal, tenant: str) -> list[bytes]:
        """A tenant's agents as far as a principal may see them. Raises PERMISSION_DENIED."""
        access.require_scope(principal, "agents:read")
        base_url = self._base_url(request)
        return [_entry(view, base_url) for view in self._node.agents.visible_to(principal, tenant)]

    def _card(self, request: RequestHead, address: Address) -> Answer:
        is_public = self._rules.cards_are_public
        if not is_public:
            principal = self._reader(request)
            access.require_call(principal, address)
            access.require_scope(principal, "agents:read")
        elif not self._node.serves(address.tenant):
            raise Refused(Reason.AGENT_NOT_FOUND)
        return self._card_of(request, address, is_public=is_public)

    def _card_of(self, request: RequestHead, address: Address, *, is_public: bool) -> Answer:
        view = self._node.agents.find(address)
        if view is None:
            raise Refused(Reason.AGENT_NOT_FOUND)
        return cards.card_answer(
            request,
            view.record,
            self._base_url(request),
            legacy_version=self._rules.legacy_version,
            max_age_seconds=self._rules.card_max_age,
            is_shared=is_public and self._exposure.is_configured,
        )

    def _root_card(self, request: RequestHead) -> Answer:
        """The card of the caller's only agent; it never crosses tenants."""
        principal = self._reader(request)
        access.require_scope(principal, "agents:read")
        return self._card_of(request, self._node.agents.at_root(principal, self._rules.root_agent), is_public=False)

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


def _require_workbench(principal: Principal, address: Address) -> None:
    """Refuse whoever may not add or remove this agent; one that is hidden from an admin looks unknown."""
    access.require_admin(principal, address.tenant, "agents:write")
    if principal.agents is not None and address.agent not in principal.agents:
        raise Refused(Reason.AGENT_NOT_FOUND)


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
