"""Whatever bytes come over an agent's socket, before and after it has attached, in every dialect.

Nothing is raised, and a link that ends says why with a code that is documented.
"""

from __future__ import annotations

import asyncio
import json
import zlib
from collections.abc import Iterable
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from a2a_relay.fronts.http.link_protocol import LinkProtocol
from a2a_relay.fronts.http.turnstile import Turnstile
from a2a_relay.fronts.http.upgrade import Upgrade
from a2a_relay.testing import TEST_SECRET, FakeClock, RecordingSink, make_call, make_node, make_token
from a2a_relay.wire.chunks import HEAD as CHUNK
from a2a_relay.wire.close_codes import BY_CODE
from a2a_relay.wire.dialects import RELAY_ELIXIR

bounded = settings(max_examples=40, deadline=None)
OF_THE_PROTOCOL = {1000, 1002, 1003, 1007, 1009}
"""RFC 6455's own, for what breaks it."""
UPGRADE = (
    b"GET /agent HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n%b\r\n"
)
DEFLATE = b"Sec-WebSocket-Extensions: permessage-deflate\r\n"


class Wire:
    """A transport that keeps what was written."""

    def __init__(self) -> None:
        self.written = bytearray()
        self.is_closed = False

    def write(self, data: bytes) -> None:
        self.written += data

    def writelines(self, pieces: Iterable[bytes]) -> None:
        self.written += b"".join(pieces)

    def get_write_buffer_size(self) -> int:
        return 0

    def close(self) -> None:
        self.is_closed = True

    def is_closing(self) -> bool:
        return self.is_closed

    def pause_reading(self) -> None:
        pass

    resume_reading = pause_reading
    abort = close


class Timers:
    """A loop's clock and timers, of which none is due."""

    class Handle:
        def cancel(self) -> None:
            pass

    def time(self) -> float:
        return 1.0

    def call_later(self, *_: Any) -> Timers.Handle:
        return Timers.Handle()


def frame(payload: bytes, opcode: int = 1, *, is_last: bool = True, is_masked: bool = True, rsv: int = 0) -> bytes:
    """A frame as a client may write one, rightly or not."""
    size = len(payload)
    if size < 126:
        length = bytes([size])
    elif size < 1 << 16:
        length = b"\x7e" + size.to_bytes(2, "big")
    else:
        length = b"\x7f" + size.to_bytes(8, "big")
    first = bytes([opcode | (0x80 if is_last else 0) | rsv])
    if not is_masked:
        return first + length + payload
    return first + bytes([length[0] | 0x80]) + length[1:] + b"\0\0\0\0" + payload


def codes_of(written: bytes) -> list[int]:
    """The codes of the close frames among the relay's frames."""
    codes, at = [], written.index(b"\r\n\r\n") + 4
    while at + 2 <= len(written):
        opcode, size, body = written[at] & 0x0F, written[at + 1] & 0x7F, at + 2
        if size == 126:
            size, body = int.from_bytes(written[at + 2 : at + 4], "big"), at + 4
        elif size == 127:
            size, body = int.from_bytes(written[at + 2 : at + 10], "big"), at + 10
        if opcode == 8:
            codes.append(int.from_bytes(written[body : body + 2], "big") if size else 1000)
        at = body + size
    return codes


class World:
    """A node and one socket of an agent."""

    def __init__(self, upgrade: Upgrade | None = None, *, compresses: bool = False) -> None:
        self.clock, self.wire = FakeClock(), Wire()
        self.node = make_node(clock=self.clock)
        loop = cast("asyncio.AbstractEventLoop", Timers())
        turnstile = Turnstile(lambda turn: turn())
        self.link = LinkProtocol(
            self.node, set(), loop, turnstile, may_compress=compresses, upgrade=upgrade or Upgrade()
        )
        request = UPGRADE % (DEFLATE if compresses else b"")
        self.link.begin(cast("asyncio.Transport", self.wire), request, "192.0.2.1:1", "https://relay.example")

    def auth(self, **more: object) -> bytes:
        token = make_token(TEST_SECRET, {"tenant": "acme", "agent_id": "zaf", "exp": self.clock.now() + 3600})
        return json.dumps({"type": "auth", "token": token, **more}).encode()

    def say(self, data: bytes) -> None:
        if not self.wire.is_closed:
            self.link.data_received(data)

    def end(self) -> None:
        codes = codes_of(self.wire.written)
        assert len(codes) <= 1
        assert set(codes) <= BY_CODE.keys() | OF_THE_PROTOCOL
        self.link.connection_lost(None)
        self.clock.advance(10_000)
        assert len(self.node.wheel) == 0


