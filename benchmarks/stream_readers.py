"""Readers of streams, for a benchmark: how many events come, how late, and what the server spends on them.

    python benchmarks/stream_readers.py --url http://127.0.0.1:8080 --targets FILE --streams 64 --pid RELAY

Opens all streams, waits until each has brought an event, and then measures so many rounds. Delays are those between the
time that an event carries (see stream_agents.py) and the moment at which it was read. Prints one line of JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import socket
import time
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import stage
from echo_agents import run

_BODY = (
    b'{"jsonrpc":"2.0","id":1,"method":"SendStreamingMessage","params":{"message":{"messageId":"m",'
    b'"role":"ROLE_USER","parts":[{"text":"count"}]}}}'
)
_SENT = re.compile(rb"@([0-9]{16})@")
_LONGEST_MARK = 18
OPENED_AT_ONCE = 50
OPEN_SECONDS = 30
TICK_SECONDS = 0.005
STOPPED_BUFFER_BYTES = 4096
"""What the kernel takes for a reader that will be stopped; else its megabytes hide that nobody reads."""


class StreamReader(asyncio.Protocol):
    """One stream."""

    def __init__(self, readers: Readers, request: bytes) -> None:
        self._readers = readers
        self._request = request
        self.tail = b""
        self.is_open = False
        self.events = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        received = time.monotonic_ns() // 1000
        held = self.tail + data
        found = _SENT.findall(held)
        if not found:
            self.tail = held[-4096:]
            return
        self.tail = held[held.rindex(found[-1]) + _LONGEST_MARK - 1 :][-_LONGEST_MARK:]
        if not self.is_open:
            self.is_open = True
            self._readers.opened()
        self.events += len(found)
        if self._readers.delays is not None:
            self._readers.delays += [received - int(sent) for sent in found]

    def connection_lost(self, error: Exception | None) -> None:
        self._readers.lost += 1


class Readers:
    """All streams of one run."""

    def __init__(self, chosen: argparse.Namespace) -> None:
        self._chosen = chosen
        self._targets = [line.split() for line in Path(chosen.targets).read_text().splitlines()]
        self._all: list[StreamReader] = []
        self._waiting = chosen.streams
        self._are_open = asyncio.Event()
        self.delays: list[int] | None = None
        self.lost = 0

    def opened(self) -> None:
        """One more stream has brought an event."""
        self._waiting -= 1
        if not self._waiting:
            self._are_open.set()

    async def open(self) -> None:
        """Open them all."""
        parts = urlsplit(self._chosen.url)
        for number in range(self._chosen.streams):
            path, token = self._targets[number % len(self._targets)]
            request = (
                f"POST {path} HTTP/1.1\r\nHost: {parts.netloc}\r\nAuthorization: Bearer {token}\r\nA2A-Version: 1.0\r\n"
                f"Content-Type: application/json\r\nContent-Length: {len(_BODY)}\r\n\r\n"
            ).encode() + _BODY
            reader = StreamReader(self, request)
            self._all.append(reader)
            plug = socket.socket()
            if self._chosen.stops and number == 0:
                plug.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, STOPPED_BUFFER_BYTES)
            plug.connect((str(parts.hostname), parts.port or 80))
            plug.setblocking(False)
            await asyncio.get_running_loop().create_connection(lambda reader=reader: reader, sock=plug)  # type: ignore[misc]
            if number % OPENED_AT_ONCE == OPENED_AT_ONCE - 1:
                await asyncio.sleep(0.02)
        try:
            await asyncio.wait_for(self._are_open.wait(), OPEN_SECONDS)
        except TimeoutError:
            silent = [reader for reader in self._all if not reader.is_open]
            raise SystemExit(f"{len(silent)} streams bring nothing; the first: {silent[0].tail!r}") from None

    async def rounds(self) -> list[dict[str, Any]]:
        """Measure round by round; in every other one the first stream is not read, where that was asked for."""
        found = []
        for number in range(self._chosen.rounds):
            if self._chosen.stops and number % 2:
                self._all[0].transport.pause_reading()
            elif self._chosen.stops and number:
                self._all[0].transport.resume_reading()
            await asyncio.sleep(self._chosen.settle)
            found.append(await self._round())
        return found

    async def _round(self) -> dict[str, Any]:
        pid = self._chosen.pid
        delays: list[int] | None = [] if self._chosen.delays else None
        self.delays = delays
        before, rss, cpu, begun = self._events(), stage.memory(pid), stage.cpu_seconds(pid), time.monotonic()
        first, late = self._all[0].events, []
        while self._chosen.lateness and (due := time.monotonic() + TICK_SECONDS) < begun + self._chosen.seconds:
            await asyncio.sleep(TICK_SECONDS)
            late.append(int((time.monotonic() - due) * 1e6))
        await asyncio.sleep(begun + self._chosen.seconds - time.monotonic())
        seconds, used, events = time.monotonic() - begun, stage.cpu_seconds(pid) - cpu, self._events() - before
        self.delays = None
        if self.lost:
            raise SystemExit(f"{self.lost} streams have ended")
        return {
            "events": events,
            "of_first": self._all[0].events - first,
            "per_second": events / seconds,
            "cpu_us": used / max(events, 1) * 1e6,
            "cpu_percent": used / seconds * 100,
            "rss_before": rss,
            "rss_after": stage.memory(pid),
            **(_spread("", delays) if delays else {}),
            **(_spread("late_", late) if late else {}),
        }

    def _events(self) -> int:
        return sum(reader.events for reader in self._all)


def _spread(prefix: str, found: list[int]) -> dict[str, float]:
    found.sort()
    names = {"p50_ms": 0.5, "p99_ms": 0.99, "max_ms": 1.0}
    at = {name: min(len(found) - 1, int(len(found) * share)) for name, share in names.items()}
    return {prefix + name: found[index] / 1000 for name, index in at.items()}


async def main(chosen: argparse.Namespace) -> None:
    readers = Readers(chosen)
    await readers.open()
    print(json.dumps(await readers.rounds()), flush=True)


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--url", required=True)
    arguments.add_argument("--targets", required=True)
    arguments.add_argument("--streams", type=int, default=64)
    arguments.add_argument("--pid", type=int, required=True, help="the server's process")
    arguments.add_argument("--rounds", type=int, default=1)
    arguments.add_argument("--seconds", type=float, default=3)
    arguments.add_argument("--settle", type=float, default=1, help="seconds before each round that do not count")
    arguments.add_argument("--stops", action="store_true", help="do not read the first stream in every other round")
    arguments.add_argument("--delays", action="store_true")
    arguments.add_argument("--lateness", action="store_true", help="how late a timer is here: the machine's own part")
    run(main(arguments.parse_args()))
