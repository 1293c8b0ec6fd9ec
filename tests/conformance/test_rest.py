"""A2A 1.0 over HTTP+JSON: every path becomes its operation, and the answer is the agent's bare result."""

from __future__ import annotations

from typing import Any

import pytest

from agents import Attach
from behaviours import answering, message
from clients import Client

pytestmark = [pytest.mark.capability("a2a-1.0-rest"), pytest.mark.capability("native-link")]

CONFIG = {"id": "c-1", "url": "https://example.com/hook", "token": "t"}
TASK = {"id": "t-1"}
IN_TASK = {"taskId": "t-1"}

ROUTES: list[tuple[str, str, Any, str, dict[str, Any]]] = [
    ("POST", "message:send", message("hi"), "SendMessage", message("hi")),
    ("GET", "tasks", None, "ListTasks", {}),
    (
        "GET",
        "tasks?contextId=c-1&pageSize=5&includeArtifacts=true&status=TASK_STATE_WORKING&historyLength=2",
        None,
        "ListTasks",
        {
            "contextId": "c-1",
            "pageSize": 5,
            "includeArtifacts": True,
            "status": "TASK_STATE_WORKING",
            "historyLength": 2,
        },
    ),
    ("GET", "tasks/t-1", None, "GetTask", TASK),
    ("GET", "tasks/t-1?historyLength=3", None, "GetTask", {**TASK, "historyLength": 3}),
    ("GET", "tasks/t%3A1", None, "GetTask", {"id": "t:1"}),
    ("GET", "tasks/t-1?unheardOf=x", None, "GetTask", {**TASK, "unheardOf": "x"}),
    ("POST", "tasks/t-1:cancel", {}, "CancelTask", TASK),
    ("POST", "tasks/t-1:cancel", {"id": "t-1", "metadata": {"why": 1}}, "CancelTask", {**TASK, "metadata": {"why": 1}}),
    ("POST", "tasks/t-1/cancel", {}, "CancelTask", TASK),
    (
        "POST",
        "tasks/t-1/pushNotificationConfigs",
        CONFIG,
        "CreateTaskPushNotificationConfig",
        {**CONFIG, **IN_TASK},
    ),
    ("GET", "tasks/t-1/pushNotificationConfigs", None, "ListTaskPushNotificationConfigs", IN_TASK),
    (
        "GET",
        "tasks/t-1/pushNotificationConfigs/c-1",
        None,
        "GetTaskPushNotificationConfig",
        {**IN_TASK, "id": "c-1"},
    ),
    (
        "DELETE",
        "tasks/t-1/pushNotificationConfigs/c-1",
        None,
        "DeleteTaskPushNotificationConfig",
        {**IN_TASK, "id": "c-1"},
    ),
    ("GET", "branch/tasks/t-1", None, "GetTask", {**TASK, "tenant": "branch"}),
    ("POST", "branch/tasks/t-1:cancel", {"tenant": "branch"}, "CancelTask", {**TASK, "tenant": "branch"}),
    (
        "POST",
        "branch/message:send",
        {**message("hi"), "tenant": "branch"},
        "SendMessage",
        {**message("hi"), "tenant": "branch"},
    ),
]


@pytest.mark.parametrize(
    ("verb", "path", "body", "method", "params"), ROUTES, ids=[f"{route[0]} {route[1][:50]}" for route in ROUTES]
)
async def test_a_path_is_its_operation(
    native: Attach, client: Client, verb: str, path: str, body: Any, method: str, params: dict[str, Any]
) -> None:
    agent = await native(answering({"answer": 42, "unknown": [1]}))
    response = await client.http.request(
        verb, f"{client.base(agent.id)}/{path}", json=body, headers={"A2A-Version": "1.0"}
    )
    assert response.status_code == 200, response.text
    assert response.json() == {"answer": 42, "unknown": [1]}
    assert response.headers["content-type"].partition(";")[0] in ("application/a2a+json", "application/json")
    call = await agent.next_call()
    assert (call.method, call.params, call.stream) == (method, params, False)


async def test_the_extended_card_is_asked_of_the_agent(native: Attach, client: Client) -> None:
    agent = await native(answering({"name": "More of me", "skills": [], "secretSkill": True}))
    response = await client.get(f"{client.base(agent.id)}/extendedAgentCard")
    assert response.status_code == 200
    assert (response.json()["name"], response.json()["secretSkill"]) == ("More of me", True)
    assert (await agent.next_call()).method == "GetExtendedAgentCard"


@pytest.mark.parametrize("media_type", ["application/a2a+json", "application/json", "application/json; charset=utf-8"])
async def test_both_media_types_are_taken(native: Attach, client: Client, media_type: str) -> None:
    agent = await native()
    path = f"{client.base(agent.id)}/message:send"
    response = await client.post(path, message("typed"), headers={"Content-Type": media_type})
    assert response.json()["message"]["parts"] == [{"text": "Echo: typed"}]


async def test_a_relay_go_agent_serves_rest_clients_too(attach: Attach, client: Client) -> None:
    agent = await attach()
    response = await client.post(f"{client.base(agent.id)}/message:send", message("old"))
    assert response.json()["message"]["parts"] == [{"text": "Echo: old"}]
    assert (await client.get(f"{client.base(agent.id)}/tasks/t-5")).json()["id"] == "t-5"
    assert [call.method for call in agent.calls] == ["message/send", "tasks/get"]


@pytest.mark.parametrize(
    ("verb", "path", "statuses"),
    [
        ("GET", "message:send", (404, 405)),
        ("DELETE", "tasks/t-1", (404, 405)),
        ("POST", "message:nonsense", (404,)),
        ("GET", "no/such/path/at/all", (404,)),
    ],
)
async def test_what_is_not_served_is_said_so(
    native: Attach, client: Client, verb: str, path: str, statuses: tuple[int, ...]
) -> None:
    agent = await native()
    response = await client.http.request(verb, f"{client.base(agent.id)}/{path}")
    assert response.status_code in statuses
    assert agent.calls == []


async def test_a_body_that_is_not_json_is_400(native: Attach, client: Client) -> None:
    agent = await native()
    response = await client.post(f"{client.base(agent.id)}/message:send", "{nonsense")
    assert response.status_code == 400
    assert response.json()["error"]["status"] == "INVALID_ARGUMENT"
    assert agent.calls == []
