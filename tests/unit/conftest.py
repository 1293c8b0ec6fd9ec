"""What every unit test gets: a log configuration that no other test has left behind."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import structlog


@pytest.fixture(autouse=True)
def fresh_log() -> Iterator[None]:
    """A command under test configures the log for its own streams, which are closed after it."""
    yield
    structlog.reset_defaults()
