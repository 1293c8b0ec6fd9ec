"""Who is asking, from a client through a real relay and connector to an agent on the official SDK that checks it."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest

from a2a_relay.connector import AgentError, Connector, IncomingRequest
from a2a_relay.connector.senders import KeySet, verify

ROOT = Path(__file__).resolve().parents[2]
SECRET = "a-secret-of-a-test-that-is-long-enough"
PATIENCE_SECONDS = 30
SERVE = "from a2a_relay.cli import main; main()"


def token(**claims: Any) -> str:
    return jwt.encode({"exp": int(time.time()) + 3600, "tenant": "acme", **claims}, SECRET, algorithm="HS256")


def agent_token(agent: str) -> str:
    return token(agent_id=agent, role="agent")


@contextmanager
def program(log: Path, shows: str, *arguments: str, **environment: str) -> Iterator[None]:
    """A program of this project, until the block ends; the block begins when its output shows so much."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=ROOT,
            env={**os.environ, "RELAY_JWT_SECRET": SECRET, **environment},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            until = time.monotonic() + PATIENCE_SECONDS
            while not re.search(shows, log.read_text()):
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < until, log.read_text()
                time.sleep(0.05)
            yield
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(PATIENCE_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("relay")


@pytest.fixture(scope="module")
def relay(data: Path) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    options = ["--port", str(port), "--data-dir", str(data), "--log-format", "json"]
    with program(data / "relay.log", '"serving"', "-c", SERVE, "serve", *options):
        yield f"http://127.0.0.1:{port}"


async def ask(relay: str, agent: str, text: str = "hi", user: str = "ann", **headers: str) -> dict[str, Any]:
    message = {"messageId": "m", "role": "ROLE_USER", "parts": [{"text": text}]}
    body = {"jsonrpc": "2.0", "id": 1, "method": "SendMessage", "params": {"message": message}}
    sent = {"authorization": f"Bearer {token(role='client', user_id=user)}", "a2a-version": "1.0", **headers}
    async with httpx.AsyncClient(timeout=PATIENCE_SECONDS, trust_env=False) as http:
        found: dict[str, Any] = (await http.post(f"{relay}/t/acme/a2a/{agent}/", json=body, headers=sent)).json()
        return found


def text_of(answer: dict[str, Any]) -> str:
    return str(answer["result"]["message"]["parts"][0]["text"])


async def keys_of(relay: str) -> KeySet:
    async with httpx.AsyncClient(trust_env=False) as http:
        answer = await http.get(f"{relay}/.well-known/jwks.json")
    assert answer.headers["cache-control"] == "public, max-age=300"
    return KeySet.read(answer.content)


async def test_the_example_of_the_document_greets_its_callers_by_name(relay: str, tmp_path: Path) -> None:
    """Its server is the official SDK's; it has the relay's keys, and takes no sender but a signed one."""
    environment = {"RELAY_URL": relay, "RELAY_TOKEN": agent_token("greeter")}
    with program(tmp_path / "agent.log", "attached to", "examples/signed_senders.py", "acme/greeter", **environment):
        assert text_of(await ask(relay, "greeter")) == "hello, ann (sender)"
        assert text_of(await ask(relay, "greeter", user="bob")) == "hello, bob (sender)"
        large = "x" * 300_000  # crosses in pieces
        assert text_of(await ask(relay, "greeter", large)) == "hello, ann (sender)"


async def test_a_client_cannot_say_who_it_is(relay: str, data: Path, tmp_path: Path) -> None:
    environment = {"RELAY_URL": relay, "RELAY_TOKEN": agent_token("strict")}
    forged = {"A2A-Relay-Sender": "admin", "X-A2A-Relay-Sender": "admin", "a2a_relay_sender": "admin"}
    with program(tmp_path / "agent.log", "attached to", "examples/signed_senders.py", "acme/strict", **environment):
        assert text_of(await ask(relay, "strict", **forged)) == "hello, ann (sender)"
    line = next(line for line in (data / "relay.log").read_text().splitlines() if "headers_stripped" in line)
    assert "a2a-relay-sender, a2a_relay_sender, x-a2a-relay-sender" in line


async def test_a_handler_gets_a_statement_that_anybody_can_check(relay: str) -> None:
    heard: list[IncomingRequest] = []

    async def handler(request: IncomingRequest) -> dict[str, Any]:
        heard.append(request)
        return {"message": {"messageId": "r", "role": "ROLE_AGENT", "parts": [{"text": "ok"}]}}

    async with Connector(relay, agent_token("checker"), verify_senders="require") as connector:
        await connector.start(handler=handler)
        await ask(relay, "checker")
    sender = verify(heard[0].meta["checked_sender"], await keys_of(relay), "acme/checker")
    assert (sender.identity, sender.tenant, sender.relay) == ("ann", "acme", relay)


async def test_a_letter_says_who_has_sent_it_and_when(relay: str) -> None:
    heard: asyncio.Queue[IncomingRequest] = asyncio.Queue()

    async def handler(request: IncomingRequest) -> dict[str, Any]:
        heard.put_nowait(request)
        return {"message": {"messageId": "r", "role": "ROLE_AGENT", "parts": [{"text": "ok"}]}}

    async with Connector(relay, agent_token("later"), verify_senders="require") as connector:
        await connector.start(handler=handler)
    before = int(time.time())
    queued = await ask(relay, "later", prefer="respond-async")
    assert queued["result"]["task"]["status"]["state"] == "TASK_STATE_SUBMITTED"
    async with Connector(relay, agent_token("later"), verify_senders="require") as connector:
        await connector.start(handler=handler)
        async with asyncio.timeout(PATIENCE_SECONDS):
            request = await heard.get()
    sender = verify(request.meta["checked_sender"], await keys_of(relay), "acme/later")
    assert sender.is_letter
    assert (sender.identity, sender.claims["letter"]) == ("ann", queued["result"]["task"]["id"])
    assert before <= sender.claims["accepted_at"] <= sender.claims["delivered_at"]


async def test_the_owner_has_the_last_word(relay: str) -> None:
    async def handler(request: IncomingRequest) -> dict[str, Any]:
        if request.meta["sender"]["identity"] != "ann":
            raise AgentError(-32000, "this must not be reached")
        return {"message": {"messageId": "r", "role": "ROLE_AGENT", "parts": [{"text": "ok"}]}}

    async with Connector(relay, agent_token("choosy"), allow_senders=["ann"]) as connector:
        await connector.start(handler=handler)
        assert text_of(await ask(relay, "choosy")) == "ok"
        refused = await ask(relay, "choosy", user="bob")
    assert (refused["error"]["code"], refused["error"]["data"][0]["reason"]) == (-32056, "PERMISSION_DENIED")


def test_the_key_is_its_owners_alone(relay: str, data: Path) -> None:
    """It was made when the first agent of this module attached."""
    assert oct((data / "signing_key.pem").stat().st_mode & 0o777) == "0o600"
