"""A TCP proxy on loopback that is as bad as a network can be, on command.

    with CuttingProxy(relay.url) as proxy:
        ... talk to proxy.url ...
        proxy.cut()

It runs in a thread of its own, so that tests of either kind and other processes can talk
through it. What passes is bytes: HTTP, WebSockets, anything.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Flag, auto
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

MAX_CONNECTIONS = 512
CALL_SECONDS = 10.0
_PIECE = 64 * 1024
_TICK_SECONDS = 0.02
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Way(Flag):
    """Which way bytes go: up to the server, or down to the client."""

    UP = auto()
    DOWN = auto()
    BOTH = UP | DOWN


@dataclass
class _Weather:
    """What bytes of one way meet. `rate` is in bytes/s of each connection; None is no bound, 0 holds all back."""

    delay_seconds: float = 0.0
    rate: float | None = None


@dataclass(eq=False)
class _Connection:
    """One connection of a client, with its own to the server."""

    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    def cut(self, *, reset: bool) -> None:
        for writer in self.writers:
            if reset:
                with suppress(OSError):
                    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            writer.transport.abort()


class CuttingProxy:
    """A proxy to `target`, a URL or `host:port`. It ends with its block, and by itself after `life_seconds`."""

    def __init__(
        self,
        target: str,
        *,
        life_seconds: float = 120.0,
        piece_bytes: int = _PIECE,
        buffer_bytes: int | None = None,
    ) -> None:
        """`piece_bytes` are read at once; `buffer_bytes` bounds what each socket of the proxy holds.

        Small ones make a throttled proxy a line: a queue builds up at who sends, not inside of it.
        """
        parts = urlsplit(target if "://" in target else f"tcp://{target}")
        assert parts.hostname, target
        self._scheme = parts.scheme
        self._server = parts.hostname, parts.port or (443 if parts.scheme in ("https", "wss") else 80)
        self._life_seconds = life_seconds
        self._piece_bytes = piece_bytes
        self._buffer_bytes = buffer_bytes
        self._weather = {Way.UP: _Weather(), Way.DOWN: _Weather()}
        self._connections: set[_Connection] = set()
        self._listening: asyncio.Server | None = None
        self._reopening: asyncio.TimerHandle | None = None
        self._opening: asyncio.Task[None] | None = None
        self._loop = asyncio.new_event_loop()
        self._ended = asyncio.Event()
        self._is_up = threading.Event()
        self._thread = threading.Thread(target=self._run, name="cutting-proxy", daemon=True)
        # Bound and never listening: the port stays ours while connections to it are refused.
        self._holder = _bound(0, buffer_bytes)
        self.port = int(self._holder.getsockname()[1])
        self.url = f"{self._scheme}://127.0.0.1:{self.port}"
        self.accepted = 0
        """How many connections there have been."""
        self.carried = {Way.UP: 0, Way.DOWN: 0}
        """How many bytes have passed, each way."""

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._is_up.wait(CALL_SECONDS), "the proxy does not come up"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with suppress(RuntimeError):  # its life is over already
            self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join(CALL_SECONDS)
        assert not self._thread.is_alive(), "the proxy does not end"

    # what can happen to connections

    def cut(self, *, reset: bool = True) -> int:
        """Cut all connections now, both sides of each; how many there were. `reset` says it by RST, else by FIN."""

        def cut() -> int:
            found = list(self._connections)
            for connection in found:
                connection.cut(reset=reset)
            return len(found)

        return self._do(cut)

    def refuse(self, seconds: float) -> None:
        """Refuse connections from now on, for a while. Those that exist stay."""
        self._do(lambda: self._close_for(seconds))

    def delay(self, seconds: float, way: Way = Way.BOTH) -> None:
        """Hold each piece back for so long, from now on."""
        self._do(lambda: self._set(way, delay_seconds=seconds))

    def throttle(self, bytes_per_second: float | None, way: Way = Way.BOTH) -> None:
        """Let no more pass in each connection, from now on. None takes the bound away; 0 is a dead silence."""
        self._do(lambda: self._set(way, rate=bytes_per_second))

    def _do(self, action: Callable[[], Any]) -> Any:
        """Run in the proxy's own thread, to its end."""

        async def act() -> Any:
            return action()

        return asyncio.run_coroutine_threadsafe(act(), self._loop).result(CALL_SECONDS)

    def _set(self, ways: Way, **changes: Any) -> None:
        for way, weather in self._weather.items():
            if way in ways:
                vars(weather).update(changes)

    # the proxy's own thread

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        try:
            await self._listen()
            self._is_up.set()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._ended.wait(), self._life_seconds)
        finally:
            if self._reopening is not None:
                self._reopening.cancel()
            if self._listening is not None:
                self._listening.close()
            for connection in list(self._connections):
                connection.cut(reset=True)
            self._holder.close()

    async def _listen(self) -> None:
        self._listening = await asyncio.start_server(
            self._accept, **self._limit, sock=_bound(self.port, self._buffer_bytes)
        )

    def _close_for(self, seconds: float) -> None:
        if self._listening is not None:
            self._listening.close()
            self._listening = None
        if self._reopening is not None:
            self._reopening.cancel()
        self._reopening = self._loop.call_later(seconds, self._reopen)

    def _reopen(self) -> None:
        self._opening = self._loop.create_task(self._listen())

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        connection = _Connection([writer])
        if len(self._connections) >= MAX_CONNECTIONS:
            connection.cut(reset=True)
            return
        self._connections.add(connection)
        try:
            upper_reader, upper_writer = await self._dial()
            for each in (writer, upper_writer):
                self._make_small(each)
            connection.writers.append(upper_writer)
            await _both(self._pump(reader, upper_writer, Way.UP), self._pump(upper_reader, writer, Way.DOWN))
        except OSError:
            connection.cut(reset=True)
        finally:
            self._connections.discard(connection)
            for each in connection.writers:
                each.close()

    @property
    def _limit(self) -> dict[str, int]:
        """What a stream reader holds, as asyncio is told."""
        return {} if self._buffer_bytes is None else {"limit": self._piece_bytes}

    async def _dial(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        upper = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        _bound_buffers(upper, self._buffer_bytes)
        upper.setblocking(False)
        try:
            await self._loop.sock_connect(upper, self._server)
        except OSError:
            upper.close()
            raise
        return await asyncio.open_connection(sock=upper, **self._limit)

    def _make_small(self, writer: asyncio.StreamWriter) -> None:
        """Nothing waits in the proxy beyond its sockets."""
        if self._buffer_bytes is not None:
            writer.transport.set_write_buffer_limits(self._piece_bytes)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way: Way) -> None:
        """Carry bytes until their end, and then the end."""
        weather, ahead = self._weather[way], 0.0
        while data := await reader.read(self._size(weather)):
            if weather.delay_seconds:
                await asyncio.sleep(weather.delay_seconds)
            ahead = await self._hold(len(data), weather, ahead)
            writer.write(data)
            await writer.drain()
            self.carried[way] += len(data)
        if writer.can_write_eof():
            writer.write_eof()

    def _size(self, weather: _Weather) -> int:
        """How much to read at once."""
        if weather.rate is None:
            return self._piece_bytes
        return min(self._piece_bytes, max(1, int(weather.rate * _TICK_SECONDS)))

    async def _hold(self, size: int, weather: _Weather, ahead: float) -> float:
        """Wait as long as so many bytes take; the bound may change meanwhile.

        `ahead` bytes were waited for already, because a clock ticks late; how many are now.
        """
        left = size - ahead
        while left > 0 and weather.rate is not None:
            began = self._loop.time()
            await asyncio.sleep(_TICK_SECONDS if weather.rate == 0 else min(_TICK_SECONDS, left / weather.rate))
            left -= (self._loop.time() - began) * (weather.rate or 0)
        return min(-left, (weather.rate or 0) * _TICK_SECONDS)


async def _both(one: Coroutine[Any, Any, None], other: Coroutine[Any, Any, None]) -> None:
    """Run both to their ends; the failure of one ends the other. Raises OSError."""
    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(one)
            tasks.create_task(other)
    except* OSError as errors:
        raise OSError("cut") from errors


def _bound_buffers(found: socket.socket, size: int | None) -> None:
    """Bound what the kernel holds of a socket; connections that it accepts inherit it."""
    if size is not None:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, size)


def _bound(port: int, buffer_bytes: int | None = None) -> socket.socket:
    """A socket at a port of loopback, which others of this process may share."""
    found = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    _bound_buffers(found, buffer_bytes)
    found.bind(("127.0.0.1", port))
    return found
