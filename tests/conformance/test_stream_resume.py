"""Streams that are read on: each event has its place, and whoever has opened a stream may go on from there."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from agents import PATIENCE_SECONDS, Attach, Call
from behaviours import message, update
from clients import Client, Event, MakeClient, envelope, error_info

pytestmark = [pytest.mark.capability("stream-resume"), pytest.mark.capability("native-link")]

STREAM = envelope("SendStreamingMessage", message("go"), id="s-1")
COUNT = 12
READ = 5


async def count(agent: Any, call: Call) -> None:
    """Stream so many events, and end."""
    for step in range(1, COUNT + 1):
        await agent.event(call, step, update(step))
    await agent.end(call)


class Halting:
    """Streams the first half, and the rest when it is told to."""

    def __init__(self) -> None:
        self.go_on = asyncio.Event()

    async def __call__(self, agent: Any, call: Call) -> None:
        for step in range(1, COUNT + 1):
            if step == READ + 1:
                await asyncio.wait_for(self.go_on.wait(), PATIENCE_SECONDS)
            await agent.event(call, step, update(step))
        await agent.end(call)


def steps(events: list[Event]) -> list[int]:
    """The places that updates tell, of JSON-RPC or HTTP+JSON."""
    found = [event.json.get("result", event.json) for event in events]
    return [result["statusUpdate"]["metadata"]["step"] for result in found]


def at(position: str) -> dict[str, str]:
    """The header that says what was read last."""
    return {"Last-Event-ID": position}


async def read_some(client: Client, agent_id: str, count: int = READ) -> tuple[list[Event], str]:
    """Open a stream, read some of it and go away; the events, and the stream's own path."""
    async with client.stream(f"{client.base(agent_id)}/message:stream", message("go")) as events:
        found = [await events.next() for _ in range(count)]
        return found, events.response.headers["a2a-relay-stream"]


async def test_each_event_has_an_id_of_its_own_in_both_bindings(native: Attach, client: Client) -> None:
    agent = await native(count)
    for path, body in (("message:stream", message("go")), ("", STREAM)):
        async with client.stream(f"{client.base(agent.id)}/{path}", body) as events:
            found = await events.all()
        ids = [event.id for event in found]
        assert len(set(ids)) == COUNT
        assert "" not in ids


async def test_a_stream_is_read_on_at_its_own_url(native: Attach, client: Client) -> None:
    halting = Halting()
    agent = await native(halting)
    first, path = await read_some(client, agent.id)
    halting.go_on.set()
    async with client.stream(path, verb="GET", headers=at(first[-1].id)) as events:
        assert events.response.headers["content-type"].startswith("text/event-stream")
        rest = await events.all()
    assert steps(first + rest) == list(range(1, COUNT + 1))
    assert len({event.id for event in first + rest}) == COUNT


async def test_without_a_place_its_url_gives_all_that_is_there(native: Attach, client: Client) -> None:
    agent = await native(count)
    first, path = await read_some(client, agent.id)
    async with client.stream(path, verb="GET") as events:
        again = await events.all()
    assert steps(again) == list(range(1, COUNT + 1))
    assert [event.id for event in again[:READ]] == [event.id for event in first]


@pytest.mark.parametrize("path", ["message:stream", ""], ids=["HTTP+JSON", "JSON-RPC"])
async def test_a_post_with_a_place_reads_on_and_never_reaches_the_agent(
    native: Attach, client: Client, path: str
) -> None:
    """A client that sends its request again, as some libraries do, must not begin the work twice."""
    agent = await native(count)
    body: Any = message("go") if path else STREAM
    async with client.stream(f"{client.base(agent.id)}/{path}", body) as events:
        first = [await events.next() for _ in range(READ)]
    async with client.stream(f"{client.base(agent.id)}/{path}", body, headers=at(first[-1].id)) as events:
        rest = await events.all()
    assert steps(first + rest) == list(range(1, COUNT + 1))
    assert len(agent.calls) == 1
    refused = await client.post(f"{client.base(agent.id)}/{path}", body, at("nonsense.1-1"))
    assert refused.status_code == 410
    assert error_info(refused)["reason"] == "STREAM_GONE"
    assert len(agent.calls) == 1, "a stream that is gone is not begun anew either"


