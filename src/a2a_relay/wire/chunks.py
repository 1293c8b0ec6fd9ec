"""Large bodies in pieces: a frame above `CHUNKED_FROM_BYTES` crosses as `a2a.chunk` messages, so that it delays nobody.

A piece is a binary message: a JSON head, a line feed, and raw bytes of the frame that
is being carried. The receiver says how much it has taken; the sender keeps as
little under way as keeps the line busy, because whatever is under way stands before the
other calls' frames. How little that is follows from the delay of those receipts, in the
manner of LEDBAT (RFC 6817): a window that grows while receipts come promptly and
shrinks when they are late.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Container
from dataclasses import dataclass, field

from a2a_relay.a2a import jsonbytes
from a2a_relay.errors import Reason
from a2a_relay.wire import codec
from a2a_relay.wire.frames import Chunk, ChunkTaken

CHUNKED_FROM_BYTES = 64 * 1024
"""Frames up to this size go whole."""
PIECE_BYTES = 16 * 1024
"""A piece on a slow line: 13 ms at 10 Mbit/s."""
MAX_PIECE_BYTES = 64 * 1024
MIN_UNDER_WAY_BYTES = 32 * 1024
MAX_UNDER_WAY_BYTES = 4 * 1024 * 1024
TARGET_DELAY_SECONDS = 0.03
"""How much later than the promptest receipt the others may be: the queue that bodies may build up on the line."""
BASE_DELAY_SECONDS = 60.0
"""For how long, and as long again, the promptest receipt is remembered."""

HEAD = b'{"type":"a2a.chunk"'


def head(message: bytes) -> bytes:
    """A message without the bytes of a body that it carries, in which anything may stand."""
    end = message.find(b"\n")
    return message if end < 0 else message[:end]


def read(message: bytes) -> Chunk | ChunkTaken:
    """A message that begins with `HEAD`. Raises `jsonbytes.Malformed`."""
    start = head(message)
    codec.check(start)
    _, fields = codec.read(start)
    payload = codec.payload(fields)
    id = codec.required_text(payload, "id")
    taken = codec.integer(payload, "taken")
    if taken is not None:
        return ChunkTaken(id, taken)
    if len(start) == len(message):
        raise jsonbytes.Malformed(Reason.INVALID_REQUEST, "a chunk needs data")
    return Chunk(id, memoryview(message)[len(start) + 1 :], codec.flag(payload, "last"))


def write(id: str, data: bytes | memoryview, *, is_last: bool) -> bytes:
    """One piece."""
    last = b"true" if is_last else b"false"
    return b"".join((b'%b,"payload":{"id":"%b","last":%b}}\n' % (HEAD, id.encode(), last), data))


def write_taken(id: str, taken: int) -> bytes:
    """The receipt for a piece."""
    return b'%b,"payload":{"id":"%b","taken":%d}}' % (HEAD, id.encode(), taken)


@dataclass(slots=True, eq=False)
class _Body:
    """One frame under way."""

    id: str
    data: memoryview
    sent: int = 0
    taken: int = 0
    pieces: deque[tuple[int, float]] = field(default_factory=deque)
    """Of each piece under way: where it ends, and when it was sent."""

    @property
    def is_cut(self) -> bool:
        return self.sent == len(self.data)


class ChunkSender:
    """Cuts frames, one piece of each call in turn. `now` is monotonic time in seconds."""

    def __init__(self) -> None:
        self._waiting: deque[_Body] = deque()
        self._bodies: dict[str, deque[_Body]] = {}
        """A call's frames in their order; receipts are for the first."""
        self._window = MIN_UNDER_WAY_BYTES
        self._under_way = 0
        self._promptest = self._promptest_before = float("inf")
        self._measured_until = float("-inf")
        self.backlog_bytes = 0
        """Bytes that were put here and have not been cut off yet."""

    def __contains__(self, id: str) -> bool:
        return id in self._bodies

    def put(self, id: str, frame: bytes) -> None:
        """Take a frame to be sent, behind those of the same call that are here."""
        body = _Body(id, memoryview(frame))
        if self.is_cut(id):
            self._waiting.append(body)
        self._bodies.setdefault(id, deque()).append(body)
        self.backlog_bytes += len(frame)

    def is_cut(self, id: str) -> bool:
        """Whether nothing of a call's frames is left to be cut off: what is sent now comes behind them."""
        bodies = self._bodies.get(id)
        return bodies is None or bodies[-1].is_cut

    def next_piece(self, now: float) -> bytes | None:
        """The next message to send, None when nothing may go before a receipt comes."""
        if not self._waiting or self._under_way >= self._window:
            return None
        body = self._waiting.popleft()
        size = min(max(self._window // 4, PIECE_BYTES), MAX_PIECE_BYTES)
        start, body.sent = body.sent, min(body.sent + size, len(body.data))
        body.pieces.append((body.sent, now))
        self._under_way += body.sent - start
        self.backlog_bytes -= body.sent - start
        following = next((other for other in self._bodies[body.id] if not other.is_cut), None)
        if following is not None:
            self._waiting.append(following)
        return write(body.id, body.data[start : body.sent], is_last=body.is_cut)

    def take(self, receipt: ChunkTaken, now: float) -> bool:
        """Take a receipt. True when the whole frame has arrived; one that is nobody's is ignored."""
        bodies = self._bodies.get(receipt.id)
        if bodies is None or not bodies[0].taken < receipt.taken <= bodies[0].sent:
            return False
        body = bodies[0]
        self._under_way -= receipt.taken - body.taken
        self._adapt(body, receipt.taken, now)
        body.taken = receipt.taken
        if body.taken < len(body.data):
            return False
        bodies.popleft()
        if not bodies:
            del self._bodies[body.id]
        return True

    def _adapt(self, body: _Body, taken: int, now: float) -> None:
        delay: float | None = None
        while body.pieces and body.pieces[0][0] <= taken:
            delay = now - body.pieces.popleft()[1]
        if delay is None:
            return  # a part of a piece measures nothing
        if delay - self._base_delay(delay, now) > TARGET_DELAY_SECONDS:
            self._window = max(self._window * 3 // 4, MIN_UNDER_WAY_BYTES)
        else:
            self._window = min(self._window + taken - body.taken, MAX_UNDER_WAY_BYTES)

    def _base_delay(self, delay: float, now: float) -> float:
        """The promptest receipt of the last one to two minutes: a line's length may change, as RFC 6817 says."""
        if now >= self._measured_until:
            self._promptest_before, self._promptest = self._promptest, float("inf")
            self._measured_until = now + BASE_DELAY_SECONDS
        self._promptest = min(self._promptest, delay)
        return min(self._promptest, self._promptest_before)

    def drop(self, id: str) -> None:
        """Nobody wants the rest of this call's frames any more."""
        for body in self._bodies.pop(id, ()):
            self._under_way -= body.sent - body.taken
            self.backlog_bytes -= len(body.data) - body.sent
            if body in self._waiting:
                self._waiting.remove(body)


class TooLarge(jsonbytes.Malformed):
    """A frame in pieces is larger than there is room for. `receipt` is to be sent all the same."""

    def __init__(self, receipt: bytes) -> None:
        self.receipt = receipt
        super().__init__(Reason.TOO_LARGE, "a frame in pieces is larger than the limit")


class ChunkReader:
    """Joins pieces, within bounds: `max_frame` bytes a frame, `max_held` bytes of unfinished frames together.

    The pieces that follow in a frame that was too large are taken and let go: a sender
    without receipts would stand still, with everything else it has to say in pieces.
    """

    def __init__(self, max_frame: int, max_held: int) -> None:
        self._max_frame = max_frame
        self._max_held = max_held
        self._parts: dict[str, bytearray] = {}
        self._let_go: dict[str, int] = {}
        self._held = 0

    def __len__(self) -> int:
        """Bytes of frames that are not whole yet."""
        return self._held

    def take(self, chunk: Chunk) -> tuple[bytes, bytes | None]:
        """The receipt to send, and the frame when it is whole. Raises `TooLarge`, once a frame."""
        id, data, is_last = chunk
        if id in self._let_go:
            return self._pass(id, self._let_go[id] + len(data), is_last=is_last), None
        size = len(self._parts.get(id, b"")) + len(data)
        if size > self._max_frame or self._held + len(data) > self._max_held:
            self.drop(id)
            raise TooLarge(self._pass(id, size, is_last=is_last))
        part = self._parts.setdefault(id, bytearray())
        part += data
        self._held += len(data)
        if is_last:
            self.drop(id)
        return write_taken(id, size), bytes(part) if is_last else None

    def _pass(self, id: str, size: int, *, is_last: bool) -> bytes:
        self._let_go[id] = size
        if is_last:
            del self._let_go[id]
        return write_taken(id, size)

    def __contains__(self, id: str) -> bool:
        return id in self._parts

    def keep(self, ids: Container[str]) -> None:
        """Forget the unfinished frames of all other calls."""
        for id in [id for id in self._parts if id not in ids]:
            self.drop(id)

    def drop(self, id: str) -> None:
        """Forget an unfinished frame."""
        self._held -= len(self._parts.pop(id, b""))
        self._let_go.pop(id, None)
