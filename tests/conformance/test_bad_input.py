"""Bad input costs its own call and nothing else: a typed error, and link and relay live on."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from agents import Agent, Attach, Call
from behaviours import answering, echo, echo_of, message, silent
from clients import Client, RawAnswer, Relay, error_info, error_of, is_refused, raw_exchange, raw_request, result_of

MIB = 1024 * 1024


async def alive(client: Client, agent: Agent) -> None:
    """The relay still relays to this agent over this link."""
    agent.behaviour = echo
    result_of(await client.rpc(agent.id, "SendMessage", message("alive?")))


def nested(levels: int) -> str:
    """Params whose message holds arrays within arrays."""
    return json.dumps(message("deep"))[:-1] + ', "x": ' + "[" * levels + "]" * levels + "}"


@pytest.mark.capability("strict-input")
async def test_json_nested_too_deep_is_refused(native: Attach, client: Client) -> None:
    agent = await native()
    path = client.base(agent.id)
    for levels in (150, 5000, 200_000):
        assert (await client.post(f"{path}/message:send", nested(levels))).status_code == 400
        assert error_of(await client.rpc(agent.id, "SendMessage", nested(levels)))["code"] in (-32700, -32600, -32602)
    assert agent.calls == []
    assert (await client.post(f"{path}/message:send", nested(50))).status_code == 200
    await alive(client, agent)


AMBIGUOUS = [
    ("GetTask", '{"id":"a","id":"b"}'),
    ("GetTask", '{"ID":"a","id":"b"}'),
    ("CancelTask", '{"id":"a","Id":"a"}'),
    ("SendMessage", '{"message":{"taskId":"a","task_id":"b","parts":[]}}'),
    ("SendMessage", '{"message":{"taskId":"a","taskId":"b","parts":[]}}'),
    ("SendMessage", '{"message":{"context_id":"a","parts":[]}}'),
    ("SendMessage", '{"message":{"parts":[]},"message":{"taskId":"b","parts":[]}}'),
    ("SendMessage", '{"message":{"referenceTaskIds":["a"],"reference_task_ids":["b"],"parts":[]}}'),
    ("message/send", '{"message":{"TASKID":"a","parts":[]}}'),
    ("GetTask", '{"\\u0069d":"a","id":"b"}'),
]


@pytest.mark.capability("strict-input")
@pytest.mark.parametrize(("method", "params"), AMBIGUOUS)
async def test_a_field_that_can_be_read_in_two_ways_is_refused(
    native: Attach, client: Client, method: str, params: str
) -> None:
    agent = await native()
    response = await client.rpc(agent.id, method, params)
    assert response.status_code == 400
    assert error_info(response)["reason"] == "AMBIGUOUS_FIELD"
    assert agent.calls == []
    await alive(client, agent)


@pytest.mark.capability("strict-input")
@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("message:send", '{"message":{"taskId":"a","task_id":"b","parts":[]}}'),
        ("tasks/t-1:cancel", '{"id":"another"}'),
        ("tasks/t-1/pushNotificationConfigs", '{"taskId":"another","url":"https://example.com/"}'),
        ("branch/message:send", '{"tenant":"another","message":{"parts":[]}}'),
    ],
)
async def test_a_body_that_contradicts_its_path_is_refused(
    native: Attach, client: Client, path: str, body: str
) -> None:
    agent = await native()
    response = await client.post(f"{client.base(agent.id)}/{path}", body)
    assert response.status_code == 400
    assert error_info(response)["reason"] == "AMBIGUOUS_FIELD"
    assert agent.calls == []


@pytest.mark.capability("strict-input")
@pytest.mark.parametrize(
    "target",
    [
        "{base}%2Fx/",
        "{base}%00/",
        "{base}%5Cx/",
        "{base}/../{agent}/",
        "{base}/%2e%2e/{agent}/",
        "{base}/./",
        "/t/{tenant}//a2a/{agent}/",
        "/t/{tenant}/a2a/%252e/",
        "{base}/tasks/a%2Fb:cancel",
        "{base}/tasks/%252e%252e:cancel",
        "{base}/tasks/a%00b:cancel",
        "{base}/tasks/%ff:cancel",
    ],
)
async def test_a_target_that_two_readers_could_read_differently_is_refused(
    relay: Relay, native: Attach, client: Client, target: str
) -> None:
    agent = await native()
    target = target.format(base=client.base(agent.id), tenant=client.tenant, agent=agent.id)
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "SendMessage", "params": message("x")}).encode()
    answer = await raw_exchange(relay, raw_request(relay, "POST", target, str(client.token), body))
    assert answer.status in (400, 404)
    assert agent.calls == []
    await alive(client, agent)


@pytest.mark.capability("strict-input")
@pytest.mark.parametrize(
    "method",
    ["sendmessage", "SENDMESSAGE", "Message/Send", "SendMessage ", " SendMessage", "message/send\x00", "x" * 500],
)
async def test_a_name_that_only_resembles_a_method_is_not_found(native: Attach, client: Client, method: str) -> None:
    agent = await native()
    assert error_of(await client.rpc(agent.id, method, message("hi")))["code"] == -32601
    assert agent.calls == []


@pytest.mark.capability("strict-input")
@pytest.mark.parametrize("bad", [b"\xff", b"\xc3\x28", b"\xed\xa0\x80", b"\xf8\x88\x80\x80\x80"])
async def test_a_body_that_is_not_utf8_is_refused(native: Attach, client: Client, bad: bytes) -> None:
    agent = await native()
    body = b'{"jsonrpc":"2.0","id":1,"method":"SendMessage","params":{"message":{"parts":[{"text":"%b"}]}}}' % bad
    assert error_of(await client.post(f"{client.base(agent.id)}/", body))["code"] == -32700
    assert agent.calls == []
    await alive(client, agent)


@pytest.mark.capability("strict-input")
@pytest.mark.parametrize(
    "body",
    ["[]", "null", "7", '"text"', "[1]", '{"jsonrpc":"2.0","id":{},"method":"SendMessage"}', "\x00", "{" * 1000],
)
async def test_a_body_that_is_no_request_object_is_refused(native: Attach, client: Client, body: str) -> None:
    agent = await native()
    assert error_of(await client.post(f"{client.base(agent.id)}/", body))["code"] in (-32700, -32600)
    await alive(client, agent)


@pytest.mark.capability("strict-input")
@pytest.mark.parametrize(
    "result",
    ['{"a":}', "{", "[1,2", "nonsense", "[" * 300 + "]" * 300, '{"a":"\\x"}', '"tab\tinside"'],
    ids=["hole", "open", "cut", "bare word", "deep", "bad escape", "raw tab"],
)
async def test_an_answer_that_is_not_json_fails_its_call_at_once(native: Attach, client: Client, result: str) -> None:
    async def babble(agent: Agent, call: Call) -> None:
        await agent.answer_raw(call, result)

    agent = await native(babble)
    response = await asyncio.wait_for(client.rpc(agent.id, "SendMessage", message("hi"), id="b"), 3)
    assert error_info(response)["reason"] == "INVALID_AGENT_RESPONSE"
    assert response.json()["id"] == "b"
    await alive(client, agent)


@pytest.mark.capability("strict-input")
@pytest.mark.parametrize(
    "frame",
    ["not json", "[]", "null", "{}", '{"type":7}', '{"type":"a2a.response","payload":7}', '{"type":', "\u0000", ""],
)
async def test_a_frame_that_is_nonsense_does_not_cost_the_link(native: Attach, client: Client, frame: str) -> None:
    agent = await native()
    await agent.send_text(frame)
    await alive(client, agent)
    assert agent.received("relay.goaway") == 0


@pytest.mark.capability("strict-input")
async def test_a_binary_frame_does_not_cost_the_link(native: Attach, client: Client) -> None:
    agent = await native()
    await agent.link.send(b"\x00\xff")
    await alive(client, agent)


@pytest.mark.capability("strict-input")
@pytest.mark.capability("streaming")
@pytest.mark.parametrize("method", ["SendMessage", "SendStreamingMessage"])
async def test_frames_for_a_call_that_is_over_are_passed_over(native: Attach, client: Client, method: str) -> None:
    async def go_on(agent: Any, call: Call) -> None:
        await agent.answer(call, {"n": 1})
        await agent.event(call, 1, {"n": 2})
        await agent.end(call)
        await agent.answer(call, {"n": 3})

    agent = await native(go_on)
    response = await client.rpc(agent.id, method, message("hi"))
    assert '"n":1' in response.text.replace(" ", "")
    assert '"n":2' not in response.text.replace(" ", "")
    await alive(client, agent)


@pytest.mark.capability("strict-input")
@pytest.mark.capability("streaming")
async def test_an_event_that_is_not_json_ends_its_stream_with_an_error(native: Attach, client: Client) -> None:
    async def babble(agent: Any, call: Call) -> None:
        await agent.event(call, 1, {"n": 1})
        await asyncio.sleep(0.1)
        await agent.event_raw(call, 2, '{"n":')

    agent = await native(babble)
    async with client.stream(f"{client.base(agent.id)}/message:stream", message("go")) as events:
        first, last = await events.all()
    assert (first.json, last.name) == ({"n": 1}, "error")
    await alive(client, agent)


@pytest.mark.capability("strict-input")
async def test_a_result_that_is_neither_result_nor_error_fails_its_call(native: Attach, client: Client) -> None:
    async def shrug(agent: Agent, call: Call) -> None:
        await agent.send("a2a.response", id=call.id)

    agent = await native(shrug)
    response = await asyncio.wait_for(client.rpc(agent.id, "SendMessage", message("hi")), 3)
    assert error_of(response)["code"]
    await alive(client, agent)


@pytest.mark.capability("body-limit")
async def test_a_body_over_the_limit_is_refused_before_it_is_sent(native: Attach, client: Client, relay: Relay) -> None:
    agent = await native()
    limit = agent.welcome["max_body"]
    for path in ("/", "/message:send"):
        request = raw_request(relay, "POST", client.base(agent.id) + path, str(client.token))
        request = request.replace(b"Content-Length: 0", b"Content-Length: %d" % (limit + 1))
        assert (await raw_exchange(relay, request)).status == 413
    assert agent.calls == []
    await alive(client, agent)


@pytest.mark.capability("body-limit")
async def test_a_body_just_under_the_limit_passes(native: Attach, client: Client) -> None:
    agent = await native(max_frame=64 * MIB)
    text = "x" * (agent.welcome["max_body"] - 1024)
    result = result_of(await client.rpc(agent.id, "SendMessage", message(text)))
    assert len(result["message"]["parts"][0]["text"]) == len("Echo: ") + len(text)


@pytest.mark.capability("frame-limit")
async def test_a_call_larger_than_an_agents_frames_is_refused_and_costs_no_link(
    attach: Attach, native: Attach, client: Client
) -> None:
    for agent in (await attach(), await native(max_frame=MIB)):
        big = message("x" * (MIB + MIB // 2))
        response = await client.rpc(agent.id, "SendMessage", big)
        assert response.status_code == 413
        assert error_info(response)["reason"] == "AGENT_FRAME_LIMIT"
        assert agent.calls == []
        await alive(client, agent)


@pytest.mark.capability("in-flight-limit")
async def test_an_agent_with_too_many_calls_in_hand_is_said_to_be_busy(
    native: Attach, client: Client, relay: Relay
) -> None:
    agent = await native(silent)
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "SendMessage", "params": message("x")}).encode()
    request = raw_request(relay, "POST", f"{client.base(agent.id)}/", str(client.token), body)
    calls = [asyncio.create_task(raw_exchange(relay, request)) for _ in range(300)]
    done, _ = await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED, timeout=30)
    (busy, *_) = [task.result() for task in done]
    assert busy.status == 429
    assert int(busy.headers["retry-after"]) >= 0
    assert busy.json()["error"]["data"][0]["reason"] == "AGENT_BUSY"
    while len(agent.calls) + sum(task.done() for task in calls) < len(calls):
        await asyncio.sleep(0.05)
    for call in agent.calls:
        await agent.answer(call, echo_of(call))
    answers: list[RawAnswer] = await asyncio.gather(*calls)
    assert sum(answer.status == 200 for answer in answers) == len(agent.calls) < len(calls)
    await alive(client, agent)


MALFORMED = {
    "words": b"nonsense\r\n\r\n",
    "length": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: minus one\r\n\r\n",
    "two lengths": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunk": b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nnot a size\r\n",
    "header": b"GET / HTTP/1.1\r\nHost: x\r\nno colon here\r\n\r\n",
    "long target": b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
}
# Well-formed, so that an HTTP server may also be patient with them.
UNREASONABLE = {
    "version": b"GET / HTTP/9.9\r\nHost: x\r\n\r\n",
    "big header": b"GET / HTTP/1.1\r\nHost: x\r\nX-Big: " + b"a" * 1_000_000 + b"\r\n\r\n",
    "many headers": b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 10_000 + b"\r\n",
}


async def status_of(relay: Relay, request: bytes) -> int | None:
    """The status that bytes on a connection get; None when the relay hangs up on them."""
    try:
        return (await raw_exchange(relay, request, within=30)).status
    except (OSError, EOFError):
        return None


@pytest.mark.capability("strict-input")
@pytest.mark.parametrize("request_bytes", MALFORMED.values(), ids=MALFORMED)
async def test_malformed_http_is_refused_or_hung_up_on(
    relay: Relay, native: Attach, client: Client, request_bytes: bytes
) -> None:
    agent = await native()
    status = await status_of(relay, request_bytes)
    assert status is None or 400 <= status < 506
    await alive(client, agent)


@pytest.mark.capability("strict-input")
@pytest.mark.parametrize("request_bytes", UNREASONABLE.values(), ids=UNREASONABLE)
async def test_unreasonable_http_costs_nobody_else_anything(
    relay: Relay, native: Attach, client: Client, request_bytes: bytes
) -> None:
    agent = await native()
    status = await status_of(relay, request_bytes)
    assert status is None or status == 200 or 400 <= status < 506
    await alive(client, agent)


@pytest.mark.parametrize("path", ["/t", "/t/", "/t/x/y/z", "/agent-not", "/t/x/a2a/"])
async def test_unknown_paths_are_404(client: Client, path: str) -> None:
    assert (await client.get(path)).status_code == 404


async def test_an_empty_body_is_an_error_and_the_agent_is_not_called(attach: Attach, client: Client) -> None:
    agent = await attach(answering({}))
    response = await client.http.post(f"{client.base(agent.id)}/message/send")
    assert response.status_code == 400
    assert is_refused(await client.http.post(f"{client.base(agent.id)}/"))
    assert agent.calls == []


async def test_a_kind_word_after_many_bad_ones_is_still_heard(attach: Attach, client: Client) -> None:
    agent = await attach()
    bad: list[Any] = ["{", "", "null", "[]", "\x00", '{"jsonrpc":"2.0"}']
    for body in bad:
        await client.post(f"{client.base(agent.id)}/", body)
    await alive(client, agent)
