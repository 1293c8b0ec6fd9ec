"""Who reads along while a letter is being answered."""

from __future__ import annotations

from a2a_relay.core.exchange import AgentError
from a2a_relay.core.stream import Stream
from a2a_relay.errors import Refused
from a2a_relay.node.streams import Streams


class Followers:
    """Streams of clients, by the letter that they follow: of several for one task each has its own."""

    def __init__(self, streams: Streams) -> None:
        self._streams = streams
        self._by_letter: dict[str, dict[Stream, None]] = {}

    def add(self, letter_id: str, stream: Stream) -> None:
        """From now on a stream is fed what comes of this letter."""
        self._by_letter.setdefault(letter_id, {})[stream] = None
        stream.on_left = lambda left: self._remove(letter_id, left)

    def feed(self, letter_id: str, body: bytes) -> None:
        """One event for everybody who follows."""
        for stream in list(self._by_letter.get(letter_id, ())):
            self._streams.feed(stream, body)

    def end(self, letter_id: str, failure: AgentError | Refused | None) -> None:
        """Nothing more will come of this letter."""
        for stream in self._by_letter.pop(letter_id, ()):
            stream.on_left = None
            if not stream.is_over:
                self._streams.ended(stream, failure)

    def followed(self) -> list[tuple[str, str]]:
        """The letters that somebody follows: tenant and id."""
        return [(next(iter(streams)).head.address.tenant, id) for id, streams in self._by_letter.items()]

    def end_all(self, refused: Refused) -> None:
        """This process ends; the letters stay."""
        for letter_id in list(self._by_letter):
            self.end(letter_id, refused)

    def _remove(self, letter_id: str, stream: Stream) -> None:
        streams = self._by_letter.get(letter_id)
        if streams is not None:
            streams.pop(stream, None)
            if not streams:
                del self._by_letter[letter_id]
