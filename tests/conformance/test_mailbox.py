"""A message to an agent that is away is kept: its sender gets a real Task, which works before the agent wakes."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from agents import Attach, Json
from behaviours import Worker, message
from clients import AT_ONCE, RELAY_FACTS, Client, MakeClient, envelope, error_info, error_of, result_of, until
from mail import get, queue, until_state

pytestmark = pytest.mark.capability("mailbox")

OLD_MESSAGE = {
    "message": {"kind": "message", "messageId": "m-1", "role": "user", "parts": [{"kind": "text", "text": "x"}]}
}
OLD_REST_MESSAGE = {"message": {"messageId": "m-1", "role": "ROLE_USER", "content": [{"text": "x"}]}}
UNKNOWN = "rly-AAAAAAAAAAAAAAAAAAAAAA"
SOON_SECONDS = 2.5
"""Sooner than a relay would answer that first waits for the agent."""


async def lists_nothing(client: Client, agent_id: str, **asked: Any) -> bool:
    """Whether no task of an agent that is away is listed: an empty list, or a word that only the agent could say so."""
    response = await client.rpc(agent_id, "ListTasks", asked)
    return response.status_code == 503 or result_of(response)["tasks"] == []


# what its sender is told


async def test_json_rpc_of_1_0_gets_a_submitted_task(client: Client, gone: str) -> None:
    response = await client.rpc(gone, "SendMessage", message("hi"), id="q", headers=AT_ONCE)
    assert response.json()["id"] == "q"
    task = result_of(response)["task"]
    assert task["status"]["state"] == "TASK_STATE_SUBMITTED"
    assert task["id"]
    assert task["contextId"]


async def test_json_rpc_of_0_3_gets_a_submitted_task(client: Client, gone: str) -> None:
    task = result_of(await client.rpc(gone, "message/send", OLD_MESSAGE, headers=AT_ONCE))
    assert (task["kind"], task["status"]["state"]) == ("task", "submitted")
    again = result_of(await client.rpc(gone, "tasks/get", {"id": task["id"]}))
    assert (again["kind"], again["id"], again["status"]["state"]) == ("task", task["id"], "submitted")


@pytest.mark.capability("a2a-1.0-rest")
async def test_rest_of_1_0_gets_a_submitted_task(client: Client, gone: str) -> None:
    response = await client.post(f"{client.base(gone)}/message:send", message("hi"), headers=AT_ONCE)
    assert response.status_code == 200
    task = response.json()["task"]
    assert task["status"]["state"] == "TASK_STATE_SUBMITTED"
    again = await client.get(f"{client.base(gone)}/tasks/{task['id']}")
    assert again.json()["status"] == task["status"]


@pytest.mark.capability("a2a-0.3-rest")
async def test_rest_of_0_3_gets_a_submitted_task_where_the_agent_serves_it(client: Client, native_gone: str) -> None:
    response = await client.post(f"{client.base(native_gone)}/v1/message:send", OLD_REST_MESSAGE, headers=AT_ONCE)
    assert response.status_code == 200, response.text
    task = response.json()["task"]
    assert task["status"]["state"] == "TASK_STATE_SUBMITTED"
    again = await client.get(f"{client.base(native_gone)}/v1/tasks/{task['id']}")
    assert (again.json()["id"], again.json()["status"]["state"]) == (task["id"], "TASK_STATE_SUBMITTED")


@pytest.mark.capability("a2a-0.3-rest")
async def test_rest_of_0_3_is_not_kept_for_an_agent_that_does_not_serve_it(client: Client, gone: str) -> None:
    response = await client.post(f"{client.base(gone)}/v1/message:send", OLD_REST_MESSAGE, headers=AT_ONCE)
    assert response.status_code == 501


async def test_the_plain_form_is_answered_as_relay_go_does_and_can_be_polled(
    attach: Attach, client: Client, gone: str
) -> None:
    response = await client.post(f"{client.base(gone)}/message/send", message("hi"), headers=AT_ONCE)
    assert response.status_code == 202
    queued = response.json()
    assert queued["status"] == "queued"
    poll = f"/t/{client.tenant}/tasks/{queued['task_id']}"
    assert (await client.get(poll)).json()["status"] == "queued"
    await attach(id=gone)

    async def is_completed() -> bool:
        return bool((await client.get(poll)).json()["status"] == "completed")

    await until(is_completed)
    assert "Echo: hi" in str((await client.get(poll)).json()["response"])


async def test_the_task_says_what_the_relay_knows_of_it(client: Client, gone: str) -> None:
    await queue(client, gone, "first")
    facts = (await queue(client, gone, "second"))["metadata"][RELAY_FACTS]
    assert facts["state"] == "queued"
    assert facts["position"] == 1
    assert facts["durability"] in ("disk", "memory")
    assert facts["queued_at"] < facts["expires_at"]
    assert facts["agent_last_seen_at"] <= facts["queued_at"]


async def test_a_context_that_is_given_is_kept(client: Client, gone: str) -> None:
    assert (await queue(client, gone, contextId="talk-1"))["contextId"] == "talk-1"


async def test_nothing_is_kept_for_an_agent_that_was_never_here(client: Client) -> None:
    response = await client.rpc("never-was", "SendMessage", message("hi"), headers=AT_ONCE)
    assert response.status_code == 404
    assert error_info(response)["reason"] == "AGENT_NOT_FOUND"


@pytest.mark.capability("native-link")
async def test_a_paused_agent_is_one_that_is_away(native: Attach, client: Client) -> None:
    agent = await native()
    await agent.send("agent.state", state="paused", reason="upstream_unavailable")
    await client.until_away(agent.id)
    task = await queue(client, agent.id)
    assert agent.calls == []
    await agent.send("agent.state", state="ready", reason="upstream is back")
    await until_state(client, agent.id, task["id"], "TASK_STATE_COMPLETED")


# how long it is waited for


@pytest.mark.parametrize(
    ("method", "configuration", "headers"),
    [
        ("SendMessage", {}, AT_ONCE),
        ("SendMessage", {"returnImmediately": True}, {}),
        ("message/send", {"blocking": False}, {}),
    ],
    ids=["Prefer: wait=0", "returnImmediately", "blocking: false"],
)
async def test_who_does_not_want_to_wait_is_answered_at_once(
    client: Client, gone: str, method: str, configuration: Json, headers: Json
) -> None:
    params = {**(message("hi") if method == "SendMessage" else OLD_MESSAGE), "configuration": configuration}
    response = await client.http.post(
        f"{client.base(gone)}/", content=envelope(method, params), headers=headers, timeout=SOON_SECONDS
    )
    result_of(response)


async def test_an_agent_that_comes_back_in_time_answers_itself(attach: Attach, client: Client, gone: str) -> None:
    sending = asyncio.create_task(client.rpc(gone, "SendMessage", message("hi"), headers={"Prefer": "wait=20"}))
    await asyncio.sleep(0.3)
    await attach(id=gone)
    assert "Echo: hi" in str(result_of(await sending)["message"])


@pytest.mark.parametrize("ttl", ["0", "-1", "soon", "1.5", ""])
async def test_a_ttl_that_is_none_is_refused(client: Client, gone: str, ttl: str) -> None:
    headers = {**AT_ONCE, "A2A-Relay-TTL": ttl}
    response = await client.post(f"{client.base(gone)}/message:send", message("hi"), headers=headers)
    assert response.status_code == 400


async def test_a_letter_whose_time_has_passed_fails_and_is_never_delivered(
    attach: Attach, client: Client, gone: str
) -> None:
    headers = {**AT_ONCE, "A2A-Relay-TTL": "1"}
    response = await client.rpc(gone, "SendMessage", message("now or never"), headers=headers)
    task = await until_state(client, gone, result_of(response)["task"]["id"], "TASK_STATE_FAILED")
    assert task["metadata"][RELAY_FACTS]["state"] == "expired"
    agent = await attach(id=gone)
    result_of(await client.rpc(gone, "SendMessage", message("later")))
    assert [call.text for call in agent.calls] == ["later"]


# before the agent wakes


async def test_its_task_can_be_got_and_listed(client: Client, gone: str) -> None:
    tasks = [await queue(client, gone, text, contextId="talk-1") for text in ("one", "two")]
    assert (await get(client, gone, tasks[0]["id"]))["id"] == tasks[0]["id"]
    listed = result_of(await client.rpc(gone, "ListTasks", {"contextId": "talk-1"}))
    assert {task["id"] for task in listed["tasks"]} == {task["id"] for task in tasks}
    assert listed["totalSize"] == 2
    assert await lists_nothing(client, gone, contextId="talk-2")


async def test_a_cancelled_letter_is_never_delivered(attach: Attach, client: Client, gone: str) -> None:
    task = await queue(client, gone, "never mind")
    canceled = result_of(await client.rpc(gone, "CancelTask", {"id": task["id"]}))
    assert canceled["status"]["state"] == "TASK_STATE_CANCELED"
    agent = await attach(id=gone)
    result_of(await client.rpc(gone, "SendMessage", message("hi")))
    assert [call.text for call in agent.calls] == ["hi"]
    again = await client.rpc(gone, "CancelTask", {"id": task["id"]})
    assert error_of(again)["code"] == -32002


@pytest.mark.capability("streaming")
async def test_who_subscribes_sees_it_cancelled(client: Client, gone: str) -> None:
    task = await queue(client, gone)
    body = envelope("SubscribeToTask", {"id": task["id"]})
    async with client.stream(f"{client.base(gone)}/", body) as events:
        assert (await events.next()).json["result"]["task"]["status"]["state"] == "TASK_STATE_SUBMITTED"
        await client.rpc(gone, "CancelTask", {"id": task["id"]})
        assert (await events.all())[-1].json["result"]["task"]["status"]["state"] == "TASK_STATE_CANCELED"


async def test_push_configs_wait_for_the_agent(client: Client, gone: str) -> None:
    task = await queue(client, gone)
    params = {"taskId": task["id"], "url": "https://example.com/hook"}
    response = await client.rpc(gone, "CreateTaskPushNotificationConfig", params)
    assert error_of(response)["code"] in (-32003, -32004)


# whose it is


async def test_a_task_of_another_caller_looks_like_one_that_is_not_there(make_client: MakeClient, gone: str) -> None:
    owner, other = make_client(), make_client()
    task = await queue(owner, gone)
    for method in ("GetTask", "CancelTask", "SubscribeToTask"):
        foreign, unknown = [await other.rpc(gone, method, {"id": id}) for id in (task["id"], UNKNOWN)]
        assert error_of(foreign)["code"] == -32001
        assert foreign.status_code == unknown.status_code
        assert error_of(foreign) == error_of(unknown)
    for path in (f"{other.base(gone)}/tasks/{task['id']}", f"/t/{other.tenant}/tasks/{task['id']}"):
        assert (await other.get(path)).status_code == 404
    assert await lists_nothing(other, gone)
    assert (await get(owner, gone, task["id"]))["status"]["state"] == "TASK_STATE_SUBMITTED"


async def test_a_context_of_another_caller_cannot_be_joined(make_client: MakeClient, gone: str) -> None:
    owner, other = make_client(), make_client()
    task = await queue(owner, gone)
    for fields in ({"contextId": task["contextId"]}, {"taskId": task["id"]}, {"referenceTaskIds": [task["id"]]}):
        response = await other.rpc(gone, "SendMessage", message("me too", **fields), headers=AT_ONCE)
        assert error_of(response)["code"] == -32001, fields


async def test_a_task_of_another_tenant_is_not_there(attach: Attach, make_client: MakeClient, gone: str) -> None:
    owner, stranger = make_client(), make_client(of="somebody-else")
    task = await queue(owner, gone)
    await attach(id=gone, of="somebody-else")
    assert error_of(await stranger.rpc(gone, "GetTask", {"id": task["id"]}))["code"] == -32001
    foreign = await stranger.get(f"/t/{owner.tenant}/tasks/{task['id']}")
    assert foreign.status_code in (403, 404)


# how much is kept


@pytest.mark.capability("mailbox-limit")
@pytest.mark.timeout(120)
async def test_a_full_mailbox_refuses_the_newest_and_says_when_to_come_again(client: Client, gone: str) -> None:
    refused = None
    for _ in range(32):
        sending = (client.rpc(gone, "SendMessage", message("hi"), headers=AT_ONCE) for _ in range(32))
        answers = await asyncio.gather(*sending)
        refused = next((answer for answer in answers if answer.status_code != 200), None)
        if refused is not None:
            break
    assert refused is not None, "a thousand letters were taken"
    assert refused.status_code == 429
    assert int(refused.headers["retry-after"]) >= 0
    assert error_info(refused)["reason"] == "MAILBOX_FULL"
    listed = result_of(await client.rpc(gone, "ListTasks", {"pageSize": 1}))
    limit = int(error_info(refused)["metadata"]["limit"])
    assert listed["totalSize"] == limit


# once the agent has it


async def test_a_letter_reaches_its_agent_byte_for_byte(attach: Attach, client: Client, gone: str) -> None:
    asked = '{"messageId":"m","contextId":"c","role":"ROLE_USER","parts":[{"text":"1"}]}'
    params = f'{{ "message":{asked},"big": 12345678901234567890}}'
    result_of(await client.rpc(gone, "SendMessage", params, headers=AT_ONCE))
    agent = await attach(id=gone)
    assert params in (await agent.next_call()).raw


async def test_an_answer_that_is_a_message_completes_the_task(attach: Attach, client: Client, gone: str) -> None:
    task = await queue(client, gone, "hi")
    await attach(id=gone)
    done = await until_state(client, gone, task["id"], "TASK_STATE_COMPLETED")
    assert done["contextId"] == task["contextId"]
    assert done["status"]["message"]["parts"] == [{"text": "Echo: hi"}]


async def test_an_answer_that_is_an_error_fails_the_task(attach: Attach, client: Client, gone: str) -> None:
    async def refuse(agent: Any, call: Any) -> None:
        await agent.fail(call, -32000, "I would rather not")

    task = await queue(client, gone, "hi")
    await attach(refuse, id=gone)
    failed = await until_state(client, gone, task["id"], "TASK_STATE_FAILED")
    assert "I would rather not" in str(failed["status"]["message"]["parts"])


@pytest.mark.parametrize("streams", [False, True], ids=["one answer", "stream"])
async def test_a_task_of_the_agents_own_is_told_under_the_relays_id(
    attach: Attach, native: Attach, client: Client, gone: str, streams: bool
) -> None:
    worker = Worker()
    task = await queue(client, gone, "hi")
    await (native if streams else attach)(worker, id=gone)
    done = await until_state(client, gone, task["id"], "TASK_STATE_COMPLETED")
    assert (done["id"], done["contextId"]) == (task["id"], task["contextId"])
    assert done["artifacts"][0]["parts"] == [{"text": "Echo: hi"}]
    assert "own-" not in str(done)
    assert worker.texts == ["hi"]


async def test_the_alias_stands_in_every_id_that_the_agent_is_sent(native: Attach, client: Client, gone: str) -> None:
    worker = Worker()
    task = await queue(client, gone, "hi")
    agent = await native(worker, id=gone)
    await until_state(client, gone, task["id"], "TASK_STATE_COMPLETED")
    worker.tasks["own-1"]["status"] = {"state": "TASK_STATE_INPUT_REQUIRED"}
    own = worker.tasks["own-1"]["contextId"]
    ids = {"taskId": task["id"], "contextId": task["contextId"], "referenceTaskIds": [task["id"]]}
    agent.calls.clear()

    answer = result_of(await client.rpc(gone, "SendMessage", message("more", **ids)))["task"]
    assert (answer["id"], answer["contextId"]) == (task["id"], task["contextId"])
    await client.get(f"{client.base(gone)}/tasks/{task['id']}")
    await client.rpc(gone, "ListTasks", {"contextId": task["contextId"]})
    await client.rpc(gone, "CreateTaskPushNotificationConfig", {"taskId": task["id"], "url": "https://example.com/h"})
    await client.post(f"{client.base(gone)}/tasks/{task['id']}:cancel", {})

    sent, got, listed, pushed, canceled = [call.params for call in agent.calls]
    assert sent["message"]["taskId"] == "own-1"
    assert sent["message"]["contextId"] == own
    assert sent["message"]["referenceTaskIds"] == ["own-1"]
    assert (got["id"], listed["contextId"], pushed["taskId"], canceled["id"]) == ("own-1", own, "own-1", "own-1")


@pytest.mark.capability("streaming")
async def test_a_stream_that_stays_sees_it_submitted_and_then_what_the_agent_streams(
    native: Attach, client: Client, gone: str
) -> None:
    worker = Worker(is_held=True)
    body = envelope("SendStreamingMessage", message("hi"), id="s")
    async with client.stream(f"{client.base(gone)}/", body, headers=AT_ONCE) as events:
        first = (await events.next()).json
        task = first["result"]["task"]
        assert (first["id"], task["status"]["state"]) == ("s", "TASK_STATE_SUBMITTED")
        await native(worker, id=gone)
        assert (await events.next()).json["result"]["task"]["status"]["state"] == "TASK_STATE_WORKING"
        worker.go.set()
        rest = [event.json["result"] for event in await events.all()]
    assert rest[0]["artifactUpdate"]["taskId"] == task["id"]
    assert rest[-1]["statusUpdate"]["status"]["state"] == "TASK_STATE_COMPLETED"
    assert "own-" not in str(rest)


@pytest.mark.capability("streaming")
async def test_who_left_the_stream_subscribes_and_sees_the_rest(native: Attach, client: Client, gone: str) -> None:
    worker = Worker(is_held=True)
    body = envelope("SendStreamingMessage", message("hi"))
    async with client.stream(f"{client.base(gone)}/", body, headers=AT_ONCE) as events:
        task = (await events.next()).json["result"]["task"]
    await native(worker, id=gone)
    await until_state(client, gone, task["id"], "TASK_STATE_WORKING")
    async with client.stream(f"{client.base(gone)}/tasks/{task['id']}:subscribe", verb="GET") as events:
        assert (await events.next()).json["task"]["status"]["state"] == "TASK_STATE_WORKING"
        worker.go.set()
        assert (await events.all())[-1].json["statusUpdate"]["status"]["state"] == "TASK_STATE_COMPLETED"
    ended = await client.rpc(gone, "SubscribeToTask", {"id": task["id"]})
    assert error_of(ended)["code"] == -32004


async def test_a_task_at_work_is_cancelled_at_its_agent(native: Attach, client: Client, gone: str) -> None:
    worker = Worker(is_held=True)
    task = await queue(client, gone)
    await native(worker, id=gone)
    await until_state(client, gone, task["id"], "TASK_STATE_WORKING")
    canceled = result_of(await client.rpc(gone, "CancelTask", {"id": task["id"]}))
    assert canceled["id"] == task["id"]  # its state may still be what it was: the agent has only just been asked
    await until_state(client, gone, task["id"], "TASK_STATE_CANCELED")


async def test_the_answer_stays_when_the_agent_is_away_again(attach: Attach, client: Client, gone: str) -> None:
    task = await queue(client, gone, "hi")
    agent = await attach(Worker(), id=gone)
    await until_state(client, gone, task["id"], "TASK_STATE_COMPLETED")
    await agent.close()
    await client.until_away(gone)
    assert (await get(client, gone, task["id"]))["artifacts"][0]["parts"] == [{"text": "Echo: hi"}]


# order


async def test_letters_of_one_context_are_delivered_one_after_the_other(
    native: Attach, client: Client, gone: str
) -> None:
    worker = Worker()
    texts = [str(number) for number in range(8)]
    tasks = [await queue(client, gone, text, contextId="talk-1") for text in texts]
    await native(worker, id=gone)
    await until_state(client, gone, tasks[-1]["id"], "TASK_STATE_COMPLETED")
    assert worker.texts == texts
    assert worker.most_at_work == 1


async def test_one_slow_conversation_does_not_hold_up_another(native: Attach, client: Client, gone: str) -> None:
    slow, quick = Worker(is_held=True), Worker()

    async def behave(agent: Any, call: Any) -> None:
        await (slow if "message" in call.params and call.text.startswith("slow") else quick)(agent, call)

    for text in ("slow one", "slow two"):
        await queue(client, gone, text, contextId="talk-1")
    other = await queue(client, gone, "quick", contextId="talk-2")
    await native(behave, id=gone)
    await until_state(client, gone, other["id"], "TASK_STATE_COMPLETED")
    assert slow.texts == ["slow one"]


async def test_a_call_to_an_agent_that_is_here_does_not_overtake_letters_of_its_context(
    native: Attach, client: Client, gone: str
) -> None:
    worker = Worker(is_held=True)
    first = await queue(client, gone, "first", contextId="talk-1")
    await native(worker, id=gone)
    await until_state(client, gone, first["id"], "TASK_STATE_WORKING")
    second = result_of(await client.rpc(gone, "SendMessage", message("second", contextId="talk-1")))["task"]
    assert second["status"]["state"] == "TASK_STATE_SUBMITTED"
    assert worker.texts == ["first"]
    worker.go.set()
    await until_state(client, gone, second["id"], "TASK_STATE_COMPLETED")
    assert worker.texts == ["first", "second"]


async def test_a_message_to_a_task_that_is_still_a_letter_follows_it(native: Attach, client: Client, gone: str) -> None:
    worker = Worker()
    task = await queue(client, gone, "first")
    result_of(await client.rpc(gone, "SendMessage", message("second", taskId=task["id"]), headers=AT_ONCE))
    agent = await native(worker, id=gone)

    async def both_have_come() -> bool:
        return worker.texts == ["first", "second"]

    await until(both_have_come)
    first, second = agent.calls[0], agent.calls[1]
    assert "taskId" not in first.params["message"]
    assert second.params["message"]["taskId"] == "own-1"


async def test_the_agents_list_names_the_task_as_its_sender_knows_it(native: Attach, client: Client, gone: str) -> None:
    task = await queue(client, gone)
    await native(Worker(), id=gone)
    await until_state(client, gone, task["id"], "TASK_STATE_COMPLETED")
    listed = result_of(await client.rpc(gone, "ListTasks", {}))["tasks"]
    assert [found["id"] for found in listed] == [task["id"]]
