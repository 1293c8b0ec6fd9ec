"""Frames in pieces: they come together whole, whatever the order of pieces and receipts, and little is under way."""

from __future__ import annotations

from collections import deque

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from a2a_relay.a2a.jsonbytes import Malformed
from a2a_relay.errors import Reason
from a2a_relay.wire import chunks
from a2a_relay.wire.chunks import ChunkReader, ChunkSender, TooLarge
from a2a_relay.wire.frames import Chunk, ChunkTaken

FRAMES = st.lists(st.tuples(st.sampled_from("abcd"), st.integers(1, 300_000)), max_size=6)


def piece(message: bytes) -> Chunk:
    found = chunks.read(message)
    assert isinstance(found, Chunk)
    return found


def receipt(message: bytes) -> ChunkTaken:
    found = chunks.read(message)
    assert isinstance(found, ChunkTaken)
    return found


class Line:
    """A sender, a reader, and what is between them: each call's pieces and receipts keep their order, nothing else."""

    def __init__(self) -> None:
        self.sender, self.reader = ChunkSender(), ChunkReader(1 << 20, 1 << 22)
        self.pieces: dict[str, deque[Chunk]] = {}
        self.receipts: dict[str, deque[ChunkTaken]] = {}
        self.put: dict[str, list[bytes]] = {}
        self.arrived: dict[str, list[bytes]] = {}
        self.cut_bytes = self.put_bytes = self.done_bytes = 0
        self.now = 0.0

    def enqueue(self, id: str, frame: bytes) -> None:
        self.sender.put(id, frame)
        self.put.setdefault(id, []).append(frame)
        self.put_bytes += len(frame)

    def cut(self) -> bool:
        message = self.sender.next_piece(self.now)
        if message is None:
            return False
        chunk = piece(message)
        assert len(chunk.data) <= chunks.MAX_PIECE_BYTES
        self.cut_bytes += len(chunk.data)
        self.pieces.setdefault(chunk.id, deque()).append(chunk)
        return True

    def deliver(self, id: str) -> None:
        chunk = self.pieces[id].popleft()
        answer, frame = self.reader.take(chunk)
        self.receipts.setdefault(id, deque()).append(receipt(answer))
        if frame is not None:
            self.arrived.setdefault(id, []).append(frame)

    def acknowledge(self, id: str) -> None:
        self.done_bytes += self.sender.take(self.receipts[id].popleft(), self.now)

    def drop(self, id: str) -> None:
        """Both sides forget a call, and the line what is between them."""
        self.sender.drop(id)
        self.reader.drop(id)
        for between in (self.pieces, self.receipts):
            between.pop(id, None)
        self.put[id], self.arrived[id] = [], []

    def step(self, chance: object) -> bool:
        """One thing that may happen next; False when nothing may."""
        moves = [(self.deliver, id) for id, waiting in self.pieces.items() if waiting]
        moves += [(self.acknowledge, id) for id, waiting in self.receipts.items() if waiting]
        self.now += chance.choice([0.0, 0.01, 0.2])  # type: ignore[attr-defined]
        if (not moves or chance.random() < 0.5) and self.cut():  # type: ignore[attr-defined]
            return True
        if moves:
            act, id = chance.choice(moves)  # type: ignore[attr-defined]
            act(id)
        return bool(moves)


@settings(max_examples=60, deadline=None)
@given(FRAMES, st.randoms(use_true_random=False), st.lists(st.sampled_from("abcd"), max_size=2))
def test_frames_come_back_whole_in_any_order_of_things_and_what_is_under_way_is_bounded(
    frames: list[tuple[str, int]], chance: object, dropped: list[str]
) -> None:
    line, todo, drops = Line(), deque(frames), list(dropped)
    before = 0
    while True:
        if todo and chance.random() < 0.3:  # type: ignore[attr-defined]
            id, size = todo.popleft()
            line.enqueue(id, bytes([len(todo)]) * size)
        elif drops and chance.random() < 0.02:  # type: ignore[attr-defined]
            line.drop(drops.pop())
        elif not line.step(chance) and not todo:
            break
        left = sum(len(body.data) - body.sent for bodies in line.sender._bodies.values() for body in bodies)
        under_way = sum(body.sent - body.taken for bodies in line.sender._bodies.values() for body in bodies)
        assert line.sender.backlog_bytes == left
        assert line.sender._under_way == under_way
        assert line.sender._window + chunks.MAX_PIECE_BYTES <= chunks.MAX_UNDER_WAY_BYTES * 2
        if under_way > before:  # what was sent before a window has shrunk stays under way
            assert under_way < line.sender._window + chunks.MAX_PIECE_BYTES
        before = under_way
    assert {id: found for id, found in line.arrived.items() if found} == {
        id: put for id, put in line.put.items() if put
    }
    assert not line.sender._bodies
    assert (line.sender.backlog_bytes, line.sender._under_way, len(line.reader)) == (0, 0, 0)


