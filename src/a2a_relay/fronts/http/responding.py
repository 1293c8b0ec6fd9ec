"""Writing responses to an ASGI server: whole answers, long unary calls, event streams."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple

from a2a_relay.a2a import sse
from a2a_relay.core.exchange import AgentError, Outcome, Result
from a2a_relay.errors import Reason, Refused
from a2a_relay.fronts.http.answer import Answer, Headers
from a2a_relay.fronts.http.bindings import EVENT_STREAM, UNBUFFERED, Binding
from a2a_relay.fronts.http.desk import Pace
from a2a_relay.fronts.http.request import HttpRequest, Send
from a2a_relay.fronts.http.sinks import Gap, StreamSink
from a2a_relay.node.waiter import Waiter


class Sent(NamedTuple):
    """What a client got: for the log."""

    status: int
    outcome: Outcome | None
    events: int = 0


class Responder:
    """Writes one response."""

    def __init__(self, request: HttpRequest, send: Send, always: Headers = ()) -> None:
        """`always` are headers of every answer."""
        self._always = always
        self._request = request
        self._send = send
        self.status = 0

    async def whole(self, answer: Answer) -> None:
        """A response whose body is known; a refusal waits for a small body that is still on its way."""
        if answer.status >= 400:
            await self._request.drop_body()
        length = ("content-length", str(len(answer.body)))
        headers: Headers = (("content-type", answer.media_type), length, *answer.headers)
        if not self._request.is_read and self._request.block.ends_connection:
            headers = (*headers, ("connection", "close"))
        await self.head(answer.status, headers)
        await self.part(answer.body, more=False)

    async def head(self, status: int, headers: Headers) -> None:
        """Status and headers."""
        self.status = status
        raw = [(name.encode("latin-1"), text.encode("latin-1")) for name, text in (*headers, *self._always)]
        raw.append((b"x-request-id", self._request.id.encode("ascii")))
        await self._send({"type": "http.response.start", "status": status, "headers": raw})

    async def part(self, body: bytes, *, more: bool = True) -> None:
        """A piece of the body."""
        await self._send({"type": "http.response.body", "body": body, "more_body": more})

    async def unary(self, sink: Waiter, binding: Binding, pace: Pace) -> Sent:
        """The answer of a unary call, with blanks before it while the agent thinks (decision 5)."""
        seconds = pace.unary_keepalive if binding.keeps_alive and pace.unary_keepalive else None
        outcome = await _outcome(sink, seconds)
        if outcome is not None:
            await self.whole(binding.answer(outcome))
            return Sent(self.status, outcome)
        await self.head(200, (("content-type", "application/json"), *UNBUFFERED))
        while outcome is None:
            await self.part(b" ")
            outcome = await _outcome(sink, seconds)
        await self.part(binding.answer(outcome).body, more=False)
        return Sent(self.status, outcome)

    async def stream(
        self, sink: StreamSink, binding: Binding, pace: Pace, where: Headers, read_on: Callable[[], None]
    ) -> Sent:
        """A stream of events, its head by decision 18: an early error is plain, a silent head gets a comment.

        `where` are headers that say where it can be read on; `read_on` asks for more events.
        """
        await sink.wait(pace.head_wait)
        failure: AgentError | Refused | None = None
        if isinstance(sink.answered, AgentError | Refused):
            failure = sink.answered
        elif sink.is_over and not sink.items:
            failure = sink.failure
        if failure is not None:
            await self.whole(binding.answer(failure))
            return Sent(self.status, failure)
        await self.head(200, (("content-type", EVENT_STREAM), *UNBUFFERED, *where, *sink.headers.items()))
        if not sink.items and not sink.is_over:
            await self.part(sse.HEARTBEAT)
        return await self._stream_body(sink, binding, pace, read_on)

    async def _stream_body(self, sink: StreamSink, binding: Binding, pace: Pace, read_on: Callable[[], None]) -> Sent:
        events = 0
        while True:
            for item in sink.take():
                if isinstance(item, Gap):
                    await self.part(sse.gap_event(item.position, item.first, item.last))
                else:
                    events += 1
                    await self.part(binding.event(item))
            read_on()
            if sink.items:
                continue
            if sink.is_over:
                break
            if not await sink.wait(pace.heartbeat):
                await self.part(sse.HEARTBEAT)
        failure = sink.failure if sink.answered is None or isinstance(sink.answered, Result) else sink.answered
        await self.part(b"" if failure is None else binding.error_event(failure), more=False)
        return Sent(self.status, failure, events)


async def _outcome(sink: Waiter, seconds: float | None) -> Outcome | None:
    """The outcome, or None when `seconds` pass without one."""
    done, _ = await asyncio.wait({sink.outcome}, timeout=seconds)
    return sink.outcome.result() if done else None


async def until_gone(request: HttpRequest, write: Coroutine[Any, Any, Sent], leave: Callable[[], None]) -> Sent:
    """Write the response, unless the client goes away first; `leave` in either case."""
    try:
        async with asyncio.TaskGroup() as tasks:
            writing = tasks.create_task(write)
            gone = tasks.create_task(request.gone())
            await asyncio.wait({writing, gone}, return_when=asyncio.FIRST_COMPLETED)
            gone.cancel()
            if not writing.done():
                writing.cancel()
    finally:
        leave()
    return Sent(0, Refused(Reason.CLIENT_GONE)) if writing.cancelled() else writing.result()


async def is_there_after(request: HttpRequest, seconds: float) -> bool:
    """Keep an answer back for so long; whether its client is, as far as that is known, still there to be told.

    A body that was not read stays where it is meanwhile.
    """
    if not seconds or not request.is_read:
        await asyncio.sleep(seconds)
        return True
    try:
        async with asyncio.timeout(seconds):
            await request.gone()
    except TimeoutError:
        return True
    return False
