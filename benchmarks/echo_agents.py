"""Agents for a benchmark: attach many of them with relay-go's frames and answer every call at once.

    python benchmarks/echo_agents.py --url ws://127.0.0.1:8080/agent --secret SECRET --agents 8

Prints `ready` once all are attached, and runs until it is ended. `--http` serves
the same answer directly, for a comparison. Written on bare streams, so that the
agents cost the machine less than what is measured.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import itertools
import json
import os
import re
import ssl
import struct
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import cache
from typing import Any, cast
from urllib.parse import urlsplit

import jwt

_ID = re.compile(rb'"id":"([^"]+)"')
_LENGTH = re.compile(rb"(?i)content-length: ([0-9]+)")
_RESULT = b'{"message":{"messageId":"r","role":"ROLE_AGENT","parts":[{"text":"pong"}]}}'
_TASK = (
    b'{"task":{"id":"3f0c1f0e-6b7a-4c63-9d5e-%012d","contextId":"8f14e45f-ceea-4673-9a3e-5b1f8c2d7a10",'
    b'"status":{"state":"TASK_STATE_COMPLETED","message":{"messageId":"r","role":"ROLE_AGENT","parts":[{"text":"pong"}]}}}}'
)
_DIALS_AT_ONCE = 100


def tenant_of(number: int, tenants: int) -> str:
    """The tenant of the agent with this number."""
    return f"bench-{number % tenants}"


def token(secret: str, tenant: str, agent: str | None = None, role: str = "") -> str:
    """A token for an agent, or for a caller: an admin, unless a role is given."""
    claims = {"tenant": tenant, "exp": int(time.time()) + 3600} | ({"agent_id": agent} if agent else {})
    if role:
        claims |= {"role": role, "user_id": "sam"}
    return jwt.encode(claims, secret, algorithm="HS256")


def masked(payload: bytes) -> bytes:
    """A client's text frame with a mask of zeros (RFC 6455 section 5.3 asks for a mask, not for which)."""
    size = len(payload)
    if size < 126:
        head = bytes([0x81, 0x80 | size])
    elif size < 1 << 16:
        head = b"\x81\xfe" + struct.pack("!H", size)
    else:
        head = b"\x81\xff" + struct.pack("!Q", size)
    return head + b"\x00\x00\x00\x00" + payload


class LinkedAgent(asyncio.Protocol):
    """One agent: upgrades, authenticates, and is asked for what to write when a frame has come."""

    def __init__(self, host: str, auth: bytes, attached: asyncio.Future[None]) -> None:
        self._host = host
        self._auth = auth
        self._attached = attached
        self._held = b""
        self._is_upgraded = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport = cast("asyncio.Transport", transport)
        key = base64.b64encode(os.urandom(16)).decode()
        transport.write(
            f"GET /agent HTTP/1.1\r\nHost: {self._host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )

    def data_received(self, data: bytes) -> None:
        held = self._held + data
        if not self._is_upgraded:
            head, blank, held = held.partition(b"\r\n\r\n")
            if not blank:
                self._held = head
                return
            self._is_upgraded = True
            self.transport.write(masked(self._auth))
        answers = []
        while (frame := _frame(held)) is not None:
            opcode, payload, held = frame
            if opcode == 1:
                if self._attached.done():
                    answers.append(self.answer(payload))
                elif b'"auth_ok"' in payload:
                    self._attached.set_result(None)
            elif opcode == 9:
                answers.append(b"\x8a\x80\x00\x00\x00\x00" if not payload else b"")
        self._held = held
        if answers:
            self.transport.write(b"".join(answers))

    def answer(self, payload: bytes) -> bytes:
        """Frames to write now that this one has come."""
        raise NotImplementedError


class EchoAgent(LinkedAgent):
    """Answers every call at once."""

    def answer(self, payload: bytes) -> bytes:
        if b'"a2a.request"' not in payload[:32]:
            return b""
        found = _ID.search(payload)
        assert found is not None
        return masked(b'{"type":"a2a.response","payload":{"id":"%b","result":%b}}' % (found.group(1), _RESULT))


class TaskAgent(EchoAgent):
    """Answers every call at once, with a new task each time."""

    _tasks = itertools.count()

    def answer(self, payload: bytes) -> bytes:
        if b'"a2a.request"' not in payload[:32]:
            return b""
        found = _ID.search(payload)
        assert found is not None
        return masked(
            b'{"type":"a2a.response","payload":{"id":"%b","result":%b}}' % (found[1], _TASK % next(self._tasks))
        )


def _frame(data: bytes) -> tuple[int, bytes, bytes] | None:
    """Opcode, payload and rest of the first whole frame of a server, or None."""
    if len(data) < 2:
        return None
    size, at = data[1], 2
    if size == 126:
        if len(data) < 4:
            return None
        size, at = struct.unpack_from("!H", data, 2)[0], 4
    elif size == 127:
        if len(data) < 10:
            return None
        size, at = struct.unpack_from("!Q", data, 2)[0], 10
    if len(data) < at + size:
        return None
    return data[0] & 0x0F, data[at : at + size], data[at + size :]


class DirectAgent(asyncio.Protocol):
    """The same answer without a relay: JSON-RPC over HTTP/1.1."""

    def __init__(self) -> None:
        self._held = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        held = self._held + data
        while (end := held.find(b"\r\n\r\n")) >= 0:
            length = _LENGTH.search(held, 0, end)
            whole = end + 4 + (int(length[1]) if length else 0)
            if len(held) < whole:
                break
            held = held[whole:]
            body = b'{"jsonrpc":"2.0","id":1,"result":%b}' % _RESULT
            self._transport.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
            )
        self._held = held


