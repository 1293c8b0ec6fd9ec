"""How a connector comes, stays and leaves, told as dialogue with a relay of a few lines."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from typing import Any

import jwt
import pytest
from small_agents import Agent
from small_relay import WELCOME, Frame, Link, dialogue, echo, never, refusing, relay, welcoming

from a2a_relay.a2a.agent_card import RELAY_EXTENSION
from a2a_relay.connector import Connector, ConnectorRefused, IncomingRequest
from a2a_relay.connector.asgi import AsgiApp

SECRET = "a-secret-of-a-test-that-is-long-enough"
EXPIRED = jwt.encode({"exp": 1}, SECRET)


class Waits:
    """Stands for the clock: no wait takes time, and each is written down."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)
        await asyncio.sleep(0)


async def test_an_upstream_that_turns_out_to_adopt_ids_is_attached_again_to_say_so() -> None:
    ready, attached = asyncio.Event(), asyncio.Event()
    card = {"capabilities": {"extensions": [{"uri": RELAY_EXTENSION, "params": {"adoptsIds": True}}]}}

    async def wait(event: asyncio.Event, seconds: float) -> None:
        await (asyncio.Event().wait() if ready.is_set() else attached.wait())
        ready.set()

    async def first(link: Link) -> None:
        assert link.auth["adopts_ids"] is False
        await link.say(WELCOME)
        attached.set()
        await link.connection.wait_closed()

    again: asyncio.Future[Frame] = asyncio.get_running_loop().create_future()

    async def second(link: Link) -> None:
        again.set_result(link.auth)
        await welcoming(link)

    async with relay(first, second) as url, Connector(url, "t", wait=wait, chance=lambda: 0.01) as connector:
        await connector.start(app=down_until(ready, json.dumps(card).encode()))
        auth = await asyncio.wait_for(again, 10)
        assert (auth["adopts_ids"], auth["agent_card"]) == (True, card)


def tokens(*values: str) -> Any:
    """A source that gives these one after the other, and the last for ever."""
    left = list(values)
    return lambda: left.pop(0) if len(left) > 1 else left[0]


async def serve(url: str, token: Any = "t", *, sleep: Any = None, **agent: Any) -> None:
    """Serve until the connector ends by itself."""
    async with asyncio.timeout(15):
        connector = Connector(url, token, chance=lambda: 0.5, sleep=sleep or Waits(), wait=never)
        await connector.serve(**(agent or {"handler": echo}))


async def test_the_first_frame_says_who_comes_and_with_which_card() -> None:
    async def script(link: Link) -> None:
        assert len(link.auth.pop("instance")) >= 22
        assert link.auth == {
            "type": "auth",
            "token": "the-token",
            "protocol": "a2a-relay/1",
            "max_frame": 64 * 1024 * 1024 + 64 * 1024,
            "adopts_ids": True,
            "rest_0_3": False,
            "features": ["chunks", "credit", "resume", "letters", "stamp"],
            "agent_card": {"name": "x"},
        }
        await link.say(WELCOME)

    await dialogue(script, agent_card={"name": "x"})


def down_until(ready: asyncio.Event, card: bytes) -> AsgiApp:
    """An app that answers 503 for its card until it is ready."""
    agent = Agent(card=card)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and not ready.is_set():
            await send({"type": "http.response.start", "status": 503, "headers": []})
            await send({"type": "http.response.body", "body": b""})
            return
        await agent(scope, receive, send)

    return app


async def test_an_upstream_that_is_not_there_yet_is_paused_then_ready_with_its_card() -> None:
    ready = asyncio.Event()
    looks: list[float] = []

    async def wait(event: asyncio.Event, seconds: float) -> None:
        looks.append(seconds)
        if len(looks) > 7:
            await asyncio.Event().wait()
        if len(looks) == 7:
            ready.set()
        await asyncio.sleep(0)

    async def script(link: Link) -> None:
        assert "agent_card" not in link.auth
        await link.say(WELCOME)
        paused = await link.hear()
        assert (paused["type"], paused["payload"]["state"]) == ("agent.state", "paused")
        began.set()
        assert await link.hear() == {"type": "card.update", "payload": {"agent_card": {"name": "late"}}}
        assert (await link.hear())["payload"]["state"] == "ready"
        done.set()

    done = asyncio.Event()
    began = asyncio.Event()

    async def gated(event: asyncio.Event, seconds: float) -> None:
        await began.wait()
        await wait(event, seconds)

    async def started(link: Link) -> None:
        await script(link)
        await link.connection.wait_closed()

    async with relay(started) as url, Connector(url, "t", wait=gated) as connector:
        await connector.start(app=down_until(ready, b'{"name":"late"}'))
        async with asyncio.timeout(10):
            await done.wait()
    assert looks[:7] == [1, 2, 4, 8, 15, 15, 15]


async def test_a_token_that_cannot_change_is_refused_once() -> None:
    seen: list[str] = []

    async def refuse(link: Link) -> None:
        seen.append(link.auth["token"])
        await refusing("invalid token\x1b[31m", 4001)(link)

    async with relay(refuse) as url:
        with pytest.raises(ConnectorRefused, match="invalid token") as caught:
            await serve(url, "bad")
    assert seen == ["bad"]
    assert caught.value.exit_code == 2
    assert "\x1b" not in caught.value.message


