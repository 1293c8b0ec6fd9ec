"""Streams that are read on over HTTP, in both lanes: places, the stream's own URL, gaps, second readers."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from uvicorn.server import ServerState

from a2a_relay.fronts.http.app import RelayApp
from a2a_relay.fronts.http.batching import Outbox
from a2a_relay.fronts.http.protocol import HttpLimits
from a2a_relay.fronts.http.server import Lane, server_config
from a2a_relay.testing import Playbook

BASE = "/t/acme/a2a/zaf"
PATIENT = 5.0
RPC = b'{"jsonrpc":"2.0","id":"c1","method":"%b","params":{"message":{}}}'
CALL = RPC % b"SendStreamingMessage"
POSITION = re.compile(rb"id: ([A-Za-z0-9_-]{22}\.[0-9a-f]+)-([0-9]+)\n")


class Answer(NamedTuple):
    """What a client has got so far."""

    status: int
    headers: dict[str, str]
    body: bytes
    is_over: bool

    @property
    def numbers(self) -> list[int]:
        """The numbers of its events."""
        return [int(number) for _, number in POSITION.findall(self.body)]

    def id(self, number: int) -> str:
        """A `Last-Event-ID` in the stream of this answer."""
        return f"{POSITION.findall(self.body)[0][0].decode()}-{number}"


class PlainLane:
    """A request over ASGI."""

    def __init__(self, app: RelayApp) -> None:
        self._app = app
        self._sent: list[dict[str, Any]] = []
        self._gone = asyncio.Event()
        self._may_write = asyncio.Event()
        self._may_write.set()

    def begin(self, verb: str, target: str, body: bytes, headers: dict[str, str]) -> None:
        raw = [(name.encode(), text.encode()) for name, text in headers.items()]
        scope = {
            "type": "http",
            "method": verb,
            "raw_path": target.encode(),
            "query_string": b"",
            "headers": [(b"host", b"relay.example"), *raw],
            "client": ("192.0.2.9", 5000),
            "scheme": "http",
        }
        messages = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> dict[str, Any]:
            if messages:
                return messages.pop(0)
            await self._gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            await self._may_write.wait()
            self._sent.append(dict(message))

        self._task = asyncio.ensure_future(self._app(scope, receive, send))

    @property
    def answer(self) -> Answer:
        head = self._sent[0]
        headers = {name.decode(): text.decode() for name, text in head["headers"]}
        body = b"".join(message["body"] for message in self._sent[1:])
        return Answer(head["status"], headers, body, not self._sent[-1].get("more_body", True))

    def block(self) -> None:
        self._may_write.clear()

    def unblock(self) -> None:
        self._may_write.set()

    def hang_up(self) -> None:
        self._gone.set()


class FastLane:
    """A request over uvicorn's protocol, on a transport in memory."""

    def __init__(self, app: RelayApp) -> None:
        config = server_config(
            app, HttpLimits(32768, 100, 8192, 10.0), Lane(app.desk, app.exposure), compresses_links=False
        )
        config.load()
        http_class: Any = config.http_protocol_class
        http_class.outbox = Outbox(lambda end_turn: end_turn())
        self._written = bytearray()
        self.protocol = http_class(config=config, server_state=ServerState(), app_state={})
        self.protocol.connection_made(self)

    def begin(self, verb: str, target: str, body: bytes, headers: dict[str, str]) -> None:
        lines = [f"{verb} {target} HTTP/1.1", "host: relay.example", f"content-length: {len(body)}"]
        lines += [f"{name}: {text}" for name, text in headers.items()]
        self.protocol.data_received("\r\n".join([*lines, "", ""]).encode() + body)

    @property
    def answer(self) -> Answer:
        head, _, rest = bytes(self._written).partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines)
        status = int(first.split()[1])
        if "content-length" in headers:
            return Answer(status, headers, rest, len(rest) == int(headers["content-length"]))
        body = b""
        while rest:
            size, _, rest = rest.partition(b"\r\n")
            body, rest = body + rest[: int(size, 16)], rest[int(size, 16) + 2 :]
            if size == b"0":
                return Answer(status, headers, body, is_over=True)
        return Answer(status, headers, body, is_over=False)

    def block(self) -> None:
        self.protocol.pause_writing()

    def unblock(self) -> None:
        self.protocol.resume_writing()

    def hang_up(self) -> None:
        self.protocol.connection_lost(None)

    # the transport

    def write(self, data: bytes) -> None:
        self._written += data

    def writelines(self, parts: list[bytes]) -> None:
        self._written += b"".join(parts)

    def get_extra_info(self, name: str, default: object = None) -> object:
        return ("127.0.0.1", 4000) if name in ("peername", "sockname") else default

    def is_closing(self) -> bool:
        return False

    def resume_reading(self) -> None:
        pass

    pause_reading = close = abort = resume_reading

    def get_write_buffer_size(self) -> int:
        return 0


