"""Large bodies in pieces, and a link that lives as long as bytes come, told as dialogue with a relay of a few lines."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from small_relay import NEW_WELCOME, Link, dialogue, echo, never, relay

from a2a_relay.connector import Connector, IncomingRequest
from a2a_relay.connector import link as links
from a2a_relay.wire import chunks

MEGABYTE = "x" * (1 << 20)


def request_frame(id: str, params: Any) -> bytes:
    payload = {"id": id, "method": "SendMessage", "params": params, "timeout_ms": 5000}
    return json.dumps({"type": "a2a.request", "payload": payload}).encode()


def pieces(id: str, frame: bytes, size: int = 60_000) -> list[bytes]:
    starts = range(0, len(frame), size)
    return [chunks.write(id, frame[start : start + size], is_last=start + size >= len(frame)) for start in starts]


async def whole(link: Link, id: str, taken: bytes = b"") -> dict[str, Any]:
    """The rest of a frame that comes in pieces."""
    while True:
        piece = await link.hear_piece()
        assert piece.id == id
        taken += piece.data
        await link.take(id, len(taken))
        if piece.is_last:
            found: dict[str, Any] = json.loads(taken)
            return found


async def large(request: IncomingRequest) -> bytes:
    return json.dumps(MEGABYTE).encode() if request.id == "large" else b'"small"'


async def test_a_large_answer_goes_in_pieces_and_another_calls_answer_passes_between_them() -> None:
    async def script(link: Link) -> None:
        await link.say(NEW_WELCOME)
        await link.ask("large")
        first, second = await link.hear_piece(), await link.hear_piece()
        await link.ask("small")
        assert (await link.hear())["payload"] == {"id": "small", "result": "small"}
        await link.take("large", len(first.data) + len(second.data))
        answer = await whole(link, "large", bytes(first.data) + bytes(second.data))
        assert answer == {"type": "a2a.response", "payload": {"id": "large", "result": MEGABYTE}}

    await dialogue(script, handler=large)


async def test_events_in_pieces_keep_their_order_and_the_end_comes_last() -> None:
    async def events(request: IncomingRequest) -> AsyncIterator[str]:
        for letter in "ab":
            yield letter * 100_000
        yield "c"

    async def script(link: Link) -> None:
        await link.say(NEW_WELCOME)
        await link.ask("s", "SendStreamingMessage", stream=True, window={"events": 64, "bytes": 1 << 20})
        for seq, letter in ((1, "a"), (2, "b")):
            payload = (await whole(link, "s"))["payload"]
            assert (payload["seq"], payload["result"]) == (seq, letter * 100_000)
        assert (await link.hear())["payload"]["seq"] == 3
        assert (await link.hear())["type"] == "a2a.end"

    await dialogue(script, handler=events)


async def test_a_cut_in_the_middle_of_pieces_begins_the_frame_again() -> None:
    async def first(link: Link) -> None:
        await link.welcome("s-1")
        await link.ask("large")
        await link.hear_piece()
        link.cut()

    async def second(link: Link) -> None:
        assert link.auth["resume"]["calls"] == ["large"]
        await link.welcome("s-2", calls=["large"])
        assert (await whole(link, "large"))["payload"]["result"] == MEGABYTE

    await dialogue(first, second, handler=large)


async def test_a_cancel_in_the_middle_of_an_answer_makes_way_for_the_others() -> None:
    async def script(link: Link) -> None:
        await link.say(NEW_WELCOME)
        await link.ask("large")
        await link.hear_piece()
        await link.hear_piece()
        await link.cancel("large")
        await link.ask("small")
        assert (await link.hear())["payload"] == {"id": "small", "result": "small"}

    await dialogue(script, handler=large)


async def test_a_large_request_arrives_in_pieces_each_with_its_receipt() -> None:
    async def measure(request: IncomingRequest) -> int:
        return len(request.params)

    async def script(link: Link) -> None:
        await link.say(NEW_WELCOME)
        frame = request_frame("u", MEGABYTE)
        for count, piece in enumerate(pieces("u", frame), 1):
            await link.connection.send(piece)
            assert (await link.hear())["payload"] == {"id": "u", "taken": min(count * 60_000, len(frame))}
        assert (await link.hear())["payload"] == {"id": "u", "result": len(MEGABYTE) + 2}

    await dialogue(script, handler=measure)


async def test_a_cancel_in_the_middle_of_a_request_drops_what_is_here() -> None:
    async def script(link: Link) -> None:
        await link.say(NEW_WELCOME)
        await link.connection.send(pieces("u", request_frame("u", MEGABYTE))[0])
        await link.hear()
        await link.cancel("u")
        for piece in pieces("u", request_frame("u", {"n": 1})):
            await link.connection.send(piece)
        assert (await link.hear())["payload"]["taken"] < 1000
        assert (await link.hear())["payload"] == {"id": "u", "result": {"n": 1}}

    await dialogue(script)


async def test_a_request_that_is_too_large_fails_alone_and_its_pieces_get_receipts() -> None:
    failed = asyncio.Event()

    async def script(link: Link) -> None:
        await link.say(NEW_WELCOME)
        for piece in pieces("u", request_frame("u", MEGABYTE), 300_000):
            await link.connection.send(piece)
        said = [(await link.hear())["payload"] for _ in range(5)]
        assert [found["taken"] for found in said if "taken" in found][-1] > len(MEGABYTE)
        assert [found["id"] for found in said if "error" in found] == ["u"]
        await link.ask("v", params={"n": 1})
        assert (await link.hear())["payload"] == {"id": "v", "result": {"n": 1}}
        failed.set()

    async with relay(script) as url, Connector(url, "t", wait=never, max_frame=700_000) as connector:
        await connector.start(handler=echo)
        async with asyncio.timeout(10):
            await failed.wait()


async def test_a_link_on_which_nothing_comes_is_given_up_and_one_with_bytes_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(links, "_SILENCE_SECONDS", 0.4)
    monkeypatch.setattr(links, "_PING_SECONDS", 0.1)
    came_back = asyncio.Event()

    async def silent(link: Link) -> None:
        await link.say(NEW_WELCOME)
        # Bytes of one frame that is not whole for long: no pong comes, and the link lives.
        frame = pieces("u", request_frame("u", "y" * 40_000))[0]
        head = bytes([0x82, 126, len(frame) >> 8, len(frame) & 255])
        link.connection.transport.pause_reading()
        step = len(frame) // 8
        for start in range(0, len(frame), step):
            link.connection.transport.write((head if not start else b"") + frame[start : start + step])
            await asyncio.sleep(0.1)
        assert not came_back.is_set()
        await came_back.wait()
        link.cut()

    async def again(link: Link) -> None:
        assert link.auth["resume"]["calls"] == ["u"], "the frame has arrived"
        await link.say(NEW_WELCOME)
        came_back.set()

    await dialogue(silent, again)
