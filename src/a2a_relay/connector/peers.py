"""The peers door: through it the agent beside the connector calls the other agents of its tenant, without a token.

    http://127.0.0.1:7777/{agent}/...  ->  {relay}/t/{tenant}/a2a/{agent}/...   with the connector's token

A door without a lock on a machine with a browser: only this machine's own names
for it are answered (DNS rebinding), nothing that a web page sends (Origin), and
where other users share the machine a token of its own closes it.
"""

from __future__ import annotations

import asyncio
import hmac
import re
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import h11
import httpx
import structlog

from a2a_relay.a2a import problems
from a2a_relay.connector import peers_card
from a2a_relay.connector.peers_http import Header, PeerConnection, PeerRequest
from a2a_relay.connector.refused import ConnectorRefused
from a2a_relay.connector.relay_url import RelayUrl, is_loopback_host
from a2a_relay.connector.tokens import TokenSource, TokenUnavailable
from a2a_relay.errors import Reason, Refused
from a2a_relay.wire.agent_side import AuthOk
from a2a_relay.wire.codec import is_service_header

_VERBS = frozenset({"GET", "HEAD", "POST", "DELETE"})
_TARGET = re.compile(rb"/([A-Za-z0-9._~-]{1,128})((?:/[A-Za-z0-9._~:@!$&'()*+,;=%-]*)*)(\?[!-~]*)?")
_UNSAFE_ENCODED = re.compile(rb"%(?:2f|5c|00|25|2e)", re.IGNORECASE)
_REQUEST_HEADERS = frozenset(
    {"accept", "content-type", "if-none-match", "last-event-id", "prefer", "traceparent", "tracestate"}
)
_ANSWER_HEADERS = frozenset({"cache-control", "content-type", "etag", "last-modified", "retry-after"})
_MAX_CARD_BYTES = 1 << 20
_MAX_CONNECTIONS = 256
_CONNECT_SECONDS = 10.0
_LOG = structlog.get_logger("a2a_relay.connector")


