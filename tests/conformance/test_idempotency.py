"""`Idempotency-Key`: the same key from the same caller never makes two runs, whether the agent is here or away."""

from __future__ import annotations

import asyncio

import pytest

from agents import Attach
from behaviours import Worker, message
from clients import AT_ONCE, Client, MakeClient, error_info, result_of, until
from mail import queue

pytestmark = pytest.mark.capability("idempotency-key")

KEY = {"Idempotency-Key": "key-1"}


@pytest.mark.capability("mailbox")
async def test_a_key_makes_one_letter(attach: Attach, client: Client, gone: str) -> None:
    first, second = [await queue(client, gone, headers=KEY) for _ in range(2)]
    assert first["id"] == second["id"]
    worker = Worker()
    await attach(worker, id=gone)

    async def is_answered() -> bool:
        third = result_of(await client.rpc(gone, "SendMessage", message("hi"), headers=KEY))["task"]
        assert third["id"] == first["id"]
        return bool(third["status"]["state"] == "TASK_STATE_COMPLETED")

    await until(is_answered)
    assert worker.texts == ["hi"]


@pytest.mark.capability("mailbox")
async def test_many_at_once_make_one_letter(client: Client, gone: str) -> None:
    tasks = await asyncio.gather(*(queue(client, gone, headers=KEY) for _ in range(20)))
    assert len({task["id"] for task in tasks}) == 1


@pytest.mark.capability("mailbox")
async def test_a_key_with_another_body_is_422(client: Client, gone: str) -> None:
    await queue(client, gone, "hi", headers=KEY)
    response = await client.rpc(gone, "SendMessage", message("something else"), headers=AT_ONCE | KEY)
    assert response.status_code == 422
    assert error_info(response)["reason"] == "IDEMPOTENCY_CONFLICT"


@pytest.mark.capability("mailbox")
async def test_a_message_id_is_no_key(client: Client, gone: str) -> None:
    assert (await queue(client, gone))["id"] != (await queue(client, gone))["id"]


async def test_a_key_is_its_callers_own(make_client: MakeClient, attach: Attach) -> None:
    worker = Worker()
    agent = await attach(worker)
    for client in (make_client(), make_client()):
        result_of(await client.rpc(agent.id, "SendMessage", message("hi"), headers=KEY))
    assert worker.texts == ["hi", "hi"]


async def test_a_call_to_an_agent_that_is_here_is_answered_again_and_made_once(client: Client, attach: Attach) -> None:
    worker = Worker()
    agent = await attach(worker)
    answers = [result_of(await client.rpc(agent.id, "SendMessage", message("hi"), headers=KEY)) for _ in range(2)]
    assert answers[0] == answers[1]
    assert worker.texts == ["hi"]
    response = await client.rpc(agent.id, "SendMessage", message("something else"), headers=KEY)
    assert response.status_code == 422


async def test_a_call_that_is_not_over_yet_is_409(client: Client, attach: Attach) -> None:
    worker = Worker(is_held=True)
    agent = await attach(worker)
    first = asyncio.create_task(client.rpc(agent.id, "SendMessage", message("hi"), headers=KEY))
    await agent.next_call()
    response = await client.rpc(agent.id, "SendMessage", message("hi"), headers=KEY)
    assert response.status_code == 409
    assert int(response.headers["retry-after"]) >= 0
    worker.go.set()
    result_of(await first)
    assert worker.texts == ["hi"]


@pytest.mark.parametrize("key", ["", "x" * 256, "tab\there"], ids=["empty", "long", "unprintable"])
async def test_what_cannot_be_a_key_is_refused(client: Client, attach: Attach, key: str) -> None:
    agent = await attach()
    response = await client.post(f"{client.base(agent.id)}/message:send", message("hi"), {"Idempotency-Key": key})
    assert response.status_code == 400
    assert agent.calls == []
