"""Answers that are fetched later: of calls that were to be kept from the beginning, and of those that took too long."""

from __future__ import annotations

import pytest

from agents import Attach
from behaviours import Worker, message
from clients import Client, MakeClient, error_info, error_of, result_of
from mail import until_state


@pytest.mark.capability("respond-async")
async def test_a_call_is_kept_on_request_although_the_agent_is_here(attach: Attach, client: Client) -> None:
    worker = Worker(is_held=True)
    agent = await attach(worker)
    response = await client.rpc(agent.id, "SendMessage", message("hi"), headers={"Prefer": "respond-async"})
    task = result_of(response)["task"]
    assert task["status"]["state"] in ("TASK_STATE_SUBMITTED", "TASK_STATE_WORKING")
    await agent.next_call()
    worker.go.set()
    done = await until_state(client, agent.id, task["id"], "TASK_STATE_COMPLETED")
    assert done["artifacts"][0]["parts"] == [{"text": "Echo: hi"}]


@pytest.mark.capability("late-answer")
async def test_an_answer_that_comes_too_late_is_found_under_the_task_that_the_504_names(
    attach: Attach, make_client: MakeClient
) -> None:
    worker, client, other = Worker(is_held=True), make_client(), make_client()
    agent = await attach(worker)
    response = await client.rpc(agent.id, "SendMessage", message("hi"), headers={"A2A-Relay-Timeout": "1"})
    assert response.status_code == 504
    assert error_info(response)["reason"] == "AGENT_TIMEOUT"
    id = error_info(response)["metadata"]["task"]
    assert error_of(await other.rpc(agent.id, "GetTask", {"id": id}))["code"] == -32001
    await until_state(client, agent.id, id, "TASK_STATE_WORKING")
    worker.go.set()
    done = await until_state(client, agent.id, id, "TASK_STATE_COMPLETED")
    assert done["artifacts"][0]["parts"] == [{"text": "Echo: hi"}]
    assert worker.texts == ["hi"]
