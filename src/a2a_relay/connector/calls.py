"""The calls of one agent: each a task of its own, so that a slow one delays nobody; they may outlive their link."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from a2a_relay.connector.letters import Letters, Run, letter_of
from a2a_relay.connector.outputs import CallOutput, Road, Way
from a2a_relay.connector.resuming import Answers, claim
from a2a_relay.connector.upstream import CallFailed, Upstream, UpstreamDown, broken, failed
from a2a_relay.errors import Reason
from a2a_relay.wire import agent_side
from a2a_relay.wire.agent_side import AuthOk, IncomingRequest
from a2a_relay.wire.frames import LETTERS, RESUME, Resume

_FULL_RETRY_MS = 1000
_LOG = structlog.get_logger("a2a_relay.connector")


class Calls:
    """Runs calls in the connector's task group, over one link after the other.

    While there is no link, what the relay will wait for goes on: streams up to their window, unary calls up to
    their answer. What nobody will read is dropped: a stream is stopped, a unary call finishes unheard. Of a letter it
    is only the delivery that is dropped; its run goes on.
    """

    def __init__(self, tasks: asyncio.TaskGroup, upstream: Upstream, when_down: Callable[[str], None]) -> None:
        self._tasks = tasks
        self._upstream = upstream
        self._when_down = when_down
        self._road = Road()
        self._answers = Answers()
        self._letters = Letters(tasks, upstream)
        self._welcome: AuthOk | None = None
        self._outputs: dict[str, CallOutput] = {}
        """Calls that are running, and streams whose end the relay has not acknowledged."""
        self._lost_session = ""
        self._patience: asyncio.TimerHandle | None = None

    # links

    def attach(self, link: Way, welcome: AuthOk) -> None:
        """There is a link; what was kept of the last one goes on over it, as far as the relay wants it."""
        self._call_off()
        self._road.link, self._welcome = link, welcome
        if self._lost_session or welcome.streams or welcome.calls:
            self._lost_session = ""
            self._go_on(link, welcome)

    def cut(self) -> None:
        """The link was cut: keep what the relay waits for."""
        welcome, self._road.link = self._welcome, None
        if welcome is None or not _may_resume(welcome):
            self.drop_all()
            return
        for output in list(self._outputs.values()):
            if output.request.stream and not output.outgoing.keeps:
                self._drop(output)
        self._lost_session = welcome.session
        self._patience = asyncio.get_running_loop().call_later(welcome.resume_seconds, self.drop_all)

    def drop_all(self) -> None:
        """Every reader is gone: the link was left on purpose, or the relay does not wait any longer."""
        self._call_off()
        self._road.link, self._lost_session = None, ""
        self._answers.clear()
        for output in list(self._outputs.values()):
            self._drop(output)

    def claims(self) -> Resume | None:
        """What is held of a session whose link was cut; None when there is none."""
        if not self._lost_session:
            return None
        outputs = self._outputs.values()
        streams = [output.outgoing for output in outputs if output.goes_on]
        running = [output.id for output in outputs if output.is_running and not output.request.stream]
        return claim(self._lost_session, streams, running, self._answers)

    def _call_off(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _go_on(self, link: Way, welcome: AuthOk) -> None:
        streams = {stream.id: stream.through for stream in welcome.streams if stream.through is not None}
        calls = set(welcome.calls)
        for output in list(self._outputs.values()):
            through = streams.get(output.id)
            if output.goes_on and through is not None:
                output.resume(through)
                self._tasks.create_task(output.flush())
            elif output.goes_on or (output.is_running and output.id not in calls):
                self._drop(output)
        for id in [*self._answers.streams, *self._answers.calls]:
            if id in streams or id in calls:
                self._tasks.create_task(link.send(id, self._answers.send_again(id) or b""))
            else:
                self._answers.forget(id)
        self._disown(link, {*streams, *calls})
        _LOG.info("resumed", streams=len(streams), calls=len(calls))

    def _disown(self, link: Way, awaited: set[str]) -> None:
        """What the relay waits for, but was given up here while the agent attached, has failed; a letter is nacked."""
        held = {output.id for output in self._outputs.values() if output.goes_on or output.is_running}
        error = failed(Reason.AGENT_DISCONNECTED).error
        for id in awaited - held:
            if id in self._answers:
                continue
            is_letter = self._letters.was_delivered_as(id)
            frame = agent_side.nack(id, "the link was lost") if is_letter else agent_side.error(id, error)
            self._tasks.create_task(link.send(id, frame))

    # calls

    def start(self, request: IncomingRequest) -> None:
        """Begin a call. An id that is already in use is a call already begun."""
        welcome = self._welcome
        if welcome is None or request.id in self._outputs:
            return
        letter = letter_of(request) if LETTERS in welcome.features else ""
        output = CallOutput(request, self._road, welcome, self._answers if _may_resume(welcome) else None, letter)
        run = self._letters.find_or_begin(letter, request, output.max_body) if letter else None
        if run is not None:
            if run.output is not None:
                self._drop(run.output)
            run.hand_to(output)
        self._outputs[request.id] = output
        output.task = self._tasks.create_task(self._answer(output, run))
        output.task.add_done_callback(lambda task: self._ended(output, task))

    def credit(self, id: str, through: int) -> None:
        """The relay has taken a stream's events up to `through`, and its end if that is behind the last."""
        self._answers.forget(id)
        output = self._outputs.get(id)
        if output is not None:
            output.credit(through)
            self._settle(output)

    def cancel(self, id: str) -> None:
        """Nobody will read this answer: a stream is closed, a unary call's answer dropped, a letter's run stopped."""
        self._answers.forget(id)
        output = self._outputs.get(id)
        if output is not None:
            self._letters.cancel(output)
            self._drop(output)
        elif self._road.link is not None:
            self._road.link.drop(id)

    def _drop(self, output: CallOutput) -> None:
        output.drop()
        self._answers.forget(output.id)
        if self._road.link is not None:
            self._road.link.drop(output.id)
        if output.ends_when_dropped and output.task is not None:
            output.task.cancel()
        self._settle(output)

    def _ended(self, output: CallOutput, task: asyncio.Task[None]) -> None:
        if task.cancelled():
            output.drop()
        self._letters.let_go(output)
        self._settle(output)

    def _settle(self, output: CallOutput) -> None:
        """Forget a call that is over and of which nothing is due any more."""
        if output.task is not None and output.task.done() and not output.goes_on:
            self._outputs.pop(output.id, None)

    async def _answer(self, output: CallOutput, run: Run | None) -> None:
        try:
            if run is not None:
                await self._deliver(run, output)
            elif output.letter:
                return await output.nack("too many letters are in hand", _FULL_RETRY_MS)
            else:
                await self._call(output)
            await output.finish()
        except UpstreamDown as down:
            self._when_down(down.why)
            await output.decline(down)
        except CallFailed as failure:
            await output.fail(failure.error)
        except TimeoutError:
            await output.fail(failed(Reason.AGENT_TIMEOUT).error)
        except Exception as error:  # noqa: BLE001 one call's fault must not cost the link (a task group ends with its first)
            await output.fail(broken(output.request.method, error).error)

    async def _call(self, output: CallOutput) -> None:
        async with asyncio.timeout(output.request.timeout_ms / 1000) as deadline:
            # Streams are bounded until their first event; how long they last is the relay's to say.
            output.deadline = deadline
            await self._upstream.call(output.request, output)

    async def _deliver(self, run: Run, output: CallOutput) -> None:
        """Say what a letter's run says. How long that may take is the relay's to say."""
        if not run.is_replay:
            await self._road.send(output.id, agent_side.accept(output.id))
        await run.deliver(output)


def _may_resume(welcome: AuthOk) -> bool:
    return RESUME in welcome.features and welcome.resume_seconds > 0
