"""Calls at a steady rate, whatever the answers do: latency counts from when a call was due.

    python benchmarks/open_loop.py --url http://127.0.0.1:8080 --targets FILE --rate 1000 --seconds 10

A call that finds no free connection waits for one, and its waiting counts
(a closed loop would slow down with the server and hide that). Prints one line of JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import re
import time
from collections import deque
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

CONNECTIONS = 64
TICK_SECONDS = 0.001
WARM_UP_SECONDS = 1.0
_BODY = (
    b'{"jsonrpc":"2.0","id":1,"method":"SendMessage","params":{"message":{"messageId":"m","role":"ROLE_USER",'
    b'"parts":[{"text":"' + b"x" * 200 + b'"}]}}}'
)
_LENGTH = re.compile(rb"(?i)content-length: ([0-9]+)")


def request(host: str, path: str, token: str) -> bytes:
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(_BODY)}\r\n\r\n"
    )
    return head.encode() + _BODY


class Caller(asyncio.Protocol):
    """One connection: one call at a time."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._held = b""
        self._due = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._load.free.append(self)

    def call(self, data: bytes, due: float) -> None:
        """Send a call that was due at an instant."""
        self._due = due
        self._transport.write(data)

    def data_received(self, data: bytes) -> None:
        held = self._held + data
        end = held.find(b"\r\n\r\n")
        length = _LENGTH.search(held, 0, end) if end >= 0 else None
        if length is None or len(held) < end + 4 + int(length[1]):
            self._held = held
            return
        self._held = b""
        self._load.answered(self._due, is_good=held.startswith(b"HTTP/1.1 200"))
        self._load.free.append(self)


class Load:
    """The schedule and what came of it."""

    def __init__(self, url: str, targets: list[tuple[str, str]], rate: float) -> None:
        parts = urlsplit(url)
        self._host, self._port = str(parts.hostname), parts.port or 80
        self._requests = [request(parts.netloc, path, token) for path, token in targets]
        self._rate = rate
        self.free: deque[Caller] = deque()
        self.latencies: list[float] = []
        self.errors = 0
        self._counts_from = 0.0

    def answered(self, due: float, *, is_good: bool) -> None:
        """Note an answer."""
        if due >= self._counts_from:
            self.latencies.append(time.monotonic() - due)
        self.errors += not is_good

    async def run(self, seconds: float) -> None:
        """Connect, call at the rate, and wait for the last answers."""
        loop = asyncio.get_running_loop()
        for _ in range(CONNECTIONS):
            await loop.create_connection(lambda: Caller(self), self._host, self._port)
        begun = time.monotonic()
        self._counts_from = begun + WARM_UP_SECONDS
        sent, total, chance = 0, int(self._rate * (seconds + WARM_UP_SECONDS)), random.Random(1)
        while sent < total:
            ready = min(total, int((time.monotonic() - begun) * self._rate) + 1)
            while sent < ready and self.free:
                self.free.popleft().call(chance.choice(self._requests), begun + sent / self._rate)
                sent += 1
            await asyncio.sleep(TICK_SECONDS)
        deadline = time.monotonic() + 10
        while len(self.free) < CONNECTIONS and time.monotonic() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        self.errors += CONNECTIONS - len(self.free)

    def figures(self) -> dict[str, float]:
        """Latency in milliseconds."""
        ordered = sorted(self.latencies)

        def at(share: float) -> float:
            return round(ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000, 3)

        return {
            "calls": len(ordered),
            "errors": self.errors,
            "p50_ms": at(0.5),
            "p99_ms": at(0.99),
            "p999_ms": at(0.999),
            "max_ms": at(1),
        }


def main(chosen: argparse.Namespace) -> None:
    lines = [line.split() for line in Path(chosen.targets).read_text().splitlines()]
    load = Load(chosen.url, [(path, token) for path, token in lines], chosen.rate)
    try:
        import uvloop
    except ImportError:
        asyncio.run(load.run(chosen.seconds))
    else:
        uvloop.run(load.run(chosen.seconds))
    print(json.dumps(load.figures()))


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--url", required=True)
    arguments.add_argument("--targets", required=True)
    arguments.add_argument("--rate", type=float, required=True)
    arguments.add_argument("--seconds", type=float, default=10)
    main(arguments.parse_args())