async def settle() -> None:
    """Whatever is to happen now has happened."""
    for _ in range(30):
        await asyncio.sleep(0)


class World:
    """A relay with one agent, and clients of one lane."""

    def __init__(self, front: Any, lane: Callable[[RelayApp], Any]) -> None:
        self.front, self._lane = front, lane
        self.agent: Playbook = front.agent()
        self.node = front.app.node
        self._open: list[Any] = []

    async def ask(self, verb: str, target: str, body: bytes = b"", token: str | None = None, **headers: str) -> Any:
        """Begin a request as a client of its own."""
        client = self._lane(self.front.app)
        self._open.append(client)
        named = {name.replace("_", "-"): text for name, text in headers.items()}
        client.begin(verb, target, body, {"authorization": f"Bearer {token or self.front.token()}", **named})
        await settle()
        return client

    async def say(self, first: int, last: int, id: str = "e-1.1", size: int = 0) -> None:
        """The agent sends the events `first` to `last`."""
        for seq in range(first, last + 1):
            result = f'"{"x" * size}"' if size else f'{{"n":{seq}}}'
            self.agent.play(f'>> {{"type":"a2a.event","payload":{{"id":"{id}","seq":{seq},"result":{result}}}}}')
        await settle()

    async def end(self, id: str = "e-1.1") -> None:
        self.agent.play(f'>> {{"type":"a2a.end","payload":{{"id":"{id}"}}}}')
        await settle()

    async def leave(self, client: Any) -> None:
        """A client hangs up."""
        client.hang_up()
        await settle()

    async def close(self) -> None:
        for client in self._open:
            client.hang_up()
        await settle()


@pytest.fixture(params=[PlainLane, FastLane])
async def make_world(request: pytest.FixtureRequest, make_front: Callable[..., Any]) -> Any:
    worlds: list[World] = []

    def make(pace: float = PATIENT, **limits: Any) -> World:
        worlds.append(World(make_front(pace=pace, **limits), request.param))
        return worlds[-1]

    yield make
    for world in worlds:
        await world.close()


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    return make_world()


