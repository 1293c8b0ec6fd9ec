"""Agents of a drill: they remember letters as a connector does, and note what is delivered to them."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from history import History
from lives import token
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from a2a_relay.wire import agent_side
from a2a_relay.wire.agent_side import AuthOk, IncomingRequest, Ping, Probe

CHUNKS = 4
"""Numbered events of each streamed answer."""
HANDSHAKE_SECONDS = 90.0
"""When thousands come at once on a busy machine, each has to wait."""
MAX_FRAME = 1024 * 1024


@dataclass
class Manners:
    """How often an agent does what, each time a letter comes: shares of one."""

    vanishes: float = 0.0
    """Takes it, and never answers in this session."""
    hangs_up: float = 0.0
    """Takes it, and closes its link."""
    forgets: float = 0.0
    """Has been restarted: knows neither letters nor tasks from before."""
    refuses: float = 0.0
    """Says that it was not taken."""
    delay_seconds: float = 0.0
    """Longest time before an answer."""


@dataclass
class _Run:
    """What came of one letter: its task, and how that went."""

    task_id: str
    context_id: str
    result: str

    def status(self, state: str, text: str = "") -> dict[str, Any]:
        found: dict[str, Any] = {"state": f"TASK_STATE_{state}"}
        if text:
            message = {"messageId": f"{self.task_id}-m", "role": "ROLE_AGENT", "parts": [{"text": text}]}
            found["message"] = message
        return found

    def task(self) -> dict[str, Any]:
        return {"id": self.task_id, "contextId": self.context_id, "status": self.status("COMPLETED", self.result)}

    def events(self) -> list[dict[str, Any]]:
        ids = {"taskId": self.task_id, "contextId": self.context_id}
        first = {"task": {"id": self.task_id, "contextId": self.context_id, "status": self.status("WORKING")}}
        pieces = [
            {
                "artifactUpdate": ids
                | {"artifact": {"artifactId": f"{number}", "parts": [{"text": f"{number} {self.result}"}]}}
            }
            for number in range(1, CHUNKS + 1)
        ]
        last = {"statusUpdate": ids | {"status": self.status("COMPLETED", self.result)}}
        return [first, *pieces, last]


class LetterAgent:
    """One agent: what it remembers outlives its links, as that of a connector does."""

    def __init__(
        self, tenant: str, name: str, port: int, history: History, chance: random.Random, now: Callable[[], float]
    ) -> None:
        self.tenant, self.name = tenant, name
        self.manners = Manners()
        self.deliveries = 0
        self._port, self._history, self._chance, self._now = port, history, chance, now
        self._token = token(tenant, agent=name)
        self._runs: dict[str, _Run] = {}
        self._tasks: dict[str, _Run] = {}
        self._numbers = 0

    async def attend(self, *, attached: asyncio.Event | None = None) -> None:
        """One session: until the relay or the agent ends it."""
        url = f"ws://127.0.0.1:{self._port}/agent"
        with suppress(OSError, ConnectionClosed, InvalidHandshake, TimeoutError):
            async with connect(
                url, proxy=None, compression=None, ping_interval=None, close_timeout=1, open_timeout=HANDSHAKE_SECONDS
            ) as link:
                await link.send(agent_side.auth(self._token, None, max_frame=MAX_FRAME), text=True)
                welcome = agent_side.read(_bytes(await asyncio.wait_for(link.recv(), HANDSHAKE_SECONDS)))
                if not isinstance(welcome, AuthOk):
                    return
                if attached is not None:
                    attached.set()
                async with asyncio.TaskGroup() as tasks:
                    with suppress(ConnectionClosed):
                        async for message in link:
                            tasks.create_task(self._take(link, welcome.session, _bytes(message)))

    async def _take(self, link: ClientConnection, session: str, frame: bytes) -> None:
        with suppress(ConnectionClosed):
            match agent_side.read(frame):
                case IncomingRequest() as request:
                    await self._serve(link, session, request)
                case Ping():
                    await link.send(agent_side.PONG, text=True)
                case Probe(id=id):
                    await link.send(agent_side.probe(id), text=True)

    async def _serve(self, link: ClientConnection, session: str, request: IncomingRequest) -> None:
        params = json.loads(request.params)
        if "message" not in params:
            await self._tell_task(link, request, params.get("id", ""))
            return
        letter, key = request.meta.get("letter", ""), params["message"]["parts"][0]["text"]
        self.deliveries += 1
        draw = self._chance.random()
        manners = self.manners
        if draw < manners.refuses:
            await link.send(agent_side.nack(request.id, "not now", 10), text=True)
            return
        self._history.note(
            "delivery", self._now(), tenant=self.tenant, agent=self.name, letter=letter, key=key, session=session,
            attempt=request.meta.get("attempt", 0),
        )  # fmt: skip
        draw -= manners.refuses
        if draw < manners.vanishes:
            return
        if draw < manners.vanishes + manners.hangs_up:
            await link.close()
            return
        if draw < manners.vanishes + manners.hangs_up + manners.forgets:
            self._runs.clear()
            self._tasks.clear()
        await self._answer(link, request, letter, key, params["message"].get("contextId", ""))

    async def _answer(
        self, link: ClientConnection, request: IncomingRequest, letter: str, key: str, context: str
    ) -> None:
        run, is_new = self._runs.get(letter), False
        if run is None:
            self._numbers, is_new = self._numbers + 1, True
            task_id = f"{self.name}-task-{self._numbers}"
            run = _Run(task_id, context or f"{task_id}-context", f"{key} by {task_id}")
            self._runs[letter] = self._tasks[task_id] = run
        if self.manners.delay_seconds:
            await asyncio.sleep(self._chance.random() * self.manners.delay_seconds)
        self._history.note("ack", self._now(), letter=letter, key=key, result=run.result)
        if not request.stream:
            await link.send(agent_side.result(request.id, _json({"task": run.task()})), text=True)
            return
        events = run.events() if is_new else [{"task": run.task()}]
        for number, event in enumerate(events, 1):
            await link.send(agent_side.event(request.id, number, _json(event)), text=True)
        await link.send(agent_side.end(request.id), text=True)

    async def _tell_task(self, link: ClientConnection, request: IncomingRequest, id: str) -> None:
        run = self._tasks.get(id)
        if run is None:
            error = b'{"code":-32001,"message":"Task not found"}'
            await link.send(agent_side.error(request.id, error), text=True)
        elif request.stream:
            await link.send(agent_side.event(request.id, 1, _json({"task": run.task()})), text=True)
            await link.send(agent_side.end(request.id), text=True)
        else:
            await link.send(agent_side.result(request.id, _json(run.task())), text=True)


def _json(document: dict[str, Any]) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()


def _bytes(message: str | bytes) -> bytes:
    return message.encode() if isinstance(message, str) else message
