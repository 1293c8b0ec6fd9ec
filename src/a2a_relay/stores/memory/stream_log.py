"""Windows in memory: gone with the process."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from a2a_relay.core.address import Address
from a2a_relay.core.stream import ReplayWindow, StreamHead, StreamWindow
from a2a_relay.ports.stream_log import StoredStream


class MemoryStreamLog:
    """Windows that live as long as their streams."""

    is_durable = False

    def open(self, head: StreamHead, on_commit: Callable[[], None]) -> StreamWindow:
        return ReplayWindow(head.prefix)

    def find(self, id: str, on_commit: Callable[[], None]) -> StoredStream | None:
        return None

    def find_exchanges(self, address: Address, exchange_ids: Sequence[str]) -> dict[str, str]:
        return {}

    def purge(self, opened_before: float) -> int:
        return 0

    def close(self) -> None:
        """Nothing is held."""
