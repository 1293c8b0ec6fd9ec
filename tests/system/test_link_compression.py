"""Agent links may be compressed where the relay is set to it and the agent asks for it, and no bomb gets in."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import httpx
import pytest
from programs import Relay, running_relay
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

TEXT = "compress me " * 2_000


async def attach(link: ClientConnection, relay: Relay) -> None:
    await link.send(json.dumps({"type": "auth", "token": relay.token(role="agent", agent="zaf")}))
    assert json.loads(await link.recv())["type"] == "auth_ok"


def link_to(relay: Relay) -> connect:
    return connect(f"ws{relay.url.removeprefix('http')}/agent", proxy=None, compression="deflate")


def extensions(link: ClientConnection) -> str:
    assert link.response is not None
    return link.response.headers.get("Sec-WebSocket-Extensions", "")


async def test_links_are_not_compressed_unless_set(tmp_path: Path) -> None:
    with running_relay(tmp_path) as relay:
        async with link_to(relay) as link:
            assert extensions(link) == ""


@pytest.mark.parametrize("lane", ["fast", "plain"])
async def test_both_ways_are_compressed_and_hold_no_window(tmp_path: Path, lane: str) -> None:
    with running_relay(tmp_path, "--link-compression", "deflate", "--lane", lane) as relay:
        async with link_to(relay) as link, httpx.AsyncClient(trust_env=False) as client:
            assert "server_no_context_takeover" in extensions(link)
            assert "client_no_context_takeover" in extensions(link)
            await attach(link, relay)
            message = {"messageId": "m", "role": "ROLE_USER", "parts": [{"text": TEXT}]}
            call = {"jsonrpc": "2.0", "id": 1, "method": "SendMessage", "params": {"message": message}}
            headers = {"Authorization": f"Bearer {relay.token()}"}
            answering = asyncio.ensure_future(client.post(relay.base("zaf"), json=call, headers=headers))
            request = json.loads(await link.recv())["payload"]
            assert request["params"] == call["params"]
            answer = {"id": request["id"], "result": {"echo": TEXT}}
            await link.send(json.dumps({"type": "a2a.response", "payload": answer}))
            assert (await answering).json()["result"] == {"echo": TEXT}


@pytest.mark.parametrize("lane", ["fast", "plain"])
async def test_a_frame_that_would_unpack_beyond_the_limit_ends_its_link(tmp_path: Path, lane: str) -> None:
    with running_relay(tmp_path, "--link-compression", "deflate", "--lane", lane) as relay:
        async with link_to(relay) as link:
            await attach(link, relay)
            await link.send(b" " * (64 << 20))
            with pytest.raises(ConnectionClosed) as closed:
                await link.recv()
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1009
