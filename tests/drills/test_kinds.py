"""What drills break off at is there."""

from __future__ import annotations

import re
from pathlib import Path

from kinds import FAILPOINTS

SOURCE = Path(__file__).resolve().parents[2] / "src"


def test_every_failpoint_is_passed_somewhere_and_none_is_left_out() -> None:
    """A drill that waits for a point which nobody passes would only kill at its end."""
    named = {name for file in SOURCE.rglob("*.py") for name in re.findall(r'reach\("([a-z.]+)"\)', file.read_text())}
    assert named == set(FAILPOINTS)
