"""The drills of many lives: what goes wrong in each, drawn from a seed."""

from __future__ import annotations

import random
from enum import StrEnum
from pathlib import Path

from history import Verdict
from lives import Fault, StillbornError
from powerloss import Loss, Mode
from world import LIFE_SECONDS, Figures, world

FAILPOINTS = (
    "accept.before", "commit.before", "commit.after", "accept.after", "lease.after", "frame.after", "bind.after",
    "answer.before", "answer.after", "drain",
)  # fmt: skip
MANY_STEPS = 150
"""Writes and syncs of a life with a few dozen letters, about."""
ATTEMPTS = (5, 1000)
"""With few attempts letters die of all these crashes, which is an end as well."""


class Kind(StrEnum):
    """What ends the lives of a world."""

    CRASH = "crash"
    """SIGKILL at failpoints and at random moments."""
    LOSS = "loss"
    """The same, and what was not synced is gone."""
    MUTANT = "mutant"
    """As LOSS, with a store that never syncs: it must be caught."""


def draw_fault(kind: Kind, chance: random.Random) -> Fault:
    """How one life ends."""
    failpoint = f"{chance.choice(FAILPOINTS)}:{chance.randrange(1, 7)}"
    moment = chance.random() * LIFE_SECONDS
    if kind is Kind.CRASH:
        return Fault(failpoint) if chance.random() < 0.75 else Fault(kill_after_seconds=moment)
    mode, seed, is_mutant = chance.choice(list(Mode)), chance.randrange(1 << 31), kind is Kind.MUTANT
    draw = chance.random()
    if draw < 0.3:
        return Fault(failpoint, loss=Loss(mode, seed), is_mutant=is_mutant)
    if draw < 0.45:
        return Fault(loss=Loss(mode, seed, at_microseconds=int(moment * 1e6) + 1), is_mutant=is_mutant)
    return Fault(loss=Loss(mode, seed, at_step=chance.randrange(1, MANY_STEPS)), is_mutant=is_mutant)


async def run_world(
    kind: Kind, seed: int, lives: int, directory: Path, library: Path | None
) -> tuple[Verdict, Figures]:
    """So many lives over one store, and what became of its letters. A mutant's store may not even open again."""
    chance = random.Random(f"{kind} {seed}")
    try:
        async with world(directory, seed, library=library, attempts=chance.choice(ATTEMPTS)) as found:
            for _ in range(lives):
                found.write(2, 0.5)
                found.write(1, 0.03, ttl_seconds=1)
                await found.live(draw_fault(kind, chance))
            return await found.settle(), found.figures
    except StillbornError as error:
        verdict = Verdict(lost=1)
        verdict.blame("nothing is lost", f"a relay does not come up: {error}")
        return verdict, Figures()