class TestAStream:
    async def test_says_where_each_event_is_and_where_it_can_be_read_on(self, world: World) -> None:
        client = await world.ask("POST", BASE, CALL)
        await world.say(1, 2)
        await world.end()
        answer = client.answer
        assert (answer.status, answer.numbers, answer.is_over) == (200, [1, 2], True)
        position = answer.id(1)
        assert answer.headers["a2a-relay-stream"] == f"{BASE}/streams/{position.partition('.')[0]}"
        assert answer.body.startswith(
            f'id: {position}\ndata: {{"jsonrpc":"2.0","id":"c1","result":{{"n":1}}}}\n\n'.encode()
        )

    async def test_goes_on_when_its_client_is_back(self, world: World) -> None:
        first = await world.ask("POST", BASE, CALL)
        await world.say(1, 3)
        await world.leave(first)
        await world.say(4, 5)
        again = await world.ask("POST", BASE, CALL, last_event_id=first.answer.id(2))
        await world.say(6, 6)
        await world.end()
        assert (again.answer.numbers, again.answer.is_over) == ([3, 4, 5, 6], True)
        assert again.answer.headers["a2a-relay-stream"] == first.answer.headers["a2a-relay-stream"]
        assert b"event:" not in again.answer.body
        assert [frame["type"] for frame in world.agent.transport.take_all()] == ["a2a.request", "a2a.credit"]

    @pytest.mark.parametrize("method", [b"SubscribeToTask", b"tasks/resubscribe", b"message/stream"])
    async def test_goes_on_by_any_streaming_method_with_its_own_id(self, world: World, method: bytes) -> None:
        first = await world.ask("POST", BASE, CALL)
        await world.say(1, 2)
        body = b'{"jsonrpc":"2.0","id":7,"method":"%b","params":{"id":"t","message":{}}}' % method
        again = await world.ask("POST", BASE, body, last_event_id=first.answer.id(1))
        await world.say(3, 3)
        assert again.answer.numbers == [2, 3]
        assert b'data: {"jsonrpc":"2.0","id":7,"result":{"n":3}}\n\n' in again.answer.body

    async def test_goes_on_over_rest(self, world: World) -> None:
        first = await world.ask("POST", f"{BASE}/message:stream", b"{}")
        await world.say(1, 2)
        for verb, path in (("POST", "message:stream"), ("GET", "tasks/t:subscribe")):
            body = b"{}" if verb == "POST" else b""
            again = await world.ask(verb, f"{BASE}/{path}", body, last_event_id=first.answer.id(1))
            assert again.answer.body.endswith(b'-2\ndata: {"n":2}\n\n')

    async def test_sends_its_first_reader_away_when_a_second_comes(self, world: World) -> None:
        first = await world.ask("POST", BASE, CALL)
        await world.say(1, 1)
        second = await world.ask("POST", BASE, CALL, last_event_id=first.answer.id(1))
        assert first.answer.is_over
        assert first.answer.body.count(b"event: error\n") == 1
        assert b"STREAM_RESUMED" in first.answer.body
        await world.say(2, 2)
        assert (second.answer.numbers, second.answer.is_over) == ([2], False)

    async def test_tells_what_is_lost(self, make_world: Callable[..., World]) -> None:
        world = make_world(replay_events=2)
        first = await world.ask("POST", BASE, CALL)
        await world.say(1, 6)
        again = await world.ask("POST", BASE, CALL, last_event_id=first.answer.id(1))
        gap = f'event: gap\nid: {first.answer.id(4)}\ndata: {{"lost":{{"first":2,"last":4}}}}\n\n'
        assert again.answer.body.startswith(gap.encode())
        assert again.answer.numbers == [4, 5, 6]
        assert again.answer.headers["a2a-relay-stream"] == first.answer.headers["a2a-relay-stream"]

    async def test_that_has_ended_is_read_to_its_end_again(self, world: World) -> None:
        first = await world.ask("POST", BASE, CALL)
        await world.say(1, 3)
        world.agent.play('>> {"type":"a2a.end","payload":{"id":"e-1.1","error":{"code":-32001,"message":"no"}}}')
        await settle()
        again = await world.ask("POST", BASE, CALL, last_event_id=first.answer.id(2))
        assert (again.answer.status, again.answer.numbers, again.answer.is_over) == (200, [3], True)
        assert b"event: error\n" in again.answer.body
        whole = await world.ask("POST", BASE, CALL, last_event_id=first.answer.id(3))
        assert whole.answer.is_over
        assert whole.answer.status == 200

    async def test_gives_its_agent_no_credit_while_the_client_does_not_read(
        self, make_world: Callable[..., World]
    ) -> None:
        world = make_world()
        client = await world.ask("POST", BASE, CALL)
        await world.say(1, 1, size=1_000)
        client.block()
        await world.say(2, 25, size=10_000)
        world.agent.transport.take_all()
        await world.say(26, 27, size=10_000)
        world.agent.play("<< nothing")
        client.unblock()
        await settle()
        await world.end()
        assert (client.answer.numbers, client.answer.is_over) == (list(range(1, 28)), True)
        assert {frame["type"] for frame in world.agent.transport.take_all()} == {"a2a.credit"}

    async def test_of_a_client_that_does_not_come_back_is_cancelled(self, world: World) -> None:
        client = await world.ask("POST", BASE, CALL)
        await world.say(1, 1)
        await world.leave(client)
        world.agent.play("""
            << {"type":"a2a.request", ...}
            ++ 29.9
            << nothing
            ++ 0.3
            << {"type":"a2a.cancel","payload":{"id":"e-1.1","reason":"CLIENT_GONE"}}
        """)

    async def test_has_a_deadline_of_its_clients(self, world: World) -> None:
        client = await world.ask("POST", BASE, CALL, a2a_relay_timeout="2.5")
        assert world.agent.transport.take()["payload"]["timeout_ms"] == 2_500
        await world.say(1, 1)
        world.front.clock.advance(2.7)
        await settle()
        assert client.answer.is_over
        assert b"AGENT_TIMEOUT" in client.answer.body


