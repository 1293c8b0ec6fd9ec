"""The doctor's findings, each from what a server really said."""

from __future__ import annotations

import itertools
from email.utils import formatdate
from typing import Any

import httpx
import pytest

from a2a_relay.client.address import read_agent
from a2a_relay.client.doctor import Finding, Level, Patient, examine
from a2a_relay.client.tokens import mint

NOW = 1_800_000_000.0
TOKEN = mint("a secret that is long enough for anybody", NOW, 600, tenant="acme", role="client", user="ann")
BASE = "/t/acme/a2a/echo"
TASK_NOT_FOUND = {"jsonrpc": "2.0", "id": 1, "error": {"code": -32001, "message": "no such task"}}
OFFLINE = {
    "jsonrpc": "2.0",
    "id": 1,
    "error": {"code": -32052, "message": "away", "data": [{"reason": "AGENT_OFFLINE", "domain": "a2a-relay"}]},
}


def card_at(url: str, *, streaming: bool = False) -> Any:
    offers = [{"url": url, "protocolBinding": "JSONRPC", "protocolVersion": "1.0"}]
    return {"supportedInterfaces": offers, "capabilities": {"streaming": streaming}}


@pytest.fixture
def relay(server: Any) -> Any:
    """A relay with one agent, everything in order but for WebSockets, which it does not speak."""
    server.say("GET", "/health", {"status": "ok"})
    server.say("GET", "/", {"tenant": "acme"})
    server.say("GET", "/t/acme/agents", [{"id": "echo", "state": "attached"}, {"id": "old", "state": "away"}])
    server.say("GET", f"{BASE}/.well-known/agent-card.json", card_at(f"{server.url}{BASE}/"))
    server.say("POST", f"{BASE}/", TASK_NOT_FOUND)
    return server


def findings(relay: Any, http: httpx.Client, agent: str | None = "echo", **changes: Any) -> dict[str, Finding]:
    ticks = itertools.count()
    patient = Patient(
        http=http,
        relay=relay.url,
        token=TOKEN,
        tenant="acme",
        target=read_agent(agent, relay.url, "acme") if agent else None,
        ca=None,
        now=lambda: NOW,
        monotonic=lambda: next(ticks) / 100,
    )
    return {finding.check: finding for finding in examine(patient._replace(**changes))}


def level_of(found: dict[str, Finding], check: str, words: str) -> Level:
    assert words in found[check].what
    assert bool(found[check].mend) is (found[check].level is not Level.OK)
    return found[check].level


def test_what_is_in_order_is_ok(relay: Any, http: httpx.Client) -> None:
    found = findings(relay, http)
    assert level_of(found, "relay", "answers") is Level.OK
    assert level_of(found, "encryption", "none is needed") is Level.OK
    assert level_of(found, "token", "tenant acme, role client, expires in 10 min") is Level.OK
    assert level_of(found, "agent", "echo is attached") is Level.OK
    assert level_of(found, "card", "names the URL in use") is Level.OK
    assert level_of(found, "call", "and back took 10 ms") is Level.OK
    assert level_of(found, "stream", "does not offer streaming") is Level.OK


def test_a_relay_that_is_not_there_ends_the_examination(http: httpx.Client, relay: Any) -> None:
    relay.url = "http://127.0.0.1:9"
    found = findings(relay, http)
    assert list(found) == ["relay"]
    assert level_of(found, "relay", "cannot be reached") is Level.FAIL


def test_a_server_without_web_sockets_is_found_out(relay: Any, http: httpx.Client) -> None:
    assert level_of(findings(relay, http), "websocket", "HTTP 404 instead of a WebSocket") is Level.FAIL


@pytest.mark.parametrize("skew,level", [(0, Level.OK), (-30, Level.WARN), (300, Level.FAIL)])
def test_clocks_are_compared(skew: int, level: Level, relay: Any, http: httpx.Client) -> None:
    relay.answers["GET", "/health"] = (200, {"Date": formatdate(NOW + skew, usegmt=True)}, b"{}")
    assert level_of(findings(relay, http), "clock", f"differ by {abs(skew)} s") is level


def test_a_relay_that_does_not_say_the_time_is_a_warning(relay: Any, http: httpx.Client) -> None:
    assert level_of(findings(relay, http), "clock", "does not say") is Level.WARN


