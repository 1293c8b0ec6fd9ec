"""Who reads along while a letter is being answered."""

from __future__ import annotations

from a2a_relay.core.exchange import AgentError
from a2a_relay.core.stream import Stream
from a2a_relay.errors import Refused
from a2a_relay.node.streams import Streams


class Followers:
    """Streams of clients, by the relay's task that they follow."""

    def __init__(self, streams: Streams) -> None:
        self._streams = streams
        self._by_task: dict[str, dict[Stream, None]] = {}

    def add(self, task_id: str, stream: Stream) -> None:
        """From now on a stream is fed what comes of this task."""
        self._by_task.setdefault(task_id, {})[stream] = None
        stream.on_left = lambda left: self._remove(task_id, left)

    def feed(self, task_id: str, body: bytes) -> None:
        """One event for everybody who follows."""
        for stream in list(self._by_task.get(task_id, ())):
            self._streams.feed(stream, body)

    def end(self, task_id: str, failure: AgentError | Refused | None) -> None:
        """Nothing more will come of this task's letter."""
        for stream in self._by_task.pop(task_id, ()):
            stream.on_left = None
            if not stream.is_over:
                self._streams.ended(stream, failure)

    def end_all(self, refused: Refused) -> None:
        """This process ends; the letters stay."""
        for task_id in list(self._by_task):
            self.end(task_id, refused)

    def _remove(self, task_id: str, stream: Stream) -> None:
        streams = self._by_task.get(task_id)
        if streams is not None:
            streams.pop(stream, None)
            if not streams:
                del self._by_task[task_id]
