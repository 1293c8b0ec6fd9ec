"""Streams that are read on after their connection was lost."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

import httpx
import pytest

from a2a_relay.client.calls import AgentClient
from a2a_relay.client.failures import ClientError, Speaker
from a2a_relay.client.streams import Gap, Hooks, Pace, StreamGap, stream_url

BASE = "/t/acme/a2a/echo"
RPC = f"{BASE}/"
STREAM = f"{BASE}/streams/AAAAAAAAAAAAAAAAAAAAAA"
CALL = "POST", RPC
RESUME = "GET", STREAM
HEAD = {"A2A-Relay-Stream": STREAM}


@dataclass(frozen=True)
class Piecewise:
    """An answer without a length, in pieces. It ends as its writer meant, or else is cut off, or falls silent.

    Status 0: the connection is closed without an answer.
    """

    pieces: tuple[bytes, ...] = ()
    end: str = "end"
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)

    def play(self, handler: BaseHTTPRequestHandler, stopped: threading.Event) -> None:
        """Give this answer. A silent one waits until the test is over."""
        handler.close_connection = True
        if not self.status:
            return
        handler.send_response_only(self.status)
        headers = {"Content-Type": "text/event-stream", **self.headers}
        headers |= {"Transfer-Encoding": "chunked", "Connection": "close"}
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.end_headers()
        for piece in self.pieces:
            handler.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        if self.end == "silence":
            stopped.wait(20)
        elif self.end == "end":
            handler.wfile.write(b"0\r\n\r\n")


class World:
    """A clock that only sleeping moves, chance at its most patient, and what the hooks were told."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []
        self.losses: list[str] = []
        self.gaps: list[Gap] = []
        self.tokens: list[str] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def pace(self, silence_seconds: float = 10.0) -> Pace:
        return Pace(lambda: self.now, self.sleep, lambda: 1.0, silence_seconds)

    @property
    def hooks(self) -> Hooks:
        return Hooks(lambda failure: self.losses.append(failure.message), self.gaps.append)


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def agent(server: Any, http: httpx.Client, world: World) -> AgentClient:
    return AgentClient(http, server.url + BASE, world.pace())


def at(number: int) -> str:
    return f"AAAAAAAAAAAAAAAAAAAAAA.0-{number}"


def event(number: int, **result: Any) -> bytes:
    document = {"jsonrpc": "2.0", "id": 1, "result": {"n": number, **result}}
    return f"id: {at(number)}\ndata: {json.dumps(document)}\n\n".encode()


def events(first: int, last: int) -> tuple[bytes, ...]:
    return tuple(event(number) for number in range(first, last + 1))


def gap(first: int, last: int) -> bytes:
    return f'event: gap\nid: {at(last)}\ndata: {{"lost":{{"first":{first},"last":{last}}}}}\n\n'.encode()


def error(reason: str, domain: str = "a2a-relay") -> dict[str, Any]:
    return {"error": {"code": -32062, "message": "a failure", "data": [{"reason": reason, "domain": domain}]}}


def error_event(reason: str, domain: str = "a2a-relay") -> bytes:
    return f"event: error\ndata: {json.dumps({'jsonrpc': '2.0', 'id': 1, **error(reason, domain)})}\n\n".encode()


def cut(*pieces: bytes) -> Piecewise:
    return Piecewise(pieces, "cut", headers=HEAD)


def whole(*pieces: bytes) -> Piecewise:
    return Piecewise(pieces, headers=HEAD)


def refusal(status: int, reason: str) -> Piecewise:
    document = {"error": {"code": status, "message": "no", "details": [{"reason": reason, "domain": "a2a-relay"}]}}
    return Piecewise((json.dumps(document).encode(),), status=status, headers={"Content-Type": "application/json"})


def numbers(results: Iterator[Any]) -> list[int]:
    return [result["n"] for result in results]


def asked_from(server: Any) -> list[str | None]:
    """The Last-Event-ID of each resumption."""
    return [heard.headers.get("Last-Event-ID") for heard in server.heard if heard.method == "GET"]


def failure(run: Callable[[], Any]) -> ClientError:
    with pytest.raises(ClientError) as caught:
        run()
    return caught.value


# --- read on ---


def test_a_stream_that_is_cut_again_and_again_comes_whole(server: Any, agent: AgentClient, world: World) -> None:
    server.scenes = {CALL: [cut(*events(1, 2))], RESUME: [cut(event(3)), cut(*events(4, 6)), whole(event(7))]}
    assert numbers(agent.stream("hi", world.hooks)) == [1, 2, 3, 4, 5, 6, 7]
    assert asked_from(server) == [at(2), at(3), at(6)]
    assert len(world.losses) == 3
    assert [heard.method for heard in server.heard] == ["POST", "GET", "GET", "GET"]


def test_an_event_that_was_cut_in_two_comes_once(server: Any, agent: AgentClient) -> None:
    server.scenes = {CALL: [cut(event(1), event(2)[:-3])], RESUME: [whole(*events(2, 3))]}
    assert numbers(agent.stream("hi")) == [1, 2, 3]
    assert asked_from(server) == [at(1)]


