"""A reader of one exchange that remembers."""

from __future__ import annotations

from collections.abc import Mapping

from a2a_relay.core.exchange import AgentError, Outcome
from a2a_relay.core.stream import Event, offset_of
from a2a_relay.errors import Refused
from a2a_relay.wire.frames import NO_HEADERS


class RecordingSink:
    """Implements `core.exchange.Sink` and `core.stream.Reader`, and holds the node to those ports' promises.

    `room` is how many events it takes before it wants to be asked; None: all.
    """

    def __init__(self, room: int | None = None) -> None:
        self._room = room
        self.answers: list[Outcome] = []
        self.events: list[Event] = []
        self.headers: Mapping[str, str] = NO_HEADERS
        self.gaps: list[tuple[int, int]] = []
        """First and last event of each gap."""
        self.ends: list[AgentError | Refused | None] = []

    @property
    def bodies(self) -> list[bytes]:
        """What the events carried."""
        return [event.body for event in self.events]

    @property
    def offsets(self) -> list[int]:
        """The numbers of the events."""
        return [offset_of(event) for event in self.events]

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

    def event(self, event: Event, headers: Mapping[str, str]) -> bool:
        """Keep the event. Raises AssertionError when there was no room for it."""
        self._require_open()
        if self._room is not None and not self._room:
            raise AssertionError("an event that was not asked for")
        self.events.append(event)
        self.headers = headers
        if self._room is None:
            return True
        self._room -= 1
        return self._room > 0

    def make_room(self, events: int) -> None:
        """Take so many more; the node is still to be told."""
        self._room = (self._room or 0) + events

    def gap(self, first: int, last: Event) -> None:
        """Keep the gap."""
        self._require_open()
        self.gaps.append((first, offset_of(last)))

    def end(self, failure: AgentError | Refused | None) -> None:
        """Keep the end."""
        self._require_open()
        self.ends.append(failure)

    def _require_open(self) -> None:
        if self.is_over:
            raise AssertionError("called after the final call")
