"""What `pytest tests/` collects.

With `RELAY_URL` set it is the language-agnostic suite in `tests/conformance` and only
that, run against the relay at that address; without it, everything else.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

if not os.environ.get("RELAY_URL"):
    from hypothesis import HealthCheck, settings

    # How long an example takes is the machine's affair, which has other things to do; who runs the tests of tests runs
    # each of them in more than one process.
    settings.register_profile("relay", deadline=None, suppress_health_check=[HealthCheck.differing_executors])
    settings.load_profile("relay")

HERE = Path(__file__).parent
CONFORMANCE = HERE / "conformance"


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out the half that this run is not about (None: no opinion)."""
    if not collection_path.is_relative_to(HERE) or collection_path == HERE:
        return None
    belongs_to_suite = collection_path.is_relative_to(CONFORMANCE)
    return True if belongs_to_suite != bool(os.environ.get("RELAY_URL")) else None
