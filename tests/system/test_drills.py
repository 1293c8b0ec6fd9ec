"""The mailbox under faults: a relay is killed, its power is cut, its disk is full, and no accepted letter is lost.

These are the short forms of `make drills`: real processes on a real file, a history of what clients and agents saw, and
one checker for all of it (`tests/drills`). A failure prints its seed; `tests/drills/run.py --replay` runs it again.
"""

from __future__ import annotations

import os
import secrets
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "drills"))

from history import Verdict
from kinds import Kind, run_world
from powerloss import build, can_build
from scenarios import SCENARIOS, storm

LIVES = 10
SMALL_STORM = 150

pytestmark = pytest.mark.timeout(180)
needs_power_loss = pytest.mark.skipif(not can_build(), reason="needs gcc and /proc")


@pytest.fixture
def seed() -> int:
    """Another one in each run; `DRILL_SEED` repeats one."""
    return int(os.environ.get("DRILL_SEED") or secrets.randbelow(1 << 30))


def require_kept_promises(verdict: Verdict, drill: str) -> None:
    """Fail with what was violated, and how to see it again."""
    again = f"python tests/drills/run.py --replay {drill}"
    assert not verdict.violations, "\n".join([*verdict.violations, again])
    assert verdict.accepted, again


async def test_a_relay_that_is_killed_loses_no_letter(seed: int, tmp_path: Path) -> None:
    """SIGKILL at failpoints and at random moments, one life after the other."""
    verdict, figures = await run_world(Kind.CRASH, seed, LIVES, tmp_path / "world", None)
    require_kept_promises(verdict, f"crash:{seed}:{LIVES}")
    assert figures.kills == LIVES


@needs_power_loss
async def test_a_power_loss_takes_nothing_that_was_accepted(seed: int, tmp_path: Path) -> None:
    """Whatever was not synced is undone, all of it, some of it, or half of its last write."""
    verdict, figures = await run_world(Kind.LOSS, seed, LIVES, tmp_path / "world", build(tmp_path))
    require_kept_promises(verdict, f"loss:{seed}:{LIVES}")
    assert figures.losses


@needs_power_loss
async def test_a_store_that_never_syncs_is_caught_losing(seed: int, tmp_path: Path) -> None:
    """Or the drill above would prove nothing."""
    verdict, _ = await run_world(Kind.MUTANT, seed, LIVES, tmp_path / "world", build(tmp_path))
    assert verdict.lost, f"python tests/drills/run.py --replay mutant:{seed}:{LIVES}"


@pytest.mark.parametrize("name", SCENARIOS)
async def test_what_goes_wrong_once_loses_no_letter(name: str, seed: int, tmp_path: Path) -> None:
    """The stories say what has to come of them."""
    require_kept_promises(await SCENARIOS[name](tmp_path / "world", seed), f"{name}:{seed}:0")


async def test_many_agents_that_come_back_at_once_get_their_letters(seed: int, tmp_path: Path) -> None:
    """The long form has 2,000 of them."""
    require_kept_promises(await storm(tmp_path / "world", seed, SMALL_STORM), f"storm:{seed}:0")
