"""Writes of one turn of the loop leave together at its end.

A write wakes whoever waits for it on the other side, and being woken once for
ten frames is far cheaper, on both sides, than ten times: on loopback this is half of the
kernel's part of a relayed call. Nothing waits longer than the turn that it was written in.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection

AT_ONCE_BYTES = 64 * 1024
"""A connection with this much to say does not wait for the end of the turn; what is smaller is copied,
which costs less than not to."""
UNREAD_SECONDS = 30.0
"""After this long without a byte read, a closed connection is given up."""
_LOG = logging.getLogger("a2a_relay.http")


class Outbox:
    """The connections that have something to say in this turn."""

    def __init__(self, call_soon: Callable[[Callable[[], None]], object] | None = None) -> None:
        """`call_soon` calls back at the end of this turn; the running loop's unless given."""
        self._call_soon = call_soon or (lambda callback: asyncio.get_running_loop().call_soon(callback))
        self._waiting: list[BatchingTransport] = []

    def add(self, transport: BatchingTransport) -> None:
        """Have a connection written to at the end of the turn."""
        self._waiting.append(transport)
        if len(self._waiting) == 1:
            self._call_soon(self._flush)

    def _flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        for transport in waiting:
            try:
                transport.flush()
            except (OSError, RuntimeError) as error:  # one connection never costs another
                _LOG.warning("a connection could not be written to: %s", error)
                transport.abort()


class ReaderWatch:
    """Waits until a peer has read what was written; one that reads nothing for so long is given up."""

    def __init__(self, transport: asyncio.WriteTransport, seconds: float) -> None:
        self._transport = transport
        self._seconds = seconds
        self._timer: asyncio.TimerHandle | None = None
        self._wait(transport.get_write_buffer_size())

    def cancel(self) -> None:
        """Wait no longer."""
        if self._timer is not None:
            self._timer.cancel()

    def _wait(self, unread: int) -> None:
        if unread:
            self._timer = asyncio.get_running_loop().call_later(self._seconds, self._due, unread)

    def _due(self, before: int) -> None:
        unread = self._transport.get_write_buffer_size()
        if unread < before:
            self._wait(unread)
        else:
            self._transport.abort()


class BatchingTransport(asyncio.Transport):
    """A transport whose small writes wait for the end of the turn; everything keeps its order."""

    def __init__(self, transport: asyncio.Transport, outbox: Outbox) -> None:
        super().__init__()
        self._transport = transport
        self._outbox = outbox
        self._parts: list[bytes] = []
        self._size = 0
        self._is_ended = False
        self.get_extra_info = transport.get_extra_info  # type: ignore[method-assign]
        self.is_closing = transport.is_closing  # type: ignore[method-assign]

    def write(self, data: bytes) -> None:  # type: ignore[override]
        if self._is_ended:
            return
        parts = self._parts
        parts.append(data)
        self._size += len(data)
        if self._size >= AT_ONCE_BYTES:
            self.flush()
        elif len(parts) == 1:
            self._outbox.add(self)

    def writelines(self, list_of_data: Collection[bytes]) -> None:  # type: ignore[override]
        """Write pieces that belong together; they are not copied when they are large."""
        if self._is_ended:
            return
        size = sum(map(len, list_of_data))
        if size >= AT_ONCE_BYTES:
            self.flush()
            if not self.is_closing():
                self._transport.writelines(list_of_data)
            return
        is_first = not self._parts
        self._parts += list_of_data
        self._size += size
        if self._size >= AT_ONCE_BYTES:
            self.flush()
        elif is_first:
            self._outbox.add(self)

    def flush(self) -> None:
        """Write what waits; nothing when the peer has gone in the meantime (uvloop would raise)."""
        parts = self._parts
        if parts:
            self._parts = []
            self._size = 0
            if not self.is_closing():
                self._transport.write(parts[0] if len(parts) == 1 else b"".join(parts))

    def get_write_buffer_size(self) -> int:
        return self._transport.get_write_buffer_size() + self._size

    def close(self) -> None:
        self.flush()
        self._is_ended = True
        self._transport.close()
        ReaderWatch(self._transport, UNREAD_SECONDS)  # it goes when all of it is read, or when nobody reads

    def abort(self) -> None:
        self._parts = []
        self._is_ended = True
        self._transport.abort()

    def can_write_eof(self) -> bool:
        return self._transport.can_write_eof()

    def write_eof(self) -> None:
        self.flush()
        self._is_ended = True
        self._transport.write_eof()

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._transport.set_protocol(protocol)

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._transport.get_protocol()

    def pause_reading(self) -> None:
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        self._transport.resume_reading()

    def is_reading(self) -> bool:
        return self._transport.is_reading()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._transport.set_write_buffer_limits(high, low)

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return self._transport.get_write_buffer_limits()
