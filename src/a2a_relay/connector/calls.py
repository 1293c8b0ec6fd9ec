"""The calls of one agent: each a task of its own, so that a slow one delays nobody; they may outlive their link."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from a2a_relay.connector.outputs import CallOutput, Road, Way
from a2a_relay.connector.refused import place_of
from a2a_relay.connector.resuming import Answers, claim
from a2a_relay.connector.upstream import CallFailed, Upstream, UpstreamDown, error_object, failed
from a2a_relay.errors import Reason
from a2a_relay.wire import agent_side
from a2a_relay.wire.agent_side import AuthOk, IncomingRequest
from a2a_relay.wire.frames import RESUME, Resume

_INTERNAL_CODE = -32603
_LOG = structlog.get_logger("a2a_relay.connector")


class Calls:
    """Runs calls in the connector's task group, over one link after the other.

    While there is no link, what the relay will wait for goes on: streams up to their window, unary calls up to
    their answer. What nobody will read is dropped: a stream is stopped, a unary call finishes unheard.
    """

    def __init__(self, tasks: asyncio.TaskGroup, upstream: Upstream, when_down: Callable[[str], None]) -> None:
        self._tasks = tasks
        self._upstream = upstream
        self._when_down = when_down
        self._road = Road()
        self._answers = Answers()
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
        """What the relay waits for although it was given up here while the agent attached has failed."""
        held = {output.id for output in self._outputs.values() if output.goes_on or output.is_running}
        error = failed(Reason.AGENT_DISCONNECTED).error
        for id in awaited - held:
            if id not in self._answers:
                self._tasks.create_task(link.send(id, agent_side.error(id, error)))

    # calls

    def start(self, request: IncomingRequest) -> None:
        """Begin a call. An id that is already in use is a call already begun."""
        welcome = self._welcome
        if welcome is None or request.id in self._outputs:
            return
        output = CallOutput(request, self._road, welcome, self._answers if _may_resume(welcome) else None)
        self._outputs[request.id] = output
        output.task = self._tasks.create_task(self._run(request, output))
        output.task.add_done_callback(lambda task: self._ended(output, task))

    def credit(self, id: str, through: int) -> None:
        """The relay has taken a stream's events up to `through`, and its end if that is behind the last."""
        self._answers.forget(id)
        output = self._outputs.get(id)
        if output is not None:
            output.credit(through)
            self._settle(output)

    def cancel(self, id: str) -> None:
        """Nobody will read this call's answer: a stream is closed, a unary call's answer is dropped."""
        self._answers.forget(id)
        output = self._outputs.get(id)
        if output is not None:
            self._drop(output)
        elif self._road.link is not None:
            self._road.link.drop(id)

    def _drop(self, output: CallOutput) -> None:
        output.drop()
        self._answers.forget(output.id)
        if self._road.link is not None:
            self._road.link.drop(output.id)
        if output.request.stream and output.task is not None:
            output.task.cancel()
        self._settle(output)

    def _ended(self, output: CallOutput, task: asyncio.Task[None]) -> None:
        if task.cancelled():
            output.drop()
        self._settle(output)

    def _settle(self, output: CallOutput) -> None:
        """Forget a call that is over and of which nothing is due any more."""
        if output.task is not None and output.task.done() and not output.goes_on:
            self._outputs.pop(output.id, None)

    async def _run(self, request: IncomingRequest, output: CallOutput) -> None:
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


def _may_resume(welcome: AuthOk) -> bool:
    return RESUME in welcome.features and welcome.resume_seconds > 0
