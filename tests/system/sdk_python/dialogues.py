"""Dialogues between the official client and an agent. Each returns a record of all that the client was told.

A dialogue knows nothing of how the agent is reached, so that its records are the same whichever way that is.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from typing import Any

from a2a.client import Client
from a2a.types.a2a_pb2 import (
    CancelTaskRequest,
    DeleteTaskPushNotificationConfigRequest,
    GetExtendedAgentCardRequest,
    GetTaskPushNotificationConfigRequest,
    GetTaskRequest,
    ListTaskPushNotificationConfigsRequest,
    ListTasksRequest,
    Message,
    SendMessageRequest,
    StreamResponse,
    SubscribeToTaskRequest,
    Task,
    TaskPushNotificationConfig,
    TaskState,
)
from a2a.utils.errors import A2AError

from clients import say, shown, shown_error

TEXT = "Grüße von weit her 🛰 and back"
NOBODY = "11111111-2222-3333-4444-555555555555"
"""The id of a task that no agent has."""

Record = list[Any]


async def told(answer: Awaitable[Any]) -> Any:
    """An answer or an error as JSON; None for an answer that says nothing."""
    try:
        message = await answer
    except A2AError as error:
        return {"error": shown_error(error)}
    except NotImplementedError as lacking:
        return {"the client cannot": str(lacking)}
    return None if message is None else shown(message)


async def told_each(stream: AsyncIterator[StreamResponse]) -> Record:
    """All that a stream said, and its error if it had one."""
    record: Record = []
    try:
        async for event in stream:
            record.append(shown(event))
    except A2AError as error:
        record.append({"error": shown_error(error)})
    except NotImplementedError as lacking:
        record.append({"the client cannot": str(lacking)})
    return record


async def finished_task(client: Client) -> Task:
    """Send a text, and take the task it became when it has ended."""
    events = [event async for event in client.send_message(say(TEXT))]
    if len(events) == 1:
        return events[0].task
    return await client.get_task(GetTaskRequest(id=events[0].task.id))


async def a_task_that_ends_at_once(client: Client) -> Record:
    """Send, then everything that can be asked about a finished task."""
    task = await finished_task(client)
    return [
        shown(task),
        await told(client.get_task(GetTaskRequest(id=task.id))),
        await told(client.get_task(GetTaskRequest(id=task.id, history_length=0))),
        await told(client.list_tasks(ListTasksRequest(context_id=task.context_id, include_artifacts=True))),
        await told(client.list_tasks(ListTasksRequest(context_id=task.context_id, page_size=1, history_length=0))),
        await told(client.cancel_task(CancelTaskRequest(id=task.id))),
        await told_each(client.subscribe(SubscribeToTaskRequest(id=task.id))),
    ]


async def a_stream(client: Client) -> Record:
    """Send and take every event."""
    return await told_each(client.send_message(say(TEXT)))


async def a_conversation(client: Client) -> Record:
    """Two messages in one context, then one to the first task, which has ended."""
    first = await finished_task(client)
    return [
        shown(first),
        await told_each(client.send_message(say("second", context_id=first.context_id))),
        await told_each(client.send_message(say("third", context_id=first.context_id, task_id=first.id))),
    ]


async def questions_about_nothing(client: Client) -> Record:
    """Everything that can be asked about a task that does not exist, and a message that says nothing."""
    return [
        await told(client.get_task(GetTaskRequest(id=NOBODY))),
        await told(client.cancel_task(CancelTaskRequest(id=NOBODY))),
        await told_each(client.subscribe(SubscribeToTaskRequest(id=NOBODY))),
        await told_each(client.send_message(say("hello?", task_id=NOBODY))),
        await told_each(client.send_message(SendMessageRequest(message=Message(message_id="m", role=1)))),
        await told(client.list_tasks(ListTasksRequest(context_id=NOBODY))),
        await told(client.list_tasks(ListTasksRequest(page_size=100_000))),
        await told(client.list_task_push_notification_configs(ListTaskPushNotificationConfigsRequest(task_id=NOBODY))),
    ]


async def a_task_that_is_cancelled(client: Client) -> Record:
    """A second reader joins a task at work; a third cancels it; both streams say so and end."""
    first = client.send_message(say(TEXT))
    opening = [await anext(first)]
    while opening[-1].status_update.status.state != TaskState.TASK_STATE_WORKING:
        opening.append(await anext(first))
    task_id = opening[-1].status_update.task_id
    snapshot = await told(client.get_task(GetTaskRequest(id=task_id)))

    second = client.subscribe(SubscribeToTaskRequest(id=task_id))
    joined = shown(await anext(second))
    cancelled = await told(client.cancel_task(CancelTaskRequest(id=task_id)))
    rest = await asyncio.gather(told_each(first), told_each(second))
    return [[shown(event) for event in opening], snapshot, joined, cancelled, *rest]


async def push_configs(client: Client) -> Record:
    """Create two configs for a task, read, list and delete them."""
    task = await finished_task(client)

    def config(id: str) -> TaskPushNotificationConfig:
        return TaskPushNotificationConfig(task_id=task.id, id=id, url=f"http://127.0.0.1:9/{id}", token="t-1")

    def get(id: str) -> Awaitable[Any]:
        return client.get_task_push_notification_config(GetTaskPushNotificationConfigRequest(task_id=task.id, id=id))

    def delete(id: str) -> Awaitable[Any]:
        return client.delete_task_push_notification_config(
            DeleteTaskPushNotificationConfigRequest(task_id=task.id, id=id)
        )

    listing = ListTaskPushNotificationConfigsRequest(task_id=task.id)
    return [
        await told(client.create_task_push_notification_config(config("one"))),
        await told(client.create_task_push_notification_config(config("two"))),
        await told(get("one")),
        await told(client.list_task_push_notification_configs(listing)),
        await told(delete("one")),
        await told(get("one")),
        await told(client.list_task_push_notification_configs(listing)),
    ]


async def the_extended_card(client: Client) -> Record:
    """The card for those who have authenticated."""
    return [await told(client.get_extended_agent_card(GetExtendedAgentCardRequest()))]
