"""One world: a store, the relays that live over it one after the other, its clients and its agents."""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

from history import WAITING, History, Verdict, check, read
from letter_agents import HANDSHAKE_SECONDS, LetterAgent, Manners
from letter_senders import PATIENT_TRIES, Post, Sent
from lives import Fault, Life, Nursery, nursery
from plain_http import Connection, NoAnswer

TENANTS = ("acme", "umbrella")
AGENTS = ("ann", "bob")
PAIRS = [(tenant, agent) for tenant in TENANTS for agent in AGENTS]
CONTEXTS = ("red", "blue", "")
"""Letters without a context have an order of their own each."""
LIFE_SECONDS = 0.2
"""A life that meets no end of its own is ended then."""
TRANSIT_SECONDS = 0.25
"""For so long a frame is under way on a busy machine, from the relay's last look at a letter's expiry on."""
SETTLE_SECONDS = 40.0
BACK_OFF_OVER_SECONDS = 400.0
"""Further than the relay ever puts a letter off."""
TWINS = 0.05
"""How often an agent has a second session."""
MANNERS = Manners(vanishes=0.04, hangs_up=0.04, forgets=0.03, refuses=0.03, delay_seconds=0.02)


@dataclass
class Figures:
    """What was done, beside what the histories say."""

    lives: int = 0
    kills: int = 0
    """Lives that ended by SIGKILL, whoever sent it."""
    losses: int = 0
    """Those of them whose unsynced writes were undone."""
    unreached: int = 0
    """Lives whose fault did not come in time, so that they were killed plainly."""
    refusals: dict[str, int] = field(default_factory=dict)

    def add(self, other: Figures) -> None:
        """Take another's in."""
        for name in ("lives", "kills", "losses", "unreached"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for reason, count in other.refusals.items():
            self.refusals[reason] = self.refusals.get(reason, 0) + count


class Chain:
    """One client's letters for one agent and context, sent one after the other."""

    def __init__(self, tenant: str, agent: str, context: str, port: int) -> None:
        self.tenant, self.agent, self.context = tenant, agent, context
        self.connection = Connection(port)
        self.pending: deque[Sent] = deque()
        self._written = 0

    def write(self, seed: int, ttl_seconds: int = 0) -> None:
        """One more letter to send."""
        self._written += 1
        key = f"{self.tenant}.{self.agent}.{self.context or 'none'}.{self._written}.{seed}"
        context = f"{self.context}-{seed}" if self.context else ""
        self.pending.append(Sent(key, self.tenant, self.agent, context, ttl_seconds))


class World:
    """The parties of one drill. Everything it decides comes from its seed."""

    def __init__(
        self,
        place: Nursery,
        history: History,
        path: Path,
        seed: int,
        pairs: Sequence[tuple[str, str]] = PAIRS,
        contexts: Sequence[str] = CONTEXTS,
    ) -> None:
        self.nursery, self.seed = place, seed
        self.chance = random.Random(seed)
        self.figures = Figures()
        self.offset_seconds = 0.0
        self.path = path
        self.ends: dict[str, str] = {}
        """The state of each letter at the end."""
        self._stuck: list[str] = []
        self.post = Post(place.port, history, self.chance, self.now)
        self.chains = [Chain(*pair, context, place.port) for pair in pairs for context in contexts]
        self.agents = [LetterAgent(*pair, place.port, history, self.chance, self.now) for pair in pairs]
        self._tasks: set[asyncio.Task[None]] = set()

    def now(self) -> float:
        """The clock of everybody here, the relay included."""
        return time.time() + self.offset_seconds

    def jump(self, seconds: float) -> None:
        """Set everybody's clock forward or back; a relay that lives notices within `CLOCK_SECONDS` of the nursery."""
        self.offset_seconds += seconds
        assert self.nursery.clock is not None
        self.nursery.clock.write_text(str(self.offset_seconds))

    async def introduce(self) -> None:
        """Let the relay know all agents: only those that it knows have mailboxes."""
        life = await self.nursery.begin()
        await self.attach(self.agents)
        assert await self.end(life, signal.SIGTERM) == 0

    async def attach(self, agents: Sequence[LetterAgent]) -> None:
        """Begin a session of each, and wait until the relay has taken it."""
        await asyncio.gather(*(self._attached(agent) for agent in agents))

    async def _attached(self, agent: LetterAgent) -> None:
        attached = asyncio.Event()
        self.begin(agent.attend(attached=attached))
        await asyncio.wait_for(attached.wait(), HANDSHAKE_SECONDS)

    # one life

    def write(self, letters: int = 1, share: float = 1.0, *, ttl_seconds: int = 0) -> None:
        """Put letters on each chain, to be sent."""
        for chain in self.chains:
            for _ in range(letters):
                if self.chance.random() < share:
                    chain.write(self.seed, ttl_seconds)

    async def send(self, life: Life) -> None:
        """Send what there is on all chains."""
        await asyncio.gather(*(self.send_chain(chain, life) for chain in self.chains))

    async def live(
        self,
        fault: Fault,
        *,
        seconds: float = LIFE_SECONDS,
        manners: Manners = MANNERS,
        share: float = 0.75,
        during: Callable[[Life], Awaitable[None]] | None = None,
    ) -> None:
        """One life with what is written, some agents and some readers, until its fault ends it, or its time does."""
        life = await self.nursery.begin(fault)
        for agent in self.agents:
            agent.manners = manners
            if self.chance.random() < share:
                self.begin(self._serve(agent, life, self.chance.random() * seconds / 3))
                if self.chance.random() < TWINS:
                    self.begin(agent.attend())
        for chain in self.chains:
            self.begin(self.send_chain(chain, life))
        self.begin(self._ask_now_and_then(life))
        if during is not None:
            await during(life)
        with suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(life.ended), seconds)
        self.figures.unreached += not life.is_over
        code = await self.end(life)
        self.figures.losses += code == -signal.SIGKILL and fault.loss is not None
        if code not in (-signal.SIGKILL, 0):
            self._stuck.append(f"a life ended with {code}: see {self.nursery.log}")

    async def end(self, life: Life, number: signal.Signals = signal.SIGKILL) -> int:
        """End a life and all that belongs to it; its exit code."""
        code = await life.end(number)
        await self.leave()
        for chain in self.chains:
            chain.connection.close()
        self.figures.lives += 1
        self.figures.kills += code == -signal.SIGKILL
        return code

    async def leave(self) -> None:
        """Everybody who was begun goes: agents close their links."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def begin(self, work: Coroutine[None, None, None]) -> None:
        """Do something until the life ends."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._over)

    def _over(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._stuck.append(f"the drill itself has failed: {error!r}")

    async def _serve(self, agent: LetterAgent, life: Life, delay_seconds: float) -> None:
        await asyncio.sleep(delay_seconds)
        while not life.is_over:
            await agent.attend()
            await asyncio.sleep(0.02)

    async def send_chain(self, chain: Chain, life: Life) -> None:
        """Send what is pending, in its order: what got no answer stays first, or is given up."""
        while chain.pending and not life.is_over:
            sent = chain.pending[0]
            if await self.post.send(chain.connection, sent):
                chain.pending.popleft()
                if sent.letter and self.chance.random() < 0.1:
                    self.begin(self._follow(sent))
            elif sent.tries >= PATIENT_TRIES or self.chance.random() < 0.1:
                chain.pending.popleft()
            else:
                await asyncio.sleep(0.02)

    async def _follow(self, sent: Sent) -> None:
        with closing(Connection(self.nursery.port)) as connection:
            await self.post.follow(connection, sent)

    async def _ask_now_and_then(self, life: Life) -> None:
        with suppress(NoAnswer), closing(Connection(self.nursery.port)) as connection:
            while not life.is_over:
                await asyncio.sleep(0.03)
                unanswered = [sent for sent in self.post.letters.values() if not sent.has_result]
                for sent in self.chance.sample(unanswered, min(4, len(unanswered))):
                    await self.post.ask_result(connection, sent)

    # the end

    async def settle(self, life: Life | None = None, agents: Sequence[LetterAgent] | None = None) -> Verdict:
        """A last life, or the rest of one, in which nothing goes wrong: every letter ends, and everything is checked.

        `agents`: who attends here; all, unless it is said otherwise.
        """
        for seconds in (2.0, SETTLE_SECONDS):
            if seconds == SETTLE_SECONDS:
                self.jump(BACK_OFF_OVER_SECONDS)
            life = life or await self.nursery.begin()
            for agent in self.agents if agents is None else agents:
                agent.manners = Manners()
                self.begin(self._serve(agent, life, 0))
            await self.send(life)
            is_settled = await self._until_ended(seconds)
            if is_settled or seconds == SETTLE_SECONDS:
                await self._note_ends()
            await self.end(life, signal.SIGTERM)
            if is_settled:
                break
            life = None
        return self.judge()

    def judge(self) -> Verdict:
        """What everything that was seen amounts to."""
        self.figures.refusals = self.post.refusals
        verdict = check(read(self.path), transit_seconds=TRANSIT_SECONDS)
        for what in self._stuck:
            verdict.blame("nothing is stuck", what)
        return verdict

    async def _until_ended(self, seconds: float) -> bool:
        deadline, waiting = time.monotonic() + seconds, list(self.post.letters.values())
        with closing(Connection(self.nursery.port)) as connection:
            while waiting and time.monotonic() < deadline:
                states = [await self.post.state(connection, sent) for sent in waiting]
                waiting = [sent for sent, state in zip(waiting, states, strict=True) if state in WAITING]
                await asyncio.sleep(0.1)
        return not waiting

    async def _note_ends(self) -> None:
        with closing(Connection(self.nursery.port)) as connection:
            for sent in self.post.letters.values():
                state = self.ends[sent.letter] = await self.post.note_end(connection, sent)
                if state == "done" and not await self.post.ask_result(connection, sent):
                    self._stuck.append(f"{sent.letter} is done, and its Task is not")
                elif state in WAITING:
                    self._stuck.append(f"{sent.letter} ({sent.key}) is still {state}, and its agent has been there")


@asynccontextmanager
async def world(
    directory: Path,
    seed: int,
    *words: str,
    library: Path | None = None,
    attempts: int = 1000,
    pairs: Sequence[tuple[str, str]] = PAIRS,
    contexts: Sequence[str] = CONTEXTS,
) -> AsyncIterator[World]:
    """A world in a directory of its own, whose agents are known already."""
    directory.mkdir(parents=True, exist_ok=True)
    clock, path = directory / "clock", directory / "history.jsonl"
    clock.write_text("0")
    common = ("--sync-wait", "0", "--letter-attempts", str(attempts), "--log-level", "warning", *words)
    async with nursery(directory, *common, library=library, clock=clock) as place:
        with History(path) as history:
            found = World(place, history, path, seed, pairs, contexts)
            await found.introduce()
            yield found
