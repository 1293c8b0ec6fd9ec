"""The saved runs of the benchmark as one Markdown table: a row for each figure, a column for each run.

    python benchmarks/history.py [FILE.jsonl] > docs/speed-history.md

Runs on different machines stand side by side; ratios are what can be compared.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

LATEST = 8
"""Runs to show."""


def rendered(runs: list[dict[str, Any]]) -> str:
    """The table, newest run first."""
    runs = runs[-LATEST:][::-1]
    names = list(dict.fromkeys(row["what"] for run in runs for row in run["rows"]))
    found = [{row["what"]: row for row in run["rows"]} for run in runs]
    lines = [
        "# Speed, run by run",
        "",
        "Made by `python benchmarks/history.py`. A figure with a bar that it misses is in bold.",
        "",
        "| figure | bar | " + " | ".join(run["date"] for run in runs) + " |",
        "|---|---|" + "---|" * len(runs),
    ]
    for name in names:
        bar = next(rows[name]["bar"] for rows in found if name in rows)
        cells = [_cell(rows.get(name)) for rows in found]
        lines.append(f"| {name} | {'' if bar is None else f'<= {bar:g}'} | " + " | ".join(cells) + " |")
    lines += ["", *(f"- {run['date']}: {run['machine']}; Python {run['python']}; {run['packages']}" for run in runs)]
    return "\n".join(lines)


def _cell(row: dict[str, Any] | None) -> str:
    if row is None:
        return ""
    if row["value"] is None:
        return str(row["verdict"])
    text = f"{row['value']:.2f} {row['unit']}".rstrip()
    return f"**{text}**" if row["verdict"] == "MISSED" else text


if __name__ == "__main__":
    file = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("history.jsonl")
    print(rendered([json.loads(line) for line in file.read_text().splitlines()]))
