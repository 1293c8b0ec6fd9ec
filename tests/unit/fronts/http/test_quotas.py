"""What clients are told that have had their fill, in both lanes and bindings; every call gives its place back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any, cast

import pytest
from uvicorn.server import ServerState

from a2a_relay.assembly import create_app
from a2a_relay.core.rates import Subject
from a2a_relay.fronts.http.batching import Outbox
from a2a_relay.fronts.http.lane_protocol import LaneProtocol
from a2a_relay.fronts.http.protocol import HttpLimits
from a2a_relay.fronts.http.server import Lane, server_config
from a2a_relay.fronts.http.turnstile import Turnstile
from a2a_relay.node import quotas as module
from a2a_relay.settings import Settings
from a2a_relay.settings.values import LimitValue
from a2a_relay.stores.memory.mailbox import MemoryMailbox
from a2a_relay.testing import TEST_SECRET, FakeClock, Playbook, make_token

BASE = "/t/acme/a2a/zaf"
SEND = b'{"jsonrpc":"2.0","id":"c1","method":"SendMessage","params":{"message":{"messageId":"m"}}}'
STREAM = SEND.replace(b"SendMessage", b"SendStreamingMessage")
HEADERS = {"retry-after": "2", "ratelimit-policy": '"calls";q=1;w=2', "ratelimit": '"calls";r=0;t=2'}
ANSWER = '>> {"type":"a2a.response","payload":{"id":"e-1.1","result":{}}}'
Make = Callable[..., Any]


def tenant(**limits: float) -> dict[Subject, dict[str, float]]:
    return {Subject.TENANT: limits}


def in_flight(front: Any) -> tuple[int, int]:
    account = front.app.node.quotas._tenant("acme")
    return account.calls_in_flight, account.streams_in_flight


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not is_so():
            await asyncio.sleep(0.001)


class TestThePlainLane:
    async def test_tells_in_json_rpc_when_there_is_more(self, make_front: Make) -> None:
        front = make_front(pace=5.0, quotas=tenant(calls_per_second=0.5, calls_burst=1))
        found = await front.asked(front.agent(), ANSWER, "POST", BASE, SEND, token=front.token())
        assert found.status == 200
        refused = await front.ask("POST", BASE, SEND, token=front.token())
        assert refused.status == 429
        assert refused.headers.items() >= HEADERS.items()
        assert refused.json["error"]["code"] == -32055
        assert refused.json["error"]["data"][0]["reason"] == "RATE_LIMITED"
        front.clock.advance(2)
        assert not front.app.node.quotas._tenant("acme").calls.wait(
            front.app.node.quotas._tenant("acme").terms.calls, front.clock.monotonic()
        )

    async def test_tells_it_in_http_json(self, make_front: Make) -> None:
        front = make_front(quotas=tenant(calls_per_second=0.5, calls_burst=1))
        await front.ask("GET", f"{BASE}/tasks/t", token=front.token())
        refused = await front.ask("GET", f"{BASE}/tasks/t", token=front.token())
        assert refused.status == 429
        assert refused.headers.items() >= HEADERS.items()
        assert refused.json["error"]["status"] == "RESOURCE_EXHAUSTED"

    async def test_tells_a_stream_before_it_begins(self, make_front: Make) -> None:
        front = make_front(quotas=tenant(calls_per_second=0.5, calls_burst=1))
        await front.ask("GET", f"{BASE}/tasks/t", token=front.token())
        refused = await front.ask("POST", BASE, STREAM, token=front.token())
        assert (refused.status, refused.headers["content-type"]) == (429, "application/json")

    async def test_gives_a_place_back_after_an_answer(self, make_front: Make) -> None:
        front = make_front(pace=5.0, quotas=tenant(calls_in_flight=1))
        link = front.agent()
        asking = asyncio.ensure_future(front.ask("POST", BASE, SEND, token=front.token()))
        await until(lambda: bool(link.transport.unread))
        refused = await front.ask("POST", BASE, SEND, token=front.token())
        assert refused.status == 429
        assert refused.headers["ratelimit-policy"] == '"calls-in-flight";q=1;qu="concurrent-requests"'
        assert refused.headers["ratelimit"] == '"calls-in-flight";r=0'
        link.play(ANSWER)
        assert (await asking).status == 200
        assert in_flight(front) == (0, 0)

    async def test_gives_a_place_back_after_an_error_and_a_refusal(self, make_front: Make) -> None:
        front = make_front(pace=5.0, quotas=tenant(calls_in_flight=1, streams_in_flight=1))
        answer = '>> {"type":"a2a.response","payload":{"id":"e-1.1","error":{"code":-1,"message":"no"}}}'
        await front.asked(front.agent(), answer, "POST", BASE, SEND, token=front.token())
        for body in (SEND, STREAM):
            assert (await front.ask("POST", "/t/acme/a2a/nobody", body, token=front.token())).status == 404
        assert in_flight(front) == (0, 0)

    @pytest.mark.parametrize("body", [SEND, STREAM])
    async def test_gives_a_place_back_of_a_client_that_is_gone(self, make_front: Make, body: bytes) -> None:
        front = make_front(pace=5.0, quotas=tenant(calls_in_flight=1, streams_in_flight=1))
        link, gone = front.agent(), asyncio.Event()
        asking = asyncio.ensure_future(front.ask("POST", BASE, body, token=front.token(), gone=gone))
        await until(lambda: bool(link.transport.unread))
        assert sum(in_flight(front)) == 1
        gone.set()
        await asking
        assert in_flight(front) == (0, 0)

    async def test_gives_a_place_back_after_a_timeout(self, make_front: Make) -> None:
        front = make_front(pace=5.0, quotas=tenant(calls_in_flight=1), request_timeout_seconds=3)
        link = front.agent()
        asking = asyncio.ensure_future(front.ask("POST", BASE, SEND, token=front.token()))
        await until(lambda: bool(link.transport.unread))
        front.clock.advance(10)
        assert (await asking).status == 504
        assert in_flight(front) == (0, 0)

    async def test_keeps_an_answer_back_from_whoever_goes_on_regardless(
        self, make_front: Make, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "HOLD_SECONDS", 0.05)
        front = make_front(quotas=tenant(calls_per_second=0.001))
        for _ in range(11):
            await front.ask("POST", BASE, SEND, token=front.token())
        begun = asyncio.get_running_loop().time()
        refused = await front.ask("POST", BASE, SEND, token=front.token())
        assert refused.status == 429
        assert asyncio.get_running_loop().time() - begun >= 0.02

    async def test_tells_nothing_to_a_client_that_leaves_meanwhile(self, make_front: Make) -> None:
        front = make_front(pace=5.0, quotas=tenant(calls_in_flight=1))
        link, gone = front.agent(), asyncio.Event()
        asking = asyncio.ensure_future(front.ask("POST", BASE, SEND, token=front.token()))
        await until(lambda: bool(link.transport.unread))
        for _ in range(10):
            await front.ask("POST", BASE, SEND, token=front.token())
        gone.set()
        assert (await front.ask("POST", BASE, SEND, token=front.token(), gone=gone)).status == 0
        link.play(ANSWER)
        await asking


class TestWhatIsRead:
    @pytest.mark.parametrize("target", ["/.well-known/agents", "/t/acme/agents", "/.well-known/agent-card.json"])
    async def test_is_counted(self, make_front: Make, target: str) -> None:
        front = make_front(quotas={Subject.KEY: {"reads_per_second": 1}})
        front.agent()
        assert (await front.ask("GET", target, token=front.token())).status == 200
        refused = await front.ask("GET", target, token=front.token())
        assert refused.status == 429
        assert refused.headers["ratelimit-policy"] == '"reads";q=1;w=1'
        assert (await front.ask("GET", target, token=front.token("sender"))).status != 429

    async def test_is_answered_later_when_somebody_reads_on_regardless(
        self, make_front: Make, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "HOLD_SECONDS", 0.05)
        front = make_front(quotas=tenant(reads_per_second=0.001))
        for _ in range(11):
            await front.ask("GET", "/t/acme/agents", token=front.token())
        begun = asyncio.get_running_loop().time()
        assert (await front.ask("GET", "/t/acme/agents", token=front.token())).status == 429
        assert asyncio.get_running_loop().time() - begun >= 0.02

    async def test_is_counted_where_it_is_letters(self, make_front: Make) -> None:
        front = make_front(mailbox=lambda clock: MemoryMailbox(clock.now), quotas=tenant(reads_per_second=1))
        assert (await front.ask("GET", "/t/acme/letters", token=front.token())).status == 200
        assert (await front.ask("GET", "/t/acme/letters", token=front.token())).status == 429


async def test_a_tenant_may_have_so_many_agents_attached(make_front: Make) -> None:
    front = make_front(quotas=tenant(sessions=1))
    front.agent("zaf")
    front.agent("zaf")  # in the place of the other
    with pytest.raises(AssertionError):
        front.agent("mia")
    front.agent("mia", tenant="other")


async def test_a_tenant_may_have_so_many_bytes_of_letters(make_front: Make) -> None:
    front = make_front(mailbox=lambda clock: MemoryMailbox(clock.now), quotas=tenant(mailbox_bytes=100), pace=5.0)
    front.agent().play("xx")
    asking = {"token": front.token(), "prefer": "respond-async"}
    assert (await front.ask("POST", BASE, SEND, **asking)).status == 200
    big = SEND.replace(b'"m"', b'"%b"' % (b"m" * 200))
    refused = await front.ask("POST", BASE, big, **asking)
    assert refused.status == 429
    assert refused.headers["retry-after"] == "60"


async def test_an_agent_that_heeds_credit_waits_when_its_reader_has_had_its_bytes(make_front: Make) -> None:
    front = make_front(quotas=tenant(stream_bytes_per_second=1000), pace=5.0)
    link = Playbook(front.app.node, front.clock, token=front.token("agent", agent="zaf"))
    link.play("""
        >> {"type":"auth","token":"$token","protocol":"a2a-relay/1","features":["credit"],"agent_card":{"name":"Zaf"}}
        << {"type":"auth_ok", ...}
    """)
    asking = asyncio.ensure_future(front.ask("POST", BASE, STREAM, token=front.token()))
    await until(lambda: bool(link.transport.unread))
    link.play('<< {"type":"a2a.request", ...}')
    for number in range(1, 41):
        link.play(f'>> {{"type":"a2a.event","payload":{{"id":"e-1.1","seq":{number},"result":"{"x" * 100}"}}}}')
        await asyncio.sleep(0)
    await asyncio.sleep(0.01)
    link.play("<< nothing")
    link.play("++ 4")
    link.play("""
        << {"type":"a2a.credit", ...}
        << nothing
    """)
    link.play('>> {"type":"a2a.end","payload":{"id":"e-1.1","seq":41}}')
    assert (await asking).status == 200


class Wire:
    """A transport that keeps what was written."""

    def __init__(self) -> None:
        self.written = b""
        self.protocol: Any = None
        self.is_reading = True

    def write(self, data: bytes) -> None:
        self.written += data

    def writelines(self, lines: Any) -> None:
        self.written += b"".join(lines)

    def get_extra_info(self, name: str, default: object = None) -> object:
        return ("127.0.0.1", 4000) if name in ("peername", "sockname") else default

    def set_protocol(self, protocol: object) -> None:
        self.protocol = protocol

    def is_closing(self) -> bool:
        return False

    def close(self) -> None:
        pass

    def resume_reading(self) -> None:
        self.is_reading = True

    def pause_reading(self) -> None:
        self.is_reading = False

    def get_write_buffer_size(self) -> int:
        return 0


class FastLane:
    """A relay's fast lane, and connections to it."""

    def __init__(self, **limits: float) -> None:
        settings = Settings.default(
            jwt_secret=TEST_SECRET,
            store="memory:",
            access_log="off",
            offline="reject",
            tenant_limits=tuple(LimitValue(name, value) for name, value in limits.items()),
        )
        self.app = create_app(settings)
        self._config = server_config(
            self.app, HttpLimits(32768, 100, 8192, 10.0), Lane(self.app.desk, self.app.exposure), compresses_links=False
        )
        self._config.load()
        token = make_token(TEST_SECRET, {"tenant": "acme", "exp": self.app.node.clock.now() + 600}).encode()
        self.request = (
            b"POST /t/acme/a2a/zaf/ HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %b\r\n"
            b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (token, len(SEND), SEND)
        )

    def connect(self) -> Wire:
        wire = Wire()
        http_class = cast("type[LaneProtocol]", self._config.http_protocol_class)
        http_class.outbox = Outbox(lambda end_turn: end_turn())
        http_class.turnstile = Turnstile(lambda turn: turn())
        wire.protocol = http_class(config=self._config, server_state=ServerState(), app_state={})
        wire.protocol.connection_made(wire)
        return wire

    def ask(self, wire: Wire) -> bytes:
        wire.written = b""
        wire.protocol.data_received(self.request)
        return wire.written

    def agent(self) -> Playbook:
        now = self.app.node.clock.now()
        token = make_token(TEST_SECRET, {"tenant": "acme", "agent_id": "zaf", "exp": now + 600})
        link = Playbook(self.app.node, FakeClock(), token=token)
        link.play("""
            >> {"type":"auth","token":"$token","protocol":"a2a-relay/1"}
            << {"type":"auth_ok", ...}
        """)
        return link

    def answer(self, link: Playbook) -> None:
        request = json.loads(link.transport.unread.popleft())
        link.play(f'>> {{"type":"a2a.response","payload":{{"id":"{request["payload"]["id"]}","result":{{}}}}}}')

    @property
    def in_flight(self) -> int:
        return self.app.node.quotas._tenant("acme").calls_in_flight


