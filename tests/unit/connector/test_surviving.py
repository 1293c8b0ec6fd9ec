"""Credit, and calls that outlive their link, told as dialogue with a relay of a few lines."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest
from small_agents import EVENTS
from small_relay import NEW_WELCOME, OLD_WELCOME, WELCOME, Link, dialogue, never, relay

from a2a_relay.connector import Connector, IncomingRequest
from a2a_relay.connector import link as links

WINDOW = {"events": 4, "bytes": 1000}


async def ask_stream(link: Link, id: str = "s", **more: Any) -> None:
    await link.ask(id, "SendStreamingMessage", stream=True, window=WINDOW, **more)


async def seqs(link: Link, count: int) -> list[int]:
    """The numbers of the next events, each of which carries its own number."""
    found = [(await link.hear())["payload"] for _ in range(count)]
    assert all(event["result"] == {"n": event["seq"]} for event in found)
    return [event["seq"] for event in found]


async def nothing_comes(link: Link) -> None:
    """Whatever was to come has come: a ping overtakes nothing that was sent before it."""
    for _ in range(3):
        await link.say({"type": "ping"})
        assert await link.hear() == {"type": "pong"}


class Counter:
    """Streams that count to a number, and note how far they got, and that they were stopped."""

    def __init__(self, last: int) -> None:
        self.last = last
        self.yielded = 0
        self.stopped = asyncio.Event()
        self.gates: dict[int, asyncio.Event] = {}

    async def __call__(self, request: IncomingRequest) -> AsyncIterator[dict[str, int]]:
        try:
            for number in range(1, self.last + 1):
                if number in self.gates:
                    await self.gates[number].wait()
                self.yielded = number
                yield {"n": number}
        except BaseException:
            self.stopped.set()
            raise


async def test_a_stream_waits_for_credit_and_its_agent_is_not_read_meanwhile() -> None:
    agent = Counter(10)

    async def script(link: Link) -> None:
        await link.say(NEW_WELCOME)
        await ask_stream(link)
        assert await seqs(link, 4) == [1, 2, 3, 4]
        await nothing_comes(link)
        assert agent.yielded == 5
        await link.credit("s", 2)
        assert await seqs(link, 2) == [5, 6]
        await nothing_comes(link)
        assert agent.yielded == 7
        await link.credit("s", 6)
        assert await seqs(link, 4) == [7, 8, 9, 10]
        assert await link.hear() == {"type": "a2a.end", "payload": {"id": "s"}}

    await dialogue(script, handler=agent)


async def test_an_upstream_app_waits_too() -> None:
    sent = 0

    async def app(scope: Any, receive: Any, send: Any) -> None:
        nonlocal sent
        if scope["type"] != "http" or "/.well-known/" in scope["path"]:
            raise RuntimeError("neither lifespan nor card")
        await send({"type": "http.response.start", "status": 200, "headers": list(EVENTS)})
        for number in range(1, 1001):
            body = b'data: {"result":{"n":%d}}\n\n' % number
            await send({"type": "http.response.body", "body": body, "more_body": True})
            sent = number
        await send({"type": "http.response.body", "body": b""})

    async def script(link: Link) -> None:
        await link.say(NEW_WELCOME)
        await ask_stream(link)
        assert await seqs(link, 4) == [1, 2, 3, 4]
        await nothing_comes(link)
        assert sent < 40
        await link.cancel("s")

    await dialogue(script, app=app)


@pytest.mark.parametrize("welcome", [WELCOME, OLD_WELCOME, {**WELCOME, "features": ["chunks"]}])
async def test_a_relay_that_gives_no_credit_is_not_waited_for(welcome: Any) -> None:
    async def script(link: Link) -> None:
        await link.say(welcome)
        await ask_stream(link)
        assert await seqs(link, 20) == list(range(1, 21))
        assert (await link.hear())["type"] == "a2a.end"

    await dialogue(script, handler=Counter(20))


async def test_a_cancel_ends_a_stream_that_waits_for_credit() -> None:
    agent = Counter(10)

    async def script(link: Link) -> None:
        await link.say(NEW_WELCOME)
        await ask_stream(link)
        await seqs(link, 4)
        await link.cancel("s")
        async with asyncio.timeout(5):
            await agent.stopped.wait()
        await nothing_comes(link)

    await dialogue(script, handler=agent)


async def test_a_broken_frame_about_a_stream_ends_that_stream_alone() -> None:
    agent = Counter(10)

    async def script(link: Link) -> None:
        await link.say(NEW_WELCOME)
        await ask_stream(link)
        await seqs(link, 4)
        await link.connection.send('{"type":"a2a.credit","payload":{"id":"s","through":]}}')
        assert (await link.hear())["payload"]["id"] == "s"
        async with asyncio.timeout(5):
            await agent.stopped.wait()
        await nothing_comes(link)

    await dialogue(script, handler=agent)


async def test_stopping_waits_for_nobody_who_waits_for_credit() -> None:
    agent, waiting, left = Counter(10), asyncio.Event(), asyncio.Event()

    async def script(link: Link) -> None:
        await link.say(NEW_WELCOME)
        await ask_stream(link)
        await seqs(link, 4)
        waiting.set()
        await link.connection.wait_closed()
        assert link.connection.close_code == 1000
        left.set()

    async with asyncio.timeout(10), relay(script) as url:
        async with Connector(url, "t", wait=never) as connector:
            await connector.start(handler=agent)
            await waiting.wait()
        assert agent.stopped.is_set()
        await left.wait()


async def test_stopping_does_not_wait_long_for_a_relay_that_reads_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(links, "_CLOSE_SECONDS", 0.1)
    stuck = asyncio.Event()
    gone = asyncio.Event()

    async def endless(request: IncomingRequest) -> AsyncIterator[str]:
        while True:
            asyncio.get_running_loop().call_later(0.2, stuck.set)
            yield os.urandom(30_000).hex()  # nothing that a link makes small

    async def script(link: Link) -> None:
        await link.say({**WELCOME, "max_frame": 1 << 20})
        await link.ask("s", "SendStreamingMessage", stream=True)
        link.connection.transport.pause_reading()
        await gone.wait()
        link.cut()

    async with asyncio.timeout(10), relay(script) as url:
        async with Connector(url, "t", wait=never) as connector:
            await connector.start(handler=endless)
            await stuck.wait()
        gone.set()


async def test_an_answer_in_the_last_moment_is_an_answer() -> None:
    async def stubborn(request: IncomingRequest) -> bytes:
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        return b'"at last"'

    async def script(link: Link) -> None:
        await link.say(NEW_WELCOME)
        await link.ask("u", timeout_ms=1)
        assert (await link.hear())["payload"] == {"id": "u", "result": "at last"}

    await dialogue(script, handler=stubborn)


async def test_a_stream_goes_on_over_the_next_link_without_a_gap_and_without_a_double() -> None:
    agent = Counter(8)
    agent.gates[4] = asyncio.Event()

    async def first(link: Link) -> None:
        assert "resume" not in link.auth
        await link.welcome("s-1")
        await ask_stream(link)
        await seqs(link, 3)
        await link.credit("s", 1)
        await nothing_comes(link)
        link.cut()
        agent.gates[4].set()

    async def second(link: Link) -> None:
        claimed = link.auth["resume"]
        assert (claimed["session"], claimed["calls"]) == ("s-1", [])
        assert (claimed["streams"][0]["id"], claimed["streams"][0]["first"]) == ("s", 2)
        await link.welcome("s-2", streams=[{"id": "s", "through": 2}])
        assert await seqs(link, 4) == [3, 4, 5, 6]
        await nothing_comes(link)
        await link.credit("s", 6)
        assert await seqs(link, 2) == [7, 8]
        assert await link.hear() == {"type": "a2a.end", "payload": {"id": "s"}}
        link.cut()

    async def third(link: Link) -> None:
        assert link.auth["resume"] == {"session": "s-2", "streams": [{"id": "s", "first": 7, "last": 8}], "calls": []}
        link.cut()

    async def fourth(link: Link) -> None:
        assert link.auth["resume"]["session"] == "s-2", "no session came of the third link"
        await link.welcome("s-4", streams=[{"id": "s", "through": 8}])
        assert await link.hear() == {"type": "a2a.end", "payload": {"id": "s"}}
        await link.credit("s", 9)
        await nothing_comes(link)
        link.cut()

    async def fifth(link: Link) -> None:
        assert link.auth["resume"] == {"session": "s-4", "streams": [], "calls": []}
        await link.welcome("s-5")
        await nothing_comes(link)

    await dialogue(first, second, third, fourth, fifth, handler=agent)


async def test_streams_that_are_gone_are_stopped() -> None:
    agent = Counter(10)

    async def first(link: Link) -> None:
        await link.welcome("s-1")
        await ask_stream(link)
        await seqs(link, 4)
        link.cut()

    async def second(link: Link) -> None:
        assert not agent.stopped.is_set()
        await link.welcome("s-2", streams=[{"id": "s", "gone": True}])
        async with asyncio.timeout(5):
            await agent.stopped.wait()
        await nothing_comes(link)

    await dialogue(first, second, handler=agent)


async def test_the_answer_that_a_cut_ate_is_sent_again_when_it_is_asked_for() -> None:
    async def first(link: Link) -> None:
        await link.welcome("s-1")
        for id in ("u", "v"):
            await link.ask(id, params={"id": id})
            await link.hear()
        link.cut()

    async def second(link: Link) -> None:
        assert link.auth["resume"] == {"session": "s-1", "streams": [], "calls": ["v", "u"]}
        await link.welcome("s-2", calls=["u"])
        assert (await link.hear())["payload"] == {"id": "u", "result": {"id": "u"}}
        await nothing_comes(link)
        link.cut()

    async def third(link: Link) -> None:
        assert link.auth["resume"]["calls"] == ["u"]
        await link.welcome("s-3")
        await nothing_comes(link)

    await dialogue(first, second, third)


async def test_a_call_that_is_running_when_its_link_is_cut_is_answered_over_the_next() -> None:
    gate, finished = asyncio.Event(), asyncio.Event()

    async def slow(request: IncomingRequest) -> bytes:
        await gate.wait()
        if request.id == "c":
            finished.set()
        return b'"late"'

    async def first(link: Link) -> None:
        await link.welcome("s-1")
        for id in ("a", "b", "c"):
            await link.ask(id)
        await nothing_comes(link)
        link.cut()

    async def second(link: Link) -> None:
        assert link.auth["resume"]["calls"] == ["a", "b", "c"]
        await link.welcome("s-2", calls=["a", "b"])
        await nothing_comes(link)
        gate.set()
        answers = [(await link.hear())["payload"] for _ in range(2)]
        assert answers == [{"id": id, "result": "late"} for id in ("a", "b")]
        await finished.wait()
        await nothing_comes(link)

    await dialogue(first, second, handler=slow)


async def test_an_answer_given_while_there_is_no_link_is_kept() -> None:
    answered = asyncio.Event()
    cut = asyncio.Event()

    async def slow(request: IncomingRequest) -> bytes:
        await cut.wait()
        answered.set()
        return b'"in between"'

    async def sleep(seconds: float) -> None:
        cut.set()
        await answered.wait()

    async def first(link: Link) -> None:
        await link.welcome("s-1")
        await link.ask("u")
        await nothing_comes(link)
        link.cut()

    async def second(link: Link) -> None:
        assert link.auth["resume"]["calls"] == ["u"]
        await link.welcome("s-2", calls=["u"])
        assert (await link.hear())["payload"] == {"id": "u", "result": "in between"}

    await dialogue(first, second, handler=slow, sleep=sleep)


async def test_a_stream_refused_as_a_whole_is_refused_again() -> None:
    async def refuse(request: IncomingRequest) -> bytes:
        raise RuntimeError

    async def first(link: Link) -> None:
        await link.welcome("s-1")
        await ask_stream(link)
        assert (await link.hear())["type"] == "a2a.response"
        link.cut()

    async def second(link: Link) -> None:
        assert link.auth["resume"]["streams"] == [{"id": "s", "first": 1, "last": 0}]
        await link.welcome("s-2", streams=[{"id": "s", "through": 0}])
        assert (await link.hear())["payload"]["error"]["code"] == -32603

    await dialogue(first, second, handler=refuse)


async def test_what_is_not_claimed_back_in_time_is_stopped() -> None:
    agent = Counter(10)

    async def sleep(seconds: float) -> None:
        await agent.stopped.wait()

    async def first(link: Link) -> None:
        await link.welcome("s-1", resume_seconds=1)
        await ask_stream(link)
        await seqs(link, 4)
        link.cut()

    async def second(link: Link) -> None:
        assert "resume" not in link.auth
        await link.welcome("s-2")
        await nothing_comes(link)

    await dialogue(first, second, handler=agent, sleep=sleep)


async def test_what_the_relay_still_awaits_and_nobody_holds_has_failed() -> None:
    async def script(link: Link) -> None:
        await link.welcome("s-2", calls=["u"], streams=[{"id": "s", "through": 3}])
        failed = [(await link.hear())["payload"] for _ in range(2)]
        assert sorted(found["id"] for found in failed) == ["s", "u"]
        assert {found["error"]["data"][0]["reason"] for found in failed} == {"AGENT_DISCONNECTED"}

    await dialogue(script)


@pytest.mark.parametrize("welcome", [WELCOME, OLD_WELCOME, {**NEW_WELCOME, "resume_seconds": 0}])
async def test_without_a_relay_that_waits_a_stream_ends_with_its_link(welcome: Any) -> None:
    agent = Counter(10)
    agent.gates[3] = asyncio.Event()

    async def first(link: Link) -> None:
        await link.say(welcome)
        await ask_stream(link)
        await seqs(link, 2)
        link.cut()

    async def second(link: Link) -> None:
        assert "resume" not in link.auth
        await link.say(welcome)
        async with asyncio.timeout(5):
            await agent.stopped.wait()

    await dialogue(first, second, handler=agent)
