"""A reader of one exchange that remembers."""

from __future__ import annotations

from a2a_relay.core.exchange import AgentError, Outcome, Result
from a2a_relay.errors import Refused


class RecordingSink:
    """Implements `core.exchange.Sink`, and holds the node to that port's promise.

    `room` is how many events it takes before it says that it is too slow; None: all.
    """

    def __init__(self, room: int | None = None) -> None:
        self._room = room
        self.answers: list[Outcome] = []
        self.events: list[Result] = []
        self.ends: list[AgentError | Refused | None] = []

    @property
    def is_over(self) -> bool:
        """Whether the final call came."""
        return bool(self.answers or self.ends)

    @property
    def outcome(self) -> Outcome:
        """The only answer. Raises AssertionError while there is none."""
        if not self.answers:
            raise AssertionError("there is no answer yet")
        return self.answers[0]

    @property
    def failure(self) -> AgentError | Refused | None:
        """How the stream ended; None is regularly. Raises AssertionError while it has not."""
        if not self.ends:
            raise AssertionError("the stream has not ended yet")
        return self.ends[0]

    def answer(self, outcome: Outcome) -> None:
        """Keep the answer. Raises AssertionError when the exchange had ended, or had events."""
        self._require_open()
        if self.events:
            raise AssertionError("an answer after events: it must be the end")
        self.answers.append(outcome)

    def event(self, result: Result) -> bool:
        """Keep the event, unless there is no room."""
        self._require_open()
        if self._room is not None and len(self.events) >= self._room:
            return False
        self.events.append(result)
        return True

    def end(self, failure: AgentError | Refused | None) -> None:
        """Keep the end."""
        self._require_open()
        self.ends.append(failure)

    def _require_open(self) -> None:
        if self.is_over:
            raise AssertionError("called after the final call")
