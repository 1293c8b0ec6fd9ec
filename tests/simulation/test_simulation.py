"""Seeded schedules of everything that may happen to letters; what the relay promises holds in each.

`SIM_SEED=17 pytest tests/simulation` replays one of them and prints what happened; `SIM_COUNT=20000` plays so many,
`SIM_FROM` says from which on.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from sim_world import World

SEED = os.environ.get("SIM_SEED")
FROM = int(os.environ.get("SIM_FROM", "1"))
COUNT = int(os.environ.get("SIM_COUNT", "600"))
SQLITE_COUNT = int(os.environ.get("SIM_SQLITE_COUNT", "30"))


async def play(seed: int, store: Path | None = None) -> World:
    """One schedule; the failure tells how to see it again."""
    world = World(seed, store)
    try:
        await world.run(steps=world.chance.randint(15, 45))
    except BaseException as error:
        story = "\n".join(world.ledger.log)
        where = "memory" if store is None else "sqlite"
        replay = f"SIM_SEED={seed} python -m pytest -q tests/simulation -k {where}"
        raise AssertionError(f"{story}\n{type(error).__name__}: {error}\nseed {seed}; again by: {replay}") from error
    return world


@pytest.mark.timeout(0 if COUNT > 5000 else 300)
async def test_every_promise_holds_in_every_schedule_in_memory() -> None:
    for seed in [int(SEED)] if SEED else range(FROM, FROM + COUNT):
        await play(seed)


async def test_every_promise_holds_in_every_schedule_in_sqlite(tmp_path: Path) -> None:
    for seed in [int(SEED)] if SEED else range(FROM, FROM + SQLITE_COUNT):
        await play(seed, tmp_path / f"{seed}.db")
