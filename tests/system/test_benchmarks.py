"""The benchmark runs and ends by itself; what it says is not tested here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def run(script: str, *arguments: str) -> str:
    command = [sys.executable, str(BENCHMARKS / script), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout


@pytest.mark.skipif(sys.platform != "linux", reason="the benchmark reads /proc")
def test_a_part_of_it_gives_rows_and_a_line_of_history(tmp_path: Path) -> None:
    saved = tmp_path / "history.jsonl"
    record = json.loads(run("run.py", "--only", "bodies", "--json", "--save", str(saved)))
    assert [row["unit"] for row in record["rows"]] == ["copies", "ms"]
    assert all(row["value"] > 0 for row in record["rows"])
    assert json.loads(saved.read_text()) == record
    assert f"| {record['rows'][0]['what']} | <= 4 |" in run("history.py", str(saved))


def test_the_history_in_the_docs_is_what_was_saved() -> None:
    docs = BENCHMARKS.parent / "docs" / "speed-history.md"
    assert run("history.py") == docs.read_text()