async def test_what_json_rpc_began_is_read_on_under_its_id(native: Attach, client: Client) -> None:
    agent = await native(count)
    async with client.stream(f"{client.base(agent.id)}/", STREAM) as events:
        first = [await events.next() for _ in range(READ)]
        path = events.response.headers["a2a-relay-stream"]
    async with client.stream(path, verb="GET", headers=at(first[-1].id)) as events:
        rest = await events.all()
    assert {event.json["id"] for event in rest} == {"s-1"}
    assert steps(rest) == list(range(READ + 1, COUNT + 1))


async def test_another_principal_learns_nothing_of_a_stream(
    native: Attach, client: Client, make_client: MakeClient
) -> None:
    """What is foreign looks like what has never been, be it another user of the tenant or another tenant."""
    agent = await native(count)
    first, path = await read_some(client, agent.id)
    other = make_client()
    unknown = path[:-4] + ("AAAA" if not path.endswith("AAAA") else "BBBB")
    answers = [
        await other.get(path, at(first[-1].id)),
        await other.get(path),
        await other.get(unknown),
        await client.get(unknown),
        await other.post(f"{client.base(agent.id)}/message:stream", message("go"), at(first[-1].id)),
    ]
    assert [answer.status_code for answer in answers] == [410] * len(answers)
    assert {error_info(answer)["reason"] for answer in answers} == {"STREAM_GONE"}
    stranger = make_client(of="a-tenant-of-somebody-else")
    assert (await stranger.get(path)).status_code in (404, 410)
    assert len(agent.calls) == 1


async def test_the_latest_reader_wins(native: Attach, client: Client) -> None:
    halting = Halting()
    agent = await native(halting)
    async with client.stream(f"{client.base(agent.id)}/message:stream", message("go")) as earlier:
        first = [await earlier.next() for _ in range(READ)]
        path = earlier.response.headers["a2a-relay-stream"]
        async with client.stream(path, verb="GET", headers=at(first[1].id)) as later:
            last = (await earlier.all())[-1]
            halting.go_on.set()
            rest = await later.all()
    assert last.name == "error"
    assert last.json["error"]["details"][0]["reason"] == "STREAM_RESUMED"
    assert steps(rest) == list(range(3, COUNT + 1))


async def test_an_agent_goes_on_over_its_next_link(native: Attach, client: Client) -> None:
    """Its link is cut without a word; the reader keeps its connection, and gets every event once."""
    calls: list[Call] = []

    async def begin(agent: Any, call: Call) -> None:
        calls.append(call)
        for step in range(1, READ + 1):
            await agent.event(call, step, update(step))

    agent = await native(begin, id="phoenix", features=["resume"])
    assert agent.welcome["resume_seconds"] > 0
    async with client.stream(f"{client.base(agent.id)}/message:stream", message("go")) as events:
        found = [await events.next() for _ in range(READ)]
        agent.link.transport.abort()
        await agent.until_closed()
        claimed = {"id": calls[0].id, "first": 1, "last": READ + 2}
        resume = {"session": agent.welcome["session"], "streams": [claimed], "calls": []}
        again = await native(begin, id="phoenix", features=["resume"], resume=resume)
        (told,) = again.welcome["streams"]
        assert told["id"] == calls[0].id
        assert 0 <= told["through"] <= READ
        for step in range(told["through"] + 1, COUNT + 1):
            await again.event(calls[0], step, update(step))
        await again.end(calls[0])
        found += await events.all()
    assert steps(found) == list(range(1, COUNT + 1))
    assert len(calls) == 1, "it was not asked a second time"


async def test_what_an_agent_cannot_go_on_with_ends(native: Attach, client: Client) -> None:
    """It comes back with empty hands: readers are told at once, and what it claims of others is gone."""

    async def begin(agent: Any, call: Call) -> None:
        await agent.event(call, 1, update(1))

    agent = await native(begin, id="forgetful", features=["resume"])
    async with client.stream(f"{client.base(agent.id)}/message:stream", message("go")) as events:
        await events.next()
        agent.link.transport.abort()
        await agent.until_closed()
        claimed = {"id": "no-such-session-1.1", "first": 1, "last": 1}
        resume = {"session": agent.welcome["session"], "streams": [claimed], "calls": []}
        again = await native(begin, id="forgetful", features=["resume"], resume=resume)
        last = await events.next()
    assert again.welcome["streams"] == [{"id": "no-such-session-1.1", "gone": True}]
    assert last.name == "error"
    assert last.json["error"]["details"][0]["reason"] == "AGENT_DISCONNECTED"
