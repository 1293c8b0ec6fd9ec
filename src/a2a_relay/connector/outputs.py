"""One call's way back: its answer, or its events in order, over whichever link there is."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Protocol

from a2a_relay.connector.resuming import Answers
from a2a_relay.connector.upstream import UpstreamDown, failed, too_large
from a2a_relay.errors import Reason
from a2a_relay.wire import agent_side
from a2a_relay.wire.agent_side import AuthOk, IncomingRequest
from a2a_relay.wire.flow import Outgoing
from a2a_relay.wire.frames import CREDIT, NO_HEADERS

# What a frame holds beside its body: the envelope, and the answer's headers.
_ENVELOPE_BYTES = 16 * 1024


class Way(Protocol):
    """What calls need from a link."""

    async def send(self, id: str, frame: bytes) -> None:
        """Send a call's frame; returns when all of it has left, or silently when the link is gone."""

    async def say(self, frame: bytes) -> None:
        """Send a frame that belongs to no call, before what is sent in pieces."""

    def drop(self, id: str) -> None:
        """Nobody wants what a call is sending; its `send` returns."""


class Road:
    """Where frames go: over the link that is there, or nowhere."""

    def __init__(self) -> None:
        self.link: Way | None = None

    async def send(self, id: str, frame: bytes) -> None:
        if self.link is not None:
            await self.link.send(id, frame)


class CallOutput:
    """Takes what the upstream says. Events of a stream with a window wait for credit, and stay here until taken."""

    def __init__(
        self, request: IncomingRequest, road: Road, welcome: AuthOk, answers: Answers | None, letter: str = ""
    ) -> None:
        """`answers` keeps the answer when the relay lets calls survive their link."""
        self.request = request
        self.letter = letter
        """The id of the letter that this is a delivery of; empty for other calls."""
        self.max_body = max(welcome.max_frame - _ENVELOPE_BYTES, 1024)
        self.deadline: asyncio.Timeout | None = None
        self.task: asyncio.Task[None] | None = None
        self.outgoing = Outgoing(request.id, request.window if CREDIT in welcome.features else None)
        self.is_dropped = False
        self._has_nack = welcome.is_native
        self._road = road
        self._answers = answers
        self._is_done = False
        self._is_answered = False
        self._sent = 0
        self._is_end_sent = False
        self._flushing = asyncio.Lock()
        self._changed = asyncio.Event()

    @property
    def id(self) -> str:
        return self.request.id

    @property
    def goes_on(self) -> bool:
        """Whether this is a stream that can go on over another link, as far as anything of it is still due."""
        return (
            self.request.stream
            and self.outgoing.keeps
            and not (self.is_dropped or self._is_answered or self.outgoing.is_settled)
        )

    @property
    def is_running(self) -> bool:
        """Whether somebody still waits for an answer that the upstream has not given."""
        return not (self._is_done or self.is_dropped)

    # what the upstream says

    async def answer(
        self, body: bytes, http_status: int | None = None, headers: Mapping[str, str] = NO_HEADERS
    ) -> None:
        self._require_fit(body)
        self._lift_deadline()
        await self._answer(agent_side.result(self.id, body, http_status, headers))

    async def event(self, body: bytes, headers: Mapping[str, str] = NO_HEADERS) -> None:
        self._require_fit(body)
        self._lift_deadline()
        outgoing = self.outgoing
        while not (outgoing.has_room(len(body)) or self.is_dropped):
            self._changed.clear()
            await self._changed.wait()
        if self.is_dropped:
            await asyncio.sleep(0)  # an agent that never waits would not hear that it was stopped
            return
        headers = NO_HEADERS if outgoing.last else headers
        seq = outgoing.event(body, headers)
        if outgoing.keeps:
            await self.flush()
        else:
            await self._road.send(self.id, agent_side.event(self.id, seq, body, headers))

    async def finish(self) -> None:
        """The upstream has nothing more to say."""
        if self._is_done:
            return
        if self.request.stream:
            await self._end(None)
        else:
            await self.fail(failed(Reason.INVALID_AGENT_RESPONSE).error)

    async def decline(self, down: UpstreamDown) -> None:
        """The upstream is away: nothing was delivered. A relay that knows no nack gets an error."""
        if self._has_nack and not self.outgoing.last:
            await self.nack(f"the upstream is not running: {down.why}")
        else:
            await self.fail(down.error)

    async def nack(self, reason: str, retry_after_ms: int | None = None) -> None:
        """Nothing was delivered."""
        await self._answer(agent_side.nack(self.id, reason, retry_after_ms))

    async def fail(self, error: bytes) -> None:
        """End with an error: as the answer, or as the end of a stream that has begun."""
        if len(error) > self.max_body:
            error = too_large("the agent's error", self.max_body).error
        if self.outgoing.last:
            await self._end(error)
        else:
            await self._answer(agent_side.error(self.id, error))

    async def _answer(self, frame: bytes) -> None:
        if self._is_done or self.is_dropped:
            return
        self._is_done = self._is_answered = True
        if self._answers is not None:
            is_sent = self._road.link is not None
            self._answers.keep(self.id, frame, is_stream=self.request.stream, is_sent=is_sent)
        await self._road.send(self.id, frame)

    async def _end(self, error: bytes | None) -> None:
        if self._is_done or self.is_dropped:
            return
        self._is_done = True
        self.outgoing.end(error)
        if self.outgoing.keeps:
            await self.flush()
        else:
            await self._road.send(self.id, agent_side.end(self.id, error))

    def _lift_deadline(self) -> None:
        """The agent has spoken; how long the way back takes is not its fault."""
        if self.deadline is not None and not self.deadline.expired():
            self.deadline.reschedule(None)

    def _require_fit(self, body: bytes) -> None:
        if len(body) > self.max_body:
            raise too_large("the agent's answer", self.max_body)

    # what the relay says

    def credit(self, through: int) -> None:
        """The relay has taken events."""
        self.outgoing.credit(through)
        self._changed.set()

    def resume(self, through: int) -> None:
        """Go on over a new link behind an event that the relay has; `flush` is to follow."""
        self.credit(through)
        self._sent, self._is_end_sent = self.outgoing.through, False

    def drop(self) -> None:
        """Nobody will read any of it."""
        self.is_dropped = True
        self._changed.set()

    @property
    def ends_when_dropped(self) -> bool:
        """Whether its task has nothing to do any more then; a unary call runs to its end unheard."""
        return self.request.stream or bool(self.letter)

    async def flush(self) -> None:
        """Send what is kept and was not sent over this link. Whoever else does so at the same time is waited for."""
        async with self._flushing:
            link = self._road.link
            while link is not None and link is self._road.link and not self.is_dropped:
                frame = self._next_frame()
                if frame is None:
                    return
                await link.send(self.id, frame)

    def _next_frame(self) -> bytes | None:
        outgoing = self.outgoing
        kept = outgoing.after(self._sent)
        if kept is not None:
            self._sent = kept.seq
            return agent_side.event(self.id, kept.seq, kept.body, kept.headers)
        if not outgoing.is_ended or self._is_end_sent:
            return None
        self._is_end_sent = True
        return agent_side.end(self.id, outgoing.error)
