"""The connector between a real relay and a real agent: the official SDK's server behind, its client in front."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from a2a.client import Client, ClientConfig, ClientFactory
from a2a.helpers.proto_helpers import get_artifact_text, new_text_message
from a2a.types.a2a_pb2 import (
    AgentInterface,
    CancelTaskRequest,
    GetExtendedAgentCardRequest,
    GetTaskRequest,
    ListTasksRequest,
    SendMessageRequest,
    Task,
    TaskState,
)

from a2a_relay.connector import AgentError, Connector, ConnectorRefused, IncomingRequest, MintedToken

ROOT = Path(__file__).resolve().parents[2]
SECRET = "a-secret-of-a-test-that-is-long-enough"
PATIENCE_SECONDS = 20
TASK_NOT_FOUND = -32001
SERVE = "from a2a_relay.cli import main; main()"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def token(**claims: Any) -> str:
    return jwt.encode({"exp": int(time.time()) + 3600, "tenant": "acme", **claims}, SECRET, algorithm="HS256")


def agent_token(agent: str = "echo", **claims: Any) -> str:
    return token(agent_id=agent, role="agent", **claims)


CLIENT_TOKEN = {"Authorization": f"Bearer {token(role='client', user_id='alice')}"}


def is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def running(*arguments: str, listens_on: int) -> Iterator[subprocess.Popen[bytes]]:
    """A program of this project, until the block ends; the block begins when its port answers."""
    environment = {**os.environ, "RELAY_JWT_SECRET": SECRET, "RELAY_ACCESS_LOG": "off"}
    process = subprocess.Popen(
        [sys.executable, *arguments], cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    try:
        until = time.monotonic() + PATIENCE_SECONDS
        while not is_listening(listens_on):
            assert process.poll() is None, process.stderr.read() if process.stderr else ""
            assert time.monotonic() < until, "it does not begin to listen"
            time.sleep(0.05)
        yield process
    finally:
        process.terminate()
        try:
            process.communicate(timeout=PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


def run_relay(port: int) -> Any:
    return running("-c", SERVE, "serve", "--port", str(port), "--store", "memory:", listens_on=port)


def run_echo(port: int, *options: str) -> Any:
    return running("examples/demo_agent.py", str(port), "--chunk", "0.01", *options, listens_on=port)


@pytest.fixture(scope="module")
def relay() -> Iterator[str]:
    port = free_port()
    with run_relay(port):
        yield f"http://127.0.0.1:{port}"


@pytest.fixture(scope="module")
def echo() -> Iterator[str]:
    port = free_port()
    with run_echo(port):
        yield f"http://127.0.0.1:{port}"


@asynccontextmanager
async def connected(relay: str, agent: str, **upstream: Any) -> AsyncIterator[Connector]:
    """A connector for `agent`, attached."""
    async with Connector(relay, agent_token(agent)) as connector:
        await connector.start(**upstream)
        yield connector


@asynccontextmanager
async def sdk_client(
    base: str, binding: str = "JSONRPC", version: str = "1.0", *, streaming: bool = False
) -> AsyncIterator[Client]:
    """The official client for an agent behind the relay, held to one of its interfaces."""
    async with httpx.AsyncClient(headers=CLIENT_TOKEN, timeout=PATIENCE_SECONDS, trust_env=False) as http:
        factory = ClientFactory(
            ClientConfig(streaming=streaming, httpx_client=http, supported_protocol_bindings=[binding])
        )
        found = (await http.get(f"{base}/.well-known/agent-card.json")).json()
        interfaces = [
            entry
            for entry in found["supportedInterfaces"]
            if entry["protocolBinding"] == binding and entry["protocolVersion"] == version
        ]
        assert interfaces, found
        client = await factory.create_from_url(f"{base}/")
        card = client._card  # type: ignore[attr-defined]
        del card.supported_interfaces[:]
        card.supported_interfaces.append(
            AgentInterface(url=interfaces[0]["url"], protocol_binding=binding, protocol_version=version)
        )
        yield factory.create(card)


async def send(client: Client, text: str) -> list[Any]:
    message = new_text_message(text)
    return [event async for event in client.send_message(SendMessageRequest(message=message))]


async def finished_task(client: Client, text: str) -> Task:
    """The task of a sent message, once it has ended (0.3's HTTP+JSON does not wait for that)."""
    sent = (await send(client, text))[-1].task
    while sent.status.state not in (TaskState.TASK_STATE_COMPLETED, TaskState.TASK_STATE_FAILED):
        await asyncio.sleep(0.02)
        sent = await client.get_task(GetTaskRequest(id=sent.id))
    return sent


def text_of(task: Task) -> str:
    return "".join(get_artifact_text(artifact, "") for artifact in task.artifacts)


async def rpc(relay: str, agent: str, method: str, params: Any, **headers: str) -> httpx.Response:
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    async with httpx.AsyncClient(headers=CLIENT_TOKEN, timeout=PATIENCE_SECONDS, trust_env=False) as http:
        return await http.post(f"{relay}/t/acme/a2a/{agent}/", json=body, headers=headers)


async def until(condition: Callable[[], Any]) -> Any:
    """Wait for a condition (plain or async) to hold."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            found = condition()
            found = await found if asyncio.iscoroutine(found) else found
            if found:
                return found
            await asyncio.sleep(0.05)


BINDINGS = [("JSONRPC", "1.0"), ("HTTP+JSON", "1.0"), ("JSONRPC", "0.3"), ("HTTP+JSON", "0.3")]


@pytest.mark.parametrize("binding,version", BINDINGS)
async def test_the_official_client_sends_and_gets_through_relay_and_connector(
    relay: str, echo: str, binding: str, version: str
) -> None:
    async with (
        connected(relay, "echo", upstream=echo),
        sdk_client(f"{relay}/t/acme/a2a/echo", binding, version) as client,
    ):
        task = await finished_task(client, "hello through the relay")
        assert text_of(task) == "hello through the relay"
        assert (await client.get_task(GetTaskRequest(id=task.id))).id == task.id


@pytest.mark.parametrize("binding,version", BINDINGS)
async def test_streams_arrive_event_by_event_and_in_order(relay: str, echo: str, binding: str, version: str) -> None:
    base = f"{relay}/t/acme/a2a/echo"
    async with connected(relay, "echo", upstream=echo), sdk_client(base, binding, version, streaming=True) as client:
        events = await send(client, "one two three four")
    chunks = [
        part.text
        for event in events
        if event.HasField("artifact_update")
        for part in event.artifact_update.artifact.parts
    ]
    assert "".join(chunks) == "one two three four"
    assert len(chunks) > 1
    assert events[-1].status_update.status.state == TaskState.TASK_STATE_COMPLETED


@pytest.mark.parametrize("binding", ["JSONRPC", "HTTP+JSON"])
async def test_lists_errors_and_the_extended_card_come_back_as_the_agent_gave_them(
    relay: str, echo: str, binding: str
) -> None:
    async with connected(relay, "echo", upstream=echo), sdk_client(f"{relay}/t/acme/a2a/echo", binding) as client:
        task = await finished_task(client, "to be listed")
        assert task.id in {item.id for item in (await client.list_tasks(ListTasksRequest(page_size=100))).tasks}
        extended = await client.get_extended_agent_card(GetExtendedAgentCardRequest())
        assert "echo-members" in {skill.id for skill in extended.skills}
        with pytest.raises(Exception, match=r"(?i)not found|cannot be canceled|TaskNotFound"):
            await client.get_task(GetTaskRequest(id="no-such-task"))
        with pytest.raises(Exception, match=r"(?i)cancel"):
            await client.cancel_task(CancelTaskRequest(id=task.id))


async def test_ids_that_look_like_paths_stay_ids(relay: str, echo: str) -> None:
    async with connected(relay, "echo", upstream=echo):
        for id in ("../.well-known/agent-card.json", "..", "a/b", "a%2Fb", "x?y#z"):
            answer = (await rpc(relay, "echo", "GetTask", {"id": id}, **{"A2A-Version": "1.0"})).json()
            assert "error" in answer, answer


async def test_an_asgi_app_needs_no_port_at_all(relay: str) -> None:
    sys.path.insert(0, str(ROOT / "examples"))
    try:
        from demo_agent import create_app  # type: ignore[import-not-found]
    finally:
        sys.path.pop(0)
    app = create_app("http://localhost", chunk_seconds=0.01)
    base = f"{relay}/t/acme/a2a/inproc"
    async with connected(relay, "inproc", app=app):
        async with sdk_client(base) as client:
            assert text_of(await finished_task(client, "in one process")) == "in one process"
        async with sdk_client(base, "HTTP+JSON", streaming=True) as client:
            assert len(await send(client, "and it streams too")) > 3


async def test_a_function_can_be_an_agent(relay: str) -> None:
    async def reply(request: IncomingRequest) -> dict[str, Any]:
        text = json.loads(request.params)["message"]["parts"][0]["text"]
        if text == "fail":
            raise AgentError(-32004, "not that", data={"hint": "something else"})
        return {"message": {"messageId": "m", "role": "ROLE_AGENT", "parts": [{"text": text.upper()}]}}

    def message(text: str) -> dict[str, Any]:
        return {"message": {"messageId": "1", "role": "ROLE_USER", "parts": [{"text": text}]}}

    async with connected(relay, "shout", handler=reply):
        answer = (await rpc(relay, "shout", "SendMessage", message("hi"))).json()
        assert answer["result"]["message"]["parts"] == [{"text": "HI"}]
        error = (await rpc(relay, "shout", "SendMessage", message("fail"))).json()["error"]
        assert error == {"code": -32004, "message": "not that", "data": {"hint": "something else"}}


async def test_bodies_arrive_byte_for_byte(relay: str) -> None:
    seen: list[bytes] = []
    result = (
        b'{"message":{"messageId":"m","role":"ROLE_AGENT","parts":[{"text":"\\ud83d"}],"x":12345678901234567890123}}'
    )

    async def reply(request: IncomingRequest) -> bytes:
        seen.append(request.params)
        return result

    params = b'{"z":1.10,"message":{"parts":[{"text":"\xf0\x9f\x98\x80\\udc00"}],"big":9007199254740993}}'
    async with (
        connected(relay, "bytes", handler=reply),
        httpx.AsyncClient(headers=CLIENT_TOKEN, trust_env=False) as http,
    ):
        answer = await http.post(
            f"{relay}/t/acme/a2a/bytes/",
            content=b'{"jsonrpc":"2.0","id":1,"method":"SendMessage","params":' + params + b"}",
            headers={"content-type": "application/json"},
        )
    assert seen == [params]
    assert result in answer.content


async def test_the_agent_may_start_late_and_stop_and_come_back(relay: str) -> None:
    port = free_port()

    async def state() -> str:
        async with httpx.AsyncClient(headers=CLIENT_TOKEN, trust_env=False) as http:
            found = (await http.get(f"{relay}/t/acme/agents")).json()
        (entry,) = [item for item in found if "laptop" in json.dumps(item)]
        return str(entry["state"])

    async def is_paused() -> bool:
        return await state() == "paused"

    async def answers() -> bool:
        error = (await rpc(relay, "laptop", "GetTask", {"id": "none"})).json()["error"]
        return error["code"] == TASK_NOT_FOUND

    async with connected(relay, "laptop", upstream=f"http://127.0.0.1:{port}"):
        await until(is_paused)
        with run_echo(port):
            await until(answers)
        refused = (await rpc(relay, "laptop", "GetTask", {"id": "none"})).json()["error"]
        assert refused["data"][0]["domain"] == "a2a-relay"
        await until(is_paused)
        with run_echo(port):
            await until(answers)


async def test_a_relay_restart_needs_no_hand(echo: str) -> None:
    port = free_port()
    relay = f"http://127.0.0.1:{port}"

    async def answers() -> bool:
        try:
            return "result" in (await rpc(relay, "echo", "ListTasks", {})).json()
        except httpx.TransportError:
            return False

    async with Connector(relay, MintedToken(SECRET, "acme", "echo"), chance=lambda: 0.1) as connector:
        with run_relay(port):
            await connector.start(upstream=echo)
            assert await answers()
        with run_relay(port):
            await until(answers)


@pytest.mark.parametrize(
    "bad_token,exit_code",
    [
        pytest.param("nonsense", 2, id="no token at all"),
        pytest.param(
            jwt.encode({"exp": 1, "tenant": "acme", "agent_id": "x", "role": "agent"}, SECRET), 2, id="expired"
        ),
        pytest.param(token(role="client", user_id="alice"), 2, id="a client's"),
    ],
)
async def test_a_token_that_will_never_do_ends_the_connector_with_one_line(
    relay: str, echo: str, bad_token: str, exit_code: int
) -> None:
    with pytest.raises(ConnectorRefused) as caught:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await Connector(relay, bad_token).serve(upstream=echo)
    assert caught.value.exit_code == exit_code
    assert "\n" not in caught.value.message


async def test_a_newer_connector_for_the_same_agent_sends_the_older_away(relay: str, echo: str) -> None:
    older = Connector(relay, agent_token("twin"))
    serving = asyncio.create_task(older.serve(upstream=echo))
    await until(lambda: older.welcome is not None)
    async with connected(relay, "twin", upstream=echo):
        async with asyncio.timeout(PATIENCE_SECONDS):
            with pytest.raises(ConnectorRefused) as caught:
                await serving
        assert caught.value.exit_code == 3
        assert "result" in (await rpc(relay, "twin", "ListTasks", {})).json()


async def test_two_agents_without_a_port_or_a_token_of_their_own_talk_through_the_peers_door(
    relay: str, echo: str
) -> None:
    door: list[str] = []

    async def ask_echo(request: IncomingRequest) -> bytes:
        """An agent that hands its question to the echo agent, through the door beside it."""
        body = b'{"jsonrpc":"2.0","id":7,"method":"SendMessage","params":%b}' % request.params
        async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE_SECONDS) as http:
            headers = {"content-type": "application/json", "a2a-version": "1.0"}
            answer = await http.post(f"{door[0]}/echo/", content=body, headers=headers)
        return json.dumps(answer.json()["result"]).encode()

    asker = Connector(relay, agent_token("asker"), peers="127.0.0.1:0")
    async with connected(relay, "echo", upstream=echo), asker as connector:
        await connector.start(handler=ask_echo)
        assert connector.peers_url is not None
        door.append(connector.peers_url)

        async with sdk_client(f"{connector.peers_url}/echo", "HTTP+JSON", streaming=True) as client:
            assert len(await send(client, "the official client takes the door too")) > 3

        message = {"messageId": "1", "role": "ROLE_USER", "parts": [{"text": "who are you?"}]}
        answer = (await rpc(relay, "asker", "SendMessage", {"message": message}, **{"A2A-Version": "1.0"})).json()
        (artifact,) = answer["result"]["task"]["artifacts"]
        assert "".join(part["text"] for part in artifact["parts"]) == "who are you?"
