"""A deployment that shares one secret gets keys, agent by agent: the steps of docs/migration-from-relay-go.md."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from administration import Administration, store_url, until_known
from programs import TENANT, Relay, running_relay
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from a2a_relay.connector import Connector, ConnectorRefused, IncomingRequest, TokenFile
from a2a_relay.core.principal import Role

PATIENCE_SECONDS = 25.0
AGENTS = ("go", "claw", "native")


class RawAgent:
    """An agent of an older dialect, frame by frame."""

    def __init__(self, relay: Relay, name: str) -> None:
        self.name = name
        self._url = f"ws{relay.url.removeprefix('http')}/agent"
        self._auth: dict[str, Any] = {"type": "auth"}
        if name == "claw":
            self._auth["agent_card"] = {"name": name, "url": f"a2a-relay://{TENANT}/{name}"}

    async def dial(self, token: str) -> tuple[ClientConnection, dict[str, Any]]:
        """A link, and the first thing that the relay says over it."""
        link = await connect(self._url, proxy=None, compression=None)
        await link.send(json.dumps({**self._auth, "token": token}))
        return link, json.loads(await asyncio.wait_for(link.recv(), PATIENCE_SECONDS))

    @asynccontextmanager
    async def attached(self, token: str) -> AsyncIterator[None]:
        """It answers each message with its text, until the end of the block."""
        link, welcome = await self.dial(token)
        assert welcome["type"] == "auth_ok", welcome
        answering = asyncio.create_task(self._answer(link))
        yield
        await link.close()
        await answering

    @staticmethod
    async def _answer(link: ClientConnection) -> None:
        try:
            async for text in link:
                request = json.loads(text)["payload"]
                params = request["params"].get("params", request["params"])
                result = reply(params["message"]["parts"][0]["text"])
                await link.send(
                    json.dumps({"type": "a2a.response", "payload": {"id": request["id"], "result": result}})
                )
        except ConnectionClosed:
            return


class NativeAgent:
    """An agent behind the connector, which reads its token from a file."""

    name = "native"

    def __init__(self, relay: Relay, directory: Path) -> None:
        self._relay = relay
        self._file = directory / "token"

    @asynccontextmanager
    async def attached(self, token: str) -> AsyncIterator[None]:
        self._file.write_text(token)
        async with Connector(self._relay.url, TokenFile(self._file)) as connector:
            await connector.start(handler=self._handle)
            yield

    @staticmethod
    async def _handle(request: IncomingRequest) -> Any:
        return reply(json.loads(request.params)["message"]["parts"][0]["text"])


def reply(text: str) -> dict[str, Any]:
    return {"message": {"messageId": secrets.token_hex(4), "role": "ROLE_AGENT", "parts": [{"text": f"heard {text}"}]}}


class Client:
    """A client of the tenant's agents."""

    def __init__(self, relay: Relay, token: str) -> None:
        headers = {"Authorization": f"Bearer {token}", "A2A-Version": "1.0"}
        self._http = httpx.AsyncClient(
            base_url=f"{relay.url}/t/{TENANT}/a2a", headers=headers, trust_env=False, timeout=PATIENCE_SECONDS
        )

    async def post(self, agent: str, method: str, **params: Any) -> httpx.Response:
        return await self._http.post(f"/{agent}/", json={"jsonrpc": "2.0", "id": 1, "method": method, "params": params})

    async def send(self, agent: str, text: str) -> dict[str, Any]:
        """The result of a message: an answer, or the Task of a letter."""
        message = {"messageId": secrets.token_hex(8), "role": "ROLE_USER", "parts": [{"text": text}]}
        answer = (await self.post(agent, "SendMessage", message=message)).json()
        assert "result" in answer, answer
        return dict(answer["result"])

    async def outcome(self, agent: str, task: str) -> str:
        """What a letter was answered with, once it is."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                found = (await self.post(agent, "GetTask", id=task)).json()["result"]
                if found["status"]["state"] == "TASK_STATE_COMPLETED":
                    return str(found["status"]["message"]["parts"][0]["text"])
                await asyncio.sleep(0.1)

    async def aclose(self) -> None:
        await self._http.aclose()


@pytest.fixture
def relay(tmp_path: Path) -> Iterator[Relay]:
    with running_relay(tmp_path, "--sync-wait", "0", store=store_url(tmp_path / "relay.db")) as running:
        yield running


def heard(result: dict[str, Any]) -> str:
    return str(result["message"]["parts"][0]["text"])


async def refusal_of(relay: Relay, name: str, token: str) -> int:
    """The close code of a link that may not attach."""
    link, answer = await RawAgent(relay, name).dial(token)
    assert answer["type"] in ("error", "auth_error"), answer
    await asyncio.wait_for(link.wait_closed(), PATIENCE_SECONDS)
    assert link.close_code is not None
    return link.close_code


async def test_one_secret_becomes_a_key_for_each_agent_without_a_lost_message(relay: Relay, tmp_path: Path) -> None:
    administration = Administration(tmp_path / "relay.db")
    old_client = Client(relay, relay.token())
    old_tokens = {name: relay.token(role="agent", agent=name) for name in AGENTS}
    agents: list[RawAgent | NativeAgent] = [
        RawAgent(relay, "go"),
        RawAgent(relay, "claw"),
        NativeAgent(relay, tmp_path),
    ]
    for agent in agents:
        async with agent.attached(old_tokens[agent.name]):
            assert heard(await old_client.send(agent.name, "before")) == "heard before"

    await administration.register()
    keys: dict[str, str] = {}
    for agent in agents:
        async with agent.attached(old_tokens[agent.name]):
            keys[agent.name] = await administration.make_key(Role.AGENT, agent.name)
            await until_known(relay, keys[agent.name])
            assert heard(await old_client.send(agent.name, "still there")) == "heard still there"
        queued = await old_client.send(agent.name, "in between")
        async with agent.attached(keys[agent.name]):
            task = queued["task"]["id"]
            assert await old_client.outcome(agent.name, task) == "heard in between"
            assert await refusal_of(relay, agent.name, old_tokens[agent.name]) == 4001
            assert heard(await old_client.send(agent.name, "by key")) == "heard by key"

    sender = await administration.make_key(Role.SENDER, "proxy-1")
    await until_known(relay, sender)
    await administration.register(takes_legacy=False)
    await until_unauthenticated(old_client)
    client = Client(relay, sender)
    for agent in agents:
        async with agent.attached(keys[agent.name]):
            assert heard(await client.send(agent.name, "after")) == "heard after"
            for thief in (old_tokens[agent.name], relay.token(role="agent", agent=agent.name), sender):
                assert await refusal_of(relay, agent.name, thief) == 4001
            assert heard(await client.send(agent.name, "and on")) == "heard and on"
    with pytest.raises(ConnectorRefused, match="refuses the token") as refused:
        await Connector(relay.url, old_tokens["native"]).serve(handler=NativeAgent._handle)
    assert refused.value.exit_code == 2
    await client.aclose()
    await old_client.aclose()
    administration.close()


async def until_unauthenticated(client: Client) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while (await client.post("go", "GetTask", id="none")).status_code != httpx.codes.UNAUTHORIZED:
            await asyncio.sleep(0.1)
