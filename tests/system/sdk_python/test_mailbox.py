"""Close the laptop: stock SDK clients send to an agent that is away, and find its answer when it is back.

Nothing is told to the clients. The agent is a real one on the SDK, behind the real connector; what takes it away is
the end of its connector, as when a laptop is closed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from a2a.client import Client
from a2a.types.a2a_pb2 import (
    CancelTaskRequest,
    GetTaskRequest,
    ListTasksRequest,
    SendMessageConfiguration,
    SendMessageRequest,
    StreamResponse,
    SubscribeToTaskRequest,
    Task,
    TaskState,
)
from a2a.utils.errors import A2AError, TaskNotCancelableError, TaskNotFoundError
from programs import Endpoint, Program, Relay, running_agent, running_connector, running_relay

from clients import WAYS, connect, say

TEXT = "Grüße von weit her 🛰 and back"
PATIENCE_SECONDS = 40.0
SUBMITTED = TaskState.TASK_STATE_SUBMITTED
COMPLETED = TaskState.TASK_STATE_COMPLETED

pytestmark = [
    pytest.mark.timeout(180),  # the first test of a run starts the relay and its agents
    pytest.mark.parametrize("way", WAYS),
]


class Laptop:
    """An agent on a machine that can be opened and closed; the relay knows it, and it is closed."""

    def __init__(self, directory: Path, relay: Relay, name: str, upstream: str) -> None:
        self.endpoint = Endpoint(relay.base(name), relay.token())
        self._directory, self._relay, self._name, self._upstream = directory, relay, name, upstream

    @contextmanager
    def opened(self) -> Iterator[Program]:
        """The agent is attached until the block ends."""
        with running_connector(self._directory, self._relay, self._name, self._upstream) as connector:
            yield connector


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relay]:
    """A relay that does not wait long for agents that are away: this file sends much to them."""
    directory = tmp_path_factory.mktemp("mail-relay")
    with running_relay(directory, "--sync-wait", "0.2s", store=f"sqlite:///{directory}/relay.db") as running:
        yield running


@pytest.fixture(scope="module")
def laptops(relay: Relay, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Laptop]]:
    """An agent that answers with tasks, and one that answers with messages; both have been here."""
    with ExitStack() as stack:
        found = {}
        for kind in ("task", "message"):
            directory = tmp_path_factory.mktemp(f"laptop-{kind}")
            upstream = stack.enter_context(running_agent(directory, kind, "--reply", kind, "--chunk", "0.05"))
            found[kind] = Laptop(directory, relay, f"laptop-{kind}", upstream)
            with found[kind].opened():
                pass
        yield found


@pytest.fixture(scope="module")
def laptop(laptops: dict[str, Laptop]) -> Laptop:
    """The agent that answers with tasks."""
    return laptops["task"]


async def send(client: Client, text: str = TEXT) -> Task:
    """Send and take the task that the first event is, without staying for more."""
    stream = client.send_message(say(text))
    event = await anext(stream)
    await stream.aclose()
    assert event.WhichOneof("payload") == "task", event
    return event.task


async def until_completed(client: Client, task: Task) -> Task:
    """Ask for a task until it is completed."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            found = await client.get_task(GetTaskRequest(id=task.id))
            if found.status.state == COMPLETED:
                return found
            await asyncio.sleep(0.1)


def text_of(task: Task) -> str:
    """What the agent said in a task."""
    parts = [part for artifact in task.artifacts for part in artifact.parts] or task.status.message.parts
    return "".join(part.text for part in parts)


@pytest.mark.parametrize("reply", ["task", "message"])
@pytest.mark.parametrize("streaming", [False, True], ids=["unary", "streaming"])
async def test_the_answer_is_found_under_the_task_that_the_send_was_answered_with(
    laptops: dict[str, Laptop], way: str, reply: str, streaming: bool
) -> None:
    laptop = laptops[reply]
    async with connect(laptop.endpoint, way, streaming=streaming) as client:
        task = await send(client)
        assert task.status.state == SUBMITTED
        assert (await client.get_task(GetTaskRequest(id=task.id))).status.state == SUBMITTED
        with laptop.opened():
            done = await until_completed(client, task)
        assert (done.id, done.context_id, text_of(done)) == (task.id, task.context_id, TEXT)


async def test_a_stream_that_stays_sees_the_agent_come_and_answer(laptop: Laptop, way: str) -> None:
    async with connect(laptop.endpoint, way) as client:
        stream = client.send_message(say(TEXT))
        first = await anext(stream)
        assert first.task.status.state == SUBMITTED
        with laptop.opened():
            events = [event async for event in stream]
        assert_is_the_whole_answer(events, first.task)


