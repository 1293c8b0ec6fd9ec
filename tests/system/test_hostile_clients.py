"""Normal clients are served while slow and hostile ones do what they can; `make soak` does it for longer."""

from __future__ import annotations

import json
import subprocess
import sys

from programs import ROOT, clean_environment


def test_normal_calls_do_not_fail_beside_hostile_clients() -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / "hostile_soak.py"), "--seconds", "7", "--json"]
    done = subprocess.run(
        command, cwd=ROOT, env=clean_environment(), capture_output=True, text=True, timeout=55, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout)
    assert found["beside"]["attacks"] >= 60
    assert all(figures["calls"] > 50 and figures["failed"] == 0 for figures in found.values())
