"""What is told of letters, as values."""

from __future__ import annotations

import pytest

from a2a_relay.core.letter import Entry, LetterEvent
from a2a_relay.fronts.http import letter_json

HISTORY = tuple(Entry(float(at), LetterEvent.LEASED, at) for at in range(5))


@pytest.mark.parametrize("told", range(5))
def test_what_is_new_stands_behind_the_line_that_was_told_last(told: int) -> None:
    assert letter_json.news(HISTORY, HISTORY[told]) == HISTORY[told + 1 :]


def test_without_a_line_that_was_told_all_is_new() -> None:
    assert letter_json.news(HISTORY, None) == HISTORY


def test_what_a_store_has_left_out_of_a_long_history_is_not_waited_for() -> None:
    shortened = (HISTORY[0], *HISTORY[3:])
    assert letter_json.news(shortened, HISTORY[1]) == HISTORY[3:]
    assert letter_json.news(shortened, HISTORY[3]) == HISTORY[4:]