class PeersDoor:
    """A local HTTP server. It opens with the connector and answers 503 while the agent is not attached."""

    def __init__(
        self, bind: str, token: str | None, relay: RelayUrl, tls: ssl.SSLContext | None, tokens: TokenSource
    ) -> None:
        self._host, self._port = _read_bind(bind)
        self._token = token
        self._relay = relay
        self._tokens = tokens
        self._tenant: str | None = None
        self._origins = frozenset({_origin(relay.http)})
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self._client = httpx.AsyncClient(
            verify=tls if tls is not None else True,
            follow_redirects=False,
            trust_env=False,
            timeout=httpx.Timeout(None, connect=_CONNECT_SECONDS),
        )

    @property
    def url(self) -> str:
        """The door's own address, without a slash at its end."""
        return f"http://{f'[{self._host}]' if ':' in self._host else self._host}:{self._port}"

    def follow(self, welcome: AuthOk) -> None:
        """Lead to the tenant that the agent has attached to."""
        self._tenant = welcome.tenant
        self._origins = frozenset({_origin(self._relay.http), *map(_origin, welcome.public_urls.values())})

    async def open(self) -> None:
        """Begin to listen. Raises `ConnectorRefused` when the address is taken."""
        try:
            self._server = await asyncio.start_server(self._serve, self._host, self._port)
        except OSError as error:
            raise ConnectorRefused(f"the peers door cannot open at {self.url}: {error.strerror or error}") from error
        self._port = self._server.sockets[0].getsockname()[1]
        _LOG.info("peers_door_open", url=self.url)

    async def aclose(self) -> None:
        """Close the door and every connection through it."""
        if self._server is not None:
            self._server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        await self._client.aclose()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None or len(self._connections) >= _MAX_CONNECTIONS:
            writer.close()
            return
        self._connections.add(task)
        connection = PeerConnection(reader, writer)
        try:
            while await self._take(connection):
                pass
        except (OSError, httpx.HTTPError, h11.ProtocolError, asyncio.CancelledError):
            pass  # the client, the relay or the connector has gone: what is unfinished is cut off
        finally:
            self._connections.discard(task)
            await connection.aclose()

    async def _take(self, connection: PeerConnection) -> bool:
        """One request. False when the connection is to be closed."""
        try:
            request = await connection.next_request()
        except Refused as refused:
            await _refuse(connection, refused, is_last=True)
            return False
        if request is None:
            return False
        try:
            await self._pass(request, connection)
        except Refused as refused:
            await _refuse(connection, refused)
        except httpx.HTTPError:
            if not connection.may_answer:
                raise
            await _refuse(connection, Refused(Reason.AGENT_DISCONNECTED, "the relay cannot be reached"))
        return True

    async def _pass(self, request: PeerRequest, connection: PeerConnection) -> None:
        self._admit(request)
        url, path = self._destination(request.target)
        async with self._relayed(request, url) as response:
            headers = [
                (name.encode(), value.encode("latin-1", "replace"))
                for name, value in response.headers.multi_items()
                if name in _ANSWER_HEADERS or is_service_header(name)
            ]
            if peers_card.is_card_path(path) and response.status_code == 200:
                card = peers_card.rewrite(
                    await _read_card(response), self._origins, f"/t/{self._tenant}/a2a/", self.url
                )
                await connection.answer(200, headers, card)
            else:
                await connection.stream(response.status_code, headers, response.aiter_bytes())

    def _admit(self, request: PeerRequest) -> None:
        """Refuse what does not come from a program on this machine that may use the door."""
        host = request.header("host") or ""
        name, _, port = host.rpartition(":")
        if not is_loopback_host(name.strip("[]").lower()) or port != str(self._port):
            raise Refused(Reason.PERMISSION_DENIED, "this door answers to its own name only")
        if any(name == b"origin" for name, _ in request.headers):
            raise Refused(Reason.PERMISSION_DENIED, "this door is not for web pages")
        if self._token is not None:
            given = (request.header("authorization") or "").removeprefix("Bearer ")
            if not hmac.compare_digest(given.encode("latin-1", "replace"), self._token.encode()):
                raise Refused(Reason.UNAUTHENTICATED)
        if request.verb not in _VERBS:
            raise Refused(Reason.METHOD_NOT_ALLOWED)

    def _destination(self, target: bytes) -> tuple[str, str]:
        """The relay's URL for a target, and the path below the agent's base."""
        found = _TARGET.fullmatch(target)
        if found is None or _UNSAFE_ENCODED.search(target.partition(b"?")[0]):
            raise Refused(Reason.INVALID_TARGET)
        agent, path, query = (part.decode("ascii") if part else "" for part in found.groups())
        segments = path.split("/")[1:]
        if not agent.strip(".") or any(segment in (".", "..") for segment in segments) or "" in segments[:-1]:
            raise Refused(Reason.INVALID_TARGET)
        if self._tenant is None:
            raise Refused(Reason.AGENT_OFFLINE, "the connector is not attached")
        return f"{self._relay.http}/t/{self._tenant}/a2a/{agent}{path}{query}", path

    @asynccontextmanager
    async def _relayed(self, request: PeerRequest, url: str) -> AsyncIterator[httpx.Response]:
        try:
            token = await self._tokens.read()
        except TokenUnavailable as missing:
            raise Refused(Reason.AGENT_OFFLINE, "the connector has no token now") from missing
        headers: list[Header] = [
            (name, value)
            for name, value in request.headers
            if name.decode("latin-1") in _REQUEST_HEADERS or is_service_header(name.decode("latin-1"))
        ]
        headers += [(b"authorization", f"Bearer {token}".encode()), (b"accept-encoding", b"identity")]
        content = request.body if request.body or request.verb == "POST" else None
        built = self._client.build_request(request.verb, url, content=content, headers=headers)
        response = await self._client.send(built, stream=True)
        try:
            yield response
        finally:
            await response.aclose()


async def _refuse(connection: PeerConnection, refused: Refused, *, is_last: bool = False) -> None:
    headers: list[Header] = [(b"content-type", b"application/json")]
    if refused.reason is Reason.UNAUTHENTICATED:
        headers.append((b"www-authenticate", b"Bearer"))
    if refused.retry_after_seconds is not None:
        headers.append((b"retry-after", str(refused.retry_after_seconds).encode()))
    await connection.answer(refused.ruling.http_status, headers, problems.refusal_body(refused), is_last=is_last)


async def _read_card(response: httpx.Response) -> bytes:
    parts: list[bytes] = []
    async for part in response.aiter_bytes():
        parts.append(part)
        if sum(map(len, parts)) > _MAX_CARD_BYTES:
            raise Refused(Reason.TOO_LARGE, "the card is too large")
    return b"".join(parts)


def _read_bind(bind: str) -> tuple[str, int]:
    host, _, port = bind.rpartition(":")
    host = host.strip("[]") or "127.0.0.1"
    if not port.isdigit() or int(port) > 65535:
        raise ConnectorRefused(f"not an address for the peers door: {bind!r} (expected 127.0.0.1:7777)")
    if not is_loopback_host(host):
        raise ConnectorRefused("the peers door opens on this machine only (127.0.0.1 or localhost)")
    return host, int(port)


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
