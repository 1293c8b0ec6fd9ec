"""The calls of one link: each a task of its own, so that a slow one delays nobody."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import structlog

from a2a_relay.connector.refused import place_of
from a2a_relay.connector.upstream import CallFailed, Upstream, UpstreamDown, error_object, failed, too_large
from a2a_relay.errors import Reason
from a2a_relay.wire import agent_side
from a2a_relay.wire.agent_side import AuthOk, IncomingRequest
from a2a_relay.wire.frames import NO_HEADERS

# What a frame holds beside its body: the envelope, and the answer's headers.
_ENVELOPE_BYTES = 16 * 1024
_INTERNAL_CODE = -32603
_LOG = structlog.get_logger("a2a_relay.connector")

Send = Callable[[bytes], Awaitable[None]]


class Calls:
    """Runs the calls of one link in the connector's task group.

    A call outlives its link only as work that the agent has begun: its answer is dropped. A stream ends with it.
    """

    def __init__(
        self,
        tasks: asyncio.TaskGroup,
        upstream: Upstream,
        send: Send,
        welcome: AuthOk,
        when_down: Callable[[str], None],
    ) -> None:
        self._tasks = tasks
        self._upstream = upstream
        self._send = send
        self._welcome = welcome
        self._when_down = when_down
        self._running: dict[str, tuple[asyncio.Task[None], _Output]] = {}

    def start(self, request: IncomingRequest) -> None:
        """Begin a call. An id that is already in use is a call already begun."""
        if request.id in self._running:
            return
        output = _Output(request, self._send, self._welcome)
        task = self._tasks.create_task(self._run(request, output))
        self._running[request.id] = task, output
        task.add_done_callback(lambda _: self._running.pop(request.id, None))

    def cancel(self, id: str) -> None:
        """Nobody will read this call's answer: a stream is closed, a unary call's answer is dropped."""
        task, output = self._running.get(id, (None, None))
        if task is not None and output is not None:
            output.is_dropped = True
            if output.request.stream:
                task.cancel()

    def link_lost(self) -> None:
        """The link is gone, and with it every reader."""
        for id in list(self._running):
            self.cancel(id)

    async def _run(self, request: IncomingRequest, output: _Output) -> None:
        try:
            async with asyncio.timeout(request.timeout_ms / 1000) as deadline:
                # Streams are bounded until their first event; how long they last is the relay's to say.
                output.deadline = deadline
                await self._upstream.call(request, output)
            await output.finish()
        except UpstreamDown as down:
            self._when_down(down.why)
            await output.nack(down)
        except CallFailed as failure:
            await output.fail(failure.error)
        except TimeoutError:
            await output.fail(failed(Reason.AGENT_TIMEOUT).error)
        except Exception as error:  # noqa: BLE001 one call's fault must not cost the link (a task group ends with its first)
            _LOG.error("call_failed", method=request.method, error=place_of(error))
            await output.fail(error_object(_INTERNAL_CODE, "the connector has failed", str(Reason.INTERNAL)))


class _Output:
    """One call's way back over the link."""

    def __init__(self, request: IncomingRequest, send: Send, welcome: AuthOk) -> None:
        self.request = request
        self.max_body = max(welcome.max_frame - _ENVELOPE_BYTES, 1024)
        self._has_nack = welcome.is_native
        self.is_dropped = False
        self.deadline: asyncio.Timeout | None = None
        self._send = send
        self._events = 0
        self._is_done = False

    async def answer(
        self, body: bytes, http_status: int | None = None, headers: Mapping[str, str] = NO_HEADERS
    ) -> None:
        self._require_fit(body)
        await self._finish_with(agent_side.result(self.request.id, body, http_status, headers))

    async def event(self, body: bytes, headers: Mapping[str, str] = NO_HEADERS) -> None:
        self._require_fit(body)
        if self.deadline is not None:
            self.deadline.reschedule(None)
        self._events += 1
        frame = agent_side.event(self.request.id, self._events, body, headers if self._events == 1 else NO_HEADERS)
        if not self.is_dropped:
            await self._send(frame)

    async def finish(self) -> None:
        """The upstream has nothing more to say."""
        if self._is_done:
            return
        if self.request.stream:
            await self._finish_with(agent_side.end(self.request.id))
        else:
            await self.fail(failed(Reason.INVALID_AGENT_RESPONSE).error)

    async def nack(self, down: UpstreamDown) -> None:
        """Nothing was delivered; a relay that knows no nack gets an error."""
        if self._has_nack and not self._events:
            await self._finish_with(agent_side.nack(self.request.id, f"the upstream is not running: {down.why}"))
        else:
            await self.fail(down.error)

    async def fail(self, error: bytes) -> None:
        """End with an error: as the answer, or as the end of a stream that has begun."""
        if len(error) > self.max_body:
            error = too_large("the agent's error", self.max_body).error
        if self._events:
            await self._finish_with(agent_side.end(self.request.id, error))
        else:
            await self._finish_with(agent_side.error(self.request.id, error))

    async def _finish_with(self, frame: bytes) -> None:
        if not self._is_done and not self.is_dropped:
            self._is_done = True
            await self._send(frame)

    def _require_fit(self, body: bytes) -> None:
        if len(body) > self.max_body:
            raise too_large("the agent's answer", self.max_body)
