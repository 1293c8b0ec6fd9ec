"""A2A 0.3 and 1.0 side by side on one JSON-RPC endpoint: the method's name alone tells them apart."""

from __future__ import annotations

from typing import Any

import pytest

from agents import Attach
from behaviours import UPDATES, answering, message
from clients import Client, envelope, result_of

pytestmark = pytest.mark.capability("a2a-0.3")

HOOK = {"url": "https://example.com/hook"}
# 0.3 name, its params, and the 1.0 name of the same operation with its params.
OPERATIONS: list[tuple[str, dict[str, Any], str, dict[str, Any]]] = [
    ("message/send", message("hi"), "SendMessage", message("hi")),
    ("tasks/get", {"id": "t-1"}, "GetTask", {"id": "t-1"}),
    ("tasks/cancel", {"id": "t-1"}, "CancelTask", {"id": "t-1"}),
    (
        "tasks/pushNotificationConfig/set",
        {"taskId": "t-1", "pushNotificationConfig": HOOK},
        "CreateTaskPushNotificationConfig",
        {"taskId": "t-1", **HOOK},
    ),
    (
        "tasks/pushNotificationConfig/get",
        {"id": "t-1", "pushNotificationConfigId": "c-1"},
        "GetTaskPushNotificationConfig",
        {"taskId": "t-1", "id": "c-1"},
    ),
    ("tasks/pushNotificationConfig/list", {"id": "t-1"}, "ListTaskPushNotificationConfigs", {"taskId": "t-1"}),
    (
        "tasks/pushNotificationConfig/delete",
        {"id": "t-1", "pushNotificationConfigId": "c-1"},
        "DeleteTaskPushNotificationConfig",
        {"taskId": "t-1", "id": "c-1"},
    ),
    ("agent/getAuthenticatedExtendedCard", {}, "GetExtendedAgentCard", {}),
]


@pytest.mark.capability("native-link")
@pytest.mark.parametrize(("name", "params"), [(o[0], o[1]) for o in OPERATIONS] + [(o[2], o[3]) for o in OPERATIONS])
async def test_a_native_agent_gets_what_the_client_sent(
    native: Attach, client: Client, name: str, params: dict[str, Any]
) -> None:
    agent = await native(answering({"done": name}))
    result = result_of(await client.rpc(agent.id, name, params, id="v"))
    assert result["done"] == name
    call = await agent.next_call()
    assert (call.method, call.params, call.stream) == (name, params, False)


@pytest.mark.parametrize(("name", "old_name", "params"), [(o[2], o[0], o[3]) for o in OPERATIONS])
async def test_a_relay_go_agent_gets_the_old_name_and_the_same_params(
    attach: Attach, client: Client, name: str, old_name: str, params: dict[str, Any]
) -> None:
    agent = await attach(answering({"done": name}))
    assert result_of(await client.rpc(agent.id, name, params))["done"] == name
    call = await agent.next_call()
    assert (call.method, call.params) == (old_name, params)


@pytest.mark.capability("native-link")
@pytest.mark.capability("streaming")
@pytest.mark.parametrize(("name", "params"), [("message/stream", message("go")), ("tasks/resubscribe", {"id": "t-1"})])
async def test_03_streams(native: Attach, client: Client, name: str, params: dict[str, Any]) -> None:
    agent = await native()
    async with client.stream(f"{client.base(agent.id)}/", envelope(name, params, id=3)) as events:
        got = [event.json for event in await events.all()]
    assert len(got) == UPDATES + 1
    assert {answer["id"] for answer in got} == {3}
    call = await agent.next_call()
    assert (call.method, call.params, call.stream) == (name, params, True)


@pytest.mark.capability("native-link")
async def test_a_method_that_a2a_does_not_know_is_handed_to_the_agent(native: Attach, client: Client) -> None:
    agent = await native(answering({"extended": True}))
    assert result_of(await client.rpc(agent.id, "com.example/Ponder", {"x": 1})) == {"extended": True}
    call = await agent.next_call()
    assert (call.method, call.params) == ("com.example/Ponder", {"x": 1})


async def test_the_endpoint_answers_with_and_without_its_slash(attach: Attach, client: Client) -> None:
    agent = await attach()
    for path in (client.base(agent.id), f"{client.base(agent.id)}/"):
        result_of(await client.post(path, envelope("SendMessage", message("hi"))))
    assert len(agent.calls) == 2