class TestItsOwnUrl:
    async def test_begins_at_the_first_event(self, world: World) -> None:
        first = await world.ask("POST", BASE, CALL)
        await world.say(1, 2)
        url = first.answer.headers["a2a-relay-stream"]
        again = await world.ask("GET", url)
        await world.say(3, 3)
        await world.end()
        assert (again.answer.status, again.answer.numbers, again.answer.is_over) == (200, [1, 2, 3], True)
        assert again.answer.headers["content-type"] == "text/event-stream"
        assert again.answer.headers["a2a-relay-stream"] == url
        assert b'data: {"jsonrpc":"2.0","id":"c1","result":{"n":1}}' in again.answer.body, "as the call was asked"

    async def test_is_not_read_on_by_a_mere_look(self, world: World) -> None:
        first = await world.ask("POST", BASE, CALL)
        await world.say(1, 1)
        looked = await world.ask("HEAD", first.answer.headers["a2a-relay-stream"])
        assert (looked.answer.status, looked.answer.headers["allow"]) == (405, "GET")
        await world.say(2, 2)
        assert first.answer.numbers == [1, 2]

    async def test_goes_on_behind_the_last_event(self, world: World) -> None:
        first = await world.ask("POST", f"{BASE}/message:stream", b"{}")
        await world.say(1, 3)
        again = await world.ask("GET", first.answer.headers["a2a-relay-stream"], last_event_id=first.answer.id(2))
        assert again.answer.body == f'id: {first.answer.id(3)}\ndata: {{"n":3}}\n\n'.encode()

    async def test_looks_the_same_for_everybody_elses_and_none(self, world: World) -> None:
        world.front.agent("ann")
        first = await world.ask("POST", BASE, CALL)
        await world.say(1, 2)
        url, id = first.answer.headers["a2a-relay-stream"], first.answer.id(1)
        other = id.replace(id[:22], "A" * 22)
        sender = world.front.token("client")
        asked = [
            await world.ask("GET", f"{BASE}/streams/{'A' * 22}"),
            await world.ask("GET", f"{BASE}/streams/x"),
            await world.ask("GET", url.replace("zaf", "ann")),
            await world.ask("GET", url.replace("zaf", "nobody")),
            await world.ask("GET", url, token=sender),
            await world.ask("GET", url, last_event_id=other),
            await world.ask("GET", url, last_event_id="7"),
            await world.ask("GET", url, last_event_id=first.answer.id(3)),
            await world.ask("GET", url, last_event_id=id.replace(".e-", ".f-")),
        ]
        answers = {(client.answer.status, client.answer.body) for client in asked}
        assert len(answers) == 1, answers
        assert asked[0].answer.status == 410
        assert json.loads(asked[0].answer.body)["error"]["details"][0]["reason"] == "STREAM_GONE"
        assert not first.answer.is_over

    async def test_of_another_tenant_tells_nothing(self, world: World) -> None:
        first = await world.ask("POST", BASE, CALL)
        await world.say(1, 1)
        token = world.front.token(tenant="other")
        url = first.answer.headers["a2a-relay-stream"]
        theirs = await world.ask("GET", url, token=token)
        nobodys = await world.ask("GET", f"/t/acme/a2a/nobody/streams/{'A' * 22}", token=token)
        assert (theirs.answer.status, theirs.answer.body) == (nobodys.answer.status, nobodys.answer.body)
        assert theirs.answer.status == 404


class TestALastEventId:
    async def test_of_no_stream_here_is_gone_in_the_calls_own_words(self, world: World) -> None:
        for given in ("17", "x" * 300, f"{'A' * 22}.e-1"):
            client = await world.ask("POST", BASE, CALL, last_event_id=given)
            document = json.loads(client.answer.body)
            assert (client.answer.status, document["id"], document["error"]["code"]) == (410, "c1", -32064)
        world.agent.play("<< nothing")

    async def test_of_a_unary_call_is_refused(self, world: World) -> None:
        first = await world.ask("POST", BASE, CALL)
        await world.say(1, 1)
        client = await world.ask("POST", BASE, RPC % b"SendMessage", last_event_id=first.answer.id(1))
        assert json.loads(client.answer.body)["error"]["code"] == -32600
        rest = await world.ask("GET", f"{BASE}/tasks/t", last_event_id=first.answer.id(1))
        assert rest.answer.status == 400

    async def test_that_is_empty_is_none(self, world: World) -> None:
        client = await world.ask("POST", BASE, CALL, last_event_id="")
        await world.say(1, 1)
        assert client.answer.numbers == [1]


class TestATimeout:
    @pytest.mark.parametrize("given", ["0", "0.000", "-1", "x", "1e3", "1.2345", "", " ", "inf", "9999999999"])
    async def test_that_is_none_is_refused(self, world: World, given: str) -> None:
        client = await world.ask("POST", BASE, CALL, a2a_relay_timeout=given)
        assert json.loads(client.answer.body)["error"]["code"] == -32600
        world.agent.play("<< nothing")
