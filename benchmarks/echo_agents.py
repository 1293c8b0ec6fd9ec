"""Agents for a benchmark: attach N of them with relay-go's frames and answer every call at once.

    python benchmarks/echo_agents.py ws://127.0.0.1:8080/agent SECRET COUNT

Prints `ready` once all are attached, and runs until it is ended. Written on bare
streams, so that the agents cost the machine less than what is measured.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
import struct
import sys
import time
from typing import cast
from urllib.parse import urlsplit

import jwt

_ID = re.compile(rb'"id":"([^"]+)"')
_RESULT = b'{"message":{"messageId":"r","role":"ROLE_AGENT","parts":[{"text":"pong"}]}}'


def token(secret: str, agent: str) -> str:
    claims = {"tenant": "bench", "agent_id": agent, "exp": int(time.time()) + 3600}
    return jwt.encode(claims, secret, algorithm="HS256")


def masked(payload: bytes) -> bytes:
    """A client's text frame with a mask of zeros (RFC 6455 section 5.3 asks for a mask, not for which)."""
    size = len(payload)
    head = b"\x81" + (bytes([0x80 | size]) if size < 126 else b"\xfe" + struct.pack("!H", size))
    return head + b"\x00\x00\x00\x00" + payload


class EchoAgent(asyncio.Protocol):
    """One agent: upgrades, authenticates, answers."""

    def __init__(self, host: str, auth: bytes, attached: asyncio.Future[None]) -> None:
        self._host = host
        self._auth = auth
        self._attached = attached
        self._held = b""
        self._is_upgraded = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport = cast("asyncio.Transport", transport)
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
            self._transport.write(masked(self._auth))
        answers = []
        while (frame := _frame(held)) is not None:
            opcode, payload, held = frame
            if opcode == 1:
                answers.append(self._answer(payload))
            elif opcode == 9:
                answers.append(b"\x8a\x80\x00\x00\x00\x00" if not payload else b"")
        self._held = held
        if answers:
            self._transport.write(b"".join(answers))

    def _answer(self, payload: bytes) -> bytes:
        if b'"a2a.request"' not in payload[:32]:
            if b'"auth_ok"' in payload and not self._attached.done():
                self._attached.set_result(None)
            return b""
        found = _ID.search(payload)
        assert found is not None
        return masked(b'{"type":"a2a.response","payload":{"id":"%b","result":%b}}' % (found.group(1), _RESULT))


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


async def main(url: str, secret: str, count: int) -> None:
    parts = urlsplit(url)
    loop = asyncio.get_running_loop()
    for number in range(count):
        name = f"agent-{number}"
        card = {"name": name, "description": "answers at once", "version": "1", "supportedInterfaces": []}
        auth = json.dumps({"type": "auth", "token": token(secret, name), "agent_card": card}).encode()
        attached: asyncio.Future[None] = loop.create_future()
        await loop.create_connection(
            lambda auth=auth, attached=attached: EchoAgent(parts.netloc, auth, attached), parts.hostname, parts.port
        )
        await asyncio.wait_for(attached, 30)
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    try:
        import uvloop
    except ImportError:
        run = asyncio.run
    else:
        run = uvloop.run
    run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
