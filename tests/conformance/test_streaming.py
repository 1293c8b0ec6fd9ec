"""Streams: in order, flushed, framed for their binding, ended by the agent alone."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from agents import Agent, Attach, Call, NativeAgent
from behaviours import UPDATES, answering, echo, failing, message, silent, streaming, task, update
from clients import Client, envelope, error_info, error_of, result_of

pytestmark = [pytest.mark.capability("streaming"), pytest.mark.capability("native-link")]

DETACHED_SECONDS = 60.0
"""For how long a relay may let agents go on with streams that nobody reads, at the most."""
STREAM = envelope("SendStreamingMessage", message("go"), id="s-1")


def steps(results: list[Any]) -> list[int]:
    """The places that status updates tell."""
    return [result["statusUpdate"]["metadata"]["step"] for result in results]


async def one_then_silence(agent: Any, call: Call) -> None:
    """Stream one event and leave the stream open."""
    await agent.event(call, 1, update(1))


async def test_json_rpc_streams_responses_with_the_clients_id(native: Attach, client: Client) -> None:
    agent = await native()
    async with client.stream(f"{client.base(agent.id)}/", STREAM) as events:
        assert events.response.status_code == 200
        assert events.response.headers["content-type"].startswith("text/event-stream")
        got = [event.json for event in await events.all()]
    assert {(answer["jsonrpc"], answer["id"]) for answer in got} == {("2.0", "s-1")}
    assert steps([answer["result"] for answer in got]) == list(range(1, UPDATES + 2))
    assert got[-1]["result"]["statusUpdate"]["status"]["state"] == "TASK_STATE_COMPLETED"


@pytest.mark.parametrize(
    ("path", "methods"),
    [
        ("message:stream", ("SendStreamingMessage",)),
        ("message/stream", ("SendStreamingMessage", "message/stream")),  # relay-go's path says nothing of a version
    ],
)
async def test_rest_streams_bare_events(native: Attach, client: Client, path: str, methods: tuple[str, ...]) -> None:
    agent = await native()
    async with client.stream(f"{client.base(agent.id)}/{path}", message("go")) as events:
        assert events.response.headers["content-type"].startswith("text/event-stream")
        got = [event.json for event in await events.all()]
    assert steps(got) == list(range(1, UPDATES + 2))
    call = await agent.next_call()
    assert (call.params, call.stream) == (message("go"), True)
    assert call.method in methods


async def test_a_stream_is_neither_cached_nor_buffered_on_its_way(native: Attach, client: Client) -> None:
    agent = await native()
    async with client.stream(f"{client.base(agent.id)}/", STREAM) as events:
        assert events.response.headers["cache-control"] in ("no-cache", "no-store", "no-cache, no-store")
        assert events.response.headers["x-accel-buffering"] == "no"
        await events.all()


async def test_each_event_is_there_before_the_next_is_sent(native: Attach, client: Client) -> None:
    seen = asyncio.Event()

    async def wait_between(agent: Any, call: Call) -> None:
        for step in range(1, 4):
            await agent.event(call, step, update(step))
            await seen.wait()
            seen.clear()
        await agent.end(call)

    agent = await native(wait_between)
    async with client.stream(f"{client.base(agent.id)}/", STREAM) as events:
        for step in range(1, 4):
            assert steps([(await events.next()).json["result"]]) == [step]
            seen.set()
        assert await events.all() == []


async def test_a_thousand_events_arrive_in_order(native: Attach, client: Client) -> None:
    agent = await native(streaming(*(json.dumps(update(step)) for step in range(1000))))
    async with client.stream(f"{client.base(agent.id)}/message:stream", message("go")) as events:
        assert steps([event.json for event in await events.all()]) == list(range(1000))


async def test_streams_of_one_agent_do_not_mix(native: Attach, client: Client) -> None:
    async def echo_steps(agent: Any, call: Call) -> None:
        for step in range(1, 21):
            await agent.event(call, step, update(step, of=call.text))
            await asyncio.sleep(0)
        await agent.end(call)

    async def read(name: str) -> set[str]:
        async with client.stream(f"{client.base(agent.id)}/message:stream", message(name)) as events:
            got = [event.json for event in await events.all()]
        assert steps(got) == list(range(1, 21))
        return {event["statusUpdate"]["metadata"]["of"] for event in got}

    agent = await native(echo_steps)
    names = [f"stream-{n}" for n in range(8)]
    assert await asyncio.gather(*map(read, names)) == [{name} for name in names]


async def test_an_event_is_one_data_line_however_the_agent_wrote_it(native: Attach, client: Client) -> None:
    pretty = json.dumps(update(1, note="line\u2028separator \u0085 end"), indent=2, ensure_ascii=False)
    agent = await native(streaming(pretty, pretty.replace("\n", "\r\n")))
    async with client.stream(f"{client.base(agent.id)}/message:stream", message("go")) as events:
        got = await events.all()
    assert [event.data_lines for event in got] == [1, 1]
    assert [event.json for event in got] == [json.loads(pretty)] * 2


async def test_only_the_agent_ends_a_stream_and_no_state_does(native: Attach, client: Client) -> None:
    states = ["COMPLETED", "INPUT_REQUIRED", "FAILED", "WORKING"]
    agent = await native(streaming(*(json.dumps(update(n, f"TASK_STATE_{s}")) for n, s in enumerate(states))))
    async with client.stream(f"{client.base(agent.id)}/", STREAM) as events:
        assert len(await events.all()) == len(states)


async def test_an_error_before_the_first_event_is_plain_json(native: Attach, client: Client) -> None:
    async def refuse(agent: Any, call: Call) -> None:
        await agent.end(call, error={"code": -32004, "message": "not streaming today"})

    for agent in (await native(refuse), await native(failing(-32004, "not streaming today"))):
        response = await client.post(f"{client.base(agent.id)}/", STREAM)
        assert response.headers["content-type"].startswith("application/json")
        assert response.json()["id"] == "s-1"
        assert error_of(response)["code"] == -32004
        rest = await client.post(f"{client.base(agent.id)}/message:stream", message("go"))
        assert rest.status_code == 400
        assert error_info(rest)["reason"] == "UNSUPPORTED_OPERATION"


async def test_an_error_in_the_middle_is_an_error_event_and_then_the_end(native: Attach, client: Client) -> None:
    async def stumble(agent: Any, call: Call) -> None:
        await agent.event(call, 1, update(1))
        await asyncio.sleep(0.2)
        await agent.end(call, error={"code": -32042, "message": "stumbled", "data": {"n": 1}})

    agent = await native(stumble)
    async with client.stream(f"{client.base(agent.id)}/", STREAM) as events:
        first, last = await events.all()
    assert steps([first.json["result"]]) == [1]
    assert (last.name, last.json["id"]) == ("error", "s-1")
    assert last.json["error"] == {"code": -32042, "message": "stumbled", "data": {"n": 1}}
    async with client.stream(f"{client.base(agent.id)}/message:stream", message("go")) as events:
        first, last = await events.all()
    assert last.name == "error"
    assert last.json["error"]["message"] == "stumbled"


async def test_an_agent_that_goes_in_the_middle_is_an_error_and_not_an_end(native: Attach, client: Client) -> None:
    async def leave(agent: Any, call: Call) -> None:
        await agent.event(call, 1, update(1))
        await asyncio.sleep(0.2)
        agent.link.transport.abort()

    agent = await native(leave)
    async with client.stream(f"{client.base(agent.id)}/", STREAM) as events:
        first, last = await events.all()
    assert (first.name, last.name) == ("message", "error")
    assert last.json["error"]["data"][0]["reason"] == "AGENT_DISCONNECTED"


@pytest.mark.timeout(120)
async def test_when_clients_go_their_agents_are_told_in_the_end(native: Attach, client: Client) -> None:
    """A client may come back for a while; how long is the relay's to say, and it is not for ever."""

    async def endless(agent: Any, call: Call) -> None:
        for step in range(1, 10_000):
            await agent.event(call, step, update(step))
            await asyncio.sleep(0.5)

    busy, silent = await native(endless), await native(one_then_silence)

    async def look_and_leave(agent: Any) -> None:
        async with client.stream(f"{client.base(agent.id)}/", STREAM) as events:
            await events.next()

    await asyncio.gather(look_and_leave(busy), *(look_and_leave(silent) for _ in range(40)))
    cancel = await busy.next_frame("a2a.cancel", within=DETACHED_SECONDS)
    assert cancel["payload"]["id"] == (await busy.next_call()).id
    assert cancel["payload"]["reason"]
    told = {(await silent.next_frame("a2a.cancel"))["payload"]["id"] for _ in range(40)}
    assert told == {call.id for call in silent.calls}
    busy.behaviour = echo
    result_of(await client.rpc(busy.id, "SendMessage", message("still here")))


