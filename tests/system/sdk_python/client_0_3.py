"""Dialogues of the independent 0.3 client (a2a-sdk 0.3.26), run in an environment of its own.

    TOKEN=... python client_0_3.py JSONRPC|HTTP+JSON ECHO_URL THINKER_URL

Prints one JSON object: the record of each dialogue by its name. TOKEN may be empty.
"""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Awaitable
from typing import Any

import httpx
from a2a.client import A2ACardResolver, A2AClientError, Client, ClientConfig, ClientFactory
from a2a.types import (
    GetTaskPushNotificationConfigParams,
    Message,
    Part,
    PushNotificationConfig,
    Role,
    Task,
    TaskIdParams,
    TaskPushNotificationConfig,
    TaskQueryParams,
    TaskState,
    TextPart,
)

TEXT = "Grüße von weit her 🛰 and back"
NOBODY = "11111111-2222-3333-4444-555555555555"


def message(text: str, **ids: str) -> Message:
    return Message(message_id=NOBODY, role=Role.user, parts=[Part(root=TextPart(text=text))], **ids)


def shown(answer: Any) -> Any:
    if isinstance(answer, tuple):
        return [shown(item) for item in answer]
    return answer.model_dump(mode="json", exclude_none=True) if answer is not None else None


def shown_error(error: Exception) -> dict[str, Any]:
    inner = getattr(error, "error", None)
    status = getattr(error, "status_code", None)
    return {"type": type(error).__name__, "status": status, "error": shown(inner), "message": str(error)}


async def told(answer: Awaitable[Any]) -> Any:
    try:
        return shown(await answer)
    except (A2AClientError, NotImplementedError) as error:
        return {"error": shown_error(error)}


async def told_each(stream: AsyncIterator[Any]) -> list[Any]:
    record: list[Any] = []
    try:
        async for event in stream:
            record += [shown(event)]
    except (A2AClientError, NotImplementedError) as error:
        record.append({"error": shown_error(error)})
    return record


async def finished_task(client: Client) -> Task:
    answers = [answer async for answer in client.send_message(message(TEXT))]
    return answers[-1][0]


async def a_task_that_ends_at_once(client: Client) -> list[Any]:
    task = await finished_task(client)
    return [
        shown(task),
        await told(client.get_task(TaskQueryParams(id=task.id))),
        await told(client.cancel_task(TaskIdParams(id=task.id))),
        await told_each(client.resubscribe(TaskIdParams(id=task.id))),
    ]


async def a_stream(client: Client) -> list[Any]:
    return await told_each(client.send_message(message(TEXT)))


async def questions_about_nothing(client: Client) -> list[Any]:
    return [
        await told(client.get_task(TaskQueryParams(id=NOBODY))),
        await told(client.cancel_task(TaskIdParams(id=NOBODY))),
        await told_each(client.resubscribe(TaskIdParams(id=NOBODY))),
        await told_each(client.send_message(message("hello?", task_id=NOBODY))),
    ]


async def push_configs(client: Client) -> list[Any]:
    task = await finished_task(client)
    config = PushNotificationConfig(id="one", url="http://127.0.0.1:9/one", token="t-1")
    asked = GetTaskPushNotificationConfigParams(id=task.id, push_notification_config_id="one")
    return [
        await told(
            client.set_task_callback(TaskPushNotificationConfig(task_id=task.id, push_notification_config=config))
        ),
        await told(client.get_task_callback(asked)),
    ]


async def a_task_that_is_cancelled(client: Client) -> list[Any]:
    stream = client.send_message(message(TEXT))
    task, update = await anext(stream)
    opening = [shown((task, update))]
    while task.status.state != TaskState.working:
        task, update = await anext(stream)
        opening.append(shown((task, update)))
    cancelled = await told(client.cancel_task(TaskIdParams(id=task.id)))
    return [opening, cancelled, await told_each(stream)]


async def the_extended_card(client: Client) -> list[Any]:
    return [await told(client.get_card())]


async def main(binding: str, echo_url: str, thinker_url: str) -> dict[str, Any]:
    token = os.environ.get("TOKEN")
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with httpx.AsyncClient(headers=headers, trust_env=False) as http:

        async def connect(url: str, *, streaming: bool) -> Client:
            config = ClientConfig(httpx_client=http, supported_transports=[binding], streaming=streaming)
            return ClientFactory(config).create(await A2ACardResolver(http, url).get_agent_card())

        unary, streaming = [await connect(echo_url, streaming=flag) for flag in (False, True)]
        return {
            "a task that ends at once": await a_task_that_ends_at_once(unary),
            "a streamed task": await a_task_that_ends_at_once(streaming),
            "a stream": await a_stream(streaming),
            "questions about nothing": await questions_about_nothing(unary),
            "streamed questions about nothing": await questions_about_nothing(streaming),
            "push configs": await push_configs(unary),
            "a task that is cancelled": await a_task_that_is_cancelled(await connect(thinker_url, streaming=True)),
            "the extended card": await the_extended_card(unary),
        }


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(*sys.argv[1:]))))
