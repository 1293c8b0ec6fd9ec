"""The agent as an A2A server over HTTP, unmodified: any server on this machine, or an ASGI app in this process.

Only one origin is ever called; redirects, proxies from the environment, cookies
and the relay's credential have no way through here (security rule S11).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from http.cookiejar import DefaultCookiePolicy
from typing import NamedTuple
from urllib.parse import urlsplit

import httpx

from a2a_relay.a2a import jsonrpc, methods, sse
from a2a_relay.a2a.agent_card import ADOPTS_IDS, relay_params
from a2a_relay.a2a.methods import BY_NAME, BY_OPERATION, Operation
from a2a_relay.connector import bindings, interfaces, rest_paths, service_headers
from a2a_relay.connector.bindings import Binding
from a2a_relay.connector.cards import CardSource, WellKnown, acceptable
from a2a_relay.connector.refused import ConnectorRefused
from a2a_relay.connector.upstream import CallFailed, Output, UpstreamDown, failed, too_large
from a2a_relay.errors import Reason, Refused
from a2a_relay.wire.agent_side import IncomingRequest

CONNECT_SECONDS = 5.0
_CARD_SECONDS = 10.0
_MAX_CARD_BYTES = 1 << 20
# Shorter than the keep-alive of common servers (uvicorn: 5 s), lest a call meets a connection that is just closing.
_IDLE_SECONDS = 3.0
_GATEWAY_DOWN = frozenset({502, 503, 504})
_EVENT_STREAM = "text/event-stream"
_JSON = "application/json"

# A relay that knows no streams still names streaming methods: they are called as what answers once.
_UNARY_OF = {Operation.STREAM: Operation.SEND, Operation.SUBSCRIBE: Operation.GET}


class _Exchange(NamedTuple):
    """One HTTP request, and how to read its answer."""

    verb: str
    target: str
    body: bytes | None
    binding: Binding


class HttpUpstream:
    """An A2A server at `url`. `headers` go with every call to it; `card` says where its card is elsewhere."""

    adopts_ids = False

    def __init__(
        self,
        url: str,
        *,
        card: CardSource | None = None,
        headers: Mapping[str, str] | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._origin, self._base_path = _split(url)
        self._card = card or WellKnown()
        self._headers = dict(headers or {})
        self._interfaces = interfaces.read(None, self._base_path)
        self._client = httpx.AsyncClient(
            transport=transport,
            follow_redirects=False,
            trust_env=False,
            timeout=httpx.Timeout(None, connect=CONNECT_SECONDS),
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=64, keepalive_expiry=_IDLE_SECONDS),
        )
        # One caller's cookie must never travel with another's call.
        self._client.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=()))

    @property
    def serves_rest_v03(self) -> bool:
        return self._interfaces.rest_v03 is not None

    async def start(self) -> None:
        """Nothing to prepare: connections are made when they are needed."""

    async def aclose(self) -> None:
        await self._client.aclose()

    async def read_card(self) -> bytes | None:
        """Ask the upstream for its card, which also shows whether it is there."""
        card = await self._card.read(self)
        if card is not None:
            self._interfaces = interfaces.read(card, self._base_path)
            self.adopts_ids = relay_params(card).get(ADOPTS_IDS) is True
        return card

    async def fetch_card(self, target: str) -> bytes | None:
        """A card from a path below the upstream's base. Raises `UpstreamDown`."""
        return await self._fetch(f"{self._origin}{self._base_path}{target}", self._headers)

    async def fetch_card_at(self, url: str) -> bytes | None:
        """A card from a URL that the user named; the upstream's own headers go to its own origin only."""
        origin, path = _split(url)
        query = urlsplit(url).query
        target = f"{origin}{path}?{query}" if query else f"{origin}{path}"
        return await self._fetch(target, self._headers if origin == self._origin else {})

    async def _fetch(self, url: str, headers: Mapping[str, str]) -> bytes | None:
        try:
            async with self._response("GET", url, None, {"accept": _JSON, **headers}, _CARD_SECONDS) as response:
                if response.status_code in _GATEWAY_DOWN:
                    raise UpstreamDown(f"HTTP {response.status_code}")
                if response.status_code != 200:
                    return None
                return acceptable(await _read(response, _MAX_CARD_BYTES))
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise UpstreamDown(_why(error)) from error
        except UpstreamDown:
            raise
        except (httpx.HTTPError, CallFailed):
            return None

    async def call(self, request: IncomingRequest, output: Output) -> None:
        """Make one call over the binding that fits it best."""
        try:
            await self._run(self._exchange(request), request, output)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise UpstreamDown(_why(error)) from error
        except (httpx.HTTPError, httpx.StreamError) as error:
            raise failed(Reason.AGENT_DISCONNECTED, "the agent ended the connection before its answer") from error
        except Refused as refused:
            raise failed(refused.reason, refused.message) from refused

    def _exchange(self, request: IncomingRequest) -> _Exchange:
        found = self._interfaces
        if request.rest is not None:
            return _rest(found.rest_v03, rest_paths.render_v03(request.rest, request.params), bindings.REST_V03)
        name = _upstream_name(request)
        row, is_v10 = BY_NAME.get(name), methods.speaks_v10(name)
        own_rpc = found.rpc_v10 if is_v10 else found.rpc_v03
        # A relay that stamps nothing is relay-go, whose 0.3 names may carry 1.0 bodies.
        may_be_v10 = is_v10 or not request.meta
        if own_rpc is None and found.rest_v10 is not None and row is not None and may_be_v10:
            return _rest(found.rest_v10, rest_paths.render(row.operation, request.params), bindings.REST_V10)
        target = found.rpc_for(is_v10=is_v10)
        if target is None:
            raise Refused(Reason.BINDING_NOT_SERVED)
        body = jsonrpc.request(b'"%b"' % request.id.encode(), name, request.params)
        return _Exchange("POST", target, body, bindings.JSON_RPC)

    async def _run(self, exchange: _Exchange, request: IncomingRequest, output: Output) -> None:
        headers = service_headers.outgoing(request)
        headers["accept"] = f"{_EVENT_STREAM}, {_JSON}" if request.stream else _JSON
        if exchange.body is not None:
            headers["content-type"] = _JSON
        headers.update(self._headers)
        url = self._origin + exchange.target
        async with self._response(exchange.verb, url, exchange.body, headers) as response:
            answered = service_headers.incoming(response.headers.multi_items())
            if _is_event_stream(response):
                if not request.stream:
                    raise Refused(Reason.INVALID_AGENT_RESPONSE, "the agent answered a unary call with a stream")
                await self._pass_events(response, exchange.binding, output, answered)
                return
            body = await _read(response, output.max_body)
        answer = exchange.binding.answer(response.status_code, body)
        await output.answer(answer.body, answer.http_status, answered)

    async def _pass_events(
        self, response: httpx.Response, binding: Binding, output: Output, headers: Mapping[str, str]
    ) -> None:
        reader = sse.Reader(output.max_body)
        async for data in response.aiter_bytes():
            try:
                for event in reader.feed(data):
                    if event.data:
                        await output.event(binding.event(event), headers)
            except ValueError:
                raise too_large("an event of the agent", output.max_body) from None

    @asynccontextmanager
    async def _response(
        self, verb: str, url: str, body: bytes | None, headers: Mapping[str, str], read_seconds: float | None = None
    ) -> AsyncIterator[httpx.Response]:
        timeout = httpx.Timeout(read_seconds, connect=CONNECT_SECONDS)
        request = self._client.build_request(
            verb, url, content=body, headers={"accept-encoding": "identity", **headers}, timeout=timeout
        )
        response = await self._client.send(request, stream=True)
        try:
            yield response
        finally:
            await response.aclose()


