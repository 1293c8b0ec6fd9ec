"""The letters of one agent, in hand and answered: delivered however often, each is one run (decision 9)."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from typing import NamedTuple

from a2a_relay.connector.outputs import CallOutput
from a2a_relay.connector.upstream import CallFailed, Upstream, UpstreamDown, broken, failed
from a2a_relay.errors import Reason
from a2a_relay.wire.agent_side import IncomingRequest
from a2a_relay.wire.flow import DEFAULT_WINDOW, Kept
from a2a_relay.wire.frames import NO_HEADERS

MAX_LETTERS = 256
"""So many are remembered, those in hand among them."""
MAX_ANSWER_BYTES = 4 * 1024 * 1024
"""Of answers that are remembered; the newest is whatever its size."""
MAX_RECORD_BYTES = 64 * 1024
"""So much of a stream is kept although the relay has taken it: the whole of a small one, the end of a large one."""
PATIENCE_SECONDS = 3600.0
"""A run that no link asks for is stopped after this time."""
_MAX_ID = 256


def letter_of(request: IncomingRequest) -> str:
    """The id of the letter that a call delivers; empty when it is none."""
    found = request.meta.get("letter")
    return found if isinstance(found, str) and len(found) <= _MAX_ID else ""


class _Answer(NamedTuple):
    body: bytes
    http_status: int | None
    headers: Mapping[str, str]


class Run:
    """One upstream call for one letter: takes what the upstream says, and says it to one delivery after the other.

    A delivery is a `CallOutput`, which belongs to the frame id of one `a2a.request`; only the newest counts. While it
    is over, a stream goes on until as much as a window holds is waiting for the next one.
    """

    def __init__(self, request: IncomingRequest, max_body: int) -> None:
        self.max_body = max_body
        self.is_done = False
        """The upstream has said all of it."""
        self.is_replay = False
        """The newest delivery has begun after that."""
        self.size = 0
        """Bytes of what is kept here."""
        self.output: CallOutput | None = None
        """The newest delivery; it may be over."""
        self.task: asyncio.Task[None] | None = None
        self._request = request
        self._is_heard = False
        """Whether the newest delivery is under way."""
        self._window = request.window or DEFAULT_WINDOW
        self._events: deque[Kept] = deque()
        self._last = 0
        self._taken = 0
        """The relay has taken the events up to this one."""
        self._start = 0
        """The event before the first of the present delivery, whose own numbers begin at 1."""
        self._passed = 0
        """The last event that the present delivery has got."""
        self._answer: _Answer | None = None
        self._error: bytes | None = None
        self._down_because: str | None = None
        self._is_abandoned = False
        self._deadline: asyncio.Timeout | None = None
        self._changed = asyncio.Event()

    @property
    def is_worth_remembering(self) -> bool:
        """Whether it is done, and something of it has reached the agent."""
        return self.is_done and not self._is_abandoned and self._down_because is None

    async def make(self, upstream: Upstream) -> None:
        """Make the call. Its answer stays here, an error too; raises nothing but cancellation."""
        deadline = self._deadline = asyncio.timeout(None)
        try:
            async with deadline:
                self._set_patience()
                await upstream.call(self._request, self)
        except UpstreamDown as down:
            self._down_because = down.why
        except CallFailed as failure:
            self._error = failure.error
            self.size += len(failure.error)
        except Exception as error:  # noqa: BLE001 one letter's fault must not cost the link
            self._is_abandoned = deadline.expired()  # nobody has asked for it
            fault = failed(Reason.AGENT_TIMEOUT) if deadline.expired() else broken(self._request.method, error)
            self._error = fault.error
        self.is_done, self._deadline = True, None
        self._changed.set()

    # what the upstream says

    async def answer(
        self, body: bytes, http_status: int | None = None, headers: Mapping[str, str] = NO_HEADERS
    ) -> None:
        self._answer = _Answer(body, http_status, headers)
        self.size += len(body)

    async def event(self, body: bytes, headers: Mapping[str, str] = NO_HEADERS) -> None:
        while not self._has_room(len(body)):
            await self._change()
        self._last += 1
        self._events.append(Kept(self._last, body, headers))
        self.size += len(body)
        self._note_taken()
        events = self._events
        while self.size > MAX_RECORD_BYTES and len(events) > 1 and events[0].seq <= self._taken:
            self.size -= len(events.popleft().body)
        self._changed.set()

    def _has_room(self, size: int) -> bool:
        if self._is_heard:
            return self._passed == self._last  # its window is what holds the next one back
        self._note_taken()
        waiting = [len(event.body) for event in self._events if event.seq > self._taken]
        return self._window.has_room(len(waiting), sum(waiting), size)

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()

    # deliveries

    def hand_to(self, output: CallOutput) -> None:
        """Begin a delivery: of what the relay has not taken yet, or of all that is kept when the run is done."""
        self._note_taken()
        self.output, self._is_heard, self.is_replay = output, True, self.is_done
        self._start = self._passed = self._events[0].seq - 1 if self.is_done and self._events else self._taken
        self._set_patience()
        self._changed.set()

    def let_go(self, output: CallOutput) -> None:
        """A delivery is over. If it was the present one, what follows waits for the next."""
        if self.output is output:
            self._is_heard = False
            self._set_patience()
            self._changed.set()

    async def deliver(self, output: CallOutput) -> None:
        """Say to a delivery what the upstream says, as an upstream would. Raises `CallFailed`."""
        if output.request.stream:
            await self._pass_events(output)
        while not self.is_done:
            self._passed = self._taken = self._last  # of a stream that is one answer now the last event counts
            self._changed.set()
            await self._change()
        if self._down_because is not None:
            raise UpstreamDown(self._down_because)
        if self._error is not None:
            raise CallFailed(self._error)
        if self._answer is not None:
            await output.answer(*self._answer)
        elif self._events and not output.request.stream:
            await output.answer(self._events[-1].body, None, self._events[-1].headers)

    async def _pass_events(self, output: CallOutput) -> None:
        while self.output is output:
            if self._passed < self._last:
                event = self._events[max(self._passed + 1 - self._events[0].seq, 0)]
                await output.event(event.body, event.headers)
                self._passed = event.seq
                self._changed.set()
            elif self.is_done:
                return
            else:
                await self._change()

    def _note_taken(self) -> None:
        """Learn from the present delivery what the relay has taken; its end counts as one more."""
        if self.output is not None:
            outgoing = self.output.outgoing
            through = outgoing.through if outgoing.keeps else outgoing.last
            self._taken = max(self._taken, self._start + min(through, outgoing.last))

    def _set_patience(self) -> None:
        deadline = self._deadline
        if deadline is not None and not deadline.expired():
            until = asyncio.get_running_loop().time() + PATIENCE_SECONDS
            deadline.reschedule(None if self._is_heard else until)


class Letters:
    """Runs letters in the connector's task group, and remembers those that were answered, within bounds."""

    def __init__(self, tasks: asyncio.TaskGroup, upstream: Upstream) -> None:
        self._tasks = tasks
        self._upstream = upstream
        self._in_hand: dict[str, Run] = {}
        self._answered: dict[str, Run] = {}
        """The oldest first."""
        self._answered_bytes = 0

    def find_or_begin(self, letter: str, request: IncomingRequest, max_body: int) -> Run | None:
        """The run of a letter, which begins now if the letter is new; None when too many are in hand."""
        run = self._in_hand.get(letter) or self._answered.get(letter)
        if run is None and len(self._in_hand) < MAX_LETTERS:
            run = self._in_hand[letter] = Run(request, max_body)
            self._forget_oldest()
            run.task = self._tasks.create_task(self._make(letter, run))
        return run

    def was_delivered_as(self, id: str) -> bool:
        """Whether this is the frame id of a letter's newest delivery."""
        runs = [*self._in_hand.values(), *self._answered.values()]
        return any(run.output is not None and run.output.id == id for run in runs)

    def let_go(self, output: CallOutput) -> None:
        """A delivery is over; its letter is not, unless it was answered."""
        run = self._in_hand.get(output.letter)
        if run is not None:
            run.let_go(output)

    def cancel(self, output: CallOutput) -> None:
        """The relay gives up on the letter that it had delivered so: stop its run and forget it.

        Nothing happens to one that was answered, or was delivered again since.
        """
        run = self._in_hand.get(output.letter)
        if run is not None and run.output is output:
            del self._in_hand[output.letter]
            if run.task is not None:
                run.task.cancel()

    async def _make(self, letter: str, run: Run) -> None:
        await run.make(self._upstream)
        if self._in_hand.get(letter) is not run:
            return
        del self._in_hand[letter]
        if run.is_worth_remembering:
            self._answered[letter] = run
            self._answered_bytes += run.size
            self._forget_oldest()

    def _forget_oldest(self) -> None:
        while self._answered and (
            len(self._in_hand) + len(self._answered) > MAX_LETTERS
            or (self._answered_bytes > MAX_ANSWER_BYTES and len(self._answered) > 1)
        ):
            self._answered_bytes -= self._answered.pop(next(iter(self._answered))).size
