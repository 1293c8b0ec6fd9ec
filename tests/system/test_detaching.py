"""Leaving is not cancelling: what becomes of a task on an SDK agent whose client goes away, or cancels it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from programs import Relay, running_relay
from readers import Reader, message, reading
from restarting import AGENT, Reading, counting_behind

GRACE_SECONDS = 1.0
PATIENCE_SECONDS = 30.0

pytestmark = pytest.mark.timeout(90)


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relay]:
    """A relay that lets agents go on for a second when nobody reads, with the counting agent behind a connector."""
    directory = tmp_path_factory.mktemp("relay")
    words = ["--detach-grace", f"{GRACE_SECONDS}s"]
    with running_relay(directory, *words) as found, counting_behind(directory, found):
        yield found


async def document(relay: Relay, path: str, body: bytes | None = None) -> Any:
    """The JSON of one answer of the agent."""
    async with reading(relay.base(AGENT) + path, relay.token(), body) as reader:
        assert reader.status == 200, await reader.body()
        return json.loads(await reader.body())


async def task_of(reader: Reader) -> str:
    """The id of the task that a stream begins with, once it is at work."""
    id = ""
    async for event in reader.events():
        if event.name == "message":
            id = id or event.json["task"]["id"]
            if "artifactUpdate" in event.data:
                return id
    raise AssertionError("it has ended")


async def ended(relay: Relay, id: str) -> Any:
    """The task when it is neither submitted nor working."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        task = await document(relay, f"tasks/{id}")
        if task["status"]["state"] not in ("TASK_STATE_SUBMITTED", "TASK_STATE_WORKING"):
            return task
        await asyncio.sleep(0.1)
    raise AssertionError(task)


async def until_stopped(relay: Relay) -> None:
    """Wait until nothing is in flight: the stream that nobody reads has been stopped."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        async with reading(f"{relay.url}/health", relay.token()) as reader:
            if json.loads(await reader.body())["pending_requests"] == 0:
                return
        await asyncio.sleep(0.05)
    raise AssertionError("the agent goes on")


def numbers_of(task: Any) -> list[int]:
    return [int(part["text"]) for part in task["artifacts"][0]["parts"]]


async def test_a_client_that_goes_away_does_not_cancel_its_task(relay: Relay) -> None:
    """The task completes, though the stream was stopped behind the grace, long before."""
    async with reading(f"{relay.base(AGENT)}message:stream", relay.token(), message("count 60 0.05")) as reader:
        id = await task_of(reader)
    await until_stopped(relay)
    assert (await document(relay, f"tasks/{id}"))["status"]["state"] == "TASK_STATE_WORKING"
    task = await ended(relay, id)
    assert task["status"]["state"] == "TASK_STATE_COMPLETED"
    assert numbers_of(task) == list(range(60))


async def test_a_client_that_comes_back_in_time_reads_on(relay: Relay) -> None:
    """Within the grace the stream is still there; what was streamed meanwhile too."""
    client = Reading(relay.url, relay.token())
    going = asyncio.create_task(client.read("count 60 0.02"))
    await client.until(20)
    going.cancel()
    await asyncio.gather(going, return_exceptions=True)
    await client.read("count 60 0.02")
    assert client.numbers == list(range(60))
    assert client.connections == 2


async def test_a_client_that_comes_back_too_late_subscribes_to_its_task(relay: Relay) -> None:
    """Its stream has ended with `CLIENT_GONE`; the task is at work, and `SubscribeToTask` streams the rest of it."""
    async with reading(f"{relay.base(AGENT)}message:stream", relay.token(), message("count 60 0.05")) as reader:
        id = await task_of(reader)
        path, position = reader.headers["a2a-relay-stream"], reader.last_id
    await until_stopped(relay)
    async with reading(relay.url + path, relay.token(), Last_Event_ID=position) as late:
        last = [event async for event in late.events() if event.name != "comment"][-1]
    assert (last.name, last.reason) == ("error", "CLIENT_GONE")
    async with reading(f"{relay.base(AGENT)}tasks/{id}:subscribe", relay.token()) as subscribed:
        events = [event async for event in subscribed.events() if event.name != "comment"]
    assert events[0].json["task"]["status"]["state"] == "TASK_STATE_WORKING"
    assert events[-1].json["statusUpdate"]["status"]["state"] == "TASK_STATE_COMPLETED"
    assert len(events) > 2


async def test_cancelling_a_task_cancels_it(relay: Relay) -> None:
    """Its stream says so, and ends well."""
    async with reading(f"{relay.base(AGENT)}message:stream", relay.token(), message("count 600 0.05")) as reader:
        id = await task_of(reader)
        cancelled = await document(relay, f"tasks/{id}:cancel", b"{}")
        rest = [event async for event in reader.events() if event.name != "comment"]
    assert cancelled["status"]["state"] == "TASK_STATE_CANCELED"
    assert rest[-1].json["statusUpdate"]["status"]["state"] == "TASK_STATE_CANCELED"
    assert (await ended(relay, id))["status"]["state"] == "TASK_STATE_CANCELED"
