"""Calls to an agent: requests of both versions, answers of any kind."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from a2a_relay.client.calls import AgentClient, json_rpc_interfaces
from a2a_relay.client.connection import open_http
from a2a_relay.client.directory import forget_agent, list_agents
from a2a_relay.client.failures import ClientError, Speaker

BASE = "/t/acme/a2a/echo"
CARD = f"{BASE}/.well-known/agent-card.json"
RPC = f"{BASE}/"
NO_AGENT = {"code": -32051, "message": "no such agent", "data": [{"reason": "AGENT_NOT_FOUND", "domain": "a2a-relay"}]}


@pytest.fixture
def agent(server: Any, http: httpx.Client) -> AgentClient:
    return AgentClient(http, server.url + BASE)


def response(**fields: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 1, **fields}


def failure(run: Any) -> ClientError:
    with pytest.raises(ClientError) as caught:
        run()
    return caught.value


# --- versions ---


def test_an_agent_of_1_0_is_spoken_to_in_1_0(server: Any, agent: AgentClient) -> None:
    server.say("POST", RPC, response(result={"message": {"parts": [{"text": "hi"}]}}))
    assert agent.send("hi") == {"message": {"parts": [{"text": "hi"}]}}
    (heard,) = server.heard
    assert heard.headers["A2A-Version"] == "1.0"
    assert heard.json["method"] == "SendMessage"
    message = heard.json["params"]["message"]
    assert message["messageId"]
    assert (message["role"], message["parts"]) == ("ROLE_USER", [{"text": "hi"}])


def test_an_agent_that_speaks_only_0_3_is_spoken_to_in_0_3(server: Any, agent: AgentClient) -> None:
    server.say("GET", CARD, {"protocolVersion": "0.3.0", "url": server.url + RPC, "preferredTransport": "JSONRPC"})
    server.say("POST", RPC, response(result={"kind": "message", "parts": [{"kind": "text", "text": "hi"}]}))
    agent.find_interface()
    agent.send("hi")
    heard = server.heard[-1]
    assert heard.headers["A2A-Version"] == "0.3"
    assert heard.json["method"] == "message/send"
    message = heard.json["params"]["message"]
    assert (message["kind"], message["role"]) == ("message", "user")
    assert message["parts"] == [{"kind": "text", "text": "hi"}]


def test_a_card_that_offers_both_gets_1_0(server: Any, agent: AgentClient) -> None:
    offers = [
        {"url": server.url + RPC, "protocolBinding": "JSONRPC", "protocolVersion": version}
        for version in ("0.3", "1.0")
    ]
    server.say("GET", CARD, {"supportedInterfaces": offers, "url": server.url + RPC, "protocolVersion": "0.3.0"})
    agent.find_interface()
    assert agent.version == "1.0"


def test_the_cards_url_is_followed_on_the_same_origin_and_nowhere_else(server: Any, agent: AgentClient) -> None:
    def offer(url: str) -> Any:
        return {"supportedInterfaces": [{"url": url, "protocolBinding": "JSONRPC", "protocolVersion": "1.0"}]}

    agent.heed(offer("https://evil.example/"))
    assert agent.url == server.url + RPC
    agent.heed(offer("not a url"))
    assert agent.url == server.url + RPC
    agent.heed(offer(f"{server.url}/rpc"))
    assert agent.url == f"{server.url}/rpc"


@pytest.mark.parametrize("card", [None, [], {}, {"supportedInterfaces": [1, {}]}, {"url": 1}])
def test_a_strange_card_offers_nothing(card: Any) -> None:
    assert json_rpc_interfaces(card) == []


def test_without_a_card_the_call_is_made_all_the_same(server: Any, agent: AgentClient) -> None:
    server.say("POST", RPC, response(result={}))
    agent.find_interface()
    assert agent.send("hi") == {}


# --- failures ---


def test_an_error_of_the_relay_has_its_reason_whatever_the_status(server: Any, agent: AgentClient) -> None:
    server.say("POST", RPC, response(error=NO_AGENT), status=404)
    found = failure(lambda: agent.send("hi"))
    assert (found.reason, found.said_by, str(found)) == (
        "AGENT_NOT_FOUND",
        Speaker.RELAY,
        "no such agent (AGENT_NOT_FOUND)",
    )


def test_an_error_of_the_agent_has_its_code(server: Any, agent: AgentClient) -> None:
    server.say("POST", RPC, response(error={"code": -32001, "message": "no such task"}))
    found = failure(lambda: agent.get_task("x"))
    assert (found.reason, found.said_by) == ("-32001", Speaker.AGENT)


@pytest.mark.parametrize(
    "body,status,words",
    [
        (b"<html>", 502, "answered HTTP 502"),
        (b"<html>", 200, "answered HTTP 200"),
        (b"[]", 200, "answered HTTP 200"),
        (b"{}", 200, "no JSON-RPC response"),
        (b'{"error": "broken"}', 200, "broken"),
        (b'{"error": {"message": 7}}', 500, "7"),
        (b'{"result": 1}', 500, "answered HTTP 500"),
    ],
)
def test_an_answer_that_is_none_is_one_clear_line(
    body: bytes, status: int, words: str, server: Any, agent: AgentClient
) -> None:
    server.say("POST", RPC, body, status=status)
    assert words in str(failure(lambda: agent.send("hi")))


def test_a_relay_that_is_not_there_is_one_clear_line(http: httpx.Client) -> None:
    found = failure(lambda: AgentClient(http, "http://127.0.0.1:9/t/a/a2a/b").send("hi"))
    assert str(found).startswith("http://127.0.0.1:9/t/a/a2a/b/ cannot be reached")


def test_a_token_does_not_cross_a_network_in_clear_unless_that_is_meant() -> None:
    with pytest.raises(ClientError, match="without TLS"), open_http("http://relay.example", "token"):
        pass
    with open_http("http://relay.example", "token", insecure=True) as http:
        assert http.headers["Authorization"] == "Bearer token"
    with open_http("http://127.0.0.1:1", "token") as http:
        assert http.headers["Authorization"] == "Bearer token"


# --- streams ---


def test_a_streams_events_come_in_order_and_comments_are_nothing(server: Any, agent: AgentClient) -> None:
    server.say_events(RPC, response(result={"n": 1}), response(result={"n": 2}))
    assert list(agent.stream("hi")) == [{"n": 1}, {"n": 2}]
    assert server.heard[-1].json["method"] == "SendStreamingMessage"


def test_an_error_in_the_middle_of_a_stream_is_an_error(server: Any, agent: AgentClient) -> None:
    server.say_events(RPC, response(result={"n": 1}), response(error=NO_AGENT), name="error")
    events = agent.stream("hi")
    assert next(events) == {"n": 1}
    assert failure(lambda: next(events)).reason == "AGENT_NOT_FOUND"


def test_an_error_event_may_be_a_bare_error_object(server: Any, agent: AgentClient) -> None:
    server.say_events(RPC, NO_AGENT, name="error")
    assert failure(lambda: list(agent.stream("hi"))).reason == "AGENT_NOT_FOUND"


def test_an_error_before_a_stream_comes_as_json(server: Any, agent: AgentClient) -> None:
    server.say("POST", RPC, response(error=NO_AGENT), status=404)
    assert failure(lambda: list(agent.stream("hi"))).reason == "AGENT_NOT_FOUND"


def test_an_agent_that_does_not_stream_may_answer_at_once(server: Any, agent: AgentClient) -> None:
    server.say("POST", RPC, response(result={"n": 1}))
    assert list(agent.stream("hi")) == [{"n": 1}]


def test_a_stream_of_something_else_is_one_clear_line(server: Any, agent: AgentClient) -> None:
    server.streams[RPC] = b"data: <html>\n\n"
    assert "not JSON" in str(failure(lambda: list(agent.stream("hi"))))


# --- the directory ---


def test_agents_are_listed_and_forgotten(server: Any, http: httpx.Client) -> None:
    server.say("GET", "/t/acme/agents", [{"id": "echo"}, "strange"])
    server.say("DELETE", "/t/acme/agents/echo", b"", status=204)
    assert list_agents(http, server.url, "acme") == [{"id": "echo"}]
    forget_agent(http, server.url, "acme", "echo")
    assert server.heard[-1].method == "DELETE"


def test_names_are_single_path_segments(server: Any, http: httpx.Client) -> None:
    with pytest.raises(ClientError):
        forget_agent(http, server.url, "acme", "../x")
    assert server.heard[-1].path == "/t/acme/agents/..%2Fx"


def test_a_refusal_of_the_relay_has_its_reason(server: Any, http: httpx.Client) -> None:
    details = [{"reason": "TENANT_MISMATCH", "domain": "a2a-relay"}]
    server.say("GET", "/t/acme/agents", {"error": {"code": 403, "message": "no", "details": details}}, status=403)
    assert failure(lambda: list_agents(http, server.url, "acme")).reason == "TENANT_MISMATCH"


@pytest.mark.parametrize("body", [b"{}", b"<html>"])
def test_a_list_that_is_none_is_one_clear_line(body: bytes, server: Any, http: httpx.Client) -> None:
    server.say("GET", "/t/acme/agents", body)
    failure(lambda: list_agents(http, server.url, "acme"))
