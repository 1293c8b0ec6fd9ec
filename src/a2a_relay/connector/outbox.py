"""What leaves over one link: its own frames first, calls' frames as they come, large ones in pieces between them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from a2a_relay.wire.chunks import CHUNKED_FROM_BYTES, ChunkSender
from a2a_relay.wire.frames import ChunkTaken

_MAX_SAID = 1024
"""So many frames of the link itself may wait for a slow line before the relay is not read any more."""

Write = Callable[[bytes, bool], Awaitable[None]]
"""Writes one message, waiting while the line is slow; the flag says whether it is text."""


class Outbox:
    """The way out of one link. `now` is monotonic time in seconds; `run` must be running."""

    def __init__(self, write: Write, now: Callable[[], float], *, in_pieces: bool) -> None:
        self._write = write
        self._now = now
        self._in_pieces = in_pieces
        self._said: deque[bytes] = deque()
        self._cut = ChunkSender()
        self._sending: dict[str, asyncio.Future[None]] = {}
        """Calls with a frame of which some is still to be cut off."""
        self._work = asyncio.Event()
        self._less = asyncio.Event()
        self._is_closed = False

    async def say(self, frame: bytes) -> None:
        """Send a frame of the link itself: at once, but for those that were said before."""
        self._said.append(frame)
        self._work.set()
        while len(self._said) > _MAX_SAID and not self._is_closed:
            self._less.clear()
            await self._less.wait()

    async def send(self, id: str, frame: bytes) -> None:
        """Send a call's frame behind those that it has sent; returns when all of it has left, or nobody wants it."""
        while (earlier := self._sending.get(id)) is not None:
            await asyncio.wait({earlier})
        if self._is_closed:
            return
        if not self._in_pieces or len(frame) <= CHUNKED_FROM_BYTES:
            await self._write(frame, True)
            return
        done = self._sending[id] = asyncio.get_running_loop().create_future()
        self._cut.put(id, frame)
        self._work.set()
        # Who stops waiting does not stop the frame: half of it has perhaps left.
        await asyncio.wait({done})

    def take(self, receipt: ChunkTaken) -> None:
        """The relay has taken a piece."""
        self._cut.take(receipt, self._now())
        self._work.set()

    def drop(self, id: str) -> None:
        """Nobody wants the rest of what a call is sending."""
        self._cut.drop(id)
        self._release(id)
        self._work.set()

    def close(self) -> None:
        """The link is gone: nobody waits for it any more."""
        self._is_closed = True
        self._less.set()
        for id in list(self._sending):
            self._release(id)

    async def run(self) -> None:
        """Write what was said and what was cut, until cancelled."""
        while True:
            await self._work.wait()
            self._work.clear()
            while await self._write_next():
                pass

    async def _write_next(self) -> bool:
        if self._said:
            await self._write(self._said.popleft(), True)
            self._less.set()
            return True
        piece = self._cut.next_piece(self._now())
        if piece is None:
            return False
        await self._write(piece, False)
        for id in [id for id in self._sending if self._cut.is_cut(id)]:
            self._release(id)
        return True

    def _release(self, id: str) -> None:
        done = self._sending.pop(id, None)
        if done is not None and not done.done():
            done.set_result(None)