def test_before_its_first_event_a_stream_is_read_from_the_start(server: Any, agent: AgentClient) -> None:
    server.scenes = {CALL: [cut(b":\n\n")], RESUME: [whole(*events(1, 2))]}
    assert numbers(agent.stream("hi")) == [1, 2]
    assert asked_from(server) == [None]


def test_a_stream_may_have_had_nothing_left(server: Any, agent: AgentClient) -> None:
    server.scenes = {CALL: [cut(event(1))], RESUME: [whole()]}
    assert numbers(agent.stream("hi")) == [1]


def test_a_whole_body_that_ends_within_an_event_was_cut_on_the_way(server: Any, agent: AgentClient) -> None:
    server.scenes = {CALL: [whole(event(1), event(2)[:20])], RESUME: [whole(event(2))]}
    assert numbers(agent.stream("hi")) == [1, 2]


def test_a_stream_that_has_ended_is_not_asked_for_again(server: Any, agent: AgentClient) -> None:
    server.scenes = {CALL: [whole(event(1))]}
    assert numbers(agent.stream("hi")) == [1]
    assert asked_from(server) == []


def test_a_relay_that_leaves_is_a_lost_connection(server: Any, agent: AgentClient, world: World) -> None:
    server.scenes = {
        CALL: [whole(event(1), error_event("RELAY_LEAVING"))],
        RESUME: [refusal(503, "RELAY_LEAVING"), Piecewise(status=0), Piecewise(status=502), whole(event(2))],
    }
    assert numbers(agent.stream("hi", world.hooks)) == [1, 2]
    assert world.losses == ["a failure"]
    assert world.slept == [0.2, 0.4, 0.8, 1.6]


def test_a_connection_that_falls_silent_is_lost(server: Any, http: httpx.Client, world: World) -> None:
    silent = Piecewise((event(1),), "silence", headers=HEAD)
    server.scenes = {CALL: [silent], RESUME: [Piecewise((event(2),), "silence"), whole(event(3))]}
    agent = AgentClient(http, server.url + BASE, world.pace(silence_seconds=0.2))
    assert numbers(agent.stream("hi")) == [1, 2, 3]


# --- no more ---


def test_after_30_seconds_without_an_event_it_ends(server: Any, agent: AgentClient, world: World) -> None:
    server.scenes = {CALL: [cut(event(1))], RESUME: [Piecewise(status=503)] * 100}
    found = failure(lambda: numbers(agent.stream("hi", world.hooks)))
    assert "answered HTTP 503" in str(found)
    assert "1 event received; send again" in str(found)
    assert world.slept[:6] == [0.2, 0.4, 0.8, 1.6, 3.0, 3.0]
    assert 30 <= sum(world.slept) < 34
    assert len(world.losses) == 1


def test_each_event_gives_another_30_seconds(server: Any, agent: AgentClient, world: World) -> None:
    tries = [Piecewise(status=0)] * 8
    server.scenes = {CALL: [cut(event(1))], RESUME: [*tries, cut(event(2)), *tries, cut(event(3)), *tries, whole()]}
    assert numbers(agent.stream("hi", world.hooks)) == [1, 2, 3]
    assert sum(world.slept) > 30
    assert len(world.losses) == 3


def test_a_head_alone_is_no_progress(server: Any, agent: AgentClient, world: World) -> None:
    server.scenes = {CALL: [cut(event(1))], RESUME: [cut(b":\n\n")] * 100}
    failure(lambda: numbers(agent.stream("hi", world.hooks)))
    assert sum(world.slept) >= 30


@pytest.mark.parametrize(
    "status,reason",
    [(410, "STREAM_GONE"), (401, "UNAUTHENTICATED"), (403, "TENANT_MISMATCH"), (404, "AGENT_NOT_FOUND")],
)
def test_a_stream_that_may_not_be_read_on_says_what_there_is_and_what_to_do(
    status: int, reason: str, server: Any, agent: AgentClient
) -> None:
    first = event(1, task={"id": "t-7", "status": {"state": "TASK_STATE_WORKING"}})
    server.scenes = {CALL: [cut(first, event(2))], RESUME: [refusal(status, reason)]}
    found = failure(lambda: numbers(agent.stream("hi")))
    assert (found.reason, found.said_by) == (reason, Speaker.RELAY)
    assert "2 events received; ask for task t-7 (SubscribeToTask or GetTask), or send again" in found.message
    assert asked_from(server) == [at(2)]


@pytest.mark.parametrize("status", [200, 302, 404, 500])
def test_an_answer_that_is_no_stream_is_no_stream(status: int, server: Any, agent: AgentClient) -> None:
    page = Piecewise((b"<html>",), status=status, headers={"Content-Type": "text/html"})
    server.scenes = {CALL: [cut(event(1))], RESUME: [page]}
    assert f"answered HTTP {status}" in str(failure(lambda: numbers(agent.stream("hi"))))


