"""The agent's side dies or is cut off in mid-stream: a cut loses nothing, a death is told and never a clean end."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from cutting_proxy import CuttingProxy
from programs import Program, Relay, running_connector, running_relay
from readers import message, reading
from restarting import AGENT, Reading, counting_agent, first_words, outcome_of, sending

COUNT = 200
TEXT = f"count {COUNT} 0.02"
GRACE_SECONDS = 3.0

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relay]:
    """It waits for agents that were cut off for three seconds only."""
    with running_relay(tmp_path_factory.mktemp("relay"), "--resume-grace", f"{GRACE_SECONDS}s") as found:
        yield found


async def told(client: Reading) -> None:
    """Read until the stream has ended with an error."""
    await client.read(TEXT, is_final=lambda reason: True)


def kill(program: Program) -> None:
    program.process.send_signal(signal.SIGKILL)
    program.process.wait()


def assert_broke_off(client: Reading, reason: str) -> None:
    """What has come is in order, and the end is an error that says why."""
    assert client.refused == [reason]
    assert client.numbers == list(range(len(client.numbers)))
    assert 20 <= len(client.numbers) < COUNT


async def test_streams_of_a_killed_connector_end_when_the_next_one_attaches(relay: Relay, tmp_path: Path) -> None:
    """A new connector knows nothing of its predecessor's streams: nobody waits for what will not come."""
    client = Reading(relay.url, relay.token())
    with (
        counting_agent(tmp_path) as (upstream, _),
        running_connector(tmp_path, relay, AGENT, upstream) as connector,
    ):
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(told(client))
            await client.until(20)
            kill(connector)
            began = time.monotonic()
            with running_connector(tmp_path, relay, AGENT, upstream):
                while not client.refused:
                    await asyncio.sleep(0.01)
                print(f"told {time.monotonic() - began:.2f} s after the kill")
                assert_broke_off(client, "AGENT_DISCONNECTED")
                again = Reading(relay.url, relay.token())
                await again.read("count 10 0.001")
                assert again.numbers == list(range(10))


async def test_streams_of_a_killed_connector_end_when_the_grace_is_over(relay: Relay, tmp_path: Path) -> None:
    """Until then they are open, and filled with comments."""
    client = Reading(relay.url, relay.token())
    with (
        counting_agent(tmp_path) as (upstream, _),
        running_connector(tmp_path, relay, AGENT, upstream) as connector,
        sending(relay.url, relay.token(), TEXT, tmp_path) as process,
    ):
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(told(client))
            await client.until(20)
            assert (await first_words(process)).startswith("0 ")
            kill(connector)
            began = time.monotonic()
        print(f"told {time.monotonic() - began:.2f} s after the kill, the grace is {GRACE_SECONDS} s")
        assert_broke_off(client, "AGENT_DISCONNECTED")
        said, complaints = await outcome_of(process)
    assert process.returncode == 1
    assert "AGENT_DISCONNECTED" in complaints
    assert "199" not in said


@pytest.mark.parametrize("binding", ["JSONRPC", "HTTP+JSON"])
async def test_a_killed_agent_is_an_error_event_while_its_connector_lives(
    relay: Relay, tmp_path: Path, binding: str
) -> None:
    """The half-sent answer of a dead process is not taken for its end, and the agent's next life serves."""
    url, body = f"{relay.base(AGENT)}message:stream", message(TEXT)
    if binding == "JSONRPC":
        envelope = {"jsonrpc": "2.0", "id": 1, "method": "SendStreamingMessage", "params": json.loads(body)}
        url, body = relay.base(AGENT), json.dumps(envelope).encode()
    with counting_agent(tmp_path) as (upstream, program), running_connector(tmp_path, relay, AGENT, upstream):
        async with reading(url, relay.token(), body) as reader:
            found = []
            async for event in reader.events():
                found += [event] if event.name != "comment" else []
                if len(found) == 20:
                    kill(program)
        assert [event.name for event in found[:-1]] == ["message"] * (len(found) - 1)
        assert (found[-1].name, found[-1].reason) == ("error", "AGENT_DISCONNECTED")
        port = int(upstream.rpartition(":")[2])
        with counting_agent(tmp_path, port=port):
            again = Reading(relay.url, relay.token())
            await again.read("count 10 0.001", is_final=lambda reason: reason != "AGENT_OFFLINE")
            assert again.numbers == list(range(10))


@pytest.mark.parametrize("windows", ["memory", "durable"])
async def test_a_link_that_is_cut_again_and_again_loses_nothing_and_repeats_nothing(
    windows: str, tmp_path: Path
) -> None:
    """By resets and by ends, with a slow line between: readers keep their one connection and notice only silence."""
    store = f"sqlite:///{tmp_path}/relay.db"
    with (
        running_relay(tmp_path, "--stream-window", windows, store=store) as relay,
        CuttingProxy(relay.url) as proxy,
        counting_agent(tmp_path) as (upstream, _),
        connector_through(tmp_path, relay, proxy, upstream) as connector,
    ):
        proxy.delay(0.03)
        client = Reading(relay.url, relay.token())
        with sending(relay.url, relay.token(), TEXT, tmp_path) as process:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(client.read(TEXT))
                for cut in range(1, 5):
                    await client.until(cut * COUNT // 5)
                    assert await asyncio.to_thread(proxy.cut, reset=bool(cut % 2)) >= 1
                    await asyncio.to_thread(attached_times, connector, cut + 1)
            said, complaints = await outcome_of(process)
    assert client.numbers == list(range(COUNT))
    assert client.states[-1] == "TASK_STATE_COMPLETED"
    assert (client.connections, client.refused) == (1, [])
    assert said == "".join(f"{number} " for number in range(COUNT)) + "\n"
    assert (process.returncode, complaints) == (0, "")


async def test_unary_calls_outlive_the_cut_of_their_link(tmp_path: Path) -> None:
    """The answer comes over the next link, and the agent was asked once."""
    with (
        running_relay(tmp_path) as relay,
        CuttingProxy(relay.url) as proxy,
        counting_agent(tmp_path) as (upstream, _),
        connector_through(tmp_path, relay, proxy, upstream) as connector,
    ):
        asking = asyncio.create_task(asked(relay, "count 40 0.05"))
        while b"WORKING" not in await asked(relay, "", "tasks"):
            await asyncio.sleep(0.05)
        await asyncio.to_thread(proxy.cut)
        await asyncio.to_thread(attached_times, connector, 2)
        await asyncio.to_thread(proxy.cut, reset=False)
        task = json.loads(await asking)["task"]
        listed = json.loads(await asked(relay, "", "tasks"))["tasks"]
    assert task["status"]["state"] == "TASK_STATE_COMPLETED"
    assert [entry["id"] for entry in listed] == [task["id"]]


async def asked(relay: Relay, text: str, path: str = "message:send") -> bytes:
    """The body of one unary answer."""
    async with reading(relay.base(AGENT) + path, relay.token(), message(text) if text else None) as reader:
        assert reader.status == 200, await reader.body()
        return await reader.body()


def connector_through(
    directory: Path, relay: Relay, proxy: CuttingProxy, upstream: str
) -> AbstractContextManager[Program]:
    """`relay connect` by way of a proxy."""
    return running_connector(directory, Relay(proxy.url, relay.secret, relay.program), AGENT, upstream)


def attached_times(connector: Program, times: int) -> None:
    """Wait until a connector has attached so many times."""
    connector.wait_until(lambda: "yes" if len(re.findall("is attached", connector.output())) >= times else None)
