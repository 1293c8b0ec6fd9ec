"""The suite's clients: tokens, plain HTTP and JSON-RPC calls, server-sent events, raw sockets."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
import time
import uuid
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import httpx
import jwt

from agents import PATIENCE_SECONDS, Json


@dataclass(frozen=True)
class Relay:
    """The relay under test: where it is, its shared secret, what it says it can do."""

    url: str
    secret: str
    capabilities: frozenset[str] = field(default_factory=frozenset)

    @property
    def ws_url(self) -> str:
        """Where agents attach."""
        return "ws" + self.url.removeprefix("http") + "/agent"

    def token(self, alg: str = "HS256", **claims: Any) -> str:
        """A token of the shared secret that lives for an hour; a claim given as None is left out."""
        claims = {"exp": int(time.time()) + 3600, **claims}
        return mint(self.secret, alg, **{name: value for name, value in claims.items() if value is not None})


def mint(secret: str, alg: str, **claims: Any) -> str:
    """Sign claims, also with an algorithm for which the secret is shorter than advised."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return jwt.encode(claims, secret, algorithm=alg)


class Client:
    """A client of one tenant, with a token (or none)."""

    def __init__(self, relay: Relay, tenant: str, token: str | None) -> None:
        self.relay = relay
        self.tenant = tenant
        self.token = token
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self.http = httpx.AsyncClient(
            base_url=relay.url, headers=headers, timeout=30, trust_env=False, follow_redirects=False
        )

    def base(self, agent_id: str, tenant: str | None = None) -> str:
        """An agent's base path, without a slash at its end."""
        return f"/t/{tenant or self.tenant}/a2a/{agent_id}"

    async def rpc(
        self, agent_id: str, method: str, params: Any = None, *, id: Any = 1, headers: Json | None = None
    ) -> httpx.Response:
        """One JSON-RPC call."""
        return await self.post(f"{self.base(agent_id)}/", envelope(method, params, id=id), headers=headers)

    async def post(self, path: str, body: Any = None, headers: Json | None = None) -> httpx.Response:
        """POST a JSON document; text or bytes are sent as they are."""
        return await self.http.post(path, content=encoded(body), headers=json_headers(headers))

    async def get(self, path: str, headers: Json | None = None) -> httpx.Response:
        """GET a path."""
        return await self.http.get(path, headers=headers)

    @contextlib.asynccontextmanager
    async def stream(
        self, path: str, body: Any = None, *, verb: str = "POST", headers: Json | None = None
    ) -> AsyncIterator[Events]:
        """Open a call whose answer is (or may be) a stream of server-sent events."""
        content = None if verb == "GET" else encoded(body)
        async with self.http.stream(verb, path, content=content, headers=json_headers(headers)) as response:
            events = Events(response)
            try:
                yield events
            finally:
                await events.aclose()

    async def listed(self, agent_id: str) -> Json | None:
        """The directory's entry of an agent of this tenant, if it has one."""
        response = await self.get(f"/t/{self.tenant}/agents")
        assert response.status_code == 200, response.text
        return next((entry for entry in response.json() if entry["id"] == agent_id), None)

    async def until_away(self, agent_id: str) -> None:
        """Wait until the directory no longer says that an agent is attached."""

        async def away() -> bool:
            entry = await self.listed(agent_id)
            return entry is None or entry.get("state", "attached") != "attached"

        await until(away)


AT_ONCE = {"Prefer": "wait=0"}
"""Headers of a call that does not wait for an agent that is away."""
RELAY_FACTS = "https://a2a-relay.dev/ext/relay/v1"
"""Under which name in a Task's metadata the relay says what it knows of it."""

MakeClient = Callable[..., Client]
"""What the fixture that makes clients gives to a test."""


@dataclass(frozen=True)
class Event:
    """One server-sent event as it stood on the wire."""

    name: str
    data: str
    data_lines: int
    id: str = ""
    """Its place in the stream, where the relay tells it."""

    @property
    def json(self) -> Any:
        """The data as JSON."""
        return json.loads(self.data)


@dataclass(frozen=True)
class Comment:
    """A comment line, which clients ignore."""

    text: str


