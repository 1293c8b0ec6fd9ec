"""A relay node with an agent and a client in one Python that has neither threads nor sockets.

Run under Pyodide by `run.mjs`. The client's JSON-RPC request and the agent's frames are bytes, as everywhere.
"""

import asyncio
import importlib
import json
import pkgutil
import sys
import threading
from collections import deque
from collections.abc import Collection, Mapping

from a2a_relay.a2a import jsonbytes, jsonrpc, spans, sse
from a2a_relay.a2a.methods import BY_NAME
from a2a_relay.core.address import Address
from a2a_relay.core.call import Call, Meta
from a2a_relay.core.credential import Credential
from a2a_relay.core.exchange import AgentError, Outcome, Result
from a2a_relay.core.limits import Limits
from a2a_relay.core.principal import Principal, Role
from a2a_relay.core.session import Session
from a2a_relay.core.stream import Event
from a2a_relay.core.target import read_target
from a2a_relay.errors import Reason, Refused
from a2a_relay.node.clock import LoopClock
from a2a_relay.node.relay_node import Ports, RelayNode
from a2a_relay.ports.observer import CallReport, StreamCounters, StreamReport
from a2a_relay.stores.memory.directory import MemoryDirectory
from a2a_relay.stores.memory.stream_log import MemoryStreamLog
from a2a_relay.stores.memory.task_index import MemoryTaskIndex
from a2a_relay.wire.close_codes import CloseCode

ROOMS = ("a2a", "wire", "core", "ports", "node", "stores.memory")
TARGET = b"/t/acme/a2a/echo/"
PRINCIPALS = {
    "agent's": Principal("acme", Role.AGENT, "agent:echo", "echo"),
    "client's": Principal("acme", Role.SENDER, "alice"),
}


class Doorman:
    """Knows two tokens."""

    def authenticate(self, credential: Credential, now: float) -> Principal:
        if credential.text not in PRINCIPALS:
            raise Refused(Reason.UNAUTHENTICATED)
        return PRINCIPALS[credential.text]


class Witness:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.streams = StreamCounters()

    def stream_ended(self, report: StreamReport) -> None:
        self.events.append(f"streamed {report.events}")

    def call_finished(self, report: CallReport) -> None:
        self.events.append(f"{report.method} {report.status}")

    def session_attached(self, session: Session, *, replaced: bool) -> None:
        self.events.append(f"attached {session.address}")

    def session_closed(self, session: Session, code: CloseCode | None) -> None:
        self.events.append(f"closed {session.address}")

    def link_refused(self, reason: Reason, message: str, peer: str) -> None:
        self.events.append(f"refused {reason}")

    def frame_refused(self, session: Session, reason: str) -> None:
        self.events.append(f"frame refused {reason}")

    def headers_stripped(self, names: Collection[str], address: Address) -> None:
        self.events.append("headers stripped")

    def notice(self, event: str, **facts: object) -> None:
        self.events.append(event)


class Wire:
    """The agent's end of a link: frames go straight to the agent, which answers in its own time."""

    peer = "in memory"
    backlog_bytes = 0

    def __init__(self) -> None:
        self.frames: deque[bytes] = deque()
        self.fresh = asyncio.Event()
        self.close_code: int | None = None

    def send(self, frame: bytes) -> None:
        self.frames.append(frame)
        self.fresh.set()

    def close(self, code: CloseCode) -> None:
        self.close_code = code.code

    async def next_frame(self) -> bytes:
        while not self.frames:
            self.fresh.clear()
            await self.fresh.wait()
        return self.frames.popleft()


class Stream:
    """A client that reads a stream as server-sent events."""

    def __init__(self, id: bytes) -> None:
        self._id = id
        self.text = b""
        self.over = asyncio.Event()
        self.failure: object = "not over"

    def answer(self, outcome: Outcome) -> None:
        self.end(None)

    def event(self, event: Event, headers: Mapping[str, str]) -> bool:
        self.text += sse.event(jsonrpc.result_response(self._id, event.body))
        return True

    def end(self, failure: AgentError | Refused | None) -> None:
        self.failure = failure
        self.over.set()