def test_without_a_token_nothing_more_is_tried(relay: Any, http: httpx.Client) -> None:
    found = findings(relay, http, token=None)
    assert level_of(found, "token", "no token") is Level.FAIL
    assert "agent" not in found


def test_a_token_that_the_relay_refuses_is_a_failure(relay: Any, http: httpx.Client) -> None:
    relay.say("GET", "/", {"error": {"message": "the token has expired"}}, status=401)
    found = findings(relay, http, now=lambda: NOW + 3600)
    assert level_of(found, "token", "expired 50 min ago; the relay refuses it: the token has expired") is Level.FAIL


@pytest.mark.parametrize("agent,words", [("old", "old is away"), ("nobody", "there is no nobody (known: echo, old)")])
def test_an_agent_that_is_not_attached_is_a_failure(agent: str, words: str, relay: Any, http: httpx.Client) -> None:
    assert level_of(findings(relay, http, agent), "agent", words) is Level.FAIL


def test_a_paused_agent_is_a_failure(relay: Any, http: httpx.Client) -> None:
    relay.say("GET", "/t/acme/agents", [{"id": "echo", "state": "paused"}])
    assert level_of(findings(relay, http), "agent", "paused") is Level.FAIL


def test_without_an_agent_the_tenants_agents_are_counted(relay: Any, http: httpx.Client) -> None:
    found = findings(relay, http, None)
    assert level_of(found, "agent", "1 of 2 agents of tenant acme attached") is Level.OK
    assert "card" not in found


def test_a_card_that_names_another_url_is_a_failure(relay: Any, http: httpx.Client) -> None:
    relay.say("GET", f"{BASE}/.well-known/agent-card.json", card_at("https://inside.example/"))
    assert level_of(findings(relay, http), "card", "names https://inside.example/") is Level.FAIL


def test_another_name_of_this_machine_in_the_card_is_no_failure(relay: Any, http: httpx.Client) -> None:
    url = f"{relay.url}{BASE}/".replace("127.0.0.1", "localhost")
    relay.say("GET", f"{BASE}/.well-known/agent-card.json", card_at(url))
    assert level_of(findings(relay, http), "card", "localhost") is Level.OK


def test_an_agent_without_a_card_is_a_warning(relay: Any, http: httpx.Client) -> None:
    relay.say("GET", f"{BASE}/.well-known/agent-card.json", {}, status=404)
    assert level_of(findings(relay, http), "card", "no card") is Level.WARN


def test_a_call_that_the_relay_could_not_deliver_is_a_failure(relay: Any, http: httpx.Client) -> None:
    relay.say("POST", f"{BASE}/", OFFLINE, status=503)
    found = findings(relay, http)
    assert level_of(found, "call", "AGENT_OFFLINE") is Level.FAIL
    assert "stream" not in found


@pytest.mark.parametrize("step_seconds,level", [(0.1, Level.OK), (2.0, Level.FAIL)])
def test_a_stream_whose_first_byte_is_held_back_is_a_failure(
    step_seconds: float, level: Level, relay: Any, http: httpx.Client
) -> None:
    relay.say("GET", f"{BASE}/.well-known/agent-card.json", card_at(f"{relay.url}{BASE}/", streaming=True))
    relay.say_events(f"{BASE}/", {"result": {}})
    ticks = itertools.count()
    found = findings(relay, http, monotonic=lambda: next(ticks) * step_seconds)
    assert level_of(found, "stream", "the first byte of a stream") is level


def test_the_stream_is_left_out_on_request_because_it_sends_a_message(relay: Any, http: httpx.Client) -> None:
    relay.say("GET", f"{BASE}/.well-known/agent-card.json", card_at(f"{relay.url}{BASE}/", streaming=True))
    assert "stream" not in findings(relay, http, sends_message=False)
    assert {heard.json["method"] for heard in relay.heard if heard.method == "POST"} == {"GetTask"}


def test_an_agent_that_promises_streams_and_answers_without_is_a_warning(relay: Any, http: httpx.Client) -> None:
    relay.say("GET", f"{BASE}/.well-known/agent-card.json", card_at(f"{relay.url}{BASE}/", streaming=True))
    assert level_of(findings(relay, http), "stream", "without a stream") is Level.WARN
