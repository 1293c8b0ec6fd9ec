"""What every dialect can do."""

from __future__ import annotations

from typing import Protocol

from a2a_relay.wire.frames import AgentFrame, Request, Welcome


class Dialect(Protocol):
    """Frames in, events out, and back. Stateless, so that one object serves every link.

    `read` never raises: what cannot be read is an `Unreadable`, with the call's
    id where it can be found. A writer returns None where the dialect has no such frame.
    """

    name: str

    def read(self, frame: bytes) -> AgentFrame: ...

    def welcome(self, welcome: Welcome) -> bytes: ...

    def refusal(self, message: str) -> bytes: ...

    def request(self, id: str, request: Request, timeout_ms: int) -> bytes: ...

    def cancel(self, id: str, reason: str) -> bytes | None: ...

    def goaway(self, reason: str, reconnect_after_ms: int | None) -> bytes | None: ...

    def probe(self, id: str) -> bytes | None: ...

    def pong(self) -> bytes: ...
