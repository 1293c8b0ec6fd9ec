"""Where the windows of streams live."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from a2a_relay.core.address import Address
from a2a_relay.core.stream import StreamHead, StreamWindow


class StoredStream(NamedTuple):
    """A stream as a log gives it back. `failure` is a JSON-RPC error object."""

    head: StreamHead
    window: StreamWindow
    is_over: bool = False
    failure: bytes | None = None


class StreamLog(Protocol):
    """Windows of streams, by the stream's id.

    An event is in order and whole or not there. Every event up to a window's `committed` survives what this log
    survives; `on_commit` is called, on the node's own thread, whenever that has moved. A window that was dropped is
    never found again.
    """

    is_durable: bool
    """Whether windows survive the process."""

    def open(self, head: StreamHead, on_commit: Callable[[], None]) -> StreamWindow:
        """A new, empty window."""

    def find(self, id: str, on_commit: Callable[[], None]) -> StoredStream | None:
        """A stream that an earlier process has left."""

    def find_exchanges(self, address: Address, exchange_ids: Sequence[str]) -> dict[str, str]:
        """Of calls of an agent: the ids of the streams that an earlier process has left, whether found since or not."""

    def purge(self, opened_before: float) -> int:
        """Drop what was opened before this wall time; how many streams."""

    def close(self) -> None:
        """Make everything durable that can be, and let go."""
