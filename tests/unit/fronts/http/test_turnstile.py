"""A crowd's work is done in order, a little in each turn of the loop."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest

from a2a_relay.fronts.http import turnstile as turnstiles
from a2a_relay.fronts.http.turnstile import TURN_SECONDS, Turnstile


class Turns:
    """A loop whose turns are taken by hand, and a clock that each piece of work moves on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._next: list[Callable[[], None]] = []
        self._now = 0.0
        self.done: list[int] = []
        monkeypatch.setattr(turnstiles, "monotonic", lambda: self._now)
        self.turnstile = Turnstile(self._next.append)

    def enter(self, number: int, seconds: float) -> None:
        self.turnstile.enter(partial(self._work, number, seconds))

    def _work(self, number: int, seconds: float) -> None:
        self._now += seconds
        self.done.append(number)

    def turn(self) -> bool:
        """One turn of the loop; False when there was nothing to do."""
        due, self._next[:] = list(self._next), []
        for callback in due:
            callback()
        return bool(due)


def test_one_who_comes_alone_waits_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    turns = Turns(monkeypatch)
    turns.enter(1, 1.0)
    assert turns.done == [1]
    turns.turn()
    turns.enter(2, 1.0)
    assert turns.done == [1, 2]


def test_a_crowd_goes_through_in_order_and_a_little_in_each_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    turns = Turns(monkeypatch)
    for number in range(20):
        turns.enter(number, TURN_SECONDS / 2)
    assert turns.done == [0, 1]
    turns.turn()
    assert turns.done == [0, 1, 2, 3]
    turns.enter(20, TURN_SECONDS / 2)
    while turns.turn():
        pass
    assert turns.done == list(range(21))
    assert len(turns.turnstile) == 0


def test_a_quiet_loop_is_not_turned(monkeypatch: pytest.MonkeyPatch) -> None:
    turns = Turns(monkeypatch)
    turns.enter(1, 0)
    assert turns.turn()
    assert not turns.turn()


def test_work_that_fails_does_not_block_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    turns = Turns(monkeypatch)

    def fail() -> None:
        raise ValueError

    with pytest.raises(ValueError):
        turns.turnstile.enter(fail)
    turns.turn()
    turns.enter(2, 0)
    assert turns.done == [2]


def test_one_of_a_crowd_that_fails_does_not_keep_the_others_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    turns = Turns(monkeypatch)
    turns.enter(1, TURN_SECONDS)

    def fail() -> None:
        raise ValueError

    turns.turnstile.enter(fail)
    turns.enter(2, 0)
    with pytest.raises(ValueError):
        turns.turn()
    turns.turn()
    assert turns.done == [1, 2]
