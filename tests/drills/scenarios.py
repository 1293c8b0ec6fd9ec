"""The drills of one story each: what they do to a relay or an agent, and what must come of it."""

from __future__ import annotations

import asyncio
import re
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from history import Verdict, check, merge
from letter_agents import Manners
from lives import Fault, Life
from world import AGENTS, TENANTS, World, world

from a2a_relay.core.letter import LetterState

STORM = 2000
RECORD_SECONDS = 0.3
"""After that a relay has noted beside its store how many letters it has accepted."""
ARRIVAL_SECONDS = 90.0


async def stopped_relay(directory: Path, seed: int) -> Verdict:
    """The relay is stopped (SIGSTOP) in the middle of its work, and goes on: nobody notices but by the time."""

    async def stop(life: Life) -> None:
        await asyncio.sleep(0.1)
        life.send(signal.SIGSTOP)
        await asyncio.sleep(0.5)
        life.send(signal.SIGCONT)

    async with world(directory, seed) as found:
        for _ in range(3):
            found.write(3)
            await found.live(Fault(), seconds=0.5, during=stop)
        return await found.settle()


async def stopped_agent(directory: Path, seed: int) -> Verdict:
    """An agent is stopped with letters in its hand while its relay dies, and goes on with the next relay."""
    pair = (TENANTS[0], AGENTS[0])
    async with world(directory, seed, pairs=[pair]) as found:
        path = directory / "agent.jsonl"
        path.touch()
        async with _agent_process(found, path) as agent:
            for _ in range(3):
                found.write(4)

                async def stop(life: Life) -> None:
                    await asyncio.sleep(0.3)
                    agent.send_signal(signal.SIGSTOP)
                    await asyncio.sleep(0.1)

                await found.live(Fault(), seconds=0.1, share=0, during=stop)
                agent.send_signal(signal.SIGCONT)
            found.write(1)
            await found.settle(agents=[])
        return check(merge(found.path, path))


@asynccontextmanager
async def _agent_process(found: World, path: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    words = [
        str(Path(__file__).with_name("agent_process.py")),
        TENANTS[0],
        AGENTS[0],
        str(found.nursery.port),
        str(path),
    ]
    process = await asyncio.create_subprocess_exec(sys.executable, *words)
    try:
        yield process
    finally:
        process.kill()
        await process.wait()


async def silent_agent(directory: Path, seed: int) -> Verdict:
    """Agents take all letters and answer none, and then their links end: each letter comes to the next session."""
    async with world(directory, seed, contexts=("red", "blue")) as found:
        found.write(1)
        life = await found.nursery.begin()
        for agent in found.agents:
            agent.manners = Manners(vanishes=1.0)
        await found.attach(found.agents)
        await found.send(life)
        await _until(lambda: sum(agent.deliveries for agent in found.agents) >= len(found.chains))
        await found.leave()
        verdict = await found.settle(life)
        assert verdict.answered == verdict.accepted == len(found.chains)
        assert verdict.duplicated >= len(found.chains), "each was delivered to a session that answered"
        return verdict


async def full_disk(directory: Path, seed: int) -> Verdict:
    """The store's file cannot grow: letters are refused in words, and those that were accepted are there."""
    async with world(directory, seed) as found:
        for size in (100_000, 200_000):
            found.write(20)
            await found.live(Fault(max_file_bytes=size), seconds=1, share=0)
        assert found.post.refusals, "the disk was never full"
        for chain in found.chains:
            chain.pending.clear()
        found.write(1)
        verdict = await found.settle()
        assert verdict.accepted >= len(found.chains)
        return verdict


async def damaged_tail(directory: Path, seed: int) -> Verdict:
    """The end of the write-ahead log is damaged after a crash: the relay says how many letters that has cost."""
    async with world(directory, seed) as found:
        found.write(4)
        life = await found.nursery.begin()
        await found.send(life)
        await asyncio.sleep(RECORD_SECONDS)
        await found.end(life)
        log = found.nursery.store.with_name(found.nursery.store.name + "-wal")
        with log.open("r+b") as file:
            file.seek(log.stat().st_size * 3 // 4)
            file.write(b"damaged" * 10)
        verdict = await found.settle()
        told = re.search(r"has lost the last (\d+) letters", found.nursery.log.read_text())
        assert told is not None, "the relay has not noticed"
        assert verdict.lost == int(told[1]), "it has told another number"
        assert verdict.answered == verdict.accepted - verdict.lost, "the others are answered"
        assert all(violation.startswith("nothing is lost") for violation in verdict.violations)
        return Verdict(accepted=verdict.accepted, delivered=verdict.delivered, answered=verdict.answered)


async def jumping_clock(directory: Path, seed: int) -> Verdict:
    """The clock jumps forward over the expiry of half of the letters, and back: those are expired, none is lost."""
    async with world(directory, seed) as found:
        found.write(1, ttl_seconds=60)
        found.write(1)
        life = await found.nursery.begin()
        await found.send(life)
        found.jump(3600)
        await asyncio.sleep(0.2)
        verdict = await found.settle(life)
        assert (verdict.delivered, verdict.accepted) == (len(found.chains), 2 * len(found.chains))
        assert set(found.ends.values()) == {LetterState.DONE, LetterState.EXPIRED}
        found.jump(-1800)
        found.write(1)
        verdict = await found.settle()
        assert verdict.delivered == 2 * len(found.chains)
        return verdict


async def two_sessions(directory: Path, seed: int) -> Verdict:
    """Two sessions of each agent take turns: each letter is somebody's, and one of them answers it."""
    async with world(directory, seed) as found:
        found.write(5)
        life = await found.nursery.begin()
        sending = asyncio.create_task(found.send(life))
        for _ in range(4):
            await found.attach(found.agents)
            await asyncio.sleep(0.1)
        await sending
        return await found.settle(life)


async def storm(directory: Path, seed: int, agents: int = STORM) -> Verdict:
    """So many agents come back at once, and a letter waits for each of them."""
    pairs = [(TENANTS[number % 2], f"agent-{number}") for number in range(agents)]
    async with world(directory, seed, pairs=pairs, contexts=("red",)) as found:
        found.write(1)
        life = await found.nursery.begin()
        for start in range(0, agents, 50):
            await asyncio.gather(*(found.send_chain(chain, life) for chain in found.chains[start : start + 50]))
        began = time.monotonic()
        await found.attach(found.agents)
        await _until(lambda: sum(agent.deliveries for agent in found.agents) >= agents)
        print(f"storm: {agents} agents back with their letters after {time.monotonic() - began:.1f} s")
        return await found.settle(life)


async def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + ARRIVAL_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it has not come to that"
        await asyncio.sleep(0.02)


Scenario = Callable[[Path, int], Awaitable[Verdict]]
SCENARIOS: dict[str, Scenario] = {
    scenario.__name__: scenario
    for scenario in (stopped_relay, stopped_agent, silent_agent, full_disk, damaged_tail, jumping_clock, two_sessions)
}
"""Those that take a few seconds; the storm is one for the long set, and with fewer agents for the short one."""
