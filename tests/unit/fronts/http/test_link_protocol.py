"""The agent link as a protocol object: frames are told apart whatever way the bytes were cut."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from a2a_relay.core.target import Surface
from a2a_relay.fronts.http.link_protocol import LinkProtocol
from a2a_relay.fronts.http.turnstile import Turnstile
from a2a_relay.fronts.http.upgrade import Upgrade, read_upgrade
from a2a_relay.testing import TEST_SECRET, FakeClock, RecordingObserver, make_node, make_token
from a2a_relay.wire.dialects import A2A_V1, RELAY_ELIXIR

UPGRADE = (
    b"GET /agent HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


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

    def resume_reading(self) -> None:
        pass

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


def frame(payload: bytes, opcode: int = 1, *, is_last: bool = True, mask: bytes = b"\x01\x02\x03\x04") -> bytes:
    """A client's frame."""
    size = len(payload)
    if size < 126:
        length = bytes([size])
    elif size < 1 << 16:
        length = b"\x7e" + size.to_bytes(2, "big")
    else:
        length = b"\x7f" + size.to_bytes(8, "big")
    masked = bytes(byte ^ mask[number % 4] for number, byte in enumerate(payload))
    return bytes([opcode | (0x80 if is_last else 0), length[0] | 0x80]) + length[1:] + mask + masked


def opened() -> tuple[LinkProtocol, Wire, RecordingObserver]:
    """A link whose agent has attached."""
    clock, observer, wire = FakeClock(), RecordingObserver(), Wire()
    node = make_node(clock=clock, observer=observer)
    link = LinkProtocol(node, set(), cast("asyncio.AbstractEventLoop", Timers()), Turnstile(lambda turn: turn()))
    link.begin(cast("asyncio.Transport", wire), UPGRADE, "192.0.2.1:1", "https://relay.example")
    token = make_token(TEST_SECRET, {"tenant": "acme", "agent_id": "zaf", "exp": clock.now() + 60})
    link.data_received(frame(json.dumps({"type": "auth", "token": token}).encode()))
    assert b'"auth_ok"' in wire.written
    wire.written.clear()
    return link, wire, observer


UNKNOWN = b'{"type":"a2a.response","payload":{"id":"x","result":{}}}'
SAID = [
    frame(UNKNOWN),
    frame(UNKNOWN + b" " * 200),
    frame(UNKNOWN + b" " * 70_000),
    frame(b"", 9),
    frame(b"abc", 10),
    frame(UNKNOWN[:20], 1, is_last=False) + frame(b"", 9) + frame(UNKNOWN[20:], 0),
    frame(UNKNOWN, 2),
]
ANSWERED = [1, 1, 1, 0, 0, 1, 1]


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(0, len(SAID) - 1), min_size=1, max_size=6), st.lists(st.integers(1, 40), max_size=60))
def test_every_frame_arrives_once_however_the_bytes_were_cut(chosen: list[int], cuts: list[int]) -> None:
    link, _, observer = opened()
    data = b"".join(SAID[number] for number in chosen)
    for cut in cuts:
        link.data_received(data[:cut])
        data = data[cut:]
        if not data:
            break
    if data:
        link.data_received(data)
    assert observer.refused_frame_reasons == ["unknown_id"] * sum(ANSWERED[number] for number in chosen)


@pytest.mark.parametrize("said", [frame(b"", 9), frame(b"ab", 9), frame(b"1")])
def test_a_small_frame_that_comes_in_two_pieces_waits_for_nothing_else(said: bytes) -> None:
    for cut in range(1, len(said)):
        link, wire, observer = opened()
        link.data_received(said[:cut])
        assert (bytes(wire.written), observer.refused_frame_reasons) == (b"", [])
        link.data_received(said[cut:])
        assert wire.written or observer.refused_frame_reasons


def test_a_frame_over_the_limit_is_refused_even_when_it_is_here_already() -> None:
    link, wire, observer = opened()
    link.data_received(frame(UNKNOWN + b" " * (4 * 2**20 + 64 * 1024)))
    assert (1009).to_bytes(2, "big") in wire.written
    assert observer.refused_frame_reasons == []


