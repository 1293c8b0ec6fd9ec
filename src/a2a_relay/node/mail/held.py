"""A call that no agent has been handed yet, and the way back to whoever made it."""

from __future__ import annotations

from collections.abc import Callable

from a2a_relay.core.call import Call
from a2a_relay.core.exchange import Exchange, Outcome, Result, Sink
from a2a_relay.core.stream import Stream
from a2a_relay.errors import Refused
from a2a_relay.node.streams import Streams

Renaming = Callable[[bytes], bytes]
"""Puts the relay's ids for the agent's into a body."""


class HeldCall:
    """A unary call. It is its own exchange's sink, once there is one; `started_at` is monotonic time."""

    __slots__ = ("_sink", "call", "exchange", "is_gone", "is_keyed", "on_outcome", "renaming", "started_at")

    def __init__(self, call: Call, sink: Sink, started_at: float) -> None:
        self.call = call
        self.started_at = started_at
        self.exchange: Exchange | None = None
        self.is_gone = False
        """Whether it was answered, or nobody awaits the answer any more."""
        self.is_keyed = False
        """Whether its answer is kept for another call with the same key, so that it goes on when its caller leaves."""
        self.renaming: Renaming | None = None
        self.on_outcome: Callable[[Outcome], Outcome] | None = None
        """Sees the outcome first, under the relay's names, and may put another in its place."""
        self._sink = sink

    def answer(self, outcome: Outcome) -> None:
        if self.renaming is not None and isinstance(outcome, Result):
            outcome = outcome._replace(body=self.renaming(outcome.body))
        if self.on_outcome is not None:
            outcome = self.on_outcome(outcome)
        if self.is_gone:
            return
        self.is_gone = True
        self._sink.answer(outcome)

    def refuse(self, refused: Refused) -> None:
        """Answer with a refusal of the relay's own."""
        self.answer(refused)


class HeldStream:
    """A streaming call. Its stream is open, and nothing has come over it yet."""

    __slots__ = ("_streams", "call", "stream")

    def __init__(self, call: Call, stream: Stream, streams: Streams) -> None:
        self.call = call
        self.stream = stream
        self._streams = streams

    @property
    def is_gone(self) -> bool:
        """Whether nobody reads it any more."""
        return self.stream.is_over or self.stream.reader is None

    def answer(self, outcome: Outcome) -> None:
        """The one answer instead of events: a result is the only event."""
        if not self.stream.is_over:
            self._streams.answered(self.stream, outcome)

    def refuse(self, refused: Refused) -> None:
        """End it with a refusal of the relay's own."""
        self.answer(refused)


Held = HeldCall | HeldStream