def _rest(base: str | None, call: rest_paths.RestCall, binding: Binding) -> _Exchange:
    if base is None:
        raise Refused(Reason.BINDING_NOT_SERVED)
    target = f"{base}{call.path}?{call.query}" if call.query else base + call.path
    return _Exchange(call.verb, target, call.body, binding)


def _upstream_name(request: IncomingRequest) -> str:
    """The method as an A2A server knows it; it differs only for what relay-go calls otherwise."""
    name = request.method
    row = BY_NAME.get(name)
    if row is None:
        return name
    if not request.stream and row.operation in _UNARY_OF:
        row = BY_OPERATION[_UNARY_OF[row.operation]]
    return row.v10 if methods.speaks_v10(name) else row.v03 or row.v10


def _split(url: str) -> tuple[str, str]:
    """Origin and path (no slash at its end) of a URL that the user gave. Raises `ConnectorRefused`."""
    try:
        parts = urlsplit(url.strip())
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ConnectorRefused(f"not a URL: {url!r}") from None
    if parts.scheme not in ("http", "https") or not host or parts.username or parts.password or parts.fragment:
        raise ConnectorRefused(f"not an agent's URL: {url!r} (expected http://host:port)")
    shown = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{shown}" + (f":{port}" if port is not None else ""), parts.path.rstrip("/")


def _is_event_stream(response: httpx.Response) -> bool:
    media_type, _, _ = response.headers.get("content-type", "").partition(";")
    return bool(media_type.strip().lower() == _EVENT_STREAM)


async def _read(response: httpx.Response, max_bytes: int) -> bytes:
    parts: list[bytes] = []
    held = 0
    async for part in response.aiter_bytes():
        held += len(part)
        if held > max_bytes:
            raise too_large("the agent's answer", max_bytes)
        parts.append(part)
    return b"".join(parts)


def _why(error: Exception) -> str:
    return str(error) or type(error).__name__
