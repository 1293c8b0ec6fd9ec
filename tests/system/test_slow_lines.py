"""Large bodies over a slow line between agent and relay: they arrive, and small calls over the same link do not wait.

The line is a proxy with buffers so small that it is the line that queues, and not the kernels at its ends.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from cutting_proxy import CuttingProxy, Way
from programs import Relay, running_relay
from readers import reading

from a2a_relay.connector import Connector, IncomingRequest

MIB = 1024 * 1024
LARGE = 4 * MIB - 64 * 1024
"""Beside its envelope it is within the default `max_body`."""
RATE = 1.25 * MIB
"""10 Mbit/s, as bytes a second."""
SLOW_RATE = 256_000 / 8
SMALL_CALLS = 25
MORE_SECONDS = 0.1
"""How much later a small call may be answered while a large body crosses."""
TRIES = 3
PATIENCE_SECONDS = 100.0
AGENT = "weighty"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(150)]


@pytest.fixture
def relay(tmp_path: Path) -> Iterator[Relay]:
    with running_relay(tmp_path) as running:
        yield running


async def answer(request: IncomingRequest) -> dict[str, Any]:
    """Weigh what is said, and say as much as is asked for."""
    message = json.loads(request.params)["message"]
    said = len(message["parts"][0]["text"])
    return {"message": {"messageId": "r", "weighed": said, "text": "x" * message["metadata"]["wanted"]}}


@asynccontextmanager
async def weighing(relay: Relay, url: str, **options: Any) -> AsyncIterator[Connector]:
    """The agent, behind a connector that dials this URL."""
    async with Connector(url, relay.token(role="agent", agent=AGENT), **options) as connector:
        await connector.start(handler=answer)
        yield connector


async def ask(relay: Relay, said: int, wanted: int) -> None:
    """One unary call whose request and answer weigh so much."""
    metadata = {"wanted": wanted}
    message = {"messageId": "m", "role": "ROLE_USER", "parts": [{"text": "x" * said}], "metadata": metadata}
    body = json.dumps({"message": message}).encode()
    async with reading(f"{relay.base(AGENT)}message:send", relay.token(), body, patience=PATIENCE_SECONDS) as reader:
        found = json.loads(await reader.body())
    assert reader.status == 200, found
    assert (found["message"]["weighed"], len(found["message"]["text"])) == (said, wanted)


async def small_calls(relay: Relay, *, until: Callable[[], bool] = lambda: False) -> list[float]:
    """How long each of some small calls takes, one after the other."""
    seconds: list[float] = []
    while len(seconds) < SMALL_CALLS and not until():
        began = time.perf_counter()
        await ask(relay, 10, 10)
        seconds.append(time.perf_counter() - began)
        await asyncio.sleep(0.02)
    return seconds


def shown(seconds: list[float]) -> str:
    return f"median {statistics.median(seconds) * 1000:.0f} ms, max {max(seconds) * 1000:.0f} ms"


@pytest.mark.parametrize("way", [Way.DOWN, Way.UP], ids=["a large request", "a large answer"])
async def test_small_calls_pass_a_large_body_on_a_slow_line(relay: Relay, way: Way) -> None:
    """4 MiB at 10 Mbit/s take more than three seconds; calls meanwhile take less than 100 ms more than before."""
    large = (LARGE, 10) if way is Way.DOWN else (10, LARGE)
    found: list[str] = []
    with CuttingProxy(relay.url, piece_bytes=4096, buffer_bytes=16 * 1024) as proxy:
        async with weighing(relay, proxy.url):
            proxy.throttle(RATE)
            for _ in range(TRIES):
                before = await small_calls(relay)
                began = time.perf_counter()
                crossing = asyncio.create_task(ask(relay, *large))
                await carrying(proxy, way)
                meanwhile = await small_calls(relay, until=crossing.done)
                is_meanwhile = not crossing.done()
                await crossing
                seconds = time.perf_counter() - began
                found.append(f"alone {shown(before)}; beside 4 MiB in {seconds:.1f} s {shown(meanwhile)}")
                print(f"\n{way.name}: {found[-1]} of {len(meanwhile)} calls")
                assert is_meanwhile or len(meanwhile) > SMALL_CALLS // 2, "it was across before it could delay anybody"
                if max(meanwhile) - max(before) < MORE_SECONDS:
                    return
    pytest.fail("; ".join(found))


async def carrying(proxy: CuttingProxy, way: Way) -> None:
    """Wait until a large body is on the line."""
    start = proxy.carried[way]
    async with asyncio.timeout(30):
        while proxy.carried[way] < start + 128 * 1024:
            await asyncio.sleep(0.01)


async def test_sixty_mebibytes_pass_where_the_limit_is_sixty_four(tmp_path: Path) -> None:
    """`--max-body 64MiB` holds on every step of the way, in both directions; beyond it is 413."""
    with running_relay(tmp_path, "--max-body", "64MiB") as relay:
        async with weighing(relay, relay.url, max_frame=65 * MIB):
            for large in ((60 * MIB, 10), (10, 60 * MIB)):
                began = time.perf_counter()
                await ask(relay, *large)
                print(f"\n60 MiB in {time.perf_counter() - began:.2f} s")
            body = b'{"message":"' + b"x" * (64 * MIB) + b'"}'
            async with reading(f"{relay.base(AGENT)}message:send", relay.token(), body) as reader:
                assert reader.status == 413


async def test_a_line_of_a_modem_is_not_taken_for_dead(relay: Relay) -> None:
    """1 MiB at 256 kbit/s takes half a minute, each way; the link lives on, and small calls pass."""
    with CuttingProxy(relay.url, piece_bytes=4096, buffer_bytes=16 * 1024) as proxy:
        async with weighing(relay, proxy.url) as connector:
            welcome = connector.welcome
            proxy.throttle(SLOW_RATE)
            began = time.perf_counter()
            crossing = asyncio.gather(ask(relay, MIB, 10), ask(relay, 10, MIB))
            seconds = await small_calls(relay, until=crossing.done)
            await crossing
            print(f"\n1 MiB each way in {time.perf_counter() - began:.0f} s; small calls meanwhile: {shown(seconds)}")
            assert connector.welcome is welcome, "it has attached anew"
        assert proxy.accepted <= 2, "the link, and perhaps one to ask for the keys of the relay"