async def test_a_slow_reader_delays_nobody_else(native: Attach, client: Client) -> None:
    async def flood(agent: Any, call: Call) -> None:
        if not call.stream:
            await echo(agent, call)
            return
        for seq in range(1, 2001):
            await agent.event(call, seq, update(seq, filler="x" * 4096))
        await agent.end(call)

    agent = await native(flood)
    async with client.stream(f"{client.base(agent.id)}/", STREAM) as lazy:
        await lazy.next()
        for n in range(20):
            result_of(await client.rpc(agent.id, "SendMessage", message(f"n{n}")))
        other = await native()
        async with client.stream(f"{client.base(other.id)}/", STREAM) as events:
            assert len(await events.all()) == UPDATES + 1


@pytest.mark.parametrize(("kind", "method"), [(Agent, "message/stream"), (NativeAgent, "SendStreamingMessage")])
async def test_an_agent_that_answers_once_makes_a_stream_of_one_event(
    attach: Attach, client: Client, kind: type[Agent], method: str
) -> None:
    result = {"message": {"parts": [{"text": "all at once"}]}}
    agent = await attach(answering(result), kind=kind)
    async with client.stream(f"{client.base(agent.id)}/", STREAM) as events:
        (only,) = await events.all()
    assert only.json["result"] == result
    assert (await agent.next_call()).method == method