def test_a_stream_that_failed_while_nobody_read_it_has_failed(server: Any, agent: AgentClient) -> None:
    server.scenes = {CALL: [cut(event(1))] * 3}
    server.scenes[RESUME] = [whole(error_event("AGENT_DISCONNECTED"))]
    assert str(failure(lambda: numbers(agent.stream("hi")))) == "a failure (AGENT_DISCONNECTED)"
    server.scenes[RESUME] = [refusal(502, "AGENT_DISCONNECTED")]
    assert str(failure(lambda: numbers(agent.stream("hi")))) == "no (AGENT_DISCONNECTED)"
    agents_own = json.dumps({"error": {"code": -32000, "message": "agent's"}}).encode()
    server.scenes[RESUME] = [Piecewise((agents_own,), headers={"Content-Type": "application/json"})]
    assert failure(lambda: numbers(agent.stream("hi"))).said_by is Speaker.AGENT


@pytest.mark.parametrize("reason,domain", [("STREAM_RESUMED", "a2a-relay"), ("RELAY_LEAVING", "agent.example")])
def test_any_other_error_is_the_end(reason: str, domain: str, server: Any, agent: AgentClient) -> None:
    server.scenes = {CALL: [whole(event(1), error_event(reason, domain))]}
    assert failure(lambda: numbers(agent.stream("hi"))).reason == reason
    assert asked_from(server) == []


def test_the_call_itself_is_never_repeated(server: Any, agent: AgentClient) -> None:
    server.scenes = {CALL: [Piecewise(status=0)]}
    assert "went away" in str(failure(lambda: numbers(agent.stream("hi"))))
    assert len(server.heard) == 1


@pytest.mark.parametrize("last", [cut(), whole(error_event("RELAY_LEAVING"))])
def test_without_a_url_for_it_a_lost_stream_is_an_error(last: Piecewise, server: Any, agent: AgentClient) -> None:
    server.scenes = {CALL: [Piecewise((event(1), *last.pieces), last.end)]}
    results = agent.stream("hi")
    assert next(results) == {"n": 1}
    failure(lambda: next(results))
    assert len(server.heard) == 1


# --- gaps ---


def test_a_gap_is_an_error_unless_somebody_listens(server: Any, agent: AgentClient, world: World) -> None:
    server.scenes = {CALL: [cut(event(1))], RESUME: [cut(gap(2, 4)), whole(event(5))]}
    assert numbers(agent.stream("hi", world.hooks)) == [1, 5]
    assert (world.gaps, asked_from(server)) == ([Gap(2, 4)], [at(1), at(4)])
    server.scenes = {CALL: [cut(event(1))], RESUME: [whole(gap(2, 4), event(5))]}
    with pytest.raises(StreamGap, match="events 2 to 4 are lost") as caught:
        numbers(agent.stream("hi"))
    assert caught.value.gap == Gap(2, 4)


def test_a_gap_that_says_nothing_is_one_clear_line(server: Any, agent: AgentClient, world: World) -> None:
    server.scenes = {CALL: [whole(b'event: gap\ndata: {"lost":{"first":1}}\n\n')]}
    assert "a gap" in str(failure(lambda: numbers(agent.stream("hi", world.hooks))))


# --- tokens ---


def test_a_token_that_has_run_out_is_renewed_once(server: Any, agent: AgentClient, http: httpx.Client) -> None:
    refused = refusal(401, "UNAUTHENTICATED")
    server.scenes = {CALL: [cut(event(1))], RESUME: [refused, cut(event(2)), refused, refused]}
    http.headers["Authorization"] = "Bearer old"
    fresh = iter(["new", "newer", "newest"])
    results = agent.stream("hi", Hooks(renew=lambda: next(fresh)))
    assert [next(results)["n"], next(results)["n"]] == [1, 2]
    assert failure(lambda: next(results)).reason == "UNAUTHENTICATED"
    sent = [heard.headers["Authorization"] for heard in server.heard]
    assert sent == ["Bearer old", "Bearer old", "Bearer new", "Bearer new", "Bearer newer"]


# --- where ---


@pytest.mark.parametrize(
    "called,named,found",
    [
        ("https://relay.example/t/acme/a2a/echo/", STREAM, f"https://relay.example{STREAM}"),
        ("https://relay.example/", STREAM, f"https://relay.example{STREAM}"),
        ("https://t/t/acme/a2a/echo/?a=b", STREAM, f"https://t{STREAM}"),
        ("https://shared.example:8443/relay/t/acme/a2a/echo/", STREAM, f"https://shared.example:8443/relay{STREAM}"),
        ("https://relay.example/", None, None),
        ("https://relay.example/", f"https://evil.example{STREAM}", None),
        ("https://relay.example/", f"//evil.example{STREAM}", None),
        ("https://relay.example/", f"{STREAM}?token=1", None),
    ],
)
def test_a_stream_is_read_on_at_the_same_origin_and_nowhere_else(
    called: str, named: str | None, found: str | None
) -> None:
    headers = {} if named is None else {"A2A-Relay-Stream": named}
    answer = httpx.Response(200, headers=headers, request=httpx.Request("POST", called))
    where = stream_url(answer)
    assert (None if where is None else str(where)) == found