def test_what_is_under_way_never_exceeds_the_bound_however_prompt_the_line() -> None:
    line = Line()
    line.sender.put("a", b"x" * (64 << 20))
    while line.cut():
        while line.pieces["a"]:
            assert line.sender._under_way < chunks.MAX_UNDER_WAY_BYTES + chunks.MAX_PIECE_BYTES
            chunk = line.pieces["a"].popleft()
            line.sender.take(ChunkTaken("a", line.cut_bytes), 0.0)
            if chunk.is_last:
                return
    pytest.fail("the frame has stopped in its middle")


def test_calls_take_turns() -> None:
    sender = ChunkSender()
    sender.put("a", b"x" * 200_000)
    sender.put("b", b"y" * 200_000)
    first, second = sender.next_piece(0.0), sender.next_piece(0.0)
    assert first is not None
    assert second is not None
    assert (piece(first).id, piece(second).id) == ("a", "b")
    assert sender.next_piece(0.0) is None, "no more may be under way before a receipt comes"


def test_a_calls_next_frame_is_cut_behind_the_one_before() -> None:
    line = Line()
    line.enqueue("a", b"x" * 20_000)
    line.enqueue("a", b"y" * 20_000)
    assert line.sender.is_cut("b")
    while line.cut():
        pass
    assert [chunk.is_last for chunk in line.pieces["a"]] == [False, True, False]
    line.deliver("a")
    line.acknowledge("a")
    assert not line.sender.is_cut("a")
    assert line.cut()
    assert line.sender.is_cut("a")
    assert "a" in line.sender


def test_a_late_receipt_makes_the_window_small_and_prompt_ones_make_it_large() -> None:
    sender, now = ChunkSender(), 0.0
    sender.put("a", b"x" * (8 << 20))
    taken = 0

    def turn(delay: float) -> None:
        nonlocal now, taken
        while (message := sender.next_piece(now)) is not None:
            taken += len(piece(message).data)
        now += delay
        sender.take(ChunkTaken("a", taken), now)

    for _ in range(4):
        turn(0.05)
    grown = sender._window
    assert grown > chunks.MIN_UNDER_WAY_BYTES
    for _ in range(4):
        turn(0.2)
    shrunk = sender._window
    assert shrunk < grown / 2
    # A line that has become longer is no queue: after a while its own delay is the measure.
    for _ in range(3):
        now += chunks.BASE_DELAY_SECONDS
        turn(0.2)
    assert sender._window > shrunk


def test_a_receipt_in_the_middle_of_a_piece_measures_nothing() -> None:
    sender = ChunkSender()
    sender.put("a", b"x" * 100_000)
    assert sender.next_piece(0.0) is not None
    sender.take(ChunkTaken("a", 1), 0.5)
    assert sender._promptest == float("inf")


@pytest.mark.parametrize("taken", [0, 16_385, 1 << 40])
def test_receipts_for_what_was_not_sent_change_nothing(taken: int) -> None:
    sender = ChunkSender()
    sender.put("a", b"x" * 100_000)
    assert sender.next_piece(0.0) is not None
    assert not sender.take(ChunkTaken("a", taken), 1.0)
    assert not sender.take(ChunkTaken("b", 1), 1.0)
    assert sender._under_way == chunks.PIECE_BYTES


def test_a_frame_that_is_too_large_is_refused_once_and_its_sender_still_gets_receipts() -> None:
    reader = ChunkReader(100, 1000)
    assert reader.take(Chunk("a", memoryview(b"x" * 60), False)) == (chunks.write_taken("a", 60), None)
    with pytest.raises(TooLarge) as caught:
        reader.take(Chunk("a", memoryview(b"x" * 60), False))
    assert caught.value.reason is Reason.TOO_LARGE
    assert receipt(caught.value.receipt) == ChunkTaken("a", 120)
    assert len(reader) == 0
    assert reader.take(Chunk("a", memoryview(b"x" * 30), True)) == (chunks.write_taken("a", 150), None)
    assert reader.take(Chunk("a", memoryview(b"{}"), True)) == (chunks.write_taken("a", 2), b"{}")


def test_unfinished_frames_are_bounded_together() -> None:
    reader = ChunkReader(100, 150)
    for id in ("a", "b"):
        reader.take(Chunk(id, memoryview(b"x" * 70), False))
    with pytest.raises(TooLarge):
        reader.take(Chunk("c", memoryview(b"x" * 70), True))
    reader.drop("a")
    assert reader.take(Chunk("c", memoryview(b"x" * 70), True))[1] == b"x" * 70
    assert len(reader) == 70


@pytest.mark.parametrize(
    "message",
    [
        b'{"type":"a2a.chunk"}',
        b'{"type":"a2a.chunk","payload":{"id":"a"}}',
        b'{"type":"a2a.chunk","payload":{"id":5}}\nx',
        b'{"type":"a2a.chunk","payload":{"id":"a"',
        b'{"type":"a2a.chunk"\n\xff',
    ],
)
def test_what_is_no_piece_is_malformed(message: bytes) -> None:
    with pytest.raises(Malformed):
        chunks.read(message)


def test_a_piece_is_read_as_it_was_written() -> None:
    data = b'\x00\n{"id":"b"}\xff'
    assert piece(chunks.write("a", data, is_last=True)) == Chunk("a", memoryview(data), True)
    assert receipt(chunks.write_taken("a", 5)) == ChunkTaken("a", 5)