class Events:
    """Server-sent events of one response, read as bytes, so that only LF and CRLF end a line."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self._items = self._parse()

    async def _parse(self) -> AsyncIterator[Event | Comment]:
        held, name, data, id = b"", "message", list[str](), ""
        async for chunk in self.response.aiter_raw():
            *lines, held = (held + chunk).split(b"\n")
            for line in lines:
                text = line.rstrip(b"\r").decode()
                key, _, content = text.partition(":")
                content = content.removeprefix(" ")
                if not text and data:
                    yield Event(name, "\n".join(data), len(data), id)
                    name, data, id = "message", [], ""
                elif text.startswith(":"):
                    yield Comment(content)
                elif key == "data":
                    data.append(content)
                elif key == "event":
                    name = content
                elif key == "id":
                    id = content

    async def next_item(self, within: float = PATIENCE_SECONDS) -> Event | Comment:
        """The next event or comment."""
        return await asyncio.wait_for(anext(self._items), within)

    async def next(self) -> Event:
        """The next event."""
        while True:
            item = await self.next_item()
            if isinstance(item, Event):
                return item

    async def all(self) -> list[Event]:
        """Every event up to the end of the stream."""
        async with asyncio.timeout(2 * PATIENCE_SECONDS):
            return [item async for item in self._items if isinstance(item, Event)]

    async def aclose(self) -> None:
        """Stop reading."""
        await self._items.aclose()  # type: ignore[attr-defined]


def envelope(method: str, params: Any = None, *, id: Any = 1) -> str:
    """A JSON-RPC request; params given as text are put in as they are."""
    text = params if isinstance(params, str) else json.dumps({} if params is None else params)
    return f'{{"jsonrpc":"2.0","id":{json.dumps(id)},"method":{json.dumps(method)},"params":{text}}}'


def encoded(body: Any) -> bytes:
    """A request body: bytes and text as they are, anything else as JSON."""
    if isinstance(body, bytes):
        return body
    return (body if isinstance(body, str) else json.dumps({} if body is None else body)).encode()


def json_headers(headers: Json | None) -> Json:
    """Headers of a JSON request."""
    return {"Content-Type": "application/json", **(headers or {})}


def result_of(response: httpx.Response) -> Any:
    """The result of a JSON-RPC answer that must be a success."""
    assert response.status_code == 200, response.text
    body = response.json()
    assert "error" not in body, body
    assert body["jsonrpc"] == "2.0"
    return body["result"]


def error_of(response: httpx.Response) -> Json:
    """The error object of a JSON-RPC or HTTP+JSON answer that must be a failure."""
    body = response.json()
    assert isinstance(body.get("error"), dict), body
    return dict(body["error"])


def error_info(response: httpx.Response) -> Json:
    """The google.rpc.ErrorInfo of a failed answer, in `details` (HTTP+JSON) or in `data` (JSON-RPC)."""
    error = error_of(response)
    details = error.get("details") or error.get("data") or []
    infos = [info for info in details if str(info.get("@type", "")).endswith("google.rpc.ErrorInfo")]
    assert infos, error
    return dict(infos[0])


def is_refused(response: httpx.Response) -> bool:
    """Whether a call was turned away, be it by an HTTP status or (relay-go's JSON-RPC) in the body."""
    return response.status_code in (401, 403, 404) or "error" in response.json()


def unique(kind: str) -> str:
    """A name that no other test uses, also on a relay that others use meanwhile."""
    return f"{kind}-{uuid.uuid4().hex[:12]}"


async def until(condition: Callable[[], Awaitable[bool]], within: float = PATIENCE_SECONDS) -> None:
    """Ask again and again until a condition holds; fails when it never does."""
    async with asyncio.timeout(within):
        while not await condition():
            await asyncio.sleep(0.05)


@dataclass(frozen=True)
class RawAnswer:
    """What came back on a raw socket."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


async def open_socket(relay: Relay) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A TCP (or TLS) connection to the relay."""
    parts = urlsplit(relay.url)
    secure = parts.scheme == "https"
    context = ssl.create_default_context() if secure else None
    return await asyncio.open_connection(parts.hostname, parts.port or (443 if secure else 80), ssl=context)


def raw_request(relay: Relay, verb: str, target: str, token: str, body: bytes = b"", **headers: str) -> bytes:
    """The bytes of an HTTP/1.1 request whose target is not touched by any client library."""
    fields = {
        "Host": urlsplit(relay.url).netloc,
        "Authorization": f"Bearer {token}",
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        "Connection": "close",
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"{verb} {target} HTTP/1.1\r\n{head}\r\n".encode("latin-1") + body


async def raw_exchange(relay: Relay, request: bytes, within: float = 60) -> RawAnswer:
    """Send bytes on a connection of their own and read the answer."""
    async with asyncio.timeout(within):
        reader, writer = await open_socket(relay)
        try:
            writer.write(request)
            await writer.drain()
            return await read_answer(reader)
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


async def read_answer(reader: asyncio.StreamReader) -> RawAnswer:
    """Read one HTTP/1.1 answer."""
    status_line, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}
    status = int(status_line.split(" ")[1])
    if "content-length" in headers:
        return RawAnswer(status, headers, await reader.readexactly(int(headers["content-length"])))
    if headers.get("transfer-encoding") == "chunked":
        return RawAnswer(status, headers, await _read_chunks(reader))
    return RawAnswer(status, headers, await reader.read())


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    body = b""
    while size := int(await reader.readline(), 16):
        body += (await reader.readexactly(size + 2))[:-2]
    await reader.readline()
    return body
