"""Drills: `make drills` runs the long set; `run.py --replay KIND:SEED:LIVES` runs one drill of it again.

A failure prints its seed and the command that replays it, and makes the exit code 1. What timing decides (which request
is under way when a relay dies) is not the same the second time; what the seed decides is.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from history import Verdict
from kinds import Kind, run_world
from powerloss import build
from scenarios import SCENARIOS, storm
from world import Figures

LIVES = 50
"""Of one world."""
DRILL_SECONDS = 600.0
STORIES = SCENARIOS | {"storm": storm}


async def run_one(name: str, seed: int, lives: int, directory: Path) -> tuple[Verdict, Figures]:
    """One drill, in this process."""
    if name in STORIES:
        return await STORIES[name](directory / "world", seed), Figures()
    library = None if name == Kind.CRASH else build(directory)
    return await run_world(Kind(name), seed, lives, directory / "world", library)


def replay(drill: str, keep: Path | None) -> dict[str, Any]:
    """One drill; what became of it, for whoever has started it. What a failed one has left is kept."""
    name, seed, lives = drill.split(":")
    directory = Path(tempfile.mkdtemp(prefix="drill-", dir=keep))
    try:
        verdict, figures = asyncio.run(run_one(name, int(seed), int(lives), directory))
    except Exception as error:
        verdict, figures = Verdict(), Figures()
        verdict.blame("the drill itself", f"{type(error).__name__}: {error}")
    if keep is None and (not verdict.violated or name == Kind.MUTANT):
        shutil.rmtree(directory, ignore_errors=True)
    elif verdict.violated:
        verdict.violations.insert(0, f"history, store and log are kept in {directory}")
    return {"drill": drill, "verdict": asdict(verdict), "figures": asdict(figures)}


def start(drill: str) -> dict[str, Any]:
    """One drill in a process of its own."""
    command = [sys.executable, str(Path(__file__)), "--replay", drill, "--json"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=DRILL_SECONDS, check=True)
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    except (subprocess.SubprocessError, ValueError, IndexError) as error:
        verdict = Verdict()
        verdict.blame("the drill itself", f"{error}: {getattr(error, 'stderr', '')}")
        found = {"drill": drill, "verdict": asdict(verdict), "figures": asdict(Figures())}
    return found


def plan(seed: int, kills: int, losses: int) -> Iterator[str]:
    """All drills of a set."""
    for name in STORIES:
        yield f"{name}:{seed}:0"
    for kind, count in ((Kind.CRASH, kills), (Kind.LOSS, losses), (Kind.MUTANT, LIVES if losses else 0)):
        for number in range(-(-count // LIVES)):
            yield f"{kind}:{seed + number}:{min(LIVES, count)}"


class Total:
    """What all drills came to."""

    def __init__(self) -> None:
        self.verdict, self.figures = Verdict(), Figures()
        self.mutants = self.mutants_caught = self.mutant_lost = 0
        self.failures: list[tuple[str, list[str]]] = []

    def take(self, found: dict[str, Any]) -> None:
        """One drill's report."""
        verdict, figures = Verdict(**found["verdict"]), Figures(**found["figures"])
        if found["drill"].startswith(Kind.MUTANT):
            self.mutants += 1
            self.mutants_caught += verdict.lost > 0
            self.mutant_lost += verdict.lost
            if not verdict.lost:
                self.failures.append((found["drill"], ["a store that never syncs was not caught"]))
            return
        self.verdict.add(verdict)
        self.figures.add(figures)
        if verdict.violated:
            self.failures.append((found["drill"], verdict.violations))

    def tell(self, seed: int, seconds: float) -> None:
        """The figures, for people."""
        verdict, figures = self.verdict, self.figures
        rows = {
            "seed": seed, "seconds": round(seconds), "lives": figures.lives, "kills": figures.kills,
            "of these power losses": figures.losses, "faults that did not come in time (killed)": figures.unreached,
            "operations (sends)": verdict.sends, "letters accepted": verdict.accepted,
            "delivered": verdict.delivered, "delivered again": verdict.duplicated, "answered": verdict.answered,
            "lost": verdict.lost, "violations": verdict.violated,
            "mutants caught": f"{self.mutants_caught} of {self.mutants} ({self.mutant_lost} letters lost)",
            "refusals": figures.refusals,
        }  # fmt: skip
        for name, figure in rows.items():
            print(f"{name:>42}  {figure}")
        for drill, violations in self.failures:
            print(f"\nFAILED {drill}\n  again: {sys.executable} {os.path.relpath(__file__)} --replay {drill}")
            for violation in violations[:5]:
                print(f"  {violation}")


def main() -> int:
    """The exit code: 1 when anything was violated, or the mutant was not caught."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=3000)
    parser.add_argument("--losses", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--replay", metavar="KIND:SEED:LIVES")
    parser.add_argument("--keep", type=Path, help="keep a replayed drill's files here")
    parser.add_argument("--json", action="store_true")
    words = parser.parse_args()
    if words.replay and words.json:
        print(json.dumps(replay(words.replay, words.keep)))
        return 0
    began, total = time.monotonic(), Total()
    seed = secrets.randbelow(1 << 30) if words.seed is None else words.seed
    if words.replay:
        seed = int(words.replay.split(":")[1])
        total.take(replay(words.replay, words.keep))
    else:
        print(f"seed {seed}", flush=True)
        with ThreadPoolExecutor(words.workers) as pool:
            for found in pool.map(start, plan(seed, words.kills, words.losses)):
                total.take(found)
                violations = found["verdict"]["violations"]
                is_as_wanted = bool(violations) == found["drill"].startswith(Kind.MUTANT)
                print(
                    "\n  ".join([found["drill"], *([] if is_as_wanted else violations[:5] or ["nothing was lost"])]),
                    flush=True,
                )
    total.tell(seed, time.monotonic() - began)
    return 1 if total.failures else 0


if __name__ == "__main__":
    sys.exit(main())
