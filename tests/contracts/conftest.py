"""Makes `log_processes` importable by the tests beside it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from log_processes import Process


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Process]:
    """A log in SQLite, at its first life."""
    found = Process(tmp_path / "relay.db")
    yield found
    found.close()