async def test_a_refused_token_is_read_again_once_and_the_new_one_used() -> None:
    waits = Waits()
    async with relay(refusing("token expired", 4001), refusing("session replaced", 4006)) as url:
        with pytest.raises(ConnectorRefused):
            await serve(url, tokens("old", "new"), sleep=waits)
    assert waits.seconds == []


async def test_an_expired_token_is_waited_for() -> None:
    waits = Waits()
    async with relay(*[refusing("token expired", 4001)] * 4, refusing("session replaced", 4006)) as url:
        with pytest.raises(ConnectorRefused) as caught:
            await serve(url, tokens(EXPIRED), sleep=waits)
    assert caught.value.exit_code == 3
    assert waits.seconds == [0.25, 0.5, 1.0]


@pytest.mark.parametrize(
    "scripts,exit_code",
    [
        ([refusing("role client may not attach", 4001)], 2),
        ([refusing("the card is too large", 4000)], 2),
        ([refusing("invalid token", 1000)], 2),
        ([refusing("session replaced", 4006)], 3),
    ],
)
async def test_what_retrying_cannot_mend_ends_it(scripts: Iterable[Any], exit_code: int) -> None:
    async with relay(*scripts) as url:
        with pytest.raises(ConnectorRefused) as caught:
            await serve(url)
    assert caught.value.exit_code == exit_code


async def test_a_goaway_is_obeyed() -> None:
    async def leaving(link: Link) -> None:
        await link.say(WELCOME)
        await link.say({"type": "relay.goaway", "payload": {"reason": "restart", "reconnect_after_ms": 1234}})
        await link.connection.close(1001, "going away")

    async def replaced(link: Link) -> None:
        await link.say(WELCOME)
        await link.say({"type": "relay.goaway", "payload": {"reason": "session replaced", "reconnect_after_ms": None}})
        await link.connection.close(4006, "session replaced")

    waits = Waits()
    async with relay(leaving, replaced) as url:
        with pytest.raises(ConnectorRefused) as caught:
            await serve(url, sleep=waits)
    assert caught.value.exit_code == 3
    assert waits.seconds == [1.234]


async def test_a_relay_that_is_not_there_is_tried_again_and_again() -> None:
    async with relay(welcoming) as url:
        pass
    waits = Waits()
    connector = Connector(url, "t", chance=lambda: 0.5, sleep=waits, wait=never)
    serving = asyncio.ensure_future(connector.serve(handler=echo))
    while len(waits.seconds) < 9:
        await asyncio.sleep(0.001)
    connector.stop()
    await serving
    assert waits.seconds[:9] == [0.25, 0.5, 1, 2, 4, 8, 15, 15, 15]


async def test_a_redirect_takes_the_token_nowhere() -> None:
    heard: list[bytes] = []

    async def redirect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(
            b"HTTP/1.1 307 Temporary Redirect\r\nLocation: ws://127.0.0.1:1/agent\r\nContent-Length: 0\r\n\r\n"
        )
        writer.close()

    server = await asyncio.start_server(redirect, "127.0.0.1", 0)
    async with server:
        with pytest.raises(ConnectorRefused, match="HTTP 307"):
            await serve(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", "secret-token")
    assert len(heard) == 1
    assert b"secret-token" not in heard[0]


async def test_stop_ends_serve_quietly_and_closes_the_link() -> None:
    left = asyncio.Event()

    async def script(link: Link) -> None:
        await link.say(WELCOME)
        await link.connection.wait_closed()
        assert link.connection.close_code == 1000
        left.set()

    async with relay(script) as url:
        connector = Connector(url, "t", wait=never)
        serving = asyncio.ensure_future(connector.serve(handler=echo))
        while connector.welcome is None:
            await asyncio.sleep(0.001)
        connector.stop()
        async with asyncio.timeout(10):
            await serving
            await left.wait()


async def test_stopping_does_not_wait_for_calls_that_nobody_reads() -> None:
    begun = asyncio.Event()

    async def forever(request: IncomingRequest) -> bytes:
        begun.set()
        await asyncio.Event().wait()
        return b""

    async def script(link: Link) -> None:
        await link.say(WELCOME)
        await link.ask("1")
        await link.connection.wait_closed()

    async with asyncio.timeout(10), relay(script) as url, Connector(url, "t", wait=never) as connector:
        await connector.start(handler=forever)
        await begun.wait()


async def test_no_token_at_first_is_said_at_once() -> None:
    with pytest.raises(ConnectorRefused, match="no token"):
        await serve("http://127.0.0.1:1", "")


async def test_one_agent_must_be_given() -> None:
    for agents in ({}, {"upstream": "http://x", "handler": echo}):
        with pytest.raises(ConnectorRefused, match="one of"):
            await Connector("http://127.0.0.1:1", "t").serve(**agents)  # type: ignore[arg-type]
