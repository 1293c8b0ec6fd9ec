"""The agent link over ASGI's WebSocket messages."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from a2a_relay.errors import Reason


class Socket:
    """An agent's side of one ASGI WebSocket."""

    def __init__(
        self,
        front: Any,
        path: bytes = b"/agent",
        host: bytes = b"relay.example",
        *,
        can_answer: bool = True,
        **headers: str,
    ) -> None:
        self._in: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._out: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.say({"type": "websocket.connect"})
        scope = {
            "type": "websocket",
            "scheme": "ws",
            "raw_path": path,
            "query_string": b"",
            "headers": [
                (b"host", host),
                *((name.replace("_", "-").encode(), text.encode()) for name, text in headers.items()),
            ],
            "extensions": {"websocket.http.response": {}} if can_answer else {},
            "client": ("192.0.2.9", 5000),
        }
        self.task = asyncio.ensure_future(front.app(scope, self._in.get, self._send))

    async def _send(self, message: Any) -> None:
        self._out.put_nowait(dict(message))

    def say(self, message: dict[str, Any]) -> None:
        self._in.put_nowait(message)

    def text(self, frame: str) -> None:
        self.say({"type": "websocket.receive", "text": frame})

    async def next(self) -> dict[str, Any]:
        return await asyncio.wait_for(self._out.get(), 10)

    async def end(self) -> None:
        self.say({"type": "websocket.disconnect", "code": 1000})
        await asyncio.wait_for(self.task, 10)


async def test_an_agent_attaches_answers_and_leaves(front: Any) -> None:
    socket = Socket(front)
    assert (await socket.next())["type"] == "websocket.accept"
    socket.text(json.dumps({"type": "auth", "token": front.token("agent", agent="zaf"), "protocol": "a2a-relay/1"}))
    welcome = json.loads((await socket.next())["text"])
    assert welcome["public_urls"]["JSONRPC"] == "http://relay.example/t/acme/a2a/zaf/"
    asking = asyncio.ensure_future(front.ask("GET", "/t/acme/a2a/zaf/tasks/t", token=front.token()))
    request = json.loads((await socket.next())["text"])
    answer = json.dumps({"type": "a2a.response", "payload": {"id": request["payload"]["id"], "result": "\u2028é"}})
    socket.say({"type": "websocket.receive", "bytes": answer.encode()})
    assert (await asking).json == "\u2028é"
    await socket.end()
    assert front.app.node.snapshot().agents_attached == 0


async def test_a_refused_agent_is_told_why_and_closed(front: Any) -> None:
    socket = Socket(front)
    assert (await socket.next())["type"] == "websocket.accept"
    socket.text('{"type":"auth","token":"bad"}')
    assert json.loads((await socket.next())["text"])["type"] == "error"
    assert (await socket.next())["code"] == 4001
    await socket.end()


async def test_no_frame_of_any_text_breaks_the_socket(front: Any) -> None:
    socket = Socket(front)
    await socket.next()
    socket.text(json.dumps({"type": "auth", "token": front.token("agent", agent="zaf")}))
    await socket.next()
    for text in ("\ud800", "", "\x00", '{"type":"a2a.response"}'):
        socket.text(text)
    socket.say({"type": "websocket.receive", "bytes": None, "text": None})
    socket.text('{"type":"ping"}')
    assert json.loads((await socket.next())["text"]) == {"type": "pong"}
    await socket.end()


async def test_another_path_has_no_socket(front: Any) -> None:
    for path in (b"/", b"/health", b"/agent/x", b"/..", b"/t/acme/a2a/zaf"):
        socket = Socket(front, path)
        assert (await socket.next())["type"] == "websocket.close"
        await asyncio.wait_for(socket.task, 10)


async def test_a_host_that_is_none_is_closed_at_once(front: Any) -> None:
    socket = Socket(front, host=b"a b")
    assert (await socket.next())["type"] == "websocket.close"
    await asyncio.wait_for(socket.task, 10)


async def test_a_relay_that_leaves_closes_its_sockets_after_their_last_words(front: Any) -> None:
    socket = Socket(front)
    await socket.next()
    socket.text(json.dumps({"type": "auth", "token": front.token("agent", agent="zaf"), "protocol": "a2a-relay/1"}))
    await socket.next()
    leaving = asyncio.ensure_future(front.app.node.leave(1))
    assert json.loads((await socket.next())["text"])["type"] == "relay.goaway"
    assert (await socket.next())["code"] == 1001
    await socket.end()
    await asyncio.wait_for(leaving, 10)


