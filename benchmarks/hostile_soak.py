"""Slow and hostile clients beside normal ones, at one real relay: what normal calls take alone and beside them.

    python benchmarks/hostile_soak.py [--seconds 20] [--json]

The hostile ones, over and over: heads and bodies that dribble, answers that are not read, requests that are no HTTP,
bad tokens, half handshakes, frames of strangers, links that come and go. Prints the 99th percentile of normal calls,
alone and beside these, and how many failed; the exit code is 1 when one has.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

import stage
from websockets.asyncio.client import connect

from a2a_relay.client.tokens import mint

NORMAL, HOSTILE = 8, 60
PACE_SECONDS = 0.02
HELD_SECONDS = 3.0
CALL = b'{"jsonrpc":"2.0","id":1,"method":"SendMessage","params":{"message":{"messageId":"m","role":"ROLE_USER"}}}'
UPGRADE = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
KEY = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"


class Target:
    """The relay, and who may call there."""

    def __init__(self, url: str, secret: str) -> None:
        parts = urlsplit(url)
        self.host, self.port = parts.hostname or "", parts.port or 0
        now = time.time()
        self.client = mint(secret, now, 3600, tenant="acme", role="client", user="sam")
        self.agent = mint(secret, now, 3600, tenant="acme", role="agent", agent="zaf")

    def head(self, token: str, length: int = len(CALL)) -> bytes:
        """The head of a call."""
        lines = f"POST /t/acme/a2a/zaf/ HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
        return f"{lines}Content-Length: {length}\r\n\r\n".encode()


async def answer_calls(target: Target) -> None:
    """The one agent."""
    async with connect(f"ws://{target.host}:{target.port}/agent", proxy=None) as link:
        await link.send(json.dumps({"type": "auth", "token": target.agent, "protocol": "a2a-relay/1"}))
        async for text in link:
            frame = json.loads(text)
            if frame["type"] == "a2a.request":
                answer = {"id": frame["payload"]["id"], "result": {"message": {"messageId": "r"}}}
                await link.send(json.dumps({"type": "a2a.response", "payload": answer}))


async def call(target: Target, until: float, took: list[float]) -> int:
    """A normal client: one call after the other on one connection; how many have failed."""
    reader, writer = await asyncio.open_connection(target.host, target.port)
    failed = 0
    while time.monotonic() < until:
        begun = time.perf_counter()
        writer.write(target.head(target.client) + CALL)
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 30)
        size = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        body = await reader.readexactly(size)
        took.append(time.perf_counter() - begun)
        failed += not (head.startswith(b"HTTP/1.1 200") and b'"result"' in body)
        await asyncio.sleep(PACE_SECONDS)
    writer.close()
    return failed


async def dribble(target: Target, data: bytes) -> None:
    """Some bytes one by one, and then none."""
    reader, writer = await asyncio.open_connection(target.host, target.port)
    try:
        for byte in data[:20]:
            writer.write(bytes([byte]))
            await asyncio.sleep(0.05)
        writer.write(data[20:])
        async with asyncio.timeout(HELD_SECONDS):
            while await reader.read(4096):
                pass
    finally:
        writer.close()


async def read_nothing(target: Target) -> None:
    """Many calls whose answers are left lying."""
    _, writer = await asyncio.open_connection(target.host, target.port)
    writer.write((target.head(target.client) + CALL) * 50)
    await asyncio.sleep(HELD_SECONDS)
    writer.close()


def attacks(target: Target) -> list[Callable[[], Awaitable[None]]]:
    """The ways of the hostile ones."""
    upgrade = f"GET /agent HTTP/1.1\r\nHost: x\r\n{UPGRADE}{KEY}\r\n".encode()
    bad = target.client[:-6] + "AAAAAA"
    sent = (
        b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ",
        target.head(target.client, 100_000) + b"{",
        b"\0\xff nonsense\r\n\r\n" * 100,
        (target.head(bad) + CALL) * 20,
        target.head(target.client, 200_000) + b"[" * 200_000,
        upgrade[:60],
        upgrade + b"\x81\xfe\x10\x00\0\0\0\0",
        upgrade + b"\x81\x85\0\0\0\0hello",
        upgrade + b"\xc1\xff" + b"\xff" * 60,
        b"",
    )
    return [lambda data=data: dribble(target, data) for data in sent] + [lambda: read_nothing(target)]


async def harass(target: Target, until: float, chance: random.Random) -> int:
    """One hostile client; how many attacks it has made."""
    ways, made = attacks(target), 0
    while time.monotonic() < until:
        with contextlib.suppress(OSError, TimeoutError):
            await chance.choice(ways)()
        made += 1
    return made


async def measure(target: Target, seconds: float, hostile: int) -> dict[str, float]:
    """Normal calls for a while, beside so many hostile clients."""
    took: list[float] = []
    until = time.monotonic() + seconds
    made = [asyncio.ensure_future(harass(target, until, random.Random(seed))) for seed in range(hostile)]
    failed = sum(await asyncio.gather(*(call(target, until, took) for _ in range(NORMAL))))
    attacks_made = sum(await asyncio.gather(*made))
    took.sort()
    return {
        "calls": len(took),
        "failed": failed,
        "p50_ms": round(took[len(took) // 2] * 1000, 2),
        "p99_ms": round(took[int(len(took) * 0.99)] * 1000, 2),
        "attacks": attacks_made,
    }


async def soak(url: str, secret: str, seconds: float) -> dict[str, dict[str, float]]:
    """Alone, beside hostile clients, and alone again."""
    target = Target(url, secret)
    agent = asyncio.ensure_future(answer_calls(target))
    await asyncio.sleep(0.5)
    found = {
        "alone": await measure(target, seconds / 3, 0),
        "beside": await measure(target, seconds / 3, HOSTILE),
        "after": await measure(target, seconds / 3, 0),
    }
    agent.cancel()
    return found


def main() -> int:
    """Start a relay, and tell what was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=45)
    parser.add_argument("--json", action="store_true", help="one object with every figure")
    asked = parser.parse_args()
    with TemporaryDirectory() as folder, stage.relay(Path(folder)) as server:
        found = asyncio.run(soak(server.url, stage.SECRET, asked.seconds))
    if asked.json:
        print(json.dumps(found))
    else:
        for when, figures in found.items():
            print(f"{when:7}", "  ".join(f"{name} {figure:g}" for name, figure in figures.items()))
    return 1 if any(figures["failed"] for figures in found.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
