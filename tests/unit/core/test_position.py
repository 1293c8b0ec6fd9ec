"""Places in streams, as clients send them back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from a2a_relay.core.position import Position

STREAM = "Zm9vYmFyYmF6cXV4LV9fXw"


def test_a_place_is_a_stream_its_life_and_a_number() -> None:
    assert Position.parse(f"{STREAM}.0af3-17") == Position(STREAM, "0af3", 17)
    assert Position.parse(f"{STREAM}.{'f' * 16}-{'9' * 15}") == Position(STREAM, "f" * 16, 10**15 - 1)
    assert Position.parse(f"{'-' * 22}.e-0") == Position("-" * 22, "e", 0)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "17",
        STREAM,
        f"{STREAM}.0af3",
        f"{STREAM}.0af3-",
        f"{STREAM}.0af3--1",
        f"{STREAM}.-1",
        f"{STREAM}.0AF3-1",
        f"{STREAM}.0af3-{'9' * 16}",
        f"{STREAM}.{'f' * 17}-1",
        f"{STREAM}x.0af3-1",
        f"{STREAM[1:]}.0af3-1",
        f" {STREAM}.0af3-1",
        f"{STREAM}.0af3-1\n",
        f"{STREAM}.0af3-1, {STREAM}.0af3-2",
        f"{STREAM}.0af3-\N{ARABIC-INDIC DIGIT ONE}",
    ],
)
def test_what_is_no_place_is_none_of_ours(text: str) -> None:
    assert Position.parse(text) is None


@given(st.text(max_size=80))
def test_reading_never_raises(text: str) -> None:
    Position.parse(text)
    Position.at_start(text)


def test_the_start_of_a_stream_fits_any_of_its_lives() -> None:
    assert Position.at_start(STREAM) == Position(STREAM, "", 0)
    assert [Position.at_start(id) for id in ("", STREAM[1:], f"{STREAM}x", f"{STREAM[1:]}.", f"{STREAM}\n")] == [
        None
    ] * 5