DIALECTS: dict[str, tuple[Upgrade | None, dict[str, object]]] = {
    "native": (None, {"protocol": "a2a-relay/1", "features": ["chunks", "credit", "resume", "letters", "stamp"]}),
    "relay-go": (None, {}),
    "openclaw": (None, {"protocol": "openclaw"}),
    "relay-elixir": (Upgrade(RELAY_ELIXIR), {}),
}
KINDS = ["a2a.response", "a2a.event", "a2a.end", "a2a.nack", "a2a.accept", "agent.state", "card.update", "relay.probe"]
KINDS += ["ping", "pong", "auth", "token.renew", "response", "heartbeat", "a2a_response", "relay.chunk", ""]
ids = st.sampled_from(["e-1.1", "e-1.2", "", "\x00", "x" * 300]) | st.text(max_size=5)
values = st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.just({}) | st.just([[[]]])
documents = st.builds(
    lambda kind, name, more: json.dumps({"type": kind, **more, "payload": {"id": name, **more}}).encode(),
    st.sampled_from(KINDS),
    ids,
    st.dictionaries(
        st.sampled_from(
            ["seq", "result", "error", "status", "state", "agent_card", "token", "chunk", "retry_after_ms"]
        ),
        values,
        max_size=3,
    ),
)
spoiled = st.builds(
    lambda data, at, junk: data[:at] + junk + data[at:], documents, st.integers(0, 60), st.binary(max_size=4)
)
heads = st.sampled_from([CHUNK, CHUNK + b',"id":"e-1.1"}'])
pieces = st.builds(lambda head, rest: head + rest, heads, st.binary(max_size=40))
payloads = st.one_of(documents, spoiled, pieces, st.binary(max_size=60))
frames = st.builds(
    frame,
    payloads,
    st.sampled_from([1, 1, 1, 1, 2, 2, 0, 8, 9, 10, 3, 15]),
    is_last=st.sampled_from([True, True, True, False]),
    is_masked=st.sampled_from([True, True, True, True, False]),
    rsv=st.sampled_from([0, 0, 0, 0, 0, 0x40, 0x10]),
)
talk = st.lists(st.one_of(frames, frames, frames, st.binary(max_size=12)), max_size=8)


@bounded
@given(talk, st.integers(1, 400), st.booleans())
def test_a_stranger_may_send_any_bytes(said: list[bytes], cut: int, compresses: bool) -> None:
    world = World(compresses=compresses)
    data = b"".join(said)
    for at in range(0, len(data), cut):
        world.say(data[at : at + cut])
    world.end()


@pytest.mark.parametrize("name", DIALECTS)
@bounded
@given(talk, st.booleans())
def test_an_agent_of_any_dialect_may_send_any_bytes(name: str, said: list[bytes], compresses: bool) -> None:
    upgrade, more = DIALECTS[name]
    world = World(upgrade, compresses=compresses)
    world.say(frame(world.auth(**more)))
    sink, reader = RecordingSink(), RecordingSink()
    if not world.wire.is_closed and world.node.snapshot().agents_attached:
        world.node.submit(make_call(), sink)
        world.node.stream(make_call("SendStreamingMessage"), reader)
    for data in said:
        world.say(data)
    is_attached = bool(world.node.snapshot().agents_attached)
    world.end()
    assert not is_attached or sink.is_over


def deflated(size: int) -> bytes:
    """`size` blanks, as permessage-deflate writes them."""
    squeezer = zlib.compressobj(wbits=-15)
    return (squeezer.compress(b" " * size) + squeezer.flush(zlib.Z_SYNC_FLUSH))[:-4]


def test_a_compression_bomb_is_refused_while_it_unfolds() -> None:
    """64 MiB of blanks are 64 KiB on the wire: the frame is refused, and never was in memory."""
    import tracemalloc

    world = World(compresses=True)
    bomb = frame(deflated(64 * 2**20), rsv=0x40)
    assert len(bomb) < 80 * 1024
    tracemalloc.start()
    world.say(bomb)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert codes_of(world.wire.written) == [1009]
    assert peak < 4 * world.node.limits.max_frame
    world.link.connection_lost(None)
