"""Text of strangers, made harmless for a terminal (S18).

An agent chooses its name, its answers and its errors. Escape sequences in them could
retitle the window, hide a line or write into the clipboard; direction marks could make
a line read as another.
"""

from __future__ import annotations

import unicodedata

_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})
"""Controls, invisible formats, halves of surrogate pairs, private characters, odd line ends."""

_JOINERS = "\u200c\u200d"
"""Invisible but needed: emoji families and several scripts are written with them."""


def one_line(text: str, limit: int = 0) -> str:
    """`text` on one line, everything that a terminal might obey escaped; cut after `limit` characters if given."""
    if limit and len(text) > limit:
        text = text[: limit - 1] + "…"
    return "".join(_shown(char) for char in text)


def lines(text: str) -> str:
    """`text` with its lines and tabs kept, everything else that a terminal might obey escaped."""
    return "".join(char if char in "\n\t" else _shown(char) for char in text.replace("\r\n", "\n"))


def _shown(char: str) -> str:
    if char in _JOINERS or unicodedata.category(char) not in _HIDDEN:
        return char
    code = ord(char)
    if code <= 0xFF:
        return {"\n": "\\n", "\r": "\\r", "\t": "\\t"}.get(char) or f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
