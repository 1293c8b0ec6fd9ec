"""Statements by name, from the SQL files beside this one."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache
from importlib import resources
from itertools import chain
from typing import Any

_WIDTHS = (*range(17), *[16] * 15, *[32] * 32, *[64] * 64, 128)
"""How many of so many rows go into one statement: few widths, so that each is prepared once."""
_VALUES = re.compile(r"VALUES (\(\?(?:, \?)*\))")


def load_queries(file: str) -> dict[str, str]:
    """The statements of a file, each behind a line with its name."""
    text = resources.files(__package__).joinpath(file).read_text("utf-8")
    parts = re.split(r"^-- (\w+)\n", text, flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], (sql.strip() for sql in parts[1::2]), strict=True))


def in_few_steps(sql: str, rows: Sequence[Sequence[Any]]) -> Iterator[tuple[str, Sequence[Any]]]:
    """A statement over `VALUES (?, ...)` for many rows: statements with more rows, and their parameters.

    A step lets go of the interpreter and takes it again, and beside a busy node that takes its time.
    """
    if len(rows) == 1:
        yield sql, rows[0]
        return
    start = 0
    while start < len(rows):
        count = _WIDTHS[min(len(rows) - start, len(_WIDTHS) - 1)]
        yield _widened(sql, count), tuple(chain.from_iterable(rows[start : start + count]))
        start += count


@cache
def _widened(sql: str, count: int) -> str:
    """A statement with `count` rows of values instead of one."""
    return _VALUES.sub(lambda found: "VALUES " + ", ".join([found[1]] * count), sql)
