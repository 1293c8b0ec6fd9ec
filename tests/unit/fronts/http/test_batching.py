"""Writes of one turn leave together, and in their order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

import pytest

from a2a_relay.fronts.http.batching import AT_ONCE_BYTES, BatchingTransport, Outbox


class Socket:
    """What the transport below was told."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def write(self, data: bytes) -> None:
        self.told.append(data)

    def writelines(self, pieces: tuple[bytes, ...]) -> None:
        self.told.append(pieces)

    def close(self) -> None:
        self.told.append("close")

    def abort(self) -> None:
        self.told.append("abort")

    def write_eof(self) -> None:
        self.told.append("eof")

    def get_write_buffer_size(self) -> int:
        return 0 if "close" in self.told else 5

    def get_extra_info(self, name: str, default: object = None) -> object:
        return name or default

    def is_closing(self) -> bool:
        return "close" in self.told


class Turn:
    """An outbox whose turn ends by hand, and two connections."""

    def __init__(self) -> None:
        self._ends: list[Callable[[], None]] = []
        outbox = Outbox(self._ends.append)
        self.sockets = [Socket(), Socket()]
        self.first, self.second = (
            BatchingTransport(cast("asyncio.Transport", socket), outbox) for socket in self.sockets
        )

    def end(self) -> None:
        ends, self._ends[:] = list(self._ends), []
        for callback in ends:
            callback()

    @property
    def told(self) -> list[Any]:
        return self.sockets[0].told


def test_small_writes_leave_together_at_the_end_of_the_turn() -> None:
    turn = Turn()
    turn.first.write(b"a")
    turn.second.write(b"x")
    turn.first.write(b"b")
    assert turn.told == []
    assert turn.first.get_write_buffer_size() == 5 + 2
    turn.end()
    assert [socket.told for socket in turn.sockets] == [[b"ab"], [b"x"]]
    turn.first.write(b"c")
    turn.end()
    assert turn.told == [b"ab", b"c"]


def test_a_large_write_does_not_wait_and_does_not_overtake() -> None:
    turn = Turn()
    large = b"x" * AT_ONCE_BYTES
    turn.first.write(b"a")
    turn.first.write(large)
    assert turn.told == [b"a" + large]
    turn.first.write(b"b")
    turn.first.writelines((b"c", large))
    assert turn.told[1:] == [b"b", (b"c", large)]
    turn.end()
    assert len(turn.told) == 3


def test_small_pieces_wait_like_any_other_write() -> None:
    turn = Turn()
    turn.first.writelines((b"a", b"b"))
    turn.first.write(b"c")
    turn.first.writelines((b"d",))
    assert turn.told == []
    turn.end()
    assert turn.told == [b"abcd"]


@pytest.mark.parametrize(
    ("end", "told"), [("close", [b"a", "close"]), ("write_eof", [b"a", "eof"]), ("abort", ["abort"])]
)
def test_what_was_written_leaves_before_the_connection_ends_unless_it_is_aborted(end: str, told: list[Any]) -> None:
    turn = Turn()
    turn.first.write(b"a")
    getattr(turn.first, end)()
    turn.end()
    assert turn.told == told


def test_nothing_is_written_to_a_connection_that_has_gone() -> None:
    turn = Turn()
    turn.first.write(b"a")
    turn.second.write(b"x")
    turn.told.append("close")
    turn.end()
    turn.first.writelines((b"b",))
    assert [socket.told for socket in turn.sockets] == [["close"], [b"x"]]


def test_nothing_follows_the_end() -> None:
    turn = Turn()
    turn.first.write_eof()
    turn.first.write(b"a")
    turn.first.writelines((b"b",))
    turn.end()
    assert turn.told == ["eof"]


def test_a_connection_that_fails_costs_no_other() -> None:
    turn = Turn()

    def fail(_: bytes) -> None:
        raise RuntimeError("gone")

    turn.sockets[0].write = fail  # type: ignore[method-assign]
    turn.first.write(b"a")
    turn.second.write(b"x")
    turn.end()
    assert [socket.told for socket in turn.sockets] == [["abort"], [b"x"]]
