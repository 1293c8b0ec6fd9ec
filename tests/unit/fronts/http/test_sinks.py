"""Where the node leaves the events of a stream that is being written."""

from __future__ import annotations

import asyncio

from a2a_relay.core.exchange import AgentError, Result
from a2a_relay.fronts.http.sinks import StreamSink


async def test_a_stream_sink_keeps_events_in_order() -> None:
    sink = StreamSink(10, 1_000)
    for number in range(3):
        assert sink.event(Result(b"%d" % number))
    assert await sink.wait(5)
    assert [event.body for event in sink.take()] == [b"0", b"1", b"2"]
    assert sink.take() == []


async def test_a_stream_sink_is_bounded_by_count() -> None:
    sink = StreamSink(2, 1_000)
    assert [sink.event(Result(b"")) for _ in range(3)] == [True, True, False]
    sink.take()
    assert sink.event(Result(b""))


async def test_a_stream_sink_is_bounded_by_bytes_but_takes_one_large_event() -> None:
    sink = StreamSink(100, 10)
    assert sink.event(Result(b"x" * 50))
    assert not sink.event(Result(b"x"))
    sink.take()
    assert sink.event(Result(b"x" * 6))
    assert not sink.event(Result(b"x" * 6))


async def test_a_stream_sink_wakes_its_writer() -> None:
    for wake in (
        lambda sink: sink.event(Result(b"1")),
        lambda sink: sink.end(None),
        lambda sink: sink.end(AgentError(b"{}")),
        lambda sink: sink.answer(Result(b"1")),
    ):
        sink = StreamSink(10, 1_000)
        asyncio.get_running_loop().call_soon(wake, sink)
        assert await sink.wait(10)


async def test_a_stream_sink_says_when_nothing_came() -> None:
    assert not await StreamSink(1, 1).wait(0.001)
