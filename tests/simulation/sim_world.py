"""One seed's world: processes of the relay one after the other on one mailbox, agents, clients, and time in hand."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from sim_agents import SimAgent
from sim_checks import check_rest, check_tasks, is_busy
from sim_clients import SimClient
from sim_kinds import KINDS
from sim_ledger import Ledger
from sim_store import UnsteadyMailbox

from a2a_relay.core.address import Address
from a2a_relay.core.letter import Act, Filter, LetterState, Room
from a2a_relay.core.limits import Limits
from a2a_relay.core.mail_rules import MailPolicy, MailRules
from a2a_relay.core.principal import Role
from a2a_relay.core.stream_rules import StreamPolicy, StreamRules
from a2a_relay.errors import Refused, StoreError
from a2a_relay.node.letter_desk import LetterDesk
from a2a_relay.node.relay_node import RelayNode
from a2a_relay.ports.clock import TimerHandle
from a2a_relay.ports.mailbox import Mailbox
from a2a_relay.stores.memory.directory import MemoryDirectory
from a2a_relay.stores.memory.mailbox import MemoryMailbox
from a2a_relay.stores.sqlite.database import Database
from a2a_relay.stores.sqlite.mailbox import SqliteMailbox
from a2a_relay.testing import FakeClock, RecordingObserver, make_node, make_principal

LIMITS = Limits(
    request_timeout_seconds=12,
    late_answer_seconds=10,
    letter_time_seconds=40,
    resume_grace_seconds=4,
    replay_seconds=3,
    detach_grace_seconds=2,
    result_ttl_seconds=30_000,
    dead_ttl_seconds=30_000,
    idempotency_time_seconds=50_000,
)
RULES = MailRules(room=Room(letters=12), ttl_seconds=300, attempts=3, contexts=2, sync_wait_seconds=1)
STREAMS = StreamPolicy(StreamRules(idle_seconds=15))
REST_SECONDS = 1500
"""The wall clock may have jumped back, and letters that back off wait by it."""
_ACT = Act("key:ops", "the end of a drill")
QUESTIONS = ("GetTask", "GetTask", "CancelTask", "SubscribeToTask", "ListTasks")


class ProcessClock:
    """Implements `ports.clock.Clock` for one process: when it is killed its timers are gone."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self.now = clock.now
        self.monotonic = clock.monotonic
        self.is_dead = False

    def call_later(self, seconds: float, callback: Callable[[], None]) -> TimerHandle:
        return self._clock.call_later(seconds, partial(self._fire, callback))

    def _fire(self, callback: Callable[[], None]) -> None:
        if not self.is_dead:
            callback()


