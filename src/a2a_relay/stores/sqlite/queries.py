"""Statements by name, from the SQL files beside this one."""

from __future__ import annotations

import re
from importlib import resources


def load_queries(file: str) -> dict[str, str]:
    """The statements of a file, each behind a line with its name."""
    text = resources.files(__package__).joinpath(file).read_text("utf-8")
    parts = re.split(r"^-- (\w+)\n", text, flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], (sql.strip() for sql in parts[1::2]), strict=True))
