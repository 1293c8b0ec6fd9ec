"""Relays that live one after the other over one store, each a real process with an end of its own."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from powerloss import Loss

from a2a_relay.client.tokens import mint

NURSERY = Path(__file__).with_name("relay_nursery.py")
SECRET = "a-secret-that-only-these-drills-know"
FOREIGN_SETTINGS = ("RELAY_", "JWT_SECRET", "PORT", "BIND", "PYTEST_")
START_SECONDS = 30.0
STOP_SECONDS = 20.0


class StillbornError(Exception):
    """A relay has not come up; the text holds the last it said."""


@dataclass
class Fault:
    """What is to go wrong in one life. Nothing of it: the life ends when it is told to."""

    failpoint: str = ""
    """`name:n`."""
    loss: Loss | None = None
    kill_after_seconds: float | None = None
    max_file_bytes: int = 0
    is_mutant: bool = False


class Life:
    """One relay's process."""

    def __init__(self, pid: int, url: str, ended: asyncio.Task[int]) -> None:
        self.pid = pid
        self.url = url
        self.ended = ended
        """Its exit code; negative: the signal."""

    @property
    def is_over(self) -> bool:
        return self.ended.done()

    def send(self, number: signal.Signals) -> None:
        """Send it a signal, as long as it lives."""
        if not self.is_over:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    async def end(self, number: signal.Signals = signal.SIGKILL) -> int:
        """End it, and wait for that; its exit code."""
        self.send(number)
        try:
            return await asyncio.wait_for(asyncio.shield(self.ended), STOP_SECONDS)
        except TimeoutError:
            self.send(signal.SIGKILL)
            raise


@dataclass
class Nursery:
    """The process that forks relays, all at one port over one directory."""

    directory: Path
    words: list[str]
    port: int
    process: asyncio.subprocess.Process
    clock: Path | None = None
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def store(self) -> Path:
        """The file that the relays keep."""
        return self.directory / "store" / "relay.db"

    @property
    def log(self) -> Path:
        """What all of them have said."""
        return self.directory / "relay.log"

    async def begin(self, fault: Fault | None = None) -> Life:
        """Begin a life; it may be over before it can be called."""
        fault = fault or Fault()
        environment = {"RELAY_JWT_SECRET": SECRET, **self.environment}
        if fault.failpoint:
            environment["RELAY_FAILPOINT"] = fault.failpoint
        await self._say(
            words=[*self.words, "--port", str(self.port), "--store", f"sqlite://{self.store}"],
            environment=environment,
            log=str(self.log),
            loss=fault.loss,
            directory=str(self.store.parent),
            is_mutant=fault.is_mutant,
            clock=str(self.clock) if self.clock else None,
            max_file_bytes=fault.max_file_bytes,
        )
        pid = (await self._hear())["pid"]
        life = Life(pid, f"http://127.0.0.1:{self.port}", asyncio.create_task(self._end()))
        await self._until_it_listens(life)
        if fault.kill_after_seconds is not None:
            asyncio.get_running_loop().call_later(fault.kill_after_seconds, life.send, signal.SIGKILL)
        return life

    async def _until_it_listens(self, life: Life) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not life.is_over:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", self.port)
            except OSError:
                if time.monotonic() > deadline:
                    life.send(signal.SIGKILL)
                    raise StillbornError(self.log.read_text(errors="replace")[-2000:]) from None
                await asyncio.sleep(0.005)
            else:
                writer.close()
                return
        if life.ended.result() >= 0:
            raise StillbornError(self.log.read_text(errors="replace")[-2000:])

    async def _end(self) -> int:
        return int((await self._hear())["status"])

    async def _say(self, **life: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(life).encode() + b"\n")
        await self.process.stdin.drain()

    async def _hear(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = await self.process.stdout.readline()
        if not line:
            raise StillbornError("the nursery has ended")
        found: dict[str, Any] = json.loads(line)
        return found


@asynccontextmanager
async def nursery(
    directory: Path, *words: str, library: Path | None = None, clock: Path | None = None
) -> AsyncIterator[Nursery]:
    """A nursery over a directory, with the power loss library where it is given. `words` are each relay's own."""
    (directory / "store").mkdir(parents=True, exist_ok=True)
    environment = {name: text for name, text in os.environ.items() if not name.startswith(FOREIGN_SETTINGS)}
    if library is not None:
        environment["LD_PRELOAD"] = str(library)
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(NURSERY), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, env=environment
    )
    common = ["--data-dir", str(directory / "data"), "--log-format", "json", *words]
    found = Nursery(directory, common, free_port(), process, clock)
    try:
        yield found
    finally:
        assert process.stdin is not None
        process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), STOP_SECONDS)
        except TimeoutError:
            process.kill()
            await process.wait()


def free_port() -> int:
    """A port that is free now, below those that outgoing connections take theirs from: a dead relay's stays its own."""
    chance = random.SystemRandom()
    while True:
        port = chance.randrange(20_000, 30_000)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


def token(tenant: str, *, agent: str | None = None) -> str:
    """A token of a sender, or of an agent, for a day."""
    role = "agent" if agent else "client"
    return mint(
        SECRET, time.time() - 3600, 24 * 3600, tenant=tenant, role=role, agent=agent, user=None if agent else "drill"
    )
