"""A relay's door, open or with settings of its own."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from doors import Door


@pytest.fixture
def make_door(tmp_path: Path) -> Callable[..., Door]:
    return lambda **settled: Door(tmp_path, **settled)


@pytest.fixture
def door(tmp_path: Path) -> Door:
    return Door(tmp_path)