async def test_who_subscribes_before_it_wakes_sees_the_agent_come_and_answer(laptop: Laptop, way: str) -> None:
    async with connect(laptop.endpoint, way) as client:
        task = await send(client)
        stream = client.subscribe(SubscribeToTaskRequest(id=task.id))
        assert (await anext(stream)).task.status.state == SUBMITTED
        with laptop.opened():
            events = [event async for event in stream]
        assert_is_the_whole_answer(events, task)


def assert_is_the_whole_answer(events: list[StreamResponse], task: Task) -> None:
    """The agent's own events, under the relay's ids."""
    kinds = [event.WhichOneof("payload") for event in events]
    assert kinds[-1] == "status_update"
    assert events[-1].status_update.status.state == COMPLETED
    artifacts = [event.artifact_update for event in events if event.HasField("artifact_update")]
    assert "".join(part.text for update in artifacts for part in update.artifact.parts) == TEXT
    assert {update.task_id for update in artifacts} == {task.id}
    assert {update.context_id for update in artifacts} == {task.context_id}


async def test_a_task_that_is_cancelled_before_it_wakes_never_reaches_it(laptop: Laptop, way: str) -> None:
    async with connect(laptop.endpoint, way, streaming=False) as client:
        unwanted, wanted = await send(client, "never mind"), await send(client)
        canceled = await client.cancel_task(CancelTaskRequest(id=unwanted.id))
        assert canceled.status.state == TaskState.TASK_STATE_CANCELED
        with pytest.raises(A2AError) as caught:
            await client.cancel_task(CancelTaskRequest(id=unwanted.id))
        if way.endswith("1.0"):
            assert isinstance(caught.value, TaskNotCancelableError)
        with laptop.opened():
            await until_completed(client, wanted)
        found = await client.get_task(GetTaskRequest(id=unwanted.id))
        assert found.status.state == TaskState.TASK_STATE_CANCELED


async def test_a_conversation_goes_on_in_the_context_of_the_queued_task(laptop: Laptop, way: str) -> None:
    async with connect(laptop.endpoint, way, streaming=False) as client:
        task = await send(client)
        with laptop.opened():
            await until_completed(client, task)
            events = [event async for event in client.send_message(say("and then?", context_id=task.context_id))]
        assert events[-1].task.context_id == task.context_id
        assert text_of(events[-1].task) == "and then?"


async def test_who_asks_to_be_answered_at_once_is(way: str, tmp_path: Path) -> None:
    if way == "HTTP+JSON 0.3":
        pytest.skip("0.3's HTTP+JSON leaves `blocking` out where it is false")
    with (
        running_relay(tmp_path, "--sync-wait", "30s") as relay,
        running_agent(tmp_path, "echo") as upstream,
    ):
        laptop = Laptop(tmp_path, relay, "echo", upstream)
        with laptop.opened():
            pass
        async with connect(laptop.endpoint, way, streaming=False) as client:
            request = SendMessageRequest(
                message=say(TEXT).message, configuration=SendMessageConfiguration(return_immediately=True)
            )
            event = await anext(client.send_message(request))  # before the client gives up, which is after 5 s
            assert event.task.status.state == SUBMITTED


async def test_another_user_finds_no_such_task(laptop: Laptop, relay: Relay, way: str) -> None:
    token = relay.token(role="agent", agent="somebody-else")
    async with (
        connect(laptop.endpoint, way, streaming=False) as client,
        connect(Endpoint(laptop.endpoint.url, token), way, streaming=False) as other,
    ):
        task = await send(client)
        with pytest.raises(A2AError) as caught:
            await other.get_task(GetTaskRequest(id=task.id))
        if way.endswith("1.0"):
            assert isinstance(caught.value, TaskNotFoundError)
        await client.cancel_task(CancelTaskRequest(id=task.id))


async def test_queued_tasks_are_listed(laptop: Laptop, way: str) -> None:
    if way.endswith("0.3"):
        pytest.skip("0.3 has no list of tasks")
    async with connect(laptop.endpoint, way, streaming=False) as client:
        task = await send(client)
        listed = await client.list_tasks(ListTasksRequest(context_id=task.context_id))
        assert [found.id for found in listed.tasks] == [task.id]
        await client.cancel_task(CancelTaskRequest(id=task.id))
