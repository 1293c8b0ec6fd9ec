"""Agents and relays small enough to be read in one look, and real all the same."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from a2a_relay.connector.upstream import CallFailed
from a2a_relay.connector.upstream_http import HttpUpstream
from a2a_relay.wire.agent_side import IncomingRequest
from a2a_relay.wire.frames import NO_HEADERS, Rest

JSON = ((b"content-type", b"application/json"),)
EVENTS = ((b"content-type", b"text/event-stream; charset=utf-8"),)


@dataclass
class Heard:
    """One HTTP request as the agent heard it."""

    verb: str
    target: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Agent:
    """An ASGI app that answers everything with what it was told to."""

    status: int = 200
    headers: tuple[tuple[bytes, bytes], ...] = JSON
    parts: list[bytes] = field(default_factory=lambda: [b'{"jsonrpc":"2.0","id":"1","result":{}}'])
    card: bytes | None = None
    dies: bool = False
    heard: list[Heard] = field(default_factory=list)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            raise RuntimeError("no lifespan here")
        body = (await receive())["body"]
        target = scope["raw_path"].decode() + (f"?{scope['query_string'].decode()}" if scope["query_string"] else "")
        headers = {name.decode(): value.decode("latin-1") for name, value in scope["headers"]}
        self.heard.append(Heard(scope["method"], target, headers, body))
        if self.card is not None and "/.well-known/" in target:
            await send({"type": "http.response.start", "status": 200, "headers": list(JSON)})
            await send({"type": "http.response.body", "body": self.card})
            return
        await send({"type": "http.response.start", "status": self.status, "headers": list(self.headers)})
        for part in self.parts:
            await send({"type": "http.response.body", "body": part, "more_body": True})
            await asyncio.sleep(0)
        if self.dies:
            raise RuntimeError("it has died")
        await send({"type": "http.response.body", "body": b""})


class Output:
    """Collects what goes back."""

    max_body = 4096

    def __init__(self) -> None:
        self.answers: list[tuple[bytes, int | None, dict[str, str]]] = []
        self.events: list[bytes] = []

    async def answer(
        self, body: bytes, http_status: int | None = None, headers: Mapping[str, str] = NO_HEADERS
    ) -> None:
        self.answers.append((body, http_status, dict(headers)))

    async def event(self, body: bytes, headers: Mapping[str, str] = NO_HEADERS) -> None:
        self.events.append(body)


def request(
    method: str = "SendMessage",
    params: bytes = b"{}",
    *,
    stream: bool = False,
    meta: dict[str, Any] | None = None,
    rest: Rest | None = None,
) -> IncomingRequest:
    """A call as it comes over the link."""
    stamped = {"sender": {"identity": "alice"}} if meta is None else meta
    return IncomingRequest("1", method, params, 5000, stream, stamped, rest)


async def failure(upstream: HttpUpstream, asked: IncomingRequest) -> bytes:
    """The error that a call ends with."""
    with pytest.raises(CallFailed) as caught:
        await upstream.call(asked, Output())
    return caught.value.error
