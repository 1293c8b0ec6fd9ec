"""The product's programs as a user starts them: real processes on free ports, each stopped by whoever started it."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from a2a_relay.client.tokens import mint

ROOT = Path(__file__).resolve().parents[2]
RELAY = Path(sys.executable).parent / "relay"
SECRET = "a-secret-that-only-these-tests-know"
TENANT = "acme"
START_SECONDS = 40.0
"""A cold start on a busy machine, with room to spare; nothing waits this long when all is well."""
STOP_SECONDS = 15.0
CLIENT_SECONDS = 50.0
FOREIGN_SETTINGS = ("RELAY_", "JWT_SECRET", "PORT", "BIND", "PYTEST_")
"""Settings of somebody's own relay, and of the test run that starts the programs."""


class StartError(Exception):
    """A program has not come up; the text holds the last it said."""


@dataclass(frozen=True)
class Program:
    """A running program and the file that takes all it prints."""

    process: subprocess.Popen[bytes]
    log: Path

    def output(self) -> str:
        """What it has printed so far."""
        return self.log.read_text(errors="replace")

    def wait_until(self, probe: Callable[[], str | None]) -> str:
        """Ask until `probe` has an answer. Raises StartError when the program ends, or after a while."""
        deadline = time.monotonic() + START_SECONDS
        while (answer := probe()) is None:
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise StartError(f"{self.process.args!r} is not up:\n{self.output()[-2000:]}")
            time.sleep(0.05)
        return answer

    def wait_for(self, pattern: str) -> str:
        """Wait until it has printed what the pattern's first group matches."""

        def printed() -> str | None:
            found = re.search(pattern, self.output())
            return found[1] if found else None

        return self.wait_until(printed)

    def stop(self) -> None:
        """End the program: politely, then not."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.process.wait()


@dataclass(frozen=True)
class Relay:
    """A running relay and the secret it believes."""

    url: str
    secret: str
    program: Program

    def token(self, *, role: str = "client", agent: str | None = None, tenant: str = TENANT) -> str:
        """A token of an hour."""
        user = "tester" if role == "client" else None
        return mint(self.secret, time.time(), 3600, tenant=tenant, role=role, agent=agent, user=user)

    def base(self, agent: str, tenant: str = TENANT) -> str:
        """An agent's address, as a user gives it to a client."""
        return f"{self.url}/t/{tenant}/a2a/{agent}/"


@dataclass(frozen=True)
class Endpoint:
    """Where a client finds an agent, and the token it needs there (none at the agent itself)."""

    url: str
    token: str | None = None

    @property
    def headers(self) -> dict[str, str]:
        """What a client sends with each request."""
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}


@dataclass(frozen=True)
class ReachedTwice:
    """One agent, as it is reached directly and through the relay."""

    name: str
    direct: Endpoint
    relayed: Endpoint

    @property
    def ways(self) -> tuple[Endpoint, Endpoint]:
        """Directly first."""
        return self.direct, self.relayed


def clean_environment(**more: str) -> dict[str, str]:
    """This process's environment without the settings of anybody's own relay."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN_SETTINGS)}
    return kept | {"PYTHONUNBUFFERED": "1"} | more


@contextmanager
def running(command: list[str], log: Path, environment: Mapping[str, str] | None = None) -> Iterator[Program]:
    """A program in the background, stopped at the end of the block."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment or clean_environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    program = Program(process, log)
    try:
        yield program
    finally:
        program.stop()


def answers(url: str) -> Callable[[], str | None]:
    """A probe: does this URL answer with 200 yet?"""

    def probe() -> str | None:
        try:
            answer = httpx.get(url, trust_env=False, timeout=5)
        except httpx.TransportError:
            return None
        return url if answer.status_code == httpx.codes.OK else None

    return probe


@contextmanager
def running_relay(directory: Path, *words: str, store: str = "memory:") -> Iterator[Relay]:
    """`relay serve` on a free port, ready for calls. `directory` takes its data and its log."""
    command = [str(RELAY), "serve", "--port", "0", "--store", store, "--data-dir", str(directory / "data")]
    command += ["--log-format", "json", *words]
    environment = clean_environment(RELAY_JWT_SECRET=SECRET)
    with running(command, directory / "relay.log", environment) as program:
        url = program.wait_for(r'"url": "(http://[^"]+)"')
        program.wait_until(answers(f"{url}/readyz"))
        yield Relay(url, SECRET, program)


@contextmanager
def running_agent(directory: Path, name: str, *words: str) -> Iterator[str]:
    """The example agent on a free port; its URL. `words` are its command line's."""
    command = [sys.executable, "examples/demo_agent.py", "0", *words]
    with running(command, directory / f"{name}.log") as program:
        url = program.wait_for(r"(http://\S+)")
        program.wait_until(answers(f"{url}/.well-known/agent-card.json"))
        yield url


@contextmanager
def running_connector(directory: Path, relay: Relay, name: str, upstream: str) -> Iterator[Program]:
    """`relay connect` for an agent, until the block ends; the agent is attached when it begins."""
    command = [str(RELAY), "connect", "--upstream", upstream, "--relay", relay.url]
    environment = clean_environment(RELAY_TOKEN=relay.token(role="agent", agent=name))
    with running(command, directory / f"{name}-connector.log", environment) as program:
        program.wait_for(r"(is attached)")
        yield program


@contextmanager
def running_behind(directory: Path, relay: Relay, name: str, *words: str) -> Iterator[ReachedTwice]:
    """The example agent and its connector."""
    with running_agent(directory, name, *words) as url, running_connector(directory, relay, name, url):
        yield ReachedTwice(name, Endpoint(f"{url}/"), Endpoint(relay.base(name), relay.token()))


async def record_of(*command: str | Path, token: str | None) -> Any:
    """What a foreign client prints, as JSON. Its token comes by the environment, its time is bounded."""
    process = await asyncio.create_subprocess_exec(
        *command,
        env=clean_environment(TOKEN=token or ""),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        output, complaints = await asyncio.wait_for(process.communicate(), CLIENT_SECONDS)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, complaints.decode()
    return json.loads(output)


async def until_queued(relay: Relay, agent: str, letters: int = 2) -> None:
    """Wait until so many letters are waiting for an agent."""
    admin = mint(relay.secret, time.time(), 3600, tenant=TENANT)
    headers = {"Authorization": f"Bearer {admin}"}
    async with httpx.AsyncClient(headers=headers, trust_env=False) as http, asyncio.timeout(CLIENT_SECONDS):
        while True:
            answer = await http.get(f"{relay.url}/t/{TENANT}/mailboxes")
            waiting = {box["agent"]: box["queued"] for box in answer.raise_for_status().json()["mailboxes"]}
            if waiting.get(agent, 0) >= letters:
                return
            await asyncio.sleep(0.1)
