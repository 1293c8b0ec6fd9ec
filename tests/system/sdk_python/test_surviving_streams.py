"""Stock SDK clients over a bad network: a link that is cut behind the relay, a reader that stops beside them, a relay
that is killed. They know nothing of `Last-Event-ID`; what they are told is the truth all the same.
"""

from __future__ import annotations

import asyncio
import json
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest
from a2a.types.a2a_pb2 import GetTaskRequest, StreamResponse, SubscribeToTaskRequest, TaskState
from a2a.utils.errors import A2AError
from cutting_proxy import CuttingProxy
from installed import NotInstallable, node_modules
from programs import Endpoint, Program, Relay, clean_environment, running_connector, running_relay
from readers import message, reading
from restarting import AGENT, counting_agent, restarting

from clients import connect, say

COUNT = 150
TEXT = f"count {COUNT} 0.02"
STOPPED_TEXT = "count 400 0.001 16384"
LONG_TEXT = "count 120 0.1"
JS = Path(__file__).parents[1] / "js"
PATIENCE_SECONDS = 60.0

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(400),  # the first time it installs the JavaScript clients
    pytest.mark.parametrize("binding", ["JSONRPC", "HTTP+JSON"]),
]


@pytest.fixture(scope="session")
def node(unavailable: Callable[[str], NoReturn]) -> Path:
    """Node, with the clients installed."""
    try:
        return node_modules(JS)
    except NotInstallable as why:
        unavailable(f"the JavaScript clients cannot be installed: {why}")


class JsClient:
    """`reading.mjs` as a process: what it says of each event, a line each."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    @classmethod
    async def start(cls, node: Path, binding: str, endpoint: Endpoint, verb: str, what: str) -> JsClient:
        process = await asyncio.create_subprocess_exec(
            node,
            JS / "reading.mjs",
            "1",
            binding,
            endpoint.url,
            verb,
            what,
            env=clean_environment(TOKEN=endpoint.token or ""),
            stdout=asyncio.subprocess.PIPE,
            limit=1 << 22,
        )
        return cls(process)

    async def lines(self, count: int = 1_000_000) -> list[Any]:
        """The next lines, up to so many or to the end."""
        found: list[Any] = []
        assert self.process.stdout is not None
        async with asyncio.timeout(PATIENCE_SECONDS):
            while len(found) < count and (line := await self.process.stdout.readline()):
                found.append(json.loads(line))
        return found

    async def stop(self) -> None:
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()


def number_of(event: StreamResponse) -> int | None:
    parts = event.artifact_update.artifact.parts
    return int(parts[0].text) if parts else None


def numbers_of(lines: list[Any]) -> list[int]:
    updates = [line["artifactUpdate"] for line in lines if "artifactUpdate" in line]
    return [int(update["artifact"]["parts"][0]["text"]) for update in updates]


def attached_times(connector: Program, times: int) -> None:
    connector.wait_until(lambda: "yes" if len(re.findall("is attached", connector.output())) >= times else None)


async def test_stock_clients_notice_nothing_of_a_cut_link_and_of_a_reader_that_stops(
    node: Path, binding: str, tmp_path: Path
) -> None:
    """Both read a long stream, every event once and in order, while the link behind is cut twice."""
    with (
        running_relay(tmp_path) as relay,
        CuttingProxy(relay.url) as proxy,
        counting_agent(tmp_path) as (upstream, _),
        running_connector(tmp_path, Relay(proxy.url, relay.secret, relay.program), AGENT, upstream) as connector,
    ):
        endpoint = Endpoint(relay.base(AGENT), relay.token())
        stopped = reading(f"{endpoint.url}message:stream", relay.token(), message(STOPPED_TEXT), receive_buffer=16384)
        async with stopped, connect(endpoint, f"{binding} 1.0") as client:
            js = await JsClient.start(node, binding, endpoint, "stream", TEXT)
            try:
                opening = await js.lines(1)
                found: list[int] = []
                async for event in client.send_message(say(TEXT)):
                    number = number_of(event)
                    found += [number] if number is not None else []
                    if number in (COUNT // 3, 2 * COUNT // 3):
                        await asyncio.to_thread(proxy.cut)
                        await asyncio.to_thread(attached_times, connector, 2 if number == COUNT // 3 else 3)
                assert found == list(range(COUNT))
                assert event.status_update.status.state == TaskState.TASK_STATE_COMPLETED
                lines = opening + await js.lines()
            finally:
                await js.stop()
        assert numbers_of(lines) == list(range(COUNT))
        assert lines[-2]["statusUpdate"]["status"]["state"] == "TASK_STATE_COMPLETED"
        assert lines[-1] == "end"


async def test_stock_clients_get_an_error_from_a_killed_relay_and_the_tasks_state_afterwards(
    node: Path, binding: str, tmp_path: Path
) -> None:
    """Never a clean end. The task went on: GetTask and SubscribeToTask by the same SDKs say so after the restart."""
    with restarting(tmp_path) as relays, counting_agent(tmp_path) as (upstream, _):
        relay = relays.relay
        endpoint = Endpoint(relay.base(AGENT), relay.token())
        with running_connector(tmp_path, relay, AGENT, upstream) as connector:
            async with connect(endpoint, f"{binding} 1.0") as client:
                js = await JsClient.start(node, binding, endpoint, "stream", LONG_TEXT)
                try:
                    opening = await js.lines(8)
                    stream = client.send_message(say(LONG_TEXT))
                    first = await anext(stream)
                    restart = asyncio.create_task(asyncio.to_thread(relays.restart, signal.SIGKILL))
                    with pytest.raises(A2AError) as caught:
                        async for _ in stream:
                            pass
                    print(f"\n{binding}, Python: {caught.value!r}")
                    rest = await js.lines()
                    print(f"{binding}, JavaScript: {rest[-1]}")
                    assert "error" in rest[-1]
                    await restart
                finally:
                    await js.stop()
                await asyncio.to_thread(attached_times, connector, 2)
                task = await client.get_task(GetTaskRequest(id=first.task.id))
                assert task.status.state == TaskState.TASK_STATE_WORKING
                again = [event async for event in client.subscribe(SubscribeToTaskRequest(id=task.id))]
                assert again[0].task.id == task.id
                assert again[-1].status_update.status.state == TaskState.TASK_STATE_COMPLETED
                ended = await client.get_task(GetTaskRequest(id=task.id))
                assert [int(part.text) for part in ended.artifacts[0].parts] == list(range(120))
            asking = await JsClient.start(node, binding, endpoint, "get", opening[0]["task"]["id"])
            (found,) = await asking.lines()
            await asking.stop()
            assert found["status"]["state"] in ("TASK_STATE_WORKING", "TASK_STATE_COMPLETED")
