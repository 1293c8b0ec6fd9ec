"""An agent behind HTTP: what it hears, and what is made of its answers."""

from __future__ import annotations

import asyncio
import json
import socket
from pathlib import Path
from typing import Any

import pytest
from small_agents import EVENTS, Agent, Output, failure, request

from a2a_relay.connector import cards
from a2a_relay.connector.asgi import AppUpstream, AsgiTransport
from a2a_relay.connector.refused import ConnectorRefused
from a2a_relay.connector.upstream import UpstreamDown
from a2a_relay.connector.upstream_http import HttpUpstream
from a2a_relay.errors import Reason
from a2a_relay.wire.frames import Rest


def card_of(*interfaces: tuple[str, str, str]) -> bytes:
    entries = [
        {"url": url, "protocolBinding": binding, "protocolVersion": version} for url, binding, version in interfaces
    ]
    return json.dumps({"name": "x", "supportedInterfaces": entries}).encode()


RPC = ("http://10.0.0.5:22/rpc", "JSONRPC", "1.0")
REST = ("http://10.0.0.5:22/api", "HTTP+JSON", "1.0")
OLD_REST = ("http://10.0.0.5:22/old", "HTTP+JSON", "0.3")


async def served(agent: Agent, *interfaces: tuple[str, str, str]) -> AppUpstream:
    agent.card = card_of(*interfaces) if interfaces else None
    upstream = AppUpstream(agent)
    await upstream.start()
    await upstream.read_card()
    agent.heard.clear()
    return upstream


def reason(error: bytes) -> str:
    return str(json.loads(error)["data"][0]["reason"])


async def test_a_result_comes_back_as_the_bytes_it_was() -> None:
    result = b'{"z":1.10,"big":12345678901234567890, "t":"\\ud83d"}'
    agent = Agent(parts=[b'{"jsonrpc":"2.0","result":', result, b',"id":"1"}'])
    upstream, output = await served(agent, RPC), Output()
    await upstream.call(request(params=b'{"a":1.0}'), output)
    assert output.answers == [(result, None, {})]
    (heard,) = agent.heard
    assert (heard.verb, heard.target) == ("POST", "/rpc")
    assert heard.body == b'{"jsonrpc":"2.0","id":"1","method":"SendMessage","params":{"a":1.0}}'


async def test_an_error_comes_back_with_its_data() -> None:
    error = b'{"code":-32001,"message":"Task not found","data":[{"x":1.50}]}'
    agent = Agent(parts=[b'{"jsonrpc":"2.0","id":"1","error":' + error + b"}"])
    assert await failure(await served(agent, RPC), request()) == error


async def test_the_agent_hears_service_headers_trace_and_sender_and_nothing_of_the_relay() -> None:
    meta = {
        "sender": {"identity": "ali\u00e9\r\nx: y"},
        "version": "1.0",
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "headers": {
            "a2a-extensions": "https://x/y",
            "a2a-relay-sender": "mallory",
            "authorization": "Bearer stolen",
            "a2a-bad": "x\r\ny: z",
        },
    }
    agent = Agent(
        headers=((b"content-type", b"application/json"), (b"a2a-extensions", b"https://x/y"), (b"x-other", b"1"))
    )
    upstream, output = await served(agent, RPC), Output()
    await upstream.call(request(meta=meta), output)
    heard = agent.heard[0].headers
    assert heard["a2a-version"] == "1.0"
    assert heard["a2a-extensions"] == "https://x/y"
    assert heard["traceparent"].startswith("00-0af")
    assert heard["a2a-relay-sender"] == "ali%C3%A9%0D%0Ax: y"
    assert not heard.keys() & {"authorization", "a2a-bad", "cookie"}
    assert output.answers[0][2] == {"a2a-extensions": "https://x/y"}


async def test_the_agent_hears_what_the_relay_says_of_a_letter() -> None:
    told = {"letter": "rly-1", "attempt": 2, "queued_at": "2026-11-20T08:00:00.000Z", "task_id": "rly-1"}
    agent = Agent()
    upstream = await served(agent, RPC)
    await upstream.call(request(meta={**told, "context_id": "x\r\ny: z", "expires_at": "later"}), Output())
    heard = {name: text for name, text in agent.heard[0].headers.items() if name.startswith("a2a-relay-")}
    assert heard == {
        "a2a-relay-letter": "rly-1",
        "a2a-relay-attempt": "2",
        "a2a-relay-queued-at": "2026-11-20T08:00:00.000Z",
        "a2a-relay-task-id": "rly-1",
    }


