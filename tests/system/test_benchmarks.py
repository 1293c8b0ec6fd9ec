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


@pytest.mark.skipif(sys.platform != "linux", reason="the benchmark reads /proc")
def test_streams_are_read_and_measured(tmp_path: Path) -> None:
    code = f"""
import json, pathlib, sys
sys.path.insert(0, {str(BENCHMARKS)!r})
import stage
folder = pathlib.Path({str(tmp_path)!r})
file = stage.targets(folder, 1)
with stage.relay(folder / "relay") as relay, stage.stream_agents(relay, 1, rate=50):
    found = stage.read_streams(relay, file, relay.pid, 2, rounds=2, seconds=0.4, settle=0.1, stops=True, delays=True)
print(json.dumps(found))
"""
    command = [sys.executable, "-c", code]
    output = subprocess.run(command, capture_output=True, text=True, check=True, timeout=50).stdout
    both, one = json.loads(output)
    assert both["events"] > both["of_first"] > 0
    assert one["events"] > one["of_first"] == 0
    assert both["p50_ms"] <= both["p99_ms"] <= both["max_ms"]


def test_a_figure_that_is_not_there_yet_says_so(tmp_path: Path) -> None:
    row = {"part": "streams", "what": "later", "value": None, "unit": "us", "bar": 40, "verdict": "not built"}
    saved = tmp_path / "history.jsonl"
    saved.write_text(json.dumps({"date": "today", "machine": "", "python": "", "packages": "", "rows": [row]}) + "\n")
    assert "| later | <= 40 | not built |" in run("history.py", str(saved))


def test_the_history_in_the_docs_is_what_was_saved() -> None:
    docs = BENCHMARKS.parent / "docs" / "speed-history.md"
    assert run("history.py") == docs.read_text()
