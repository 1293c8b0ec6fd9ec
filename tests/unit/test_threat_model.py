"""The threat model names tests that exist, for every threat."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "threat-model.md").read_text(encoding="utf-8")
_NAMED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


def test_every_test_that_is_named_exists() -> None:
    named = _NAMED.findall(PAGE)
    assert len(named) > 15
    missing = [
        f"{path}::{name}"
        for path, name in named
        if not re.search(rf"def {name}\(", (ROOT / path).read_text(encoding="utf-8"))
    ]
    assert not missing


def test_every_threat_has_its_row_and_its_place_in_stride() -> None:
    stride, _, threats = PAGE.partition("<!-- table: threats -->")
    found = re.findall(r"^\| (S\d+) \|", threats, re.MULTILINE)
    assert found == [f"S{number}" for number in range(1, 26)]
    assert set(re.findall(r"\bS\d+\b", stride.partition("## STRIDE")[2])) == set(found)
