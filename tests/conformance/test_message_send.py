"""A message reaches its agent and the answer comes back, over JSON-RPC and relay-go's plain path."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from agents import Agent, Attach, Call
from behaviours import answering, echo, failing, message
from clients import Client, envelope, error_of, result_of

# relay-go's names for what JSON-RPC calls by A2A 1.0's.
RELAY_GO_NAMES = {
    "SendMessage": "message/send",
    "GetTask": "tasks/get",
    "ListTasks": "tasks/list",
    "CancelTask": "tasks/cancel",
}


async def test_an_agent_echoes_a_message(attach: Attach, client: Client) -> None:
    agent = await attach()
    result = result_of(await client.rpc(agent.id, "SendMessage", message("hello")))
    assert result["message"]["parts"] == [{"text": "Echo: hello"}]


@pytest.mark.parametrize("method", RELAY_GO_NAMES)
async def test_a_relay_go_agent_is_called_by_relay_go_names(attach: Attach, client: Client, method: str) -> None:
    agent = await attach(answering({"state": "done"}))
    params: Any = message("hi") if method == "SendMessage" else {"id": "task-7"} if method != "ListTasks" else {}
    assert result_of(await client.rpc(agent.id, method, params)) == {"state": "done"}
    call = await agent.next_call()
    assert call.method == RELAY_GO_NAMES[method]
    assert call.params == params


@pytest.mark.parametrize("id", [0, 1, -3, 2**31, "a string", "ünïcode"])
async def test_the_answer_carries_the_clients_own_id(attach: Attach, client: Client, id: Any) -> None:
    agent = await attach()
    response = await client.rpc(agent.id, "SendMessage", message("hi"), id=id)
    assert response.json()["id"] == id
    assert response.headers["content-type"].startswith("application/json")


async def test_the_agent_sees_an_id_of_the_relay_and_not_the_clients(attach: Attach, client: Client) -> None:
    agent = await attach()
    for _ in range(2):
        result_of(await client.rpc(agent.id, "SendMessage", message("hi"), id="mine"))
    first, second = [(await agent.next_call()).id for _ in range(2)]
    assert isinstance(first, str)
    assert len({first, second, "mine"}) == 3


async def test_the_agent_is_told_how_long_the_client_will_wait(attach: Attach, client: Client) -> None:
    agent = await attach()
    await client.rpc(agent.id, "SendMessage", message("hi"))
    assert (await agent.next_call()).payload["timeout_ms"] > 0


async def test_params_may_be_missing(attach: Attach, client: Client) -> None:
    agent = await attach(answering({"tasks": []}))
    body = '{"jsonrpc":"2.0","id":1,"method":"ListTasks"}'
    assert result_of(await client.post(f"{client.base(agent.id)}/", body)) == {"tasks": []}
    assert (await agent.next_call()).params in ({}, None)


async def test_answers_find_their_callers_in_whatever_order_they_come(attach: Attach, client: Client) -> None:
    held: list[Call] = []

    async def last_first(agent: Agent, call: Call) -> None:
        held.append(call)
        if len(held) == 5:
            for waiting in reversed(held):
                await echo(agent, waiting)

    agent = await attach(last_first)
    calls = (client.rpc(agent.id, "SendMessage", message(f"n{n}"), id=n) for n in range(5))
    for n, response in enumerate(await asyncio.gather(*calls)):
        assert response.json()["id"] == n
        assert result_of(response)["message"]["parts"][0]["text"] == f"Echo: n{n}"


async def test_an_agents_error_is_the_clients_error(attach: Attach, client: Client) -> None:
    agent = await attach(failing(-32001, "no such task"))
    error = error_of(await client.rpc(agent.id, "GetTask", {"id": "gone"}, id="q"))
    assert (error["code"], error["message"]) == (-32001, "no such task")


async def test_relay_gos_plain_path_takes_params_and_answers_the_bare_result(attach: Attach, client: Client) -> None:
    agent = await attach()
    response = await client.post(f"{client.base(agent.id)}/message/send", message("plain"))
    assert response.status_code == 200
    assert response.json()["message"]["parts"] == [{"text": "Echo: plain"}]
    call = await agent.next_call()
    assert (call.method, call.params) == ("message/send", message("plain"))


async def test_the_root_endpoint_reaches_the_tenants_only_agent(attach: Attach, client: Client) -> None:
    agent = await attach()
    response = await client.post("/", envelope("SendMessage", message("root")))
    assert result_of(response)["message"]["parts"] == [{"text": "Echo: root"}]
    assert len(agent.calls) == 1


async def test_a_quarter_megabyte_of_text_passes(attach: Attach, client: Client) -> None:
    agent = await attach()
    text = "0123456789abcde\n" * 16384
    result = result_of(await client.rpc(agent.id, "SendMessage", message(text)))
    assert result["message"]["parts"][0]["text"] == f"Echo: {text}"
