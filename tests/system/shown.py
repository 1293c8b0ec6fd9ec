"""Comparing what a document shows with what a program has printed."""

from __future__ import annotations

import re

_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def pattern_of(shown: str) -> str:
    """What a shown line stands for: `…` is anything, ids and numbers are any, blanks are any number of them."""
    parts = []
    for part in re.split(rf"(…|{_UUID.pattern}|\d+|\s+)", shown.strip()):
        if part == "…":
            parts.append(".*")
        elif _UUID.fullmatch(part):
            parts.append(_UUID.pattern)
        elif part.isdigit():
            parts.append(r"\d+")
        elif part.isspace():
            parts.append(r"\s+")
        else:
            parts.append(re.escape(part))
    return "".join(parts)


def missing_line(shown: list[str], printed: str) -> str | None:
    """The first shown line that was not printed after the lines before it."""
    lines = iter(printed.splitlines())
    for line in shown:
        if not any(re.search(pattern_of(line), actual) for actual in lines):
            return line
    return None