class World:
    """Everything of one seed."""

    def __init__(self, seed: int, store: Path | None = None) -> None:
        """`store` is where a mailbox in SQLite is to be; without it the mailbox is in memory."""
        self.chance = Random(seed)
        self.clock = FakeClock()
        self.ledger = Ledger()
        self._database = Database(store) if store is not None else None
        self.mailbox: Mailbox = (
            MemoryMailbox(self.clock.now) if self._database is None else SqliteMailbox(self._database, self.clock.now)
        )
        self._directory = MemoryDirectory()
        self._not_the_relays: set[asyncio.Task[Any]] = set()
        kinds = [self.chance.choice(KINDS) for _ in range(self.chance.choice((1, 1, 2)))]
        self.agents = [
            SimAgent(Address("acme", f"a{number}"), kind, self.ledger, self.clock, self.chance)
            for number, kind in enumerate(kinds)
        ]
        for agent in self.agents:
            agent.on_delivery = self._delivered
        callers = [make_principal(role=Role.SENDER, identity=name) for name in ("ann", "bob")]
        self.clients = [SimClient(who, self.ledger, self.chance) for who in (*callers, make_principal())]
        self.admin = make_principal()
        self.live: dict[str, int] = {}
        self.observers: list[RecordingObserver] = []
        self.start()
        for agent in self.agents:
            self.ledger.note(f"{agent.address}: {agent.kind.name}")

    # processes

    def start(self) -> None:
        """A process of the relay begins."""
        self.ledger.processes += 1
        self._process = ProcessClock(self.clock)
        self.store = UnsteadyMailbox(self.mailbox, self.ledger, self.chance, self.clock.now)
        self.observers.append(RecordingObserver())
        self.node: RelayNode = make_node(
            clock=self._process,
            observer=self.observers[-1],
            directory=self._directory,
            limits=LIMITS,
            epoch=f"p{self.ledger.processes}",
            policy=STREAMS,
            mailbox=self.store,
            mail_policy=MailPolicy(RULES),
        )
        self.node.random = self.chance.random

    async def kill(self) -> None:
        """The process is gone in the middle of whatever it did."""
        self._process.is_dead = True
        tasks = asyncio.all_tasks() - self._not_the_relays
        for task in tasks:
            task.cancel()
        for agent in self.agents:
            agent.lose()
            agent.closing.clear()
        for client in self.clients:
            client.lose(self.node)
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._database is not None:  # what was on its way to the disk may have got there
            self._database.flush()
            listed = await self.mailbox.list("acme", Filter(), None, 1000)
            for id in {*self.ledger.stories, *(letter.id for letter in listed.letters)}:
                self.ledger.moved(await self.mailbox.find("acme", id), id)
        self.start()

    async def leave(self) -> None:
        """The process ends in order."""
        leaving = asyncio.ensure_future(self.node.leave(0))
        while not leaving.done():
            await self.settle(turns=5)
        await leaving
        await self.settle()
        self._process.is_dead = True
        for agent in self.agents:
            agent.lose()
        for client in self.clients:
            client.look()
            for asked in client.asked:
                if asked.node is self.node and not asked.is_cut and not asked.sink.is_over:
                    self.ledger.require(False, "nobody is left without an answer when the relay leaves", asked.token)
        left = asyncio.all_tasks() - self._not_the_relays
        self.ledger.require(not left, "no job is left when the relay leaves", left)

    async def settle(self, turns: int | None = None) -> None:
        """Let everything go on that can without time; or only for so many turns of the loop."""
        loop: Any = asyncio.get_running_loop()
        done = 0
        while turns is None or done < turns:
            done += 1
            for agent in self.agents:
                while agent.closing:
                    node, link = agent.closing.pop()
                    node.link_ended(link)
            await asyncio.sleep(0)
            if self._database is not None and self.store.steps:
                self._database.flush()  # so that a seed is the same schedule every time, as far as may be
            if not loop._ready:
                if self._database is None or not self.store.steps:
                    return
                await asyncio.sleep(0.0002)  # somebody looks something up, on a thread of its own

    # what agents see

    def _delivered(self, agent: SimAgent, payload: dict[str, Any], letter: str, token: str) -> None:
        if agent.kind.is_native:
            story = self.ledger.stories.get(letter)
        else:  # such an agent is not told whether it is a letter
            story = next((one for one in self.ledger.by_token.get(token, ()) if one.letter.lease), None)
        if story is not None:
            may_repeat = agent.kind.remembers or agent.kind.is_idempotent
            self.ledger.handed_over(story, self.clock.now(), may_repeat=may_repeat)
            self.ledger.note(f"  {agent.address} got letter {story.letter.id[:9]} ({token}) as {payload['id']}")
            return
        task = payload["params"]["message"].get("taskId", "")
        self.ledger.note(f"  {agent.address} got {token} {task} as {payload['id']}")
        self.live[token] = self.live.get(token, 0) + 1
        is_keyed = any(token == key[4] for client in self.clients for key in client.keys)
        asked = next(one for client in self.clients for one in client.asked if one.token == token)
        overtaken = [story.letter.id for story in asked.before if story.is_waiting]
        self.ledger.require(is_keyed or not overtaken, "no call overtakes letters of its context", token, overtaken)
        others = self.ledger.by_token.get(token, ())
        self.ledger.require(is_keyed or self.live[token] == 1, "a live call is made once", token)
        self.ledger.require(
            is_keyed or all(story.is_late for story in others), "a call is made once, or is a letter", token
        )

    # the schedule

    async def run(self, steps: int) -> None:
        """Draw so many steps, then let everything come to rest, and look whether all is well."""
        self._not_the_relays = asyncio.all_tasks()
        for agent in self.agents:  # known to the relay, and mostly away
            agent.attach(self.node)
            await self.settle()
            if self.chance.random() < 0.7:
                agent.cut(self.node, is_clean=True)
        for _ in range(steps):
            name, step = self._draw()
            self.ledger.note(f"{self.clock.monotonic():7.1f} {name}")
            await step()
            await self.settle(turns=self.chance.choice((0, 1, 3, None, None)))
            self.look()
        await self._rest()
        check_rest(self)
        await check_tasks(self)
        await self.leave()
        if self._database is not None:
            self._database.close()

    def look(self) -> None:
        """Clients read what has come; what is wrong with it, or has gone wrong anywhere, is raised."""
        for client in self.clients:
            client.look()
        self.ledger.require_none()

    def _draw(self) -> tuple[str, Callable[[], Any]]:
        names = list(_WEIGHTS)
        name = self.chance.choices(names, list(_WEIGHTS.values()))[0]
        return name, getattr(self, f"_do_{name}")

    async def _do_send(self) -> None:
        client, agent = self.chance.choice(self.clients), self.chance.choice(self.agents)
        asked = client.send(self.node, agent.address)
        self.ledger.note(f"  {asked.token} {asked.call.method} {asked.call.params.decode()} {asked.call.options}")

    async def _do_ask(self) -> None:
        method = self.chance.choice(QUESTIONS)
        asked = self.chance.choice(self.clients).ask(self.node, method)
        if asked is not None:
            self.ledger.note(f"  {method} {asked.about}")

    async def _do_hang_up(self) -> None:
        self.chance.choice(self.clients).hang_up()

    async def _do_read_on(self) -> None:
        for client in self.clients:
            client.read_on()

    async def _do_attach(self) -> None:
        self.chance.choice(self.agents).attach(self.node)

    async def _do_detach(self) -> None:
        is_clean = self.chance.random() < 0.4
        self.chance.choice(self.agents).cut(self.node, is_clean=is_clean)

    async def _do_act(self) -> None:
        agent = self.chance.choice([agent for agent in self.agents if agent.open] or self.agents)
        self.ledger.note(f"  {agent.address} {agent.act()}")

    async def _do_pause(self) -> None:
        agent = self.chance.choice(self.agents)
        agent.set_paused(is_paused=not agent.is_paused)

    async def _do_wait(self) -> None:
        self.clock.advance(self.chance.choice((0.2, 0.5, 1, 3, 8, 15, 45)))

    async def _do_jump(self) -> None:
        self.clock.jump(self.chance.choice((-400, -20, 5, 30, 400)))

    async def _do_kill(self) -> None:
        await self.kill()

    async def _do_leave(self) -> None:
        self.store.trouble = 0.0
        await self.leave()
        self.start()

    async def _do_trouble(self) -> None:
        self.store.trouble = 0.0 if self.store.trouble else self.chance.choice((0.2, 0.6, 1.0))

    async def _do_operate(self) -> None:
        desk = LetterDesk(self.node.mail.parts)  # type: ignore[union-attr]
        agent = self.chance.choice(self.agents)
        act = self.chance.choice(("redrive", "redrive", "purge", "pause", "resume"))
        self.ledger.note(f"  {act} {agent.address}")
        try:
            if act in ("pause", "resume"):
                await getattr(desk, act)(self.admin, agent.address, "a drill")
            else:
                state = self.chance.choice((LetterState.DEAD, LetterState.QUEUED, LetterState.EXPIRED))
                filter = Filter(agent=agent.address.agent, state=state if act == "purge" else "")
                await getattr(desk, act)(self.admin, "acme", filter, "a drill")
        except (Refused, StoreError) as error:
            self.ledger.note(f"  refused: {error}")

    # rest

    async def _rest(self) -> None:
        """No trouble any more, every agent attaches and works, and time passes."""
        self.store.trouble = 0.0
        await self.settle()
        self.ledger.note("rest")
        for agent in self.agents:
            if not agent.is_attached:
                agent.attach(self.node)
            agent.set_paused(is_paused=False)
            await self.mailbox.pause(agent.address, False, _ACT)
            self.node.mail.changed(agent.address)  # type: ignore[union-attr]
        begun_at = self.clock.monotonic()
        until = begun_at + REST_SECONDS
        while self.clock.monotonic() < until:
            await self.settle()
            self.look()
            for agent in self.agents:
                if not agent.is_attached:
                    agent.attach(self.node)
                for _ in range(50):
                    if not agent.open:
                        break
                    agent.act(is_good=True)
                    await self.settle()
            for client in self.clients:
                client.read_on()
            if not self.ledger.waiting() and not is_busy(self):
                break
            self.clock.advance(2 if self.clock.monotonic() < begun_at + 120 else 20)
        for _ in range(3):  # the store is swept once a second
            self.clock.advance(1.2)
            await self.settle()
        self.look()


_WEIGHTS = {
    "send": 22,
    "ask": 8,
    "hang_up": 3,
    "read_on": 3,
    "attach": 10,
    "detach": 8,
    "act": 24,
    "pause": 2,
    "wait": 10,
    "jump": 1,
    "kill": 2,
    "leave": 1,
    "trouble": 2,
    "operate": 3,
}
