"""Whether the upstream is there, as the connector sees it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from a2a_relay.connector.refused import ConnectorRefused
from a2a_relay.connector.service_headers import read_header_file
from a2a_relay.connector.upstream import Output, UpstreamDown
from a2a_relay.connector.watch import LOOK_SECONDS, Watch
from a2a_relay.wire.agent_side import IncomingRequest


class Upstream:
    """An agent that is there or not."""

    adopts_ids = False
    serves_rest_v03 = False

    def __init__(self) -> None:
        self.card: bytes | None = b'{"n":1}'
        self.is_up = True

    async def start(self) -> None: ...

    async def aclose(self) -> None: ...

    async def read_card(self) -> bytes | None:
        if not self.is_up:
            raise UpstreamDown("connection refused\x1b[2J")
        return self.card

    async def call(self, request: IncomingRequest, output: Output) -> None: ...


class Told:
    """Counts the changes that were told, and lets the watch take a given number of turns."""

    def __init__(self, turns: int) -> None:
        self.count = 0
        self.turns = turns
        self.waited: list[float] = []

    async def changed(self) -> None:
        self.count += 1

    async def wait(self, event: asyncio.Event, seconds: float) -> None:
        self.waited.append(seconds)
        if len(self.waited) > self.turns:
            raise asyncio.CancelledError


async def turns(watch: Watch) -> None:
    with pytest.raises(asyncio.CancelledError):
        await watch.run()


async def test_a_running_upstream_is_looked_at_now_and_then() -> None:
    upstream, told = Upstream(), Told(3)
    watch = Watch(upstream, told.changed, told.wait)
    await watch.look()
    upstream.card = b'{"n":2}'
    await turns(watch)
    assert (watch.is_ready, watch.card) == (True, b'{"n":2}')
    assert told.waited[:3] == [LOOK_SECONDS] * 3


async def test_a_stopped_upstream_is_probed_with_growing_waits_and_keeps_its_card() -> None:
    upstream, told = Upstream(), Told(7)
    watch = Watch(upstream, told.changed, told.wait)
    await watch.look()
    upstream.is_up = False
    await turns(watch)
    assert told.waited[:7] == [LOOK_SECONDS, 1, 2, 4, 8, 15, 15]
    assert (watch.is_ready, watch.card) == (False, b'{"n":1}')
    assert "\x1b" not in watch.reason
    upstream.is_up = True
    await watch.look()
    assert (watch.is_ready, watch.reason) == (True, "")


async def test_a_call_that_found_nobody_is_told_before_the_next_look() -> None:
    upstream, told = Upstream(), Told(1)
    watch = Watch(upstream, told.changed, told.wait)
    watch.report_down("refused")
    assert not watch.is_ready
    await turns(watch)
    assert told.count == 1
    assert not watch.is_ready, "the report was told; the upstream was not looked at yet"


async def test_an_upstream_without_a_card_is_ready_all_the_same() -> None:
    upstream, told = Upstream(), Told(0)
    upstream.card = None
    watch = Watch(upstream, told.changed, told.wait)
    await watch.look()
    assert (watch.is_ready, watch.card) == (True, None)


def test_a_header_file_is_one_header_a_line(tmp_path: Path) -> None:
    path = tmp_path / "headers"
    path.write_text("# for the agent\nAuthorization: Bearer x:y\n\nX-Key:  1 \n")
    assert read_header_file(str(path)) == {"authorization": "Bearer x:y", "x-key": "1"}
    for bad in ("no colon", "bad name: x", ": x", "x: \x00"):
        path.write_text(bad)
        with pytest.raises(ConnectorRefused, match="line 1"):
            read_header_file(str(path))
    with pytest.raises(ConnectorRefused):
        read_header_file(str(tmp_path / "none"))
