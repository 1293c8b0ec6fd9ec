"""The connector's side of the link, told as dialogue with a relay of a few lines."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from typing import Any

import jwt
import pytest
from small_agents import EVENTS, Agent
from small_relay import OLD_WELCOME, WELCOME, Link, refusing, relay, welcoming

from a2a_relay.connector import AgentError, Connector, ConnectorRefused, IncomingRequest
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


async def never(event: asyncio.Event, seconds: float) -> None:
    """A watch that looks only when it is stirred."""
    await event.wait()


async def echo(request: IncomingRequest) -> bytes:
    if request.method == "my/fail":
        raise AgentError(-32004, "no")
    if request.method == "my/break":
        raise RuntimeError("a secret of the agent")
    return request.params


def tokens(*values: str) -> Any:
    """A source that gives these one after the other, and the last for ever."""
    left = list(values)
    return lambda: left.pop(0) if len(left) > 1 else left[0]


async def serve(url: str, token: Any = "t", *, sleep: Any = None, **agent: Any) -> None:
    """Serve until the connector ends by itself."""
    async with asyncio.timeout(15):
        connector = Connector(url, token, chance=lambda: 0.5, sleep=sleep or Waits(), wait=never)
        await connector.serve(**(agent or {"handler": echo}))


async def dialogue(script: Any, *, agent_card: Any = None, **agent: Any) -> None:
    """Attach to a relay that follows a script, and stop when it has come to its end."""
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def once(link: Link) -> None:
        try:
            await script(link)
            done.set_result(None)
        except BaseException as error:
            done.set_exception(error)
        await link.connection.wait_closed()

    async with relay(once) as url, Connector(url, "the-token", agent_card=agent_card, wait=never) as connector:
        await connector.start(**(agent or {"handler": echo}))
        async with asyncio.timeout(15):
            await done


async def test_the_first_frame_says_who_comes_and_with_which_card() -> None:
    async def script(link: Link) -> None:
        assert link.auth == {
            "type": "auth",
            "token": "the-token",
            "protocol": "a2a-relay/1",
            "max_frame": 16 * 1024 * 1024,
            "adopts_ids": True,
            "rest_0_3": False,
            "agent_card": {"name": "x"},
        }
        await link.say(WELCOME)

    await dialogue(script, agent_card={"name": "x"})


async def test_calls_are_answered_under_their_own_ids_in_any_order() -> None:
    release = asyncio.Event()

    async def slow_first(request: IncomingRequest) -> bytes:
        if request.id == "1":
            await release.wait()
        release.set()
        return request.params

    async def script(link: Link) -> None:
        await link.say(WELCOME)
        await link.ask("1", params={"n": 1})
        await link.ask("2", params={"n": 2})
        answers = [(await link.hear())["payload"] for _ in range(2)]
        assert answers == [{"id": "2", "result": {"n": 2}}, {"id": "1", "result": {"n": 1}}]

    await dialogue(script, handler=slow_first)


async def test_pings_and_probes_are_answered() -> None:
    async def script(link: Link) -> None:
        await link.say({"type": "ping"})
        assert await link.hear() == {"type": "pong"}
        await link.say(WELCOME)
        await link.say({"type": "ping"})
        assert await link.hear() == {"type": "pong"}
        await link.say({"type": "relay.probe", "payload": {"id": "p"}})
        assert await link.hear() == {"type": "relay.probe", "payload": {"id": "p"}}

    await dialogue(script)


async def test_errors_are_answers_and_say_nothing_of_the_agents_inside() -> None:
    async def script(link: Link) -> None:
        await link.say(WELCOME)
        await link.ask("1", "my/fail")
        assert (await link.hear())["payload"]["error"] == {"code": -32004, "message": "no"}
        await link.ask("2", "my/break")
        broken = (await link.hear())["payload"]
        assert broken["error"]["code"] == -32603
        assert "secret" not in json.dumps(broken)

    await dialogue(script)


async def test_bad_frames_fail_their_call_and_the_link_lives_on() -> None:
    async def script(link: Link) -> None:
        await link.say(WELCOME)
        await link.connection.send('{"type":"a2a.request","payload":{"id":"7","method":')
        assert (await link.hear())["payload"]["id"] == "7"
        for frame in ("", "[]", "{}", '{"type":5}', '{"type":"never.heard.of"}', "[" * 5000, b"\xff\x00"):
            await link.connection.send(frame)
        await link.ask("8", params={"still": "here"})
        assert (await link.hear())["payload"] == {"id": "8", "result": {"still": "here"}}

    await dialogue(script)


async def counting(request: IncomingRequest) -> AsyncIterator[dict[str, int]]:
    for number in range(3):
        yield {"n": number}
    if request.method == "my/fail":
        raise AgentError(-32004, "no more")


async def test_a_stream_is_events_counted_from_one_and_an_end() -> None:
    async def script(link: Link) -> None:
        await link.say(WELCOME)
        await link.ask("1", "SendStreamingMessage", stream=True)
        frames = [await link.hear() for _ in range(4)]
        assert [frame["type"] for frame in frames] == ["a2a.event"] * 3 + ["a2a.end"]
        assert [frame["payload"]["seq"] for frame in frames[:3]] == [1, 2, 3]
        assert frames[3]["payload"] == {"id": "1"}

    await dialogue(script, handler=counting)


async def test_a_stream_that_fails_ends_with_its_error() -> None:
    async def script(link: Link) -> None:
        await link.say(WELCOME)
        await link.ask("1", "my/fail", stream=True)
        frames = [await link.hear() for _ in range(4)]
        assert frames[3]["type"] == "a2a.end"
        assert frames[3]["payload"]["error"]["message"] == "no more"

    await dialogue(script, handler=counting)


async def test_a_cancelled_stream_is_closed_and_a_cancelled_call_finishes_unheard() -> None:
    closed, finished, begun = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def endless(request: IncomingRequest) -> Any:
        begun.set()
        await asyncio.sleep(0.01)
        finished.set()
        return b'"late"'

    async def stream() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"{}"
                await asyncio.sleep(0)
        finally:
            closed.set()

    def handler(request: IncomingRequest) -> Any:
        return stream() if request.stream else endless(request)

    async def script(link: Link) -> None:
        await link.say(WELCOME)
        await link.ask("s", "SendStreamingMessage", stream=True)
        assert (await link.hear())["payload"]["seq"] == 1
        await link.say({"type": "a2a.cancel", "payload": {"id": "s", "reason": "CLIENT_GONE"}})
        async with asyncio.timeout(10):
            await closed.wait()
            await link.ask("u")
            await begun.wait()
            await link.say({"type": "a2a.cancel", "payload": {"id": "u", "reason": "CLIENT_GONE"}})
            await finished.wait()
        await link.say({"type": "a2a.cancel", "payload": {"id": "never", "reason": "x"}})
        await link.ask("v")
        while (heard := await link.hear())["payload"]["id"] == "s":
            assert heard["type"] == "a2a.event"
        assert heard["payload"] == {"id": "v", "result": "late"}

    await dialogue(script, handler=handler)


async def test_a_call_that_takes_too_long_is_answered_as_such() -> None:
    async def forever(request: IncomingRequest) -> bytes:
        await asyncio.Event().wait()
        return b""

    async def script(link: Link) -> None:
        await link.say(WELCOME)
        await link.ask("1", timeout_ms=1)
        assert (await link.hear())["payload"]["error"]["data"][0]["reason"] == "AGENT_TIMEOUT"

    await dialogue(script, handler=forever)


async def test_an_answer_that_the_relay_would_not_take_fails_its_call_only() -> None:
    async def large(request: IncomingRequest) -> bytes:
        return b'"' + b"x" * (70_000 if request.id == "1" else 40_000) + b'"'

    async def script(link: Link) -> None:
        await link.say(WELCOME)
        await link.ask("1")
        error = (await link.hear())["payload"]["error"]
        assert (error["code"], error["data"][0]["reason"]) == (-32603, "AGENT_FRAME_LIMIT")
        await link.ask("2")
        assert len((await link.hear())["payload"]["result"]) == 40_000

    await dialogue(script, handler=large)


async def test_relay_go_is_served_with_single_answers() -> None:
    agent = Agent(parts=[b'{"result":{"ok":true}}'], card=b'{"name":"x"}')

    async def script(link: Link) -> None:
        await link.say(OLD_WELCOME)
        await link.ask("1", "message/stream")
        assert await link.hear() == {"type": "a2a.response", "payload": {"id": "1", "result": {"ok": True}}}
        assert b'"method":"message/send"' in agent.heard[-1].body

    await dialogue(script, app=agent)


async def test_an_upstream_streams_over_the_link() -> None:
    agent = Agent(headers=EVENTS, parts=[b'data: {"result":{"n":1}}\n\n', b'data: {"result":{"n":2}}\n\n'])

    async def script(link: Link) -> None:
        await link.say(WELCOME)
        await link.ask("1", "SendStreamingMessage", stream=True)
        frames = [await link.hear() for _ in range(3)]
        assert [frame["type"] for frame in frames] == ["a2a.event", "a2a.event", "a2a.end"]

    await dialogue(script, app=agent)


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
        assert await link.hear() == {"type": "card.update", "payload": {"agent_card": {"name": "late"}}}
        assert (await link.hear())["payload"]["state"] == "ready"
        done.set()

    done = asyncio.Event()
    began = asyncio.Event()

    async def gated(event: asyncio.Event, seconds: float) -> None:
        await began.wait()
        await wait(event, seconds)

    async def started(link: Link) -> None:
        asyncio.get_running_loop().call_later(0.05, began.set)
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