def test_what_follows_a_frame_over_the_limit_is_not_taken_for_frames() -> None:
    link, wire, observer = opened()
    link.data_received(b"\x81\xff" + (1 << 40).to_bytes(8, "big") + b"\0\0\0\0")
    assert (1009).to_bytes(2, "big") in wire.written
    link.data_received(frame(UNKNOWN) * 3)
    assert observer.refused_frame_reasons == []


def test_a_large_frame_shrinks_where_both_sides_agreed_to_compress_and_a_small_one_goes_as_it_is() -> None:
    wire = Wire()
    link = LinkProtocol(
        make_node(), set(), cast("asyncio.AbstractEventLoop", Timers()), Turnstile(lambda _: None), may_compress=True
    )
    offer = b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n"
    link.begin(cast("asyncio.Transport", wire), UPGRADE[:-2] + offer, "192.0.2.1:1", "https://relay.example")
    wire.written.clear()
    link.send(b"{}")
    assert wire.written == b"\x81\x02{}"
    link.send(b'{"a":"' + b"x" * 50_000 + b'"}')
    assert len(wire.written) < 1_000


@pytest.mark.parametrize(
    "surface, offered, upgrade",
    [
        (Surface.AGENT_LINK, None, Upgrade()),
        (Surface.AGENT_LINK, "graphql-ws,a2a.v10", Upgrade()),
        (Surface.AGENT_LINK, "graphql-ws , a2a.v1", Upgrade(A2A_V1, "a2a.v1")),
        (Surface.RELAY_ELIXIR_LINK, None, Upgrade(RELAY_ELIXIR)),
        (Surface.RELAY_ELIXIR_LINK, "a2a.v1", Upgrade(RELAY_ELIXIR)),
    ],
)
def test_a_dialect_is_settled_by_the_path_and_then_by_the_subprotocol(
    surface: Surface, offered: str | None, upgrade: Upgrade
) -> None:
    headers = {} if offered is None else {"sec-websocket-protocol": offered}
    assert read_upgrade(surface, headers)[:2] == upgrade[:2]


def asked(token: str) -> tuple[LinkProtocol, Wire, RecordingObserver]:
    """A link whose upgrade asks for `a2a.v1` with this credential."""
    observer, wire = RecordingObserver(), Wire()
    headers = {"sec-websocket-protocol": "a2a.v1", "authorization": f"Bearer {token}"}
    link = LinkProtocol(
        make_node(observer=observer),
        set(),
        cast("asyncio.AbstractEventLoop", Timers()),
        Turnstile(lambda turn: turn()),
        upgrade=read_upgrade(Surface.AGENT_LINK, headers),
    )
    request = UPGRADE[:-2] + b"Sec-WebSocket-Protocol: a2a.v1\r\n\r\n"
    link.begin(cast("asyncio.Transport", wire), request, "192.0.2.1:1", "https://relay.example")
    return link, wire, observer


def test_an_upgrade_that_brings_a_good_credential_is_the_whole_handshake() -> None:
    claims = {"tenant": "acme", "agent_id": "zaf", "exp": FakeClock().now() + 60}
    link, wire, observer = asked(make_token(TEST_SECRET, claims))
    assert wire.written.startswith(b"HTTP/1.1 101 ")
    assert b"Sec-WebSocket-Protocol: a2a.v1\r\n" in wire.written
    assert wire.written.endswith(b"\r\n\r\n")
    assert len(observer.attached) == 1
    link.data_received(frame(b'{"jsonrpc":"2.0","id":"x","result":{}}'))
    assert observer.refused_frame_reasons == ["unknown_id"]


def test_an_upgrade_that_brings_a_bad_credential_is_refused_with_401() -> None:
    _, wire, observer = asked("bad")
    head, _, body = bytes(wire.written).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 401 Unauthorized\r\n")
    assert b"www-authenticate: Bearer" in head
    assert json.loads(body)["reason"] == "UNAUTHENTICATED"
    assert wire.is_closed
    assert (observer.attached, len(observer.refused_links)) == ([], 1)
