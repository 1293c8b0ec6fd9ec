"""The agent link: relay-go's frames, the native dialect, openclaw's, and what crosses as bytes."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest

from agents import Agent, Attach, Call, NativeAgent, OpenclawAgent, Refusal, card
from behaviours import answering, echo, message, silent, streaming
from clients import Client, Relay, envelope, error_of, result_of, unique

ODD = (
    '{ "zz":{"b":1,"a":2} , "message":\t{"messageId":"m","role":"ROLE_USER","parts":[{"text":"Grüße 🦊 \\ud83e\\udd8a'
    ' lone \\ud800 \\u0041 \\/ 漢字"}], "unknown" : [9007199254740993, 18446744073709551615, -0, 1.50, 1E+2, 0.1e-3]},'
    '"empty" : {} , "nothing":null,"list":[ ] }'
)


async def test_auth_ok_names_agent_and_tenant(attach: Attach, tenant: str) -> None:
    agent = await attach(id="someone")
    assert (agent.welcome["type"], agent.welcome["agent_id"], agent.welcome["tenant"]) == ("auth_ok", "someone", tenant)


async def test_auth_ok_is_the_first_frame_also_while_clients_are_calling(attach: Attach, client: Client) -> None:
    id = unique("busy")
    first = await attach(id=id)
    calling = True

    async def call_on() -> None:
        while calling:
            await client.http.get("/health")
            await asyncio.sleep(0)

    caller = asyncio.create_task(call_on())
    await first.close()
    await client.until_away(id)
    again = await attach(id=id)
    calling = False
    await caller
    assert again.welcome["type"] == "auth_ok"


async def test_a_request_frame_has_relay_gos_shape(attach: Attach, client: Client) -> None:
    agent = await attach()
    await client.rpc(agent.id, "SendMessage", message("hi"))
    call = await agent.next_call()
    assert json.loads(call.raw)["type"] == "a2a.request"
    assert {"id", "method", "params", "timeout_ms"} <= call.payload.keys()


async def test_frames_that_mean_nothing_are_passed_over(attach: Attach, client: Client) -> None:
    agent = await attach()
    await agent.send("a2a.response", id="nobody-asked", result={})
    await agent.send("never.heard.of", x=1)
    await agent.send_text('{"type":"a2a.response"}')
    result_of(await client.rpc(agent.id, "SendMessage", message("hi")))


async def test_a_second_answer_to_one_call_is_passed_over(attach: Attach, client: Client) -> None:
    async def twice(agent: Agent, call: Call) -> None:
        await agent.answer(call, {"n": 1})
        await agent.answer(call, {"n": 2})

    agent = await attach(twice)
    for _ in range(3):
        assert result_of(await client.rpc(agent.id, "SendMessage", message("hi"))) == {"n": 1}


@pytest.mark.capability("native-link")
async def test_auth_ok_of_a_native_link_tells_session_heartbeat_limits_and_urls(native: Attach, client: Client) -> None:
    first, second = await native(), await native()
    for agent in (first, second):
        welcome = agent.welcome
        assert welcome["protocol"] == "a2a-relay/1"
        assert welcome["heartbeat_seconds"] > 0
        assert welcome["max_frame"] > welcome["max_body"] > 0
        for binding in ("JSONRPC", "HTTP+JSON"):
            assert welcome["public_urls"][binding].rstrip("/").endswith(client.base(agent.id))
    assert first.welcome["session"] != second.welcome["session"]


@pytest.mark.capability("native-link")
async def test_a_native_request_keeps_the_clients_method_and_says_whether_it_streams(
    native: Attach, client: Client
) -> None:
    agent = await native()
    await client.rpc(agent.id, "SendMessage", message("hi"))
    call = await agent.next_call()
    assert (call.method, call.params) == ("SendMessage", message("hi"))
    assert call.payload["stream"] is False
    assert call.payload["timeout_ms"] > 0
    assert isinstance(call.meta["sender"], dict)


@pytest.mark.capability("native-link")
@pytest.mark.capability("streaming")
async def test_a_native_stream_is_asked_for_with_a_window(native: Attach, client: Client) -> None:
    agent = await native()
    await client.rpc(agent.id, "SendStreamingMessage", message("hi"))
    call = await agent.next_call()
    assert call.payload["stream"] is True
    assert call.payload["window"]["events"] > 0
    assert call.payload["window"]["bytes"] > 0


@pytest.mark.capability("native-link")
async def test_the_sender_is_who_the_token_says(native: Attach, client: Client, make_client: Any, relay: Relay) -> None:
    agent = await native()
    named = make_client(relay.token(tenant=client.tenant, user_id="alice", role="client"))
    await named.rpc(agent.id, "SendMessage", message("hi"))
    assert "alice" in json.dumps((await agent.next_call()).meta["sender"])


@pytest.mark.capability("native-link")
async def test_a_probe_is_answered_in_kind(native: Attach) -> None:
    agent = await native()
    await agent.send("relay.probe", id="mine-1")
    assert await agent.next_frame("relay.probe") == {"type": "relay.probe", "payload": {"id": "mine-1"}}


@pytest.mark.capability("native-link")
async def test_goaway_is_not_said_to_an_agent_that_may_stay(native: Attach, client: Client) -> None:
    agent = await native()
    for n in range(10):
        await client.rpc(agent.id, "SendMessage", message(f"n{n}"))
    await agent.send("ping")
    await agent.next_frame("pong")
    assert agent.received("relay.goaway") == 0


@pytest.mark.capability("native-link")
async def test_an_agent_is_told_when_nobody_waits_for_its_answer_any_more(native: Attach, client: Client) -> None:
    agent = await native(silent)
    with pytest.raises(httpx.ReadTimeout):
        await client.http.post(f"{client.base(agent.id)}/", content=envelope("SendMessage", message("hi")), timeout=0.5)
    cancel = await agent.next_frame("a2a.cancel")
    assert cancel["payload"]["id"] == (await agent.next_call()).id


@pytest.mark.capability("service-headers")
async def test_service_headers_travel_and_credentials_do_not(native: Attach, client: Client) -> None:
    agent = await native()
    sent = {
        "A2A-Version": "1.0",
        "A2A-Extensions": "https://acme.example/ext/1, https://acme.example/ext/2",
        "A2A-Something-New": "seven",
        "Cookie": "session=cookie-secret",
        "X-Private": "private-secret",
    }
    for path, body in (("/message:send", message("hi")), ("/", None)):
        if body is None:
            await client.rpc(agent.id, "SendMessage", message("hi"), headers=sent)
        else:
            await client.post(client.base(agent.id) + path, body, headers=sent)
        call = await agent.next_call()
        assert call.meta["version"] == "1.0"
        assert "https://acme.example/ext/1" in call.meta["extensions"]
        assert "https://acme.example/ext/2" in call.meta["extensions"]
        assert call.meta["headers"]["a2a-something-new"] == "seven"
        for secret in (str(client.token), "cookie-secret", "private-secret", "authorization"):
            assert secret not in call.raw


@pytest.mark.capability("openclaw")
async def test_openclaw_gets_a_whole_json_rpc_request_as_params(attach: Attach, client: Client) -> None:
    agent = await attach(kind=OpenclawAgent, agent_card=card(url="a2a-relay://relay.example/t/acme/claw"))
    result = result_of(await client.rpc(agent.id, "SendMessage", message("claw"), id="c"))
    assert result["message"]["parts"] == [{"text": "Echo: claw"}]
    rest = await client.post(f"{client.base(agent.id)}/message:send", message("claw"))
    assert rest.json()["message"]["parts"] == [{"text": "Echo: claw"}]
    for _ in range(2):
        inner = (await agent.next_call()).params
        assert (inner["jsonrpc"], inner["method"], inner["params"]) == ("2.0", "message/send", message("claw"))
        assert inner["id"]


@pytest.mark.capability("openclaw")
async def test_openclaw_is_refused_in_its_own_words(relay: Relay) -> None:
    with pytest.raises(Refusal) as refused:
        await OpenclawAgent.attach(relay.ws_url, "garbage", echo, card(url="a2a-relay://relay.example/t/a/b"))
    assert refused.value.frame is not None
    assert refused.value.frame["type"] == "auth_error"
    assert refused.value.frame["error"]


BINDINGS = [
    pytest.param(kind, path, id=f"{kind} {path}") for kind in ("relay-go", "native") for path in ("/", "/message:send")
]


async def odd_agent(kind: str, attach: Attach, behaviour: Any, **fields: Any) -> Any:
    """An agent of a dialect."""
    return await attach(behaviour, kind=NativeAgent if kind == "native" else Agent, **fields)


def odd_body(path: str, params: str) -> str:
    """Params as a request of the binding that a path belongs to."""
    return f'{{"jsonrpc":"2.0","id":1,"method":"SendMessage","params":{params}}}' if path == "/" else params


@pytest.mark.capability("byte-transparency")
@pytest.mark.parametrize(("kind", "path"), BINDINGS)
async def test_params_reach_the_agent_byte_for_byte(attach: Attach, client: Client, kind: str, path: str) -> None:
    agent = await odd_agent(kind, attach, answering({}))
    response = await client.post(client.base(agent.id) + path, odd_body(path, ODD))
    assert response.status_code == 200, response.text
    assert ODD in (await agent.next_call()).raw


@pytest.mark.capability("byte-transparency")
@pytest.mark.parametrize(("kind", "path"), BINDINGS)
async def test_results_reach_the_client_byte_for_byte(attach: Attach, client: Client, kind: str, path: str) -> None:
    agent = await odd_agent(kind, attach, answering(ODD))
    response = await client.post(client.base(agent.id) + path, odd_body(path, json.dumps(message("hi"))))
    assert response.status_code == 200
    if path == "/":
        assert ODD.encode() in response.content
    else:
        assert response.content == ODD.encode()


@pytest.mark.capability("byte-transparency")
@pytest.mark.parametrize(("kind", "path"), BINDINGS)
async def test_a_megabyte_of_text_passes_both_ways(attach: Attach, client: Client, kind: str, path: str) -> None:
    text = "Straße 🦊 \\ud800 " * (1024 * 1024 // 22)
    params = f'{{"message":{{"messageId":"m","role":"ROLE_USER","parts":[{{"text":"{text}"}}]}}}}'
    agent = await odd_agent(kind, attach, answering(params), max_frame=8 * 1024 * 1024)
    response = await client.post(client.base(agent.id) + path, odd_body(path, params))
    assert response.status_code == 200
    assert params.encode() in response.content
    assert params in (await agent.next_call()).raw


@pytest.mark.capability("byte-transparency")
@pytest.mark.capability("streaming")
@pytest.mark.parametrize("path", ["/", "/message:stream"])
async def test_stream_events_reach_the_client_byte_for_byte(native: Attach, client: Client, path: str) -> None:
    event = ODD.replace("\t", "")
    agent = await native(streaming(event, event))
    body = odd_body(path, ODD).replace('"SendMessage"', '"SendStreamingMessage"')
    async with client.stream(client.base(agent.id) + path, body) as events:
        got = await events.all()
    assert len(got) == 2
    assert all(event in one.data for one in got)
    assert ODD in (await agent.next_call()).raw


@pytest.mark.capability("byte-transparency")
@pytest.mark.parametrize("id", ['"\\u0041 / \\/ 🦊"', "9007199254740993", '""'])
async def test_the_json_rpc_id_comes_back_byte_for_byte(attach: Attach, client: Client, id: str) -> None:
    agent = await attach()
    body = f'{{"jsonrpc":"2.0","params":{json.dumps(message("hi"))},"id":{id},"method":"SendMessage"}}'
    response = await client.post(f"{client.base(agent.id)}/", body)
    assert id.encode() in response.content
    response = await client.post(f"{client.base(agent.id)}/", body.replace('"2.0"', '"1.0"'))
    assert error_of(response)["code"] == -32600