class TestTheSubprotocolA2aV1:
    ASKED = "soap, a2a.v1"

    async def test_attaches_the_agent_with_the_upgrades_own_credential(self, front: Any) -> None:
        bearer = f"Bearer {front.token('agent', agent='zaf')}"
        socket = Socket(front, sec_websocket_protocol=self.ASKED, authorization=bearer)
        assert await socket.next() == {"type": "websocket.accept", "subprotocol": "a2a.v1"}
        asking = asyncio.ensure_future(front.ask("GET", "/t/acme/a2a/zaf/tasks/t", token=front.token()))
        request = json.loads((await socket.next())["text"])
        assert (request["method"], request["serviceParams"]) == ("GetTask", {"a2a-version": "1.0"})
        socket.text(json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": {"n": 1}}))
        assert (await asking).json == {"n": 1}
        await socket.end()

    @pytest.mark.parametrize(
        "role, credential, status",
        [("", "", 401), ("", "Bearer bad", 401), ("client", "", 403)],
    )
    async def test_refuses_the_upgrade_of_a_bad_credential(
        self, front: Any, role: str, credential: str, status: int
    ) -> None:
        text = credential or (f"Bearer {front.token(role)}" if role else "")
        socket = Socket(front, sec_websocket_protocol=self.ASKED, **({"authorization": text} if text else {}))
        start, body = await socket.next(), await socket.next()
        assert (start["type"], start["status"]) == ("websocket.http.response.start", status)
        assert (b"www-authenticate" in dict(start["headers"])) is (status == 401)
        assert json.loads(body["body"])["reason"] == front.observer.refused_links[0][0]
        await asyncio.wait_for(socket.task, 10)

    async def test_closes_before_accepting_where_the_server_can_say_nothing_else(self, front: Any) -> None:
        socket = Socket(front, sec_websocket_protocol=self.ASKED, authorization="Bearer bad", can_answer=False)
        assert (await socket.next())["type"] == "websocket.close"
        await asyncio.wait_for(socket.task, 10)
        assert front.observer.refused_links[0][0] is Reason.UNAUTHENTICATED

    async def test_is_not_given_to_whoever_asks_for_another(self, front: Any) -> None:
        socket = Socket(front, sec_websocket_protocol="a2a.v2, graphql-ws")
        assert await socket.next() == {"type": "websocket.accept", "subprotocol": None}
        socket.text(json.dumps({"type": "auth", "token": front.token("agent", agent="zaf")}))
        assert json.loads((await socket.next())["text"])["type"] == "auth_ok"
        await socket.end()


class TestRelayElixirsPath:
    async def test_has_no_socket_unless_it_is_switched_on(self, front: Any) -> None:
        assert (await Socket(front, b"/ws/agent").next())["type"] == "websocket.close"

    async def test_speaks_relay_elixirs_dialect_whatever_subprotocol_is_asked_for(
        self, make_front: Callable[..., Any]
    ) -> None:
        front = make_front(elixir="on")
        socket = Socket(front, b"/ws/agent", sec_websocket_protocol="a2a.v1")
        assert (await socket.next())["subprotocol"] is None
        socket.text(
            json.dumps({"type": "auth", "token": front.token("agent", agent="zaf"), "agent_card": {"name": "Z"}})
        )
        assert json.loads((await socket.next())["text"]) == {"type": "auth_success"}
        card = await front.ask("GET", "/acme/zaf/.well-known/agent.json")
        assert (card.status, card.json["name"]) == (200, "Z")
        call = {"jsonrpc": "2.0", "id": 7, "method": "SendMessage", "params": {"message": {"messageId": "m"}}}
        asking = asyncio.ensure_future(front.ask("POST", "/acme/zaf/", json.dumps(call).encode(), token=front.token()))
        request = json.loads((await socket.next())["text"])
        socket.text(json.dumps({"id": request["id"], "result": {"n": 1}}))
        assert (await asking).json == {"jsonrpc": "2.0", "id": 7, "result": {"n": 1}}
        await socket.end()

    async def test_refuses_in_relay_elixirs_words(self, make_front: Callable[..., Any]) -> None:
        socket = Socket(make_front(elixir="on"), b"/ws/agent")
        await socket.next()
        socket.text('{"type":"auth","token":"bad"}')
        assert json.loads((await socket.next())["text"]) == {
            "error": "authentication failed",
            "reason": "invalid token",
        }
        assert (await socket.next())["code"] == 4001
        await socket.end()

    async def test_for_clients_is_not_found_unless_it_is_switched_on(self, front: Any) -> None:
        front.agent()
        assert (await front.ask("GET", "/acme/zaf/.well-known/agent.json")).status == 404
        assert (await front.ask("POST", "/acme/zaf/", b"{}", token=front.token())).status == 404


async def test_an_agent_shows_that_it_lives_by_any_message_when_another_instance_comes(front: Any) -> None:
    auth = {"type": "auth", "token": front.token("agent", agent="zaf"), "protocol": "a2a-relay/1"}
    old, new = Socket(front), Socket(front)
    for socket, instance in ((old, "i-1"), (new, "i-2")):
        await socket.next()
        socket.text(json.dumps({**auth, "instance": instance}))
    assert json.loads((await old.next())["text"])["type"] == "auth_ok"
    probe = (await old.next())["text"]
    assert json.loads(probe)["type"] == "relay.probe"
    old.text(probe)
    assert json.loads((await new.next())["text"])["type"] == "auth_ok"
    goaway = json.loads((await old.next())["text"])
    assert goaway["payload"]["reason"].startswith("session replaced by 192.0.2.9 at ")
    assert (await old.next())["code"] == 4006
    await new.end()
