"""What is kept of calls in case their link is cut, and what is claimed of it over the next one (decision 20)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from a2a_relay.wire.flow import Outgoing
from a2a_relay.wire.frames import Claim, Resume

MAX_ANSWERS = 64
MAX_ANSWER_BYTES = 4 * 1024 * 1024
MAX_CLAIMS = 512
"""So many fit into an auth frame beside a card; what is not claimed ends."""


class _Answer(NamedTuple):
    frame: bytes
    is_stream: bool


class Answers:
    """The last calls that were answered with one frame: nobody says whether such a frame has arrived.

    Of those that were sent the newest stay, within bounds; one that could not be sent yet stays until it is.
    """

    def __init__(self) -> None:
        self._kept: dict[str, _Answer] = {}
        self._sent: dict[str, int] = {}
        self._sent_bytes = 0

    def __contains__(self, id: str) -> bool:
        return id in self._kept

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def calls(self) -> list[str]:
        """The unary calls among them, those first whose answer was not sent yet, then the newest."""
        unsent = [id for id in self._kept if id not in self._sent]
        return [id for id in [*unsent, *reversed(self._sent)] if not self._kept[id].is_stream]

    @property
    def streams(self) -> list[str]:
        """The streams among them: an error or a result instead of events."""
        return [id for id, answer in self._kept.items() if answer.is_stream]

    def keep(self, id: str, frame: bytes, *, is_stream: bool, is_sent: bool) -> None:
        """A call has its answer; `is_sent`: there is a link for it to leave by."""
        self._kept[id] = _Answer(frame, is_stream)
        if is_sent:
            self._note_sent(id)

    def send_again(self, id: str) -> bytes | None:
        """The frame to send over a new link, None when it is not here any more."""
        answer = self._kept.get(id)
        if answer is None:
            return None
        if id not in self._sent:
            self._note_sent(id)
        return answer.frame

    def forget(self, id: str) -> None:
        """The relay has it, or nobody wants it."""
        self._kept.pop(id, None)
        self._sent_bytes -= self._sent.pop(id, 0)

    def clear(self) -> None:
        """Nobody wants any of them."""
        self._kept.clear()
        self._sent.clear()
        self._sent_bytes = 0

    def _note_sent(self, id: str) -> None:
        self._sent[id] = len(self._kept[id].frame)
        self._sent_bytes += self._sent[id]
        while len(self._sent) > MAX_ANSWERS or (self._sent_bytes > MAX_ANSWER_BYTES and len(self._sent) > 1):
            self.forget(next(iter(self._sent)))


def claim(session: str, streams: Iterable[Outgoing], running: Iterable[str], answers: Answers) -> Resume:
    """What the agent's side holds of a session whose link was cut. `running` are unary calls without an answer."""
    claims = [Claim(stream.id, stream.through + 1, stream.last) for stream in streams]
    claims += [Claim(id, 1, 0) for id in answers.streams]
    claims = claims[:MAX_CLAIMS]
    calls = [*running, *answers.calls][: MAX_CLAIMS - len(claims)]
    return Resume(session, tuple(claims), tuple(calls))
