"""Calls over one link, told as dialogue with a relay of a few lines."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

from small_agents import EVENTS, Agent
from small_relay import OLD_WELCOME, WELCOME, Link, dialogue

from a2a_relay.connector import AgentError, IncomingRequest


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
