"""An agent that is away: what only it could answer is refused at once, in each binding's own words."""

from __future__ import annotations

import pytest

from agents import Attach
from behaviours import message
from clients import Client, error_info, error_of, result_of

pytestmark = pytest.mark.capability("offline-503")

GOING_ON = message("go on", taskId="task-1")
"""A message to a task that the agent has made: it is not kept, since nobody else knows whether it may be."""


@pytest.mark.parametrize("method", ["GetTask", "CancelTask", "SendMessage", "SendStreamingMessage", "message/send"])
async def test_json_rpc_says_503_with_retry_after(client: Client, gone: str, method: str) -> None:
    params = {"id": "task-1"} if "Task" in method else GOING_ON
    response = await client.rpc(gone, method, params, id="o")
    assert response.status_code == 503
    assert int(response.headers["retry-after"]) >= 0
    assert response.json()["id"] == "o"
    assert error_info(response)["reason"] == "AGENT_OFFLINE"


@pytest.mark.parametrize("path", ["message:send", "message:stream", "tasks/task-1:cancel"])
async def test_rest_says_503_with_retry_after(client: Client, gone: str, path: str) -> None:
    response = await client.post(f"{client.base(gone)}/{path}", {} if "tasks" in path else GOING_ON)
    assert response.status_code == 503
    assert int(response.headers["retry-after"]) >= 0
    assert error_of(response)["status"] == "UNAVAILABLE"
    assert error_info(response)["reason"] == "AGENT_OFFLINE"


async def test_it_does_not_keep_the_client_waiting(client: Client, gone: str) -> None:
    response = await client.http.get(f"{client.base(gone)}/tasks/task-1", timeout=2.5)
    assert response.status_code == 503


async def test_it_serves_as_soon_as_it_is_back(attach: Attach, client: Client, gone: str) -> None:
    assert (await client.rpc(gone, "GetTask", {"id": "task-1"})).status_code == 503
    await attach(id=gone)
    assert result_of(await client.rpc(gone, "GetTask", {"id": "task-1"}))["id"] == "task-1"


@pytest.mark.capability("native-link")
async def test_a_paused_agent_counts_as_away_until_it_is_ready(native: Attach, client: Client) -> None:
    agent = await native()
    await agent.send("agent.state", state="paused", reason="upstream_unavailable")
    await client.until_away(agent.id)
    response = await client.rpc(agent.id, "GetTask", {"id": "task-1"})
    assert response.status_code == 503
    assert error_info(response)["reason"] == "AGENT_OFFLINE"
    await agent.send("agent.state", state="ready", reason="upstream is back")
    await agent.send("ping")
    await agent.next_frame("pong")
    result_of(await client.rpc(agent.id, "SendMessage", message("hi")))


@pytest.mark.capability("card-when-away")
@pytest.mark.parametrize("name", ["agent-card.json", "agent.json"])
async def test_the_last_card_is_still_served(client: Client, gone: str, name: str) -> None:
    response = await client.get(f"{client.base(gone)}/.well-known/{name}")
    assert response.status_code == 200
    assert response.json()["name"] == "Conformance agent"