@pytest.mark.parametrize("verb", ["RPC", "GET", "POST"])
async def test_subscribing_to_a_task_streams_it(native: Attach, client: Client, verb: str) -> None:
    async def subscribe(agent: Any, call: Call) -> None:
        await agent.event(call, 1, {"task": task("t-9", "TASK_STATE_WORKING")})
        await agent.event(call, 2, update(2))
        await agent.end(call)

    agent = await native(subscribe)
    path, body = f"{client.base(agent.id)}/tasks/t-9:subscribe", ""
    if verb == "RPC":
        path, body = f"{client.base(agent.id)}/", envelope("SubscribeToTask", {"id": "t-9"})
    async with client.stream(path, body, verb="POST" if verb == "RPC" else verb) as events:
        got = [event.json for event in await events.all()]
    first = got[0]["result"] if verb == "RPC" else got[0]
    assert first["task"]["id"] == "t-9"
    assert len(got) == 2
    call = await agent.next_call()
    assert (call.method, call.params["id"], call.stream) == ("SubscribeToTask", "t-9", True)


@pytest.mark.capability("sse-heartbeat")
async def test_a_silent_stream_has_a_comment_within_five_seconds(native: Attach, client: Client) -> None:
    agent = await native(one_then_silence)
    async with client.stream(f"{client.base(agent.id)}/", STREAM) as events:
        await events.next()
        for _ in range(2):
            await events.next_item(within=5)


@pytest.mark.capability("sse-heartbeat")
async def test_a_stream_whose_agent_says_nothing_begins_within_five_seconds(native: Attach, client: Client) -> None:
    agent = await native(silent)
    async with asyncio.timeout(5), client.stream(f"{client.base(agent.id)}/", STREAM) as events:
        assert events.response.headers["content-type"].startswith("text/event-stream")
        await events.next_item(within=5)
