"""What a tenant that floods costs a quiet one: the quiet one's latency alone, and beside the flood.

    python benchmarks/fairness.py [--rounds 5] [--limits calls_per_second=100] [--clients 64]

The quiet tenant calls at a steady rate; the other as often as it may, or regardless of all answers over as many
connections. Rounds of each take turns. `--limits ""` shows what it is like without limits. Linux only; needs wrk.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

import stage

RATE = 80
WITHIN_RATE = 95
SECONDS = 5.0
SETTLE_SECONDS = 2


@contextmanager
def flood(server: stage.Server, file: Path, clients: int) -> Iterator[None]:
    """Calls without end, whatever the answers are."""
    command = [stage.program("wrk"), "-t1", f"-c{clients}", "-d600s", "-s", str(stage.HERE / "call.lua")]
    with stage.running(*command, server.url, "--", str(file), stdout=subprocess.DEVNULL):
        subprocess.run(["sleep", str(SETTLE_SECONDS)], check=True)
        yield


@contextmanager
def within(server: stage.Server, file: Path, _: int) -> Iterator[None]:
    """As many calls as the limit allows, or nearly so."""
    command = [sys.executable, str(stage.HERE / "open_loop.py"), "--url", server.url, "--targets", str(file)]
    with stage.running(*command, "--rate", str(WITHIN_RATE), "--seconds", "600", stdout=subprocess.DEVNULL):
        subprocess.run(["sleep", str(SETTLE_SECONDS)], check=True)
        yield


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--limits", default="calls_per_second=100")
    parser.add_argument("--clients", type=int, default=64)
    asked = parser.parse_args()
    environ = {"RELAY_TENANT_LIMITS": asked.limits} if asked.limits else {}
    found: dict[str, list[dict[str, float]]] = {
        "alone": [],
        "beside calls within the limit": [],
        "beside the flood": [],
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lines = stage.targets(folder, 2, tenants=2).read_text().splitlines(keepends=True)
        loud, quiet = folder / "loud", folder / "quiet"
        loud.write_text(lines[0])
        quiet.write_text(lines[1])
        with stage.relay(folder / "relay", environ=environ) as relay, stage.agents(relay, 2, tenants=2):
            stage.open_loop(relay.url, quiet, RATE, 1)
            for _ in range(asked.rounds):
                for what, rows in found.items():
                    beside: AbstractContextManager[None] = nullcontext()
                    if what != "alone":
                        beside = (flood if "flood" in what else within)(relay, loud, asked.clients)
                    with beside:
                        rows.append(measure(relay, quiet))
    for what, rows in found.items():
        print(what + ": " + ", ".join(f"{key} {value:.2f}" for key, value in medians(rows).items()))
        print("    p99 of each round: " + ", ".join(f"{row['p99_ms']:.2f}" for row in rows))
    *others, flooded = (medians(rows)["p99_ms"] for rows in found.values())
    for what, other in zip(found, others, strict=False):
        print(f"p99 beside the flood, against {what}: {(flooded / other - 1) * 100:+.0f}%, medians of the rounds")


def measure(relay: stage.Server, quiet: Path) -> dict[str, float]:
    before = stage.cpu_seconds(relay.pid)
    row = stage.open_loop(relay.url, quiet, RATE, SECONDS)
    used = stage.cpu_seconds(relay.pid) - before
    return {"p50_ms": row["p50_ms"], "p99_ms": row["p99_ms"], "relay_cpu_percent": used / SECONDS * 100}


def medians(rows: list[dict[str, float]]) -> dict[str, float]:
    return {key: statistics.median(row[key] for row in rows) for key in rows[0]}


if __name__ == "__main__":
    main()
