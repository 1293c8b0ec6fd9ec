"""The agent link over ASGI's WebSocket messages."""

from __future__ import annotations

import asyncio
import json
from typing import Any


class Socket:
    """An agent's side of one ASGI WebSocket."""

    def __init__(self, front: Any, path: bytes = b"/agent", host: bytes = b"relay.example") -> None:
        self._in: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._out: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.say({"type": "websocket.connect"})
        scope = {
            "type": "websocket",
            "scheme": "ws",
            "raw_path": path,
            "query_string": b"",
            "headers": [(b"host", host)],
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