class TestTheFastLane:
    async def test_tells_when_there_is_more_and_goes_on_with_the_connection(self) -> None:
        lane = FastLane(calls_per_second=0.5, calls_burst=1)
        wire = lane.connect()
        assert b" 404 " in lane.ask(wire)
        for _ in range(3):  # the head is known by then
            refused = lane.ask(wire)
            assert refused.startswith(b"HTTP/1.1 429 ")
            for name, text in HEADERS.items():
                assert f"\r\n{name}: {text}\r\n".encode() in refused
            assert b"connection: close" not in refused

    async def test_gives_a_place_back_after_an_answer_and_of_a_client_that_is_gone(self) -> None:
        lane = FastLane(calls_in_flight=1)
        link, wire, other = lane.agent(), lane.connect(), lane.connect()
        for _ in range(3):
            assert lane.ask(wire) == b""
            assert lane.in_flight == 1
            assert lane.ask(other).startswith(b"HTTP/1.1 429 ")
            lane.answer(link)
            assert wire.written.startswith(b"HTTP/1.1 200 ")
            assert lane.in_flight == 0
        lane.ask(wire)
        wire.protocol.connection_lost(None)
        assert lane.in_flight == 0
        assert lane.ask(other) == b""

    async def test_keeps_an_answer_back_and_reads_nothing_meanwhile(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "HOLD_SECONDS", 0.02)
        lane = FastLane(calls_per_second=0.001)
        wire = lane.connect()
        for _ in range(11):
            assert lane.ask(wire)
        assert lane.ask(wire) == b""
        assert not wire.is_reading
        await until(lambda: bool(wire.written))
        assert wire.written.startswith(b"HTTP/1.1 429 ")
        assert wire.is_reading
        while lane.ask(wire):
            pass
        wire.protocol.connection_lost(None)  # whoever leaves meanwhile is told nothing
        written = wire.written
        await asyncio.sleep(0.05)
        assert wire.written == written

    async def test_keeps_an_answer_back_whose_body_comes_in_pieces(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "HOLD_SECONDS", 0.02)
        lane = FastLane(calls_per_second=0.001)
        wire = lane.connect()
        for _ in range(11):
            assert lane.ask(wire)
        wire.written = b""
        for piece in (lane.request[:-30], lane.request[-30:-10], lane.request[-10:]):
            wire.protocol.data_received(piece)
        assert wire.written == b""
        await until(lambda: bool(wire.written))
        assert wire.written.count(b"HTTP/1.1 429 ") == 1