async def test_the_version_is_told_where_the_method_tells_it() -> None:
    agent = Agent()
    upstream = await served(agent, RPC)
    for method in ("SendMessage", "message/send", "my.extension/method"):
        await upstream.call(request(method), Output())
    assert [heard.headers.get("a2a-version") for heard in agent.heard] == ["1.0", None, None]


async def test_an_agent_of_rest_only_is_called_over_rest() -> None:
    agent = Agent(parts=[b'{"id":"t"}'])
    upstream, output = await served(agent, REST), Output()
    await upstream.call(request("GetTask", b'{"id":"t/1","historyLength":3}'.replace(b"/", b"")), output)
    assert (agent.heard[0].verb, agent.heard[0].target) == ("GET", "/api/tasks/t1?historyLength=3")
    assert output.answers[0][:2] == (b'{"id":"t"}', None)


async def test_an_error_of_rest_becomes_one_of_json_rpc() -> None:
    details = '[{"@type":"x","reason":"TASK_NOT_FOUND","domain":"a2a-protocol.org"}]'
    agent = Agent(status=404, parts=[f'{{"error":{{"code":404,"message":"no","details":{details}}}}}'.encode()])
    error = json.loads(await failure(await served(agent, REST), request("GetTask", b'{"id":"t"}')))
    assert (error["code"], error["message"]) == (-32001, "no")


async def test_a_deleted_config_is_null_when_rest_has_no_body() -> None:
    agent, output = Agent(status=204, parts=[]), Output()
    upstream = await served(agent, REST)
    await upstream.call(request("DeleteTaskPushNotificationConfig", b'{"taskId":"t","id":"c"}'), output)
    assert (agent.heard[0].verb, output.answers[0][0]) == ("DELETE", b"null")


async def test_0_3_rest_keeps_status_and_body() -> None:
    agent, output = Agent(status=404, parts=[b'{"detail":"no"}']), Output()
    upstream = await served(agent, RPC, OLD_REST)
    assert upstream.serves_rest_v03
    rest = Rest("POST", ("v1", "tasks", "x:cancel"), "a=1&b=%20c")
    await upstream.call(request("tasks/cancel", b'{"name":"tasks/x"}', rest=rest), output)
    assert agent.heard[0].target == "/old/v1/tasks/x:cancel?a=1&b=%20c"
    assert agent.heard[0].body == b'{"name":"tasks/x"}'
    assert output.answers == [(b'{"detail":"no"}', 404, {})]


async def test_what_the_agent_does_not_serve_is_refused_here() -> None:
    upstream = await served(Agent(), REST)
    rest = Rest("GET", ("v1", "card"), "")
    assert reason(await failure(upstream, request("message/send"))) == Reason.BINDING_NOT_SERVED
    assert reason(await failure(upstream, request("my.extension/method"))) == Reason.BINDING_NOT_SERVED
    assert (
        reason(await failure(upstream, request("agent/getAuthenticatedExtendedCard", rest=rest)))
        == "BINDING_NOT_SERVED"
    )


async def test_relay_go_names_reach_an_agent_of_rest_too() -> None:
    agent = Agent(parts=[b"{}"])
    await (await served(agent, REST)).call(request("message/stream", meta={}), Output())
    assert agent.heard[0].target == "/api/message:send"


async def test_relay_gos_own_name_for_a_list_is_no_agents_name() -> None:
    agent = Agent()
    await (await served(agent, RPC)).call(request("tasks/list", meta={}), Output())
    assert b'"method":"ListTasks"' in agent.heard[0].body


async def test_a_card_from_elsewhere_is_asked_for_without_the_users_headers() -> None:
    agent = Agent(card=card_of(REST))
    upstream = HttpUpstream(
        "http://agent",
        headers={"authorization": "Bearer own"},
        card=cards.source("http://cards.example/card.json?v=1"),
        transport=AsgiTransport(agent, {}),
    )
    await upstream.read_card()
    own, elsewhere = agent.heard
    assert (own.headers["host"], own.headers["authorization"]) == ("agent", "Bearer own")
    assert (elsewhere.headers["host"], elsewhere.target) == ("cards.example", "/card.json?v=1")
    assert "authorization" not in elsewhere.headers


async def test_events_come_back_one_by_one() -> None:
    events = [b'data: {"jsonrpc":"2.0","id":"1","result":{"n":%d}}\n\n' % n for n in range(3)]
    whole = b": hello\n\n" + b"".join(events)
    agent = Agent(headers=EVENTS, parts=[whole[i : i + 7] for i in range(0, len(whole), 7)])
    upstream, output = await served(agent, RPC), Output()
    await upstream.call(request("SendStreamingMessage", stream=True), output)
    assert output.events == [b'{"n":0}', b'{"n":1}', b'{"n":2}']
    assert "text/event-stream" in agent.heard[0].headers["accept"]


