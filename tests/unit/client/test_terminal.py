"""What a stranger says cannot command a terminal."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from a2a_relay.client.terminal import lines, one_line

CLEAR_SCREEN = "\x1b[2J"
SET_TITLE = "\x1b]0;owned\x07"
C1_CSI = "\x9b2J"
RIGHT_TO_LEFT = "\u202egnp.exe"
FAMILY = "👩\u200d👩\u200d👧"


def test_ordinary_text_of_any_script_stays_as_it_is() -> None:
    for text in ("hello", "Grüße", "日本語", "नमस्ते", "🦀", FAMILY, "a\u200cb"):
        assert one_line(text) == lines(text) == text


@pytest.mark.parametrize(
    "text,shown",
    [
        (CLEAR_SCREEN, "\\x1b[2J"),
        (SET_TITLE, "\\x1b]0;owned\\x07"),
        (C1_CSI, "\\x9b2J"),
        (RIGHT_TO_LEFT, "\\u202egnp.exe"),
        ("a\u2028b", "a\\u2028b"),
        ("a\x7fb\0", "a\\x7fb\\x00"),
        ("\ud83d", "\\ud83d"),
        ("\U000e0041", "\\U000e0041"),
        ("\r", "\\r"),
    ],
)
def test_what_a_terminal_would_obey_is_shown_instead(text: str, shown: str) -> None:
    assert one_line(text) == shown
    assert lines(text) == shown


def test_lines_and_tabs_are_kept_where_a_text_may_have_several() -> None:
    assert lines("a\r\nb\n\tc") == "a\nb\n\tc"
    assert one_line("a\nb\tc") == "a\\nb\\tc"


def test_a_return_cannot_overwrite_what_stands_before_it() -> None:
    assert lines("harmless\rforged") == "harmless\\rforged"


def test_a_long_text_is_cut_before_it_is_escaped() -> None:
    assert one_line("abcdef", limit=4) == "abc…"
    assert one_line("abcd", limit=4) == "abcd"


@given(st.text(st.characters(codec=None)))
def test_nothing_invisible_but_joiners_ever_comes_out_and_it_can_be_written(text: str) -> None:
    for shown in (one_line(text), lines(text).replace("\n", "").replace("\t", "")):
        assert shown.replace("\u200c", "").replace("\u200d", "").replace("\u00a0", " ").isascii() or shown.encode()
        assert not any(ord(char) < 0x20 or 0x7F <= ord(char) < 0xA0 for char in shown)
