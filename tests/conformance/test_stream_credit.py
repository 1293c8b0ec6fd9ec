"""Credit: an agent is told how far it may be ahead of its reader, and that what it sent was taken."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from agents import PATIENCE_SECONDS, Attach, Call
from behaviours import echo, message, update
from clients import Client, Relay, encoded, open_socket, raw_request, result_of

pytestmark = [pytest.mark.capability("stream-credit"), pytest.mark.capability("native-link")]

EVENT_BYTES = 4096
FAR_MORE = 4000
"""Events of 4 KiB: 16 MiB, which no window and no pair of sockets has room for."""


class Counting:
    """Streams events as far as its credit goes, and keeps what it was told."""

    def __init__(self, events: int, size: int = 0) -> None:
        self.sent = 0
        self.through: list[int] = []
        self.window: dict[str, int] = {}
        self._events = events
        self._filler = "x" * size

    async def __call__(self, agent: Any, call: Call) -> None:
        if not call.stream:
            await echo(agent, call)
            return
        self.window = call.payload["window"]
        ahead, half = self.window["events"], self.window["bytes"] // 2
        size = len(str(update(0, filler=self._filler)))
        assert size <= half, "this agent knows small events only"
        ahead = min(ahead, self.window["bytes"] // (size + 64))
        while self.sent < self._events:
            while self.sent >= (self.through[-1] if self.through else 0) + ahead:
                await self._hear(agent, call)
            self.sent += 1
            await agent.event(call, self.sent, update(self.sent, filler=self._filler))
        await agent.end(call)
        while not self.through or self.through[-1] <= self._events:
            await self._hear(agent, call)

    async def _hear(self, agent: Any, call: Call) -> None:
        credit = (await agent.next_frame("a2a.credit", within=60))["payload"]
        assert credit["id"] == call.id
        assert credit["events"] > 0
        assert credit["bytes"] > 0
        self.through.append(credit["through"])


async def until_settled(counting: Counting) -> int:
    """Wait until an agent has sent nothing for a while; how much it has sent."""
    async with asyncio.timeout(2 * PATIENCE_SECONDS):
        before = -1
        while counting.sent != before or not before:
            before = counting.sent
            await asyncio.sleep(0.5)
    return before


async def test_credit_moves_as_the_reader_reads_and_the_end_is_acknowledged(native: Attach, client: Client) -> None:
    counting = Counting(500)
    agent = await native(counting)
    async with client.stream(f"{client.base(agent.id)}/message:stream", message("go")) as events:
        assert len(await events.all()) == 500
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not counting.through or counting.through[-1] != 501:
            await asyncio.sleep(0.02)
    assert counting.through == sorted(set(counting.through)), "it only ever moves on"
    half = max(counting.window["events"] // 2, 1)
    gaps = [later - earlier for earlier, later in zip([0, *counting.through], counting.through, strict=False)]
    assert max(gaps) <= counting.window["events"], f"it comes at the latest when half of the window ({half}) is taken"


async def test_a_reader_that_stops_stops_its_own_agent_and_nobody_else(
    native: Attach, client: Client, relay: Relay
) -> None:
    """And when it reads on it gets all of it, in order."""
    counting = Counting(FAR_MORE, EVENT_BYTES)
    agent = await native(counting)
    reader, writer = await stopped_reader(relay, client, f"{client.base(agent.id)}/message:stream")
    try:
        sent = await until_settled(counting)
        assert sent < FAR_MORE, "nothing has held it back"
        result_of(await client.rpc(agent.id, "SendMessage", message("meanwhile")))
        assert counting.sent == sent
        found = 0
        async with asyncio.timeout(60):
            while found < FAR_MORE:
                line = await reader.readuntil(b"\n")
                if line.startswith(b"data:"):
                    found += 1
                    assert b'"step": %d,' % found in line or b'"step":%d,' % found in line
        assert counting.sent == FAR_MORE
    finally:
        writer.close()


async def stopped_reader(relay: Relay, client: Client, path: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A client that reads no more of its answer than its buffer takes, until it is read from."""
    reader, writer = await open_socket(relay)
    writer.write(raw_request(relay, "POST", path, client.token or "", encoded(message("go"))))
    await writer.drain()
    return reader, writer


async def test_an_agent_that_ignores_its_credit_loses_the_stream(native: Attach, client: Client, relay: Relay) -> None:
    """It has said that it heeds credit: the stream ends with an error, and the agent is told to stop."""

    async def flood(agent: Any, call: Call) -> None:
        for step in range(1, FAR_MORE):
            await agent.event(call, step, update(step, filler="x" * EVENT_BYTES))

    agent = await native(flood, features=["credit"])
    _, writer = await stopped_reader(relay, client, f"{client.base(agent.id)}/message:stream")
    try:
        cancel = (await agent.next_frame("a2a.cancel", within=60))["payload"]
    finally:
        writer.close()
    assert cancel["id"] == agent.calls[0].id
    assert cancel["reason"] == "CREDIT_EXCEEDED"