@pytest.mark.parametrize(
    "interface,failing",
    [
        (RPC, b'data: {"jsonrpc":"2.0","id":"1","error":{"code":-32001,"message":"gone"}}\n\n'),
        (RPC, b'event: error\ndata: {"code":-32001,"message":"gone"}\n\n'),
        (REST, b'event: error\ndata: {"error":{"code":404,"message":"gone"}}\n\n'),
        (REST, b'data: {"error":{"code":404,"message":"gone"}}\n\n'),
    ],
)
async def test_a_stream_may_fail_in_its_middle(interface: tuple[str, str, str], failing: bytes) -> None:
    first = b'data: {"jsonrpc":"2.0","id":"1","result":{"n":1}}\n\n'
    upstream = await served(Agent(headers=EVENTS, parts=[first, failing]), interface)
    assert json.loads(await failure(upstream, request("SendStreamingMessage", stream=True)))["message"] == "gone"


async def test_an_agent_that_dies_in_mid_stream_is_not_taken_for_done() -> None:
    agent = Agent(headers=EVENTS, parts=[b'data: {"jsonrpc":"2.0","id":"1","result":{"n":1}}\n\n'], dies=True)
    error = await failure(await served(agent, RPC), request("SendStreamingMessage", stream=True))
    assert reason(error) == Reason.AGENT_DISCONNECTED


async def test_an_error_before_a_stream_is_its_answer() -> None:
    agent = Agent(parts=[b'{"jsonrpc":"2.0","id":"1","error":{"code":-32004,"message":"no streams"}}'])
    error = await failure(await served(agent, RPC), request("SendStreamingMessage", stream=True))
    assert json.loads(error)["code"] == -32004


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"nonsense",
        b"[]",
        b"{}",
        b'{"result":',
        b"\xff\xfe",
        b'{"error":5}',
        b"[" * 200 + b"]" * 200,
        b'{"result":1,"result":2}',
    ],
)
async def test_an_answer_that_is_none_fails_its_call_at_once(answer: bytes) -> None:
    error = json.loads(await failure(await served(Agent(parts=[answer]), RPC), request()))
    assert error["code"] == -32006


async def test_a_result_may_be_as_deep_as_any_body_and_no_deeper() -> None:
    deep, output = b"[" * 100 + b"]" * 100, Output()
    await (await served(Agent(parts=[b'{"result":' + deep + b"}"]), RPC)).call(request(), output)
    assert output.answers[0][0] == deep
    error = await failure(await served(Agent(parts=[b'{"result":[' + deep + b"]}"]), RPC), request())
    assert reason(error) == Reason.INVALID_AGENT_RESPONSE


async def test_a_response_without_a_result_says_null() -> None:
    agent, output = Agent(parts=[b'{"id":1,"jsonrpc":"2.0"}']), Output()
    await (await served(agent, RPC)).call(request("tasks/pushNotificationConfig/delete"), output)
    assert output.answers[0][0] == b"null"


async def test_a_stream_where_one_answer_was_due_fails_the_call() -> None:
    agent = Agent(headers=EVENTS, parts=[b'data: {"result":1}\n\n'])
    assert reason(await failure(await served(agent, RPC), request())) == Reason.INVALID_AGENT_RESPONSE


async def test_an_http_error_page_becomes_an_error_that_names_the_status() -> None:
    agent = Agent(status=500, headers=((b"content-type", b"text/html"),), parts=[b"<h1>oops</h1>"])
    error = json.loads(await failure(await served(agent, RPC), request()))
    assert error == {"code": -32603, "message": "the agent answered HTTP 500"}


@pytest.mark.parametrize("stream", [False, True])
async def test_what_does_not_fit_into_a_frame_fails_its_call(stream: bool) -> None:
    body = b'{"jsonrpc":"2.0","id":"1","result":"%b"}' % (b"x" * 5000)
    agent = Agent(headers=EVENTS, parts=[b"data: ", body]) if stream else Agent(parts=[body])
    assert reason(await failure(await served(agent, RPC), request(stream=stream))) == Reason.AGENT_FRAME_LIMIT