@dataclass
class Fleet:
    """All agents of one run."""

    url: str
    secret: str
    agents: int
    tenants: int
    first: int = 0
    make: Callable[[str, bytes, asyncio.Future[None]], LinkedAgent] = EchoAgent
    protocol: str = ""

    async def attach(self) -> None:
        """Attach them all, many at once."""
        gate = asyncio.Semaphore(_DIALS_AT_ONCE)
        await asyncio.gather(*(self._attach(number, gate) for number in range(self.first, self.first + self.agents)))

    async def _attach(self, number: int, gate: asyncio.Semaphore) -> None:
        parts, loop = urlsplit(self.url), asyncio.get_running_loop()
        name = f"agent-{number}"
        card = {"name": name, "description": "answers at once", "version": "1", "supportedInterfaces": []}
        auth = json.dumps(
            {
                "type": "auth",
                "token": token(self.secret, tenant_of(number, self.tenants), name),
                "agent_card": card,
                "max_frame": 8 << 20,
            }
            | ({"protocol": self.protocol} if self.protocol else {})
        ).encode()
        attached: asyncio.Future[None] = loop.create_future()
        context = _context() if parts.scheme == "wss" else None
        async with gate:
            await loop.create_connection(
                lambda: self.make(parts.netloc, auth, attached), str(parts.hostname), parts.port or 80, ssl=context
            )
            await asyncio.wait_for(attached, 60)


@cache
def _context() -> ssl.SSLContext:
    """Takes the benchmark's own certificate."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


async def main(chosen: argparse.Namespace) -> None:
    if chosen.http:
        await asyncio.get_running_loop().create_server(DirectAgent, "127.0.0.1", chosen.http)
    make = TaskAgent if chosen.tasks else EchoAgent
    await Fleet(chosen.url, chosen.secret, chosen.agents, chosen.tenants, chosen.first, make).attach()
    print("ready", flush=True)
    await asyncio.Event().wait()


def run(work: Coroutine[Any, Any, None]) -> None:
    """On the faster loop where there is one."""
    try:
        import uvloop
    except ImportError:
        asyncio.run(work)
    else:
        uvloop.run(work)


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--url", required=True)
    arguments.add_argument("--secret", required=True)
    arguments.add_argument("--agents", type=int, default=8)
    arguments.add_argument("--tenants", type=int, default=1)
    arguments.add_argument("--tasks", action="store_true", help="answer with Tasks")
    arguments.add_argument("--first", type=int, default=0, help="number of the first agent")
    arguments.add_argument("--http", type=int, default=0, help="port on which the same answer is served directly")
    run(main(arguments.parse_args()))
