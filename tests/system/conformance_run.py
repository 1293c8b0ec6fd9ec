"""`RELAY_URL=... pytest tests/` as a process of its own, and what it says at its end."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass

from programs import ROOT, clean_environment

LIMIT_SECONDS = 300
"""What the suite promises to stay under."""


@dataclass(frozen=True)
class SuiteRun:
    """`outcomes` counts tests by what became of them, such as `{"passed": 357}`."""

    exit_code: int
    outcomes: dict[str, int]
    output: str


def run_suite(relay_url: str, secret: str, files: tuple[str, ...] = ()) -> SuiteRun:
    """Run the suite, or these files of it, against the relay at an address. Raises TimeoutExpired."""
    meant = [f"tests/conformance/{file}" for file in files] or ["tests/"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *meant, "-q", "-p", "no:cacheprovider"],
        cwd=ROOT,
        env=clean_environment(RELAY_URL=relay_url, RELAY_JWT_SECRET=secret),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=LIMIT_SECONDS,
        check=False,
    )
    last_line = done.stdout.rstrip().rpartition("\n")[2]
    return SuiteRun(done.returncode, _read_outcomes(last_line), done.stdout)


def _read_outcomes(last_line: str) -> dict[str, int]:
    """Read pytest's last line, such as `2 failed, 355 passed, 1 skipped in 52.20s`."""
    counted = re.findall(r"(\d+) ([a-z]+)", last_line.partition(" in ")[0])
    return {word: int(count) for count, word in counted if not word.startswith("warning")}
