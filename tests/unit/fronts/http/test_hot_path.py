"""What one relayed call costs, counted and not timed: bytecode instructions, function calls, objects that stay.

A number that is exceeded is a question, not a verdict: what was added to every
call, and is it worth it? `python tests/unit/fronts/http/test_hot_path.py` prints where the instructions go.
"""

from __future__ import annotations

import asyncio
import gc
import re
import sys
from collections import Counter
from collections.abc import Callable
from types import FrameType
from typing import Any, cast

from uvicorn.server import ServerState

from a2a_relay.assembly import create_app
from a2a_relay.fronts.http.batching import Outbox
from a2a_relay.fronts.http.lane_protocol import LaneProtocol
from a2a_relay.fronts.http.protocol import HttpLimits
from a2a_relay.fronts.http.server import Lane, server_config
from a2a_relay.fronts.http.turnstile import Turnstile
from a2a_relay.settings import Settings
from a2a_relay.testing import TEST_SECRET, make_token

MAX_INSTRUCTIONS = 2_760
MAX_CALLS = 92
MAX_EVENT_INSTRUCTIONS = 850
MAX_EVENT_CALLS = 28.5
WARM_UP = 300
"""Calls before anything is counted: the interpreter specialises its instructions first."""

FRAME_ID = re.compile(rb'"id":"([^"]+)"')
UPGRADE = (
    b"GET /agent HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)
BODY = (
    b'{"jsonrpc":"2.0","id":1,"method":"SendMessage","params":{"message":{"messageId":"m","role":"ROLE_USER",'
    b'"parts":[{"text":"' + b"x" * 200 + b'"}]},"configuration":{"acceptedOutputModes":["text"]}}}'
)
EVENT = b'{"statusUpdate":{"taskId":"t1","contextId":"c1","status":{"state":"TASK_STATE_WORKING"}}}'
RESULT = b'{"message":{"messageId":"r","role":"ROLE_AGENT","parts":[{"text":"pong"}]}}'


class Wire:
    """A transport that keeps the last thing that was written."""

    def __init__(self) -> None:
        self.last = b""
        self.protocol: Any = None

    def write(self, data: bytes) -> None:
        self.last = data

    def get_extra_info(self, name: str, default: object = None) -> object:
        return ("127.0.0.1", 4000) if name in ("peername", "sockname") else default

    def set_protocol(self, protocol: object) -> None:
        self.protocol = protocol

    def is_closing(self) -> bool:
        return False

    def resume_reading(self) -> None:
        pass

    pause_reading = resume_reading

    def get_write_buffer_size(self) -> int:
        return 0


def masked(payload: bytes) -> bytes:
    return b"\x81\xfe" + len(payload).to_bytes(2, "big") + b"\0\0\0\0" + payload


class Stage:
    """A whole relay in memory, with one agent attached and one client connected."""

    def __init__(self) -> None:
        settings = Settings.default(jwt_secret=TEST_SECRET, store="memory:", access_log="off")
        app = create_app(settings)
        config = server_config(
            app, HttpLimits(32768, 100, 8192, 10.0), Lane(app.desk, app.exposure), compresses_links=False
        )
        config.load()
        self._config, self._state = config, ServerState()
        now = app.node.clock.now()
        self.agent = self._connected()
        self._receive(self.agent, UPGRADE)
        token = make_token(TEST_SECRET, {"tenant": "acme", "agent_id": "zaf", "exp": now + 600})
        self._receive(self.agent, masked(b'{"type":"auth","protocol":"a2a-relay/1","token":"%b"}' % token.encode()))
        assert b'"auth_ok"' in self.agent.last
        self.client = self._connected()
        caller = make_token(TEST_SECRET, {"tenant": "acme", "exp": now + 600}).encode()
        self._request = (
            b"POST /t/acme/a2a/zaf/ HTTP/1.1\r\nHost: relay.example\r\nAuthorization: Bearer %b\r\n"
            b"Content-Type: application/json\r\nA2A-Version: 1.0\r\nContent-Length: %d\r\n\r\n%b"
            % (caller, len(BODY), BODY)
        )

    def _connected(self) -> Wire:
        wire = Wire()
        http_class = cast("type[LaneProtocol]", self._config.http_protocol_class)
        http_class.outbox = Outbox(lambda end_turn: end_turn())
        http_class.turnstile = Turnstile(lambda turn: turn())  # on a slow machine one agent would be a crowd
        wire.protocol = http_class(config=self._config, server_state=self._state, app_state={})
        wire.protocol.connection_made(wire)
        return wire

    @staticmethod
    def _receive(wire: Wire, data: bytes) -> None:
        wire.protocol.data_received(data)

    def call(self) -> None:
        """One call, from the client's bytes to the answer's."""
        self.begin()
        self.end()

    def open_stream(self) -> None:
        """A stream, until it is with the agent."""
        body = BODY.replace(b"SendMessage", b"SendStreamingMessage")
        head = self._request.removesuffix(BODY).replace(b": %d\r\n" % len(BODY), b": %d\r\n" % len(body))
        self.client.protocol.data_received(head + body)
        found = FRAME_ID.search(self.agent.last)
        assert found
        self._stream, self._seq = found[1], 0

    def event(self) -> None:
        """The next event of the stream, from the agent's bytes to the client's."""
        self._seq += 1
        frame = b'{"type":"a2a.event","payload":{"id":"%b","seq":%d,"result":%b}}' % (self._stream, self._seq, EVENT)
        self._receive(self.agent, masked(frame))
        assert self.client.last.endswith(EVENT + b"}\n\n\r\n")

    def begin(self, behind: bytes = b"") -> None:
        """A call, until it is with the agent; `behind` arrives together with it."""
        self.client.protocol.data_received(self._request + behind)

    def end(self) -> None:
        """The agent's answer to it."""
        found = FRAME_ID.search(self.agent.last)
        assert found is not None
        payload = b'{"type":"a2a.response","payload":{"id":"%b","result":%b}}' % (found[1], RESULT)
        self.agent.protocol.data_received(masked(payload))
        assert self.client.last.endswith(b'{"jsonrpc":"2.0","id":1,"result":%b}' % RESULT)


def counted(do: Callable[[], None], times: int) -> tuple[Counter[str], Counter[str]]:
    """Bytecode instructions and calls of the relay's own functions, by function."""
    instructions: Counter[str] = Counter()
    functions: Counter[str] = Counter()

    def trace(frame: FrameType, event: str, _: object) -> Any:
        code = frame.f_code
        if "tests" in code.co_filename:
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        name = f"{code.co_filename.rpartition('/')[2]}:{code.co_qualname}"
        if event == "call":
            functions[name] += 1
        elif event == "opcode":
            instructions[name] += 1
        return trace

    before = sys.gettrace()
    for _ in range(times):
        sys.settrace(trace)
        do()
        sys.settrace(before)
    return instructions, functions


async def test_a_relayed_call_takes_no_more_instructions_than_it_did() -> None:
    stage = Stage()
    for _ in range(WARM_UP):
        stage.call()
    instructions, functions = counted(stage.call, 10)
    per_call = instructions.total() / 10
    assert per_call <= MAX_INSTRUCTIONS, (per_call, instructions.most_common(10))
    assert functions.total() / 10 <= MAX_CALLS, functions.most_common(10)


async def test_a_relayed_event_takes_no_more_instructions_than_it_did() -> None:
    stage = Stage()
    stage.open_stream()
    for _ in range(WARM_UP):
        stage.event()
    instructions, functions = counted(stage.event, 64)  # a credit and two counts of the window are among them
    assert instructions.total() / 64 <= MAX_EVENT_INSTRUCTIONS, instructions.most_common(10)
    assert functions.total() / 64 <= MAX_EVENT_CALLS, functions.most_common(10)


async def test_nothing_of_a_call_stays_when_it_is_over() -> None:
    stage = Stage()
    for _ in range(WARM_UP):
        stage.call()
    gc.collect()
    before = sys.getallocatedblocks()
    for _ in range(1_000):
        stage.call()
    assert gc.collect() == 0  # no call leaves a cycle behind
    assert sys.getallocatedblocks() - before < 200


async def test_a_call_waits_for_the_one_before_it_although_a_blank_line_is_between_them() -> None:
    stage = Stage()
    stage.call()
    stage.begin(behind=b"\r\n")
    first = stage.agent.last
    stage.begin()
    assert stage.agent.last is first
    stage.end()
    await asyncio.sleep(0)
    assert FRAME_ID.findall(stage.agent.last) != FRAME_ID.findall(first)
    stage.end()


async def main() -> None:
    stage = Stage()
    for _ in range(WARM_UP):
        stage.call()
    print_counts("call", *counted(stage.call, 10), 10)
    gc.collect()
    before = sys.getallocatedblocks()
    stage.begin()
    print(f"{sys.getallocatedblocks() - before} blocks of memory while it is in flight")
    stage.end()
    stage.open_stream()
    for _ in range(WARM_UP):
        stage.event()
    print_counts("event", *counted(stage.event, 64), 64)


def print_counts(what: str, instructions: Counter[str], functions: Counter[str], times: int) -> None:
    print(
        f"{instructions.total() / times:.0f} instructions and {functions.total() / times:.1f} calls per relayed {what}"
    )
    for name, count in instructions.most_common(40):
        print(f"{count / times:7.0f}  {functions[name] / times:4.1f}  {name}")


if __name__ == "__main__":
    asyncio.run(main())