async def test_redirects_are_not_followed_and_cookies_not_kept() -> None:
    agent = Agent(status=307, headers=((b"location", b"/admin"), (b"set-cookie", b"caller=alice; Path=/")), parts=[])
    upstream = await served(agent, RPC)
    for _ in range(2):
        assert "HTTP 307" in json.loads(await failure(upstream, request()))["message"]
    assert [heard.target for heard in agent.heard] == ["/rpc", "/rpc"]
    assert all("cookie" not in heard.headers for heard in agent.heard)


async def test_only_the_named_origin_is_called_whatever_the_card_says() -> None:
    agent = Agent()
    upstream = await served(agent, ("http://169.254.169.254/latest/meta-data", "JSONRPC", "1.0"))
    await upstream.call(request(), Output())
    assert agent.heard[0].target == "/latest/meta-data"
    assert agent.heard[0].headers["host"] == "localhost"


@pytest.mark.parametrize("id", ["..", "a/b", "", "x\ny"])
async def test_an_id_that_is_no_segment_never_leaves(id: str) -> None:
    agent = Agent()
    upstream = await served(agent, REST)
    error = await failure(upstream, request("GetTask", json.dumps({"id": id}).encode()))
    assert (reason(error), agent.heard) == (Reason.INVALID_PARAMS, [])


async def test_an_agent_that_is_not_running_is_told_from_one_that_fails() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    upstream = HttpUpstream(f"http://127.0.0.1:{port}")
    with pytest.raises(UpstreamDown):
        await upstream.read_card()
    with pytest.raises(UpstreamDown) as caught:
        await upstream.call(request(), Output())
    assert reason(caught.value.error) == "UPSTREAM_UNAVAILABLE"
    await upstream.aclose()


async def test_a_connection_cut_before_the_answer_is_not_taken_for_an_agent_that_is_away() -> None:
    async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(cut, "127.0.0.1", 0)
    async with server:
        upstream = HttpUpstream(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        assert reason(await failure(upstream, request())) == Reason.AGENT_DISCONNECTED
        await upstream.aclose()


async def test_the_users_own_headers_go_with_every_call() -> None:
    agent = Agent()
    upstream = HttpUpstream("http://agent", headers={"authorization": "Bearer own"}, transport=AsgiTransport(agent, {}))
    await upstream.read_card()
    await upstream.call(request(), Output())
    assert {heard.headers["authorization"] for heard in agent.heard} == {"Bearer own"}


async def test_a_card_may_come_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "card.json"
    path.write_bytes(b"\xef\xbb\xbf" + card_of(REST) + b"\n")
    upstream = AppUpstream(Agent(status=404, parts=[b""]), card=cards.source(str(path)))
    assert await upstream.read_card() == card_of(REST)
    path.write_text("[]")
    with pytest.raises(ConnectorRefused):
        await upstream.read_card()


@pytest.mark.parametrize("card", [b"", b"[]", b"nonsense", b"\xff"])
async def test_what_is_no_card_is_none(card: bytes) -> None:
    agent = Agent(card=card)
    assert await AppUpstream(agent).read_card() is None
    assert [heard.target for heard in agent.heard] == list(cards.WELL_KNOWN)


@pytest.mark.parametrize("url", ["", "localhost:9", "ftp://x", "http://", "http://u:p@x", "http://x:99999"])
def test_an_upstream_needs_a_proper_url(url: str) -> None:
    with pytest.raises(ConnectorRefused):
        HttpUpstream(url)


async def test_an_app_may_stream_slowly_and_is_told_when_nobody_reads_on() -> None:
    told = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": list(EVENTS)})
        await send({"type": "http.response.body", "body": b'data: {"result":1}\n\n', "more_body": True})
        assert (await receive())["type"] == "http.disconnect"
        told.set()

    upstream, output = AppUpstream(app), Output()
    call = asyncio.ensure_future(upstream.call(request(stream=True), output))
    while not output.events:
        await asyncio.sleep(0)
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    async with asyncio.timeout(5):
        await told.wait()
    await upstream.aclose()


async def test_an_apps_lifespan_is_run_around_its_calls() -> None:
    said: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "lifespan"
        scope["state"]["ready"] = True
        for step in ("startup", "shutdown"):
            assert (await receive())["type"] == f"lifespan.{step}"
            said.append(step)
            await send({"type": f"lifespan.{step}.complete"})

    upstream = AppUpstream(app)
    await upstream.start()
    assert said == ["startup"]
    await upstream.aclose()
    assert said == ["startup", "shutdown"]


async def test_an_app_that_cannot_start_ends_the_connector() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no database"})

    upstream = AppUpstream(app)
    with pytest.raises(ConnectorRefused, match="no database"):
        await upstream.start()
    await upstream.aclose()