def import_rooms() -> list[str]:
    """Import every module of the rooms that must run anywhere."""
    names = []
    for room in ROOMS:
        package = importlib.import_module(f"a2a_relay.{room}")
        names += [found.name for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")]
    for name in names:
        importlib.import_module(name)
    return names


def can_start_threads() -> bool:
    """Whether this Python has threads."""
    try:
        threading.Thread(target=int).start()
    except RuntimeError:
        return False
    return True


def read_call(body: bytes) -> tuple[bytes, Call]:
    """The client's request, read as a front reads it."""
    route = read_target("POST", TARGET)
    request = jsonrpc.read(body)
    method = BY_NAME[request.method]
    return request.id, Call(
        address=route.agent,
        meta=Meta(PRINCIPALS["client's"]),
        operation=method.operation,
        method=request.method,
        params=request.params,
        streams=method.streams,
        spans=spans.read(method.operation, request.params),
    )


def body_of(method: bytes) -> bytes:
    """A JSON-RPC request whose params hold what a lossy reader would lose."""
    return (
        b'{"jsonrpc":"2.0","id":9007199254740993,"method":"%b","params":{"z":18446744073709551615, "message":'
        b'{"messageId":"m","role":"ROLE_USER","parts":[{"text":"\\ud83d \xf0\x9f\x9b\xb0"}]},"a":1.50E+2}}' % method
    )


class Playground:
    """A node, and the agent `acme/echo` attached to it."""

    def __init__(self) -> None:
        self.witness = Witness()
        self.wire = Wire()
        logs, chance = (MemoryStreamLog(), None), lambda: 0.5
        ports = Ports(LoopClock(), MemoryDirectory(), Doorman(), self.witness, logs, chance, MemoryTaskIndex())
        self.node = RelayNode(ports, Limits())
        self.link = self.node.open_link(self.wire, "http://relay.example")

    async def attach(self) -> object:
        """Attach the agent; its welcome."""
        card = b'{"name":"echo","url":"http://127.0.0.1:1/"}'
        self.link.receive(b'{"type":"auth","token":"agent\'s","protocol":"a2a-relay/1","agent_card":%b}' % card)
        return json.loads(await self.wire.next_frame())

    async def next_request(self) -> dict[str, bytes]:
        """What the agent is asked next."""
        return jsonbytes.members(jsonbytes.members(await self.wire.next_frame())["payload"])

    def say(self, kind: bytes, payload: bytes) -> None:
        """One frame of the agent's."""
        self.link.receive(b'{"type":"%b","payload":%b}' % (kind, payload))

    async def one_call(self) -> dict[str, object]:
        """A client calls, the agent answers."""
        body = body_of(b"SendMessage")
        id, call = read_call(body)
        waiting = asyncio.create_task(self.node.send(call))
        request = await self.next_request()
        result = b'{"b":1, "a":12345678901234567890, "text":"\\udc00"}'
        self.say(b"a2a.response", b'{"id":%b,"result":%b}' % (request["id"], result))
        outcome = await waiting
        return {
            "params_arrived_as_sent": request["params"] == jsonrpc.read(body).params,
            "answer": jsonrpc.result_response(id, outcome.body).decode() if isinstance(outcome, Result) else None,
        }

    async def one_stream(self) -> dict[str, object]:
        """A client subscribes to the answer, the agent streams it."""
        id, call = read_call(body_of(b"SendStreamingMessage"))
        stream = Stream(id)
        self.node.stream(call, stream)
        opened = (await self.next_request())["id"]
        for seq in range(1, 4):
            self.say(b"a2a.event", b'{"id":%b,"seq":%d,"result":{"n":%d}}' % (opened, seq, seq))
        self.say(b"a2a.end", b'{"id":%b}' % opened)
        await asyncio.wait_for(stream.over.wait(), 10)
        return {"stream": stream.text.decode(), "stream_failure": stream.failure}


async def main() -> str:
    """Relay one call and one stream; what happened, as JSON."""
    modules = import_rooms()
    playground = Playground()
    welcome = await playground.attach()
    happened = await playground.one_call() | await playground.one_stream()
    await playground.node.leave(1)
    return json.dumps(
        {
            "platform": sys.platform,
            "modules": modules,
            "packages": sorted({name.partition(".")[0] for name in sys.modules}),
            "has_threads": can_start_threads(),
            "welcome": welcome,
            "close_code": playground.wire.close_code,
            "witnessed": playground.witness.events,
            **happened,
        }
    )
