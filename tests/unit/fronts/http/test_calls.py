"""Relayed calls over HTTP."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Any

import pytest

from a2a_relay.errors import Reason

BASE = "/t/acme/a2a/zaf"
SEND = b'{"jsonrpc":"2.0","id":"c1","method":"SendMessage","params":{"message":{}}}'
STREAM = b'{"jsonrpc":"2.0","id":"c1","method":"SendStreamingMessage","params":{"message":{}}}'
PATIENT = 5.0


def without_positions(body: bytes) -> bytes:
    """A stream without its `id:` lines."""
    return re.sub(rb"id: [^\n]*\n", b"", body)


class TestAUnaryCall:
    @pytest.mark.parametrize("target", [BASE, f"{BASE}/", "/"])
    async def test_over_json_rpc(self, make_front: Callable[..., Any], target: str) -> None:
        front = make_front(pace=PATIENT)
        answer = '>> {"type":"a2a.response","payload":{"id":"e-1.1","result":{ "n":1.50 }}}'
        found = await front.asked(front.agent(), answer, "POST", target, SEND, token=front.token())
        assert (found.status, found.body) == (200, b'{"jsonrpc":"2.0","id":"c1","result":{ "n":1.50 }}')
        assert front.observer.calls[-1].method == "SendMessage"

    async def test_over_rest(self, make_front: Callable[..., Any]) -> None:
        front = make_front(pace=PATIENT)
        answer = '>> {"type":"a2a.response","payload":{"id":"e-1.1","error":{"code":-32001,"message":"no"}}}'
        found = await front.asked(front.agent(), answer, "GET", f"{BASE}/tasks/t", token=front.token())
        assert (found.status, found.json["error"]["status"]) == (404, "NOT_FOUND")

    async def test_that_takes_long_is_kept_alive_with_blanks(self, front: Any) -> None:
        link = front.agent()
        asking = asyncio.ensure_future(front.ask("POST", BASE, SEND, token=front.token()))
        await asyncio.sleep(0.05)
        link.play('>> {"type":"a2a.response","payload":{"id":"e-1.1","result":{}}}')
        found = await asking
        assert found.body.startswith(b" ")
        assert found.json == {"jsonrpc": "2.0", "id": "c1", "result": {}}
        assert found.headers["x-accel-buffering"] == "no"

    async def test_of_a_client_that_hangs_up_is_cancelled(self, front: Any) -> None:
        link, gone = front.agent(), asyncio.Event()
        asking = asyncio.ensure_future(front.ask("POST", f"{BASE}/message:send", b"{}", token=front.token(), gone=gone))
        while not link.transport.unread:
            await asyncio.sleep(0)
        gone.set()
        await asking
        link.play("""
            << {"type":"a2a.request", ...}
            << {"type":"a2a.cancel","payload":{"id":"e-1.1","reason":"CLIENT_GONE"}}
        """)
        assert front.observer.calls[-1].reason is Reason.CLIENT_GONE
        assert front.app.node.snapshot().calls_in_flight == 0

    async def test_may_be_one_of_many_at_once(self, make_front: Callable[..., Any]) -> None:
        front = make_front(pace=PATIENT)
        link = front.agent()
        asking = [asyncio.ensure_future(front.ask("GET", f"{BASE}/tasks/t", token=front.token())) for _ in range(3)]
        while len(link.transport.unread) < 3:
            await asyncio.sleep(0)
        for number in (2, 3, 1):
            link.play(f'>> {{"type":"a2a.response","payload":{{"id":"e-1.{number}","result":{number}}}}}')
        assert sorted([(await each).body for each in asking]) == [b"1", b"2", b"3"]


class TestAStream:
    async def test_is_one_line_per_event(self, make_front: Callable[..., Any]) -> None:
        front = make_front(pace=PATIENT)
        answer = """
            >> {"type":"a2a.event","payload":{"id":"e-1.1","seq":1,"result":{"n":1}}}
            >> {"type":"a2a.event","payload":{"id":"e-1.1","seq":2,"result":{"n":2}}}
            >> {"type":"a2a.end","payload":{"id":"e-1.1"}}
        """
        found = await front.asked(front.agent(), answer, "POST", f"{BASE}/message:stream", b"{}", token=front.token())
        assert found.headers["content-type"] == "text/event-stream"
        assert without_positions(found.body) == b'data: {"n":1}\n\ndata: {"n":2}\n\n'

    async def test_that_fails_at_once_is_a_plain_error(self, make_front: Callable[..., Any]) -> None:
        front = make_front(pace=PATIENT)
        answer = '>> {"type":"a2a.end","payload":{"id":"e-1.1","error":{"code":-32004,"message":"no"}}}'
        found = await front.asked(front.agent(), answer, "POST", BASE, STREAM, token=front.token())
        assert found.headers["content-type"] == "application/json"
        assert found.json["error"]["code"] == -32004

    async def test_that_fails_later_ends_with_an_error_event(self, make_front: Callable[..., Any]) -> None:
        front = make_front(pace=PATIENT)
        answer = """
            >> {"type":"a2a.event","payload":{"id":"e-1.1","seq":1,"result":{}}}
            xx
        """
        found = await front.asked(front.agent(), answer, "POST", BASE, STREAM, token=front.token())
        assert b"event: error\ndata: " in found.body
        assert b"AGENT_DISCONNECTED" in found.body

    async def test_that_is_silent_has_a_head_and_heartbeats(self, front: Any) -> None:
        link = front.agent()
        asking = asyncio.ensure_future(front.ask("POST", BASE, STREAM, token=front.token()))
        await asyncio.sleep(0.05)
        link.play('>> {"type":"a2a.end","payload":{"id":"e-1.1"}}')
        found = await asking
        assert found.status == 200
        assert found.body.replace(b":\n\n", b"") == b""
        assert found.body.count(b":\n\n") >= 2

    async def test_from_an_agent_without_streams_is_one_event(self, make_front: Callable[..., Any]) -> None:
        front = make_front(pace=PATIENT)
        answer = '>> {"type":"a2a.response","payload":{"id":"e-1.1","result":{}}}'
        link = front.agent(kind="relay-go")
        found = await front.asked(link, answer, "POST", f"{BASE}/message:stream", b"{}", token=front.token())
        assert without_positions(found.body) == b"data: {}\n\n"


class TestARefusal:
    @pytest.mark.parametrize(
        "target, body, status, code",
        [
            (BASE, b"{", 200, -32700),
            (BASE, b"[]", 200, -32600),
            (BASE, SEND.replace(b"SendMessage", b"sendMessage"), 200, -32601),
            (BASE, b'{"jsonrpc":"2.0","id":"c1","method":"GetTask","params":{"ID":"x"}}', 400, -32602),
            (BASE, b"\xff", 400, -32700),
            (BASE, b"x" * 1_001, 413, -32600),
            ("/t/acme/a2a/ann", SEND, 404, -32051),
            ("/t/other/a2a/zaf", SEND, 404, -32051),
        ],
    )
    async def test_over_json_rpc(
        self, make_front: Callable[..., Any], target: str, body: bytes, status: int, code: int
    ) -> None:
        front = make_front(max_body=1_000)
        front.agent()
        found = await front.ask("POST", target, body, token=front.token())
        assert (found.status, found.json["error"]["code"]) == (status, code)

    async def test_comes_before_any_look_up_without_a_credential(self, front: Any) -> None:
        front.agent()
        answers = [await front.ask("POST", f"/t/{name}", SEND) for name in ("acme/a2a/zaf", "acme/a2a/x", "o/a2a/zaf")]
        assert {answer.status for answer in answers} == {401}
        assert len({answer.body for answer in answers}) == 1
        assert answers[0].headers["www-authenticate"].startswith("Bearer")

    async def test_of_a_foreign_tenant_tells_nothing(self, front: Any) -> None:
        front.agent()
        token = front.token(tenant="other")
        known, unknown = [await front.ask("POST", f"/t/acme/a2a/{name}", SEND, token=token) for name in ("zaf", "x")]
        assert (known.status, known.body) == (unknown.status, unknown.body)

    async def test_of_a_mistyped_agent_lists_the_tenants_own(self, front: Any) -> None:
        front.agent("ann")
        found = await front.ask("POST", BASE, SEND, token=front.token())
        assert found.json["error"]["data"][0]["metadata"] == {"agents": "ann"}

    async def test_of_an_agent_that_is_away_says_when_to_come_back(self, front: Any) -> None:
        front.agent().play("xx")
        found = await front.ask("POST", BASE, SEND, token=front.token())
        assert (found.status, found.headers["retry-after"]) == (503, "5")

    async def test_at_the_root_lists_the_agents_of_several(self, front: Any) -> None:
        front.agent("ann")
        front.agent("zaf")
        found = await front.ask("POST", "/", SEND, token=front.token())
        assert (found.status, b"ann, zaf" in found.body) == (400, True)

    async def test_of_a_body_that_was_not_read_leaves_the_connection_open(self, make_front: Callable[..., Any]) -> None:
        front = make_front(max_body=10)
        front.agent()
        found = await front.ask("POST", BASE, SEND, token=front.token())
        assert (found.status, "connection" in found.headers) == (413, False)


class TestTheExtendedCard:
    async def test_is_rewritten_like_the_public_one(self, make_front: Callable[..., Any]) -> None:
        front = make_front(pace=PATIENT)
        answer = (
            '>> {"type":"a2a.response","payload":{"id":"e-1.1","result":{"name":"Z","url":"https://evil.example"}}}'
        )
        found = await front.asked(front.agent(), answer, "GET", f"{BASE}/extendedAgentCard", token=front.token())
        assert found.status == 200
        assert b"evil" not in found.body
        assert found.json["supportedInterfaces"][0]["url"] == f"http://relay.example{BASE}/"

    @pytest.mark.parametrize("card", ["[]", '"x"', "null", '{"a":1,"a":2}'])
    async def test_that_cannot_be_read_is_the_agents_fault(self, make_front: Callable[..., Any], card: str) -> None:
        front = make_front(pace=PATIENT)
        answer = f'>> {{"type":"a2a.response","payload":{{"id":"e-1.1","result":{card}}}}}'
        found = await front.asked(front.agent(), answer, "GET", f"{BASE}/extendedAgentCard", token=front.token())
        assert found.status == 500
