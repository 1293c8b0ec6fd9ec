"""JSON-RPC's own errors, and an agent's errors with all they carry."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from agents import Agent, Attach, Call
from behaviours import failing, message, silent
from clients import Client, error_info, error_of

DATA = '{"z":1,"a":[9007199254740993,-0,1.50],"emoji":"🦊","lone":"\\ud800", "n":null}'


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("not json", -32700),
        ('{"jsonrpc":"2.0","id":1,"method":"SendMessage"', -32700),
        ("", -32700),
        ('{"jsonrpc":"1.0","id":1,"method":"SendMessage","params":{}}', -32600),
        ('{"id":1,"method":"SendMessage","params":{}}', -32600),
        ('{"jsonrpc":"2.0","method":"SendMessage","params":{}}', -32600),
        ('{"jsonrpc":"2.0","id":1,"params":{}}', -32600),
        ('{"jsonrpc":"2.0","id":1,"method":"","params":{}}', -32600),
    ],
)
async def test_what_is_not_a_json_rpc_request_is_said_so(attach: Attach, client: Client, body: str, code: int) -> None:
    agent = await attach()
    response = await client.post(f"{client.base(agent.id)}/", body)
    assert response.json()["jsonrpc"] == "2.0"
    assert error_of(response)["code"] == code
    assert agent.calls == []


async def test_a_parse_error_has_no_id_and_an_invalid_request_has_its_own(attach: Attach, client: Client) -> None:
    agent = await attach()
    path = f"{client.base(agent.id)}/"
    assert (await client.post(path, "{")).json()["id"] is None
    assert (await client.post(path, '{"jsonrpc":"1.0","id":"x","method":"SendMessage"}')).json()["id"] == "x"


@pytest.mark.parametrize("code", [-32001, -32002, -32004, -32602, -32603, -32042, 7])
async def test_an_agents_error_code_and_message_arrive(attach: Attach, client: Client, code: int) -> None:
    agent = await attach(failing(code, 'it said "no" – ünd mehr'))
    error = error_of(await client.rpc(agent.id, "SendMessage", message("hi")))
    assert (error["code"], error["message"]) == (code, 'it said "no" – ünd mehr')


@pytest.mark.capability("error-data")
async def test_an_agents_error_arrives_byte_for_byte_with_its_data(attach: Attach, client: Client) -> None:
    error = f'{{"code":-32042,"message":"no","data":{DATA},"extra":[1,2]}}'

    async def fail(agent: Agent, call: Call) -> None:
        await agent.send_text(f'{{"type":"a2a.response","payload":{{"id":"{call.id}","error":{error}}}}}')

    agent = await attach(fail)
    response = await client.rpc(agent.id, "SendMessage", message("hi"))
    assert error.encode() in response.content


@pytest.mark.capability("error-data")
async def test_details_of_an_agents_error_are_the_details_of_the_rest_error(attach: Attach, client: Client) -> None:
    info = {
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": "TASK_NOT_FOUND",
        "domain": "a2a-protocol.org",
        "metadata": {"shelf": "3"},
    }
    agent = await attach(failing(-32001, "no such task", data=[info]))
    response = await client.get(f"{client.base(agent.id)}/tasks/gone")
    assert response.status_code == 404
    assert error_of(response)["message"] == "no such task"
    assert error_info(response) == info


@pytest.mark.capability("a2a-1.0-rest")
@pytest.mark.parametrize(
    ("code", "http_status", "status", "reason"),
    [
        (-32001, 404, "NOT_FOUND", "TASK_NOT_FOUND"),
        (-32002, 400, "FAILED_PRECONDITION", "TASK_NOT_CANCELABLE"),
        (-32003, 400, "FAILED_PRECONDITION", "PUSH_NOTIFICATION_NOT_SUPPORTED"),
        (-32004, 400, "FAILED_PRECONDITION", "UNSUPPORTED_OPERATION"),
        (-32005, 400, "INVALID_ARGUMENT", "CONTENT_TYPE_NOT_SUPPORTED"),
        (-32006, 500, "INTERNAL", "INVALID_AGENT_RESPONSE"),
        (-32007, 400, "FAILED_PRECONDITION", "EXTENDED_AGENT_CARD_NOT_CONFIGURED"),
        (-32008, 400, "FAILED_PRECONDITION", "EXTENSION_SUPPORT_REQUIRED"),
        (-32009, 400, "FAILED_PRECONDITION", "VERSION_NOT_SUPPORTED"),
    ],
)
async def test_rest_errors_are_google_rpc_status(
    attach: Attach, client: Client, code: int, http_status: int, status: str, reason: str
) -> None:
    agent = await attach(failing(code, "because"))
    response = await client.post(f"{client.base(agent.id)}/message:send", message("hi"))
    error: dict[str, Any] = error_of(response)
    assert response.status_code == http_status
    assert (error["code"], error["status"], error["message"]) == (http_status, status, "because")
    assert error_info(response)["reason"] == reason
    assert "json" in response.headers["content-type"]


@pytest.mark.capability("error-data")
async def test_a_call_fails_at_once_when_its_agent_goes(attach: Attach, client: Client) -> None:
    agent = await attach(silent)
    waiting = asyncio.create_task(client.rpc(agent.id, "SendMessage", message("hi"), id="w"))
    await agent.next_call()
    await agent.link.close()
    response = await waiting
    assert response.json()["id"] == "w"
    assert error_info(response)["reason"] == "AGENT_DISCONNECTED"
