"""A link's transport in memory."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable
from typing import Any

from a2a_relay.wire.close_codes import CloseCode


class MemoryTransport:
    """Implements `node.agent_link.LinkTransport`: keeps what the relay writes, in order.

    `backlog_bytes` is zero, as of an agent that reads at once, until a test sets it.
    """

    def __init__(self, peer: str = "192.0.2.1:40000") -> None:
        self._peer = peer
        self.backlog_bytes = 0
        self.frames: list[bytes] = []
        """Every frame that was ever sent."""
        self.unread: deque[bytes] = deque()
        """The frames that `take` has not given yet."""
        self.close_code: CloseCode | None = None
        self.pings = 0
        """How often the relay has asked for a sign of life."""
        self.can_ping = True
        self._on_byte: Callable[[], None] | None = None
        self.on_close: Callable[[], None] | None = None
        """Called when the relay closes; where a real transport would end a moment later."""

    @property
    def peer(self) -> str:
        """The other side's address, for the log."""
        return self._peer

    @property
    def is_closed(self) -> bool:
        """Whether the relay has closed it."""
        return self.close_code is not None

    def send(self, frame: bytes) -> None:
        """Keep one frame. Raises AssertionError after `close`: nothing may follow."""
        if self.close_code is not None:
            raise AssertionError(f"a frame after the close: {frame!r}")
        self.frames.append(frame)
        self.unread.append(frame)

    def send_binary(self, message: bytes) -> None:
        """Keep one binary message among the frames."""
        self.send(message)

    def close(self, code: CloseCode) -> None:
        """Keep the code. Raises AssertionError at a second close."""
        if self.close_code is not None:
            raise AssertionError(f"closed twice: {self.close_code}, then {code}")
        self.close_code = code
        if self.on_close is not None:
            self.on_close()

    def listen(self, on_byte: Callable[[], None]) -> bool:
        """Count a ping, and keep whom to tell of the answer."""
        self.pings += self.can_ping
        self._on_byte = on_byte
        return self.can_ping

    def hear(self) -> None:
        """The agent has sent a byte, such as the answer to a ping."""
        on_byte, self._on_byte = self._on_byte, None
        if on_byte is not None:
            on_byte()

    def take(self) -> Any:
        """The next unread frame as a JSON document. Raises AssertionError when there is none."""
        if not self.unread:
            raise AssertionError("the relay has written no further frame")
        return json.loads(self.unread.popleft())

    def take_all(self) -> list[Any]:
        """Every unread frame as JSON documents."""
        return [self.take() for _ in range(len(self.unread))]
