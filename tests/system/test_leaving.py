"""How a relay leaves: on SIGTERM in order, on a second signal at once, and what a kill leaves behind."""

from __future__ import annotations

import asyncio
import json
import signal
import sqlite3
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
from programs import Relay, running_relay
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

PATIENCE_SECONDS = 15.0
SEND = {"message": {"messageId": "m", "role": "ROLE_USER", "parts": [{"text": "hi"}]}}


@asynccontextmanager
async def attached(relay: Relay, name: str = "zaf", **fields: Any) -> AsyncIterator[ClientConnection]:
    """A native agent's link, welcomed."""
    async with connect(f"ws{relay.url.removeprefix('http')}/agent", proxy=None) as link:
        auth = {"type": "auth", "token": relay.token(role="agent", agent=name), "protocol": "a2a-relay/1", **fields}
        await link.send(json.dumps(auth))
        assert (await frame_of(link))["type"] == "auth_ok"
        yield link


async def frame_of(link: ClientConnection) -> dict[str, Any]:
    return dict(json.loads(await asyncio.wait_for(link.recv(), PATIENCE_SECONDS)))


async def closed(link: ClientConnection) -> int | None:
    """Wait for the end of a link; its close code."""
    try:
        while True:
            await asyncio.wait_for(link.recv(), PATIENCE_SECONDS)
    except ConnectionClosed as error:
        return error.rcvd.code if error.rcvd else None


async def call(relay: Relay, *, stream: bool = False) -> httpx.Response:
    async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE_SECONDS) as client:
        url = f"{relay.base('zaf')}message:{'stream' if stream else 'send'}"
        return await client.post(url, json=SEND, headers={"Authorization": f"Bearer {relay.token()}"})


def exit_code(relay: Relay) -> int:
    return relay.program.process.wait(PATIENCE_SECONDS)


async def test_an_idle_agent_is_told_and_the_exit_code_is_0(tmp_path: Path) -> None:
    with running_relay(tmp_path) as relay:
        async with attached(relay) as link:
            relay.program.process.terminate()
            goaway = await frame_of(link)
            assert goaway["type"] == "relay.goaway"
            assert 0 <= goaway["payload"]["reconnect_after_ms"] <= 5000
            assert await closed(link) == 1001
        assert exit_code(relay) == 0


async def test_a_call_in_flight_is_finished_before_the_link_is_closed(tmp_path: Path) -> None:
    with running_relay(tmp_path) as relay:
        async with attached(relay) as link:
            calling = asyncio.ensure_future(call(relay))
            request = await frame_of(link)
            relay.program.process.terminate()
            assert (await frame_of(link))["type"] == "relay.goaway"
            answer = {"id": request["payload"]["id"], "result": {"message": {"messageId": "r"}}}
            await link.send(json.dumps({"type": "a2a.response", "payload": answer}))
            response = await calling
            assert (response.status_code, response.json()) == (200, {"message": {"messageId": "r"}})
            assert await closed(link) == 1001
        assert exit_code(relay) == 0


async def test_what_is_not_finished_in_time_ends_with_a_clear_error(tmp_path: Path) -> None:
    with running_relay(tmp_path, "--leave-grace", "0.5") as relay:
        async with attached(relay) as link:
            unary, streaming = asyncio.ensure_future(call(relay)), asyncio.ensure_future(call(relay, stream=True))
            requests = [await frame_of(link), await frame_of(link)]
            stream_id = next(frame["payload"]["id"] for frame in requests if frame["payload"]["stream"])
            event = {"id": stream_id, "seq": 1, "result": {"task": {"id": "t"}}}
            await link.send(json.dumps({"type": "a2a.event", "payload": event}))
            relay.program.process.terminate()
            response = await unary
            assert response.status_code == 503
            assert response.json()["error"]["details"][0]["reason"] == "RELAY_LEAVING"
            body = (await streaming).text
            assert 'data: {"task":' in body
            assert "event: error" in body
            assert "RELAY_LEAVING" in body
            assert await closed(link) == 1001
        assert exit_code(relay) == 0


async def test_a_second_signal_ends_it_at_once(tmp_path: Path) -> None:
    with running_relay(tmp_path, "--leave-grace", "600") as relay:
        async with attached(relay) as link:
            calling = asyncio.ensure_future(call(relay))
            await frame_of(link)
            relay.program.process.terminate()
            assert (await frame_of(link))["type"] == "relay.goaway"
            relay.program.process.terminate()
            assert exit_code(relay) == -signal.SIGTERM
            calling.cancel()


async def test_an_agents_card_survives_a_kill(tmp_path: Path) -> None:
    store = f"sqlite://{tmp_path}/relay.db"
    with running_relay(tmp_path, store=store) as relay:
        async with attached(relay, agent_card={"name": "Zaf", "x-unknown": 2**63}):
            await in_thread(wait_for_row, tmp_path / "relay.db")
            relay.program.process.kill()
            assert exit_code(relay) == -signal.SIGKILL
    with running_relay(tmp_path, store=store) as relay:
        async with httpx.AsyncClient(trust_env=False) as client:
            card = await client.get(f"{relay.base('zaf')}.well-known/agent-card.json")
        assert card.status_code == 200
        assert '"x-unknown":9223372036854775808' in card.text.replace(" ", "")
        queued = await call(relay)
        assert (queued.status_code, queued.json()["task"]["status"]["state"]) == (200, "TASK_STATE_SUBMITTED")


async def in_thread(function: Any, *arguments: Any) -> None:
    await asyncio.get_running_loop().run_in_executor(None, function, *arguments)


def wait_for_row(path: Path) -> None:
    """Wait until the registration is committed."""
    give_up = threading.Event()
    for _ in range(100):
        with sqlite3.connect(path) as connection:
            count = connection.execute("SELECT count(*) FROM agents").fetchone()[0]
        connection.close()
        if count:
            return
        give_up.wait(0.05)
    raise AssertionError("the agent was never stored")
