"""Agents for a benchmark that stream: native agents that heed credit and answer every call with events without end.

    python benchmarks/stream_agents.py --url ws://127.0.0.1:8080/agent --secret SECRET --agents 8 --rate 10

`--rate` is events per second of each stream; 0 sends as fast as credit allows. Each event carries the time at which
it was sent, in microseconds of the machine's monotonic clock, as `@0000001234567890@`; where credit was
missing, the time at which it should have been. Prints `ready` once all are attached, and runs until it is ended.
"""

from __future__ import annotations

import argparse
import asyncio
import heapq
import random
import re
import time
from collections import deque

from echo_agents import Fleet, LinkedAgent, masked, run

TICK_SECONDS = 0.001
HEAD = (
    b'{"statusUpdate":{"taskId":"t-1","contextId":"c-1","status":{"state":"TASK_STATE_WORKING","message":'
    b'{"messageId":"m","role":"ROLE_AGENT","parts":[{"text":"'
)
TAIL = b'"}]}}}}'
_ID = re.compile(rb'"id":"([^"]+)"')
_WINDOW = re.compile(rb'"window":\{"events":([0-9]+),"bytes":([0-9]+)\}')
_THROUGH = re.compile(rb'"through":([0-9]+)')


def now() -> int:
    """Microseconds of the machine's monotonic clock."""
    return time.monotonic_ns() // 1000


class Source:
    """One stream on its way: what it may send, and what it owes."""

    __slots__ = ("_ahead", "_head", "_text", "agent", "is_over", "limit", "owed", "seq")

    def __init__(self, agent: StreamAgent, id: bytes, window: tuple[int, int], size: int) -> None:
        text = size - len(HEAD) - len(TAIL) - len("@0123456789012345@")
        self._head = b'{"type":"a2a.event","payload":{"id":"%b","seq":' % id
        self._text = b"@" + b"x" * max(text, 0) + TAIL + b"}}"
        self._ahead = min(window[0], window[1] // size)
        self.agent = agent
        self.seq = 0
        self.limit = self._ahead
        self.owed: deque[int] = deque()
        self.is_over = False

    def credit(self, through: int) -> None:
        """The relay has taken events over. All bodies are of one size, so that bytes can be counted as events."""
        self.limit = through + self._ahead

    def event(self, stamp: int) -> bytes:
        """The next event as a frame."""
        self.seq += 1
        return masked(b'%b%d,"result":%b@%016d%b' % (self._head, self.seq, HEAD, stamp, self._text))


class StreamAgent(LinkedAgent):
    """One agent: upgrades, authenticates, streams."""

    def __init__(self, host: str, auth: bytes, attached: asyncio.Future[None], pace: Pace) -> None:
        super().__init__(host, auth, attached)
        self._pace = pace
        self._sources: dict[bytes, Source] = {}
        self.unsent: list[bytes] = []

    def answer(self, payload: bytes) -> bytes:
        kind = payload[:32]
        if b'"a2a.credit"' not in kind and b'"a2a.request"' not in kind and b'"a2a.cancel"' not in kind:
            return b""
        found = _ID.search(payload)
        assert found is not None
        if b'"a2a.credit"' in kind:
            source, through = self._sources.get(found[1]), _THROUGH.search(payload)
            if source is None or through is None:
                return b""
            source.credit(int(through[1]))
            return self._pace.catch_up(source)
        if b'"a2a.request"' in kind:
            window = _WINDOW.search(payload)
            assert window is not None, "the relay gives no credit"
            source = Source(self, found[1], (int(window[1]), int(window[2])), self._pace.size)
            self._sources[found[1]] = source
            return self._pace.begin(source)
        source = self._sources.pop(found[1], None)
        if source is not None:
            source.is_over = True
        return b""

    def flush(self) -> None:
        """Write what one tick has brought."""
        self.transport.write(b"".join(self.unsent))
        self.unsent.clear()


class Pace:
    """When the events of all streams of this process are due."""

    def __init__(self, rate: float, size: int) -> None:
        self._period = int(1e6 / rate) if rate else 0
        self._due: list[tuple[int, int, Source]] = []
        self._count = 0
        self.size = size

    def begin(self, source: Source) -> bytes:
        """The first event of a stream goes at once; the others begin at any moment of a period."""
        first = source.event(now())
        if not self._period:
            return first + self.catch_up(source)
        self._count += 1
        heapq.heappush(self._due, (now() + random.randrange(self._period), self._count, source))
        return first

    def catch_up(self, source: Source) -> bytes:
        """What a stream may send now that it could not before."""
        room, owed = source.limit - source.seq, source.owed
        stamps = [owed.popleft() for _ in range(min(room, len(owed)))] if self._period else [now()] * room
        return b"".join([source.event(stamp) for stamp in stamps])

    def tick(self) -> None:
        """Send what is due."""
        asyncio.get_running_loop().call_later(TICK_SECONDS, self.tick)
        stamp, heap, touched = now(), self._due, set()
        while heap and heap[0][0] <= stamp:
            due, number, source = heap[0]
            if source.is_over:
                heapq.heappop(heap)
                continue
            heapq.heapreplace(heap, (due + self._period, number, source))
            if source.seq < source.limit and not source.owed:
                source.agent.unsent.append(source.event(stamp))
                touched.add(source.agent)
            else:
                source.owed.append(due)
        for agent in touched:
            agent.flush()


async def main(chosen: argparse.Namespace) -> None:
    pace = Pace(chosen.rate, chosen.size)
    if chosen.rate:
        pace.tick()
    fleet = Fleet(
        chosen.url,
        chosen.secret,
        chosen.agents,
        tenants=1,
        make=lambda host, auth, attached: StreamAgent(host, auth, attached, pace),
        protocol="a2a-relay/1",
    )
    await fleet.attach()
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--url", required=True)
    arguments.add_argument("--secret", required=True)
    arguments.add_argument("--agents", type=int, default=8)
    arguments.add_argument("--rate", type=float, default=0)
    arguments.add_argument("--size", type=int, default=220, help="bytes of an event's body")
    run(main(arguments.parse_args()))
