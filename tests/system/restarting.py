"""What comes back after a kill: a relay at one port with one store, the counting agent, and clients that read on."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path

from programs import (
    RELAY,
    TENANT,
    Program,
    Relay,
    answers,
    clean_environment,
    running,
    running_connector,
    running_relay,
)
from readers import Event, Lost, Reader, message, reading

AGENT = "counter"
BACK_SECONDS = 40.0
"""Connectors and clients dial again with growing pauses; nothing needs as long as this."""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


class Restarting:
    """A relay that can be ended by a signal and started again. `words` are its command line's."""

    def __init__(self, directory: Path, *words: str) -> None:
        self._directory = directory
        self._words = ["--port", str(free_port()), "--leave-grace", "1", *words]
        self._stack = ExitStack()
        self.relay = self._start()

    def _start(self) -> Relay:
        store = f"sqlite:///{self._directory}/relay.db"
        return self._stack.enter_context(running_relay(self._directory, *self._words, store=store))

    def restart(self, number: signal.Signals) -> None:
        """End it by this signal, and start it again."""
        process = self.relay.program.process
        process.send_signal(number)
        process.wait(BACK_SECONDS)
        output = self.relay.program.output()
        assert "Traceback" not in output, output
        self.relay = self._start()

    def close(self) -> None:
        """End it for good."""
        self._stack.close()


@contextmanager
def restarting(directory: Path, *words: str) -> Iterator[Restarting]:
    """A relay on a port that it keeps."""
    found = Restarting(directory, *words)
    try:
        yield found
    finally:
        found.close()


@contextmanager
def counting_agent(directory: Path, *words: str, port: int = 0) -> Iterator[tuple[str, Program]]:
    """The counting agent: its URL and its process."""
    command = [sys.executable, str(Path(__file__).parent / "counting_agent.py"), str(port), *words]
    with running(command, directory / "counting.log") as program:
        url = program.wait_for(r"(http://\S+)")
        program.wait_until(answers(f"{url}/.well-known/agent-card.json"))
        yield url, program


@contextmanager
def counting_behind(directory: Path, relay: Relay, *words: str) -> Iterator[Program]:
    """The counting agent behind `relay connect`; the connector."""
    with counting_agent(directory, *words) as (url, _), running_connector(directory, relay, AGENT, url) as connector:
        yield connector


def number_of(event: Event) -> int | None:
    """What an event counts, if it counts."""
    document = event.json
    update = document.get("result", document).get("artifactUpdate")
    return None if update is None else int(update["artifact"]["parts"][0]["text"].split("x")[0])


class Reading:
    """A client that reads a counted stream to its end, over as many connections as that takes."""

    def __init__(self, relay_url: str, token: str) -> None:
        self.numbers: list[int] = []
        self.ids: list[str] = []
        self.states: list[str] = []
        self.connections = 0
        self.refused: list[str] = []
        """Reasons of answers and of error events that it has met on the way."""
        self._url, self._token = relay_url, token
        self.path = ""
        """The stream's own, when it is known."""
        self._more = asyncio.Condition()

    async def until(self, count: int) -> None:
        """Wait until so many numbers have come."""
        async with self._more:
            await asyncio.wait_for(self._more.wait_for(lambda: len(self.numbers) >= count), BACK_SECONDS)

    async def read(self, text: str, *, is_final: Callable[[str], bool] = lambda reason: False) -> None:
        """Ask, and read on until the stream's clean end, or until a reason that is final."""
        base = f"{self._url}/t/{TENANT}/a2a/{AGENT}"
        deadline = time.monotonic() + BACK_SECONDS
        while time.monotonic() < deadline:
            seen = len(self.ids)
            try:
                async with self._ask(base, text) as reader:
                    if await self._take(reader):
                        return
            except (Lost, OSError):
                pass
            if self.refused and is_final(self.refused[-1]):
                return
            if len(self.ids) > seen:
                deadline = time.monotonic() + BACK_SECONDS
            await asyncio.sleep(0.1)
        raise AssertionError(f"not at its end: {len(self.numbers)} numbers, refused with {self.refused}")

    @asynccontextmanager
    async def _ask(self, base: str, text: str) -> AsyncIterator[Reader]:
        if not self.path:
            asking = reading(f"{base}/message:stream", self._token, message(text))
        else:
            position = {"Last_Event_ID": self.ids[-1]} if self.ids else {}
            asking = reading(self._url + self.path, self._token, **position)
        async with asking as reader:
            yield reader

    async def _take(self, reader: Reader) -> bool:
        """Read one answer; whether it was the stream's clean end."""
        if reader.status != 200:
            self.refused.append(json.loads(await reader.body())["error"]["details"][0]["reason"])
            return False
        self.path = reader.headers.get("a2a-relay-stream", self.path)
        self.connections += 1
        async for event in reader.events():
            if event.name == "comment":
                continue
            if event.name == "error":
                self.refused.append(event.reason)
                return False
            assert event.name == "message", event
            self.ids.append(event.id)
            async with self._more:
                number = number_of(event)
                if number is not None:
                    self.numbers.append(number)
                elif "statusUpdate" in event.data:
                    self.states.append(event.json["statusUpdate"]["status"]["state"])
                self._more.notify_all()
        return True


@contextmanager
def sending(relay_url: str, token: str, text: str, directory: Path) -> Iterator[subprocess.Popen[bytes]]:
    """`relay send --stream` to the counting agent."""
    command = [str(RELAY), "send", "--stream", f"{TENANT}/{AGENT}", text, "--data-dir", str(directory / "client")]
    process = subprocess.Popen(
        command,
        env=clean_environment(RELAY_URL=relay_url, RELAY_TOKEN=token),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


async def first_words(process: subprocess.Popen[bytes]) -> str:
    """Wait until it prints."""
    stdout = process.stdout
    assert stdout is not None
    return (await asyncio.to_thread(stdout.read1)).decode()  # type: ignore[attr-defined]


async def outcome_of(process: subprocess.Popen[bytes]) -> tuple[str, str]:
    """What it has printed and complained of, when it has ended."""
    output, complaints = await asyncio.to_thread(process.communicate, None, BACK_SECONDS)
    return output.decode(), complaints.decode()
