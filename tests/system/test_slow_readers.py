"""A client that stops reading stops its own stream and nothing else: two hundred streams over one link, one stopped.

The relay, the link and the clients' sockets are real; the agent heeds its credit as any agent must. Figures of two runs
are compared with each other, never with a clock; a machine that is busy with other things may repeat both.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from native_agents import Stream, attached, attached_without_credit
from programs import Relay, running_relay
from readers import Event, Reader, message, reading

STREAMS = 200
EVENTS = 100
TRIES = 3
TOLERATED = 0.4
"""The others' rate beside a stopped stream, of that without one. Held up they would have none; benchmarks say more."""
BODY = b'{"n":%d,"filler":"' + b"x" * 300 + b'"}'
LARGE = 4096
LARGE_BODY = b'{"n":%d,"filler":"' + b"x" * LARGE + b'"}'
LARGE_EVENTS = 8000
"""32 MiB, of which a stream that is stopped may keep only its window and what the sockets hold."""
RECEIVE_BUFFER = 16 * 1024
WINDOW_EVENTS = 64
SOCKETS_BYTES = 6 * 1024 * 1024
"""The most that Linux lets the two ends of a connection on loopback hold (tcp_wmem), and the relay's own buffer."""
GROWTH_BYTES = 24 * 1024 * 1024
"""What a stopped stream may cost: its replay (4 MiB), the sockets' share, and slack of the allocator."""
SETTLED_SECONDS = 0.5
PATIENCE_SECONDS = 60.0

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


@pytest.fixture
def relay(tmp_path: Path) -> Iterator[Relay]:
    with running_relay(tmp_path) as running:
        yield running


async def count(stream: Stream) -> None:
    """Stream what was asked for: `stopped` is a long one of large events, everything else is short."""
    is_long = stream.text.startswith("stopped")
    for number in range(LARGE_EVENTS if is_long else EVENTS):
        await stream.say((LARGE_BODY if is_long else BODY) % number)
    await stream.end()


@asynccontextmanager
async def opened(relay: Relay, texts: list[str], *, buffer: int | None = None) -> AsyncIterator[list[Reader]]:
    """Streams whose heads have come."""
    url, token = f"{relay.base('many')}message:stream", relay.token()

    async with AsyncExitStack() as stack:
        opening = [stack.enter_async_context(reading(url, token, message(t), receive_buffer=buffer)) for t in texts]
        yield list(await asyncio.gather(*opening))


async def numbers(reader: Reader) -> list[int]:
    """What a stream counts to its clean end."""
    return [event.json["n"] async for event in reader.events() if event.name == "message"]


async def rate_of_the_others(relay: Relay, run: str) -> float:
    """Events in a second of all streams but one; each of them is whole and in order."""
    texts = [f"{run}-{number}" for number in range(STREAMS - 1)]
    began = time.monotonic()
    async with opened(relay, texts) as readers:
        async with asyncio.timeout(PATIENCE_SECONDS):
            found = await asyncio.gather(*map(numbers, readers))
        seconds = time.monotonic() - began
    assert all(each == list(range(EVENTS)) for each in found)
    return len(texts) * EVENTS / seconds


def memory_of(relay: Relay) -> int:
    """Resident bytes of the relay's process."""
    pages = int(Path(f"/proc/{relay.program.process.pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGESIZE")


async def blocked(stream: Stream) -> int:
    """Wait until a stream has no credit and gets none for a while; how many events have left."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            before = stream.sent
            await stream.waits.wait()
            await asyncio.sleep(SETTLED_SECONDS)
            if stream.sent == before and stream.waits.is_set():
                return before


async def test_a_stopped_client_costs_the_other_streams_nothing_and_loses_nothing(relay: Relay) -> None:
    """Two hundred streams, one client stops: the others' rate stays, its agent waits, memory is bounded."""
    async with attached(relay, "many", count) as agent:
        await rate_of_the_others(relay, "warm")
        shares: list[float] = []
        for attempt in range(TRIES):
            alone = await rate_of_the_others(relay, f"alone-{attempt}")
            async with opened(relay, [f"stopped-{attempt}"], buffer=RECEIVE_BUFFER) as [stopped]:
                before = memory_of(relay)
                sent = await blocked(await agent.stream(f"stopped-{attempt}"))
                grown = memory_of(relay) - before
                beside = await rate_of_the_others(relay, f"beside-{attempt}")
                assert (await agent.stream(f"stopped-{attempt}")).sent == sent, "it went on though nobody reads"
                print(
                    f"\nthe others: {alone:,.0f} events/s alone, {beside:,.0f} beside a stopped one; its "
                    f"agent waits after {sent} events of {LARGE} bytes; the relay has grown by {grown / 2**20:.1f} MiB"
                )
                assert sent < LARGE_EVENTS, "it was not blocked"
                assert sent <= WINDOW_EVENTS + SOCKETS_BYTES // LARGE
                assert grown < GROWTH_BYTES
                async with asyncio.timeout(PATIENCE_SECONDS):
                    assert await numbers(stopped) == list(range(LARGE_EVENTS))
            shares.append(beside / alone)
            if shares[-1] >= TOLERATED:
                return
    pytest.fail(f"the others' rate beside a stopped stream, of that without one: {shares}")


async def test_unary_calls_are_answered_beside_a_stopped_stream(relay: Relay) -> None:
    """What the link carries for others does not queue behind a stream that nobody reads."""
    async with attached(relay, "many", count) as agent, opened(relay, ["stopped"], buffer=RECEIVE_BUFFER):
        await blocked(await agent.stream("stopped"))
        for _ in range(20):
            async with reading(f"{relay.base('many')}message:send", relay.token(), message("now")) as reader:
                assert reader.status == 200
                assert b"messageId" in await reader.body()


async def test_of_agents_without_credit_only_the_slow_stream_ends(relay: Relay) -> None:
    """An agent of a2a.v1 cannot be told to wait: what is too much for its slow reader ends that stream by its name."""
    said: dict[str, int] = {}

    async def count_on(text: str, say: Callable[[bytes], Awaitable[None]]) -> None:
        for number in range(LARGE_EVENTS if text == "stopped" else EVENTS):
            await say((LARGE_BODY if text == "stopped" else BODY) % number)
            said[text] = number + 1

    others = [f"other-{number}" for number in range(20)]
    async with attached_without_credit(relay, "many", count_on):
        async with opened(relay, ["stopped"], buffer=RECEIVE_BUFFER) as [stopped], opened(relay, others) as readers:
            async with asyncio.timeout(PATIENCE_SECONDS):
                assert await asyncio.gather(*map(numbers, readers)) == [list(range(EVENTS))] * len(others)
                while said.get("stopped") != LARGE_EVENTS:
                    await asyncio.sleep(0.05)
                events: list[Event] = [event async for event in stopped.events() if event.name != "comment"]
        assert (events[-1].name, events[-1].reason) == ("error", "STREAM_TOO_SLOW")
        got = [event.json["n"] for event in events[:-1]]
        assert got == list(range(len(got))), "what it has of it is in order"
        assert len(got) < LARGE_EVENTS
        async with opened(relay, ["afterwards"]) as [reader]:
            assert await numbers(reader) == list(range(EVENTS)), "the link lives"
