"""The way out of one link: what goes before what, and who waits for whom."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from a2a_relay.connector.outbox import Outbox
from a2a_relay.wire import chunks
from a2a_relay.wire.frames import Chunk, ChunkTaken

LARGE = b"x" * 200_000


class Line:
    """A line whose other end is the test."""

    def __init__(self, *, in_pieces: bool = True) -> None:
        self.outbox = Outbox(self._write, lambda: 0.0, in_pieces=in_pieces)
        self.written: list[str] = []
        self.came = asyncio.Event()
        self.taken: dict[str, int] = {}

    async def _write(self, message: bytes, is_text: bool) -> None:
        if message.startswith(chunks.HEAD):
            chunk = chunks.read(message)
            assert isinstance(chunk, Chunk)
            assert not is_text
            self.taken[chunk.id] = self.taken.get(chunk.id, 0) + len(chunk.data)
            self.written.append(f"piece of {chunk.id}")
        else:
            assert is_text
            self.written.append(message[:20].decode())
        self.came.set()

    def acknowledge(self, id: str) -> None:
        self.outbox.take(ChunkTaken(id, self.taken[id]))


@asynccontextmanager
async def running(line: Line) -> AsyncIterator[asyncio.TaskGroup]:
    async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        pump = tasks.create_task(line.outbox.run())
        yield tasks
        pump.cancel()


async def settled() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_a_large_frame_waits_for_receipts_and_others_pass() -> None:
    line = Line()
    async with running(line) as tasks:
        sending = tasks.create_task(line.outbox.send("a", LARGE))
        await settled()
        assert line.written == ["piece of a"] * 2
        await line.outbox.send("b", b"short")
        await line.outbox.say(b"pong")
        await settled()
        assert line.written[2:] == ["short", "pong"]
        while not sending.done():
            line.acknowledge("a")
            await settled()
        assert line.taken["a"] == len(LARGE)


async def test_a_calls_next_frame_waits_until_the_one_before_has_left() -> None:
    line = Line()
    async with running(line) as tasks:
        tasks.create_task(line.outbox.send("a", LARGE))
        await settled()
        after = tasks.create_task(line.outbox.send("a", b"the end"))
        await settled()
        assert not after.done()
        while not after.done():
            line.acknowledge("a")
            await settled()
        assert line.written[-1] == "the end"
        assert line.taken["a"] == len(LARGE)


async def test_who_stops_waiting_does_not_stop_a_frame_half_of_which_has_left() -> None:
    line = Line()
    async with running(line) as tasks:
        sending = tasks.create_task(line.outbox.send("a", LARGE))
        await settled()
        sending.cancel()
        after = tasks.create_task(line.outbox.send("a", b"the end"))
        while not after.done():
            await settled()
            line.acknowledge("a")
        assert line.taken["a"] == len(LARGE)


async def test_a_dropped_call_makes_room_for_the_others_and_nobody_waits_for_it() -> None:
    line = Line()
    async with running(line) as tasks:
        sending = tasks.create_task(line.outbox.send("a", LARGE))
        await settled()
        tasks.create_task(line.outbox.send("b", LARGE))
        await settled()
        assert "piece of b" not in line.written
        line.outbox.drop("a")
        await settled()
        assert sending.done()
        assert line.written[-1] == "piece of b"
        line.outbox.close()
        await settled()


async def test_a_link_that_has_gone_keeps_nobody_waiting() -> None:
    line = Line()
    async with running(line) as tasks:
        sending = tasks.create_task(line.outbox.send("a", LARGE))
        behind = tasks.create_task(line.outbox.send("a", b"the end"))
        await settled()
        line.outbox.close()
        await sending
        await behind
        await line.outbox.send("b", b"late")
        assert set(line.written) == {"piece of a"}


async def test_a_relay_without_pieces_gets_frames_whole() -> None:
    line = Line(in_pieces=False)
    await line.outbox.send("a", LARGE)
    assert len(line.written) == 1
