"""Where the node leaves the events of a stream that is being written."""

from __future__ import annotations

import asyncio

from a2a_relay.core.exchange import AgentError, Result
from a2a_relay.core.stream import Event
from a2a_relay.fronts.http.sinks import Gap, StreamSink
from a2a_relay.wire.frames import NO_HEADERS


def event(number: int, body: bytes = b"") -> Event:
    return Event(b"s.e-%d" % number, body)


async def test_a_stream_sink_keeps_events_in_order() -> None:
    sink = StreamSink()
    for number in range(3):
        assert sink.event(event(number), NO_HEADERS)
    assert await sink.wait(5)
    assert sink.take() == [event(0), event(1), event(2)]
    assert sink.take() == []


async def test_a_stream_sink_keeps_a_gap_in_its_place_and_the_headers() -> None:
    sink = StreamSink()
    sink.gap(3, event(7))
    sink.event(event(8), {"a2a-version": "1.0"})
    assert await sink.wait(5)
    assert sink.take() == [Gap(3, 7, b"s.e-7"), event(8)]
    assert sink.headers == {"a2a-version": "1.0"}


async def test_a_stream_sink_has_its_fill_by_count_until_it_is_written() -> None:
    sink = StreamSink()
    assert [sink.event(event(number), NO_HEADERS) for number in range(16)] == [True] * 15 + [False]
    sink.take()
    assert sink.event(event(17), NO_HEADERS)


async def test_a_stream_sink_has_its_fill_by_bytes_and_takes_one_large_event() -> None:
    sink = StreamSink()
    assert not sink.event(event(1, b"x" * 100_000), NO_HEADERS)
    sink.take()
    assert sink.event(event(2, b"x" * 40_000), NO_HEADERS)
    assert not sink.event(event(3, b"x" * 40_000), NO_HEADERS)


async def test_a_stream_sink_wakes_its_writer() -> None:
    for wake in (
        lambda sink: sink.event(event(1), NO_HEADERS),
        lambda sink: sink.gap(1, event(2)),
        lambda sink: sink.end(None),
        lambda sink: sink.end(AgentError(b"{}")),
        lambda sink: sink.answer(Result(b"1")),
    ):
        sink = StreamSink()
        asyncio.get_running_loop().call_soon(wake, sink)
        assert await sink.wait(10)


async def test_a_stream_sink_says_when_nothing_came() -> None:
    assert not await StreamSink().wait(0.001)
