"""What the suite's agents do with a call."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from agents import Agent, Behaviour, Call, NativeAgent

UPDATES = 3
"""Status updates that an echoing agent streams before it is done."""

_SENDS = ("SendMessage", "message/send", "SendStreamingMessage", "message/stream")


def message(text: str, **fields: Any) -> dict[str, Any]:
    """Params of a send in A2A 1.0's JSON."""
    return {"message": {"messageId": "m-1", "role": "ROLE_USER", "parts": [{"text": text}], **fields}}


def echo_of(call: Call) -> dict[str, Any]:
    """The result of an echoing agent for a call that does not stream."""
    if call.method in _SENDS:
        parts = [{"text": f"Echo: {call.text}"}]
        return {"message": {"messageId": "m-2", "role": "ROLE_AGENT", "parts": parts}}
    if call.method in ("ListTasks", "tasks/list"):
        return {"tasks": [], "nextPageToken": "", "pageSize": 50, "totalSize": 0}
    return task(str(call.params.get("id", "task-1")))


def task(id: str, state: str = "TASK_STATE_COMPLETED") -> dict[str, Any]:
    """A task in A2A 1.0's JSON."""
    return {"id": id, "contextId": "context-1", "status": {"state": state}}


def update(step: int, state: str = "TASK_STATE_WORKING", **fields: Any) -> dict[str, Any]:
    """A stream event in A2A 1.0's JSON: a status update that tells its place."""
    return {
        "statusUpdate": {
            "taskId": "task-1",
            "contextId": "context-1",
            "status": {"state": state},
            "metadata": {"step": step, **fields},
        }
    }


async def echo(agent: Agent, call: Call) -> None:
    """Answer `Echo: {input}`; a streaming call to a native agent gets three updates, then completed."""
    if not call.stream:
        await agent.answer(call, echo_of(call))
        return
    native = cast(NativeAgent, agent)
    for step in range(1, UPDATES + 1):
        await native.event(call, step, update(step))
    await native.event(call, UPDATES + 1, update(UPDATES + 1, "TASK_STATE_COMPLETED"))
    await native.end(call)


async def silent(agent: Agent, call: Call) -> None:
    """Take the call and never answer."""


def slow(seconds: float) -> Behaviour:
    """Echo after a while."""

    async def behave(agent: Agent, call: Call) -> None:
        await asyncio.sleep(seconds)
        await echo(agent, call)

    return behave


def failing(code: int, text: str, **data: Any) -> Behaviour:
    """Answer every call with an error."""

    async def behave(agent: Agent, call: Call) -> None:
        await agent.fail(call, code, text, **data)

    return behave


def answering(result: Any) -> Behaviour:
    """Answer every call with the same result; one given as text crosses as exactly that text."""

    async def behave(agent: Agent, call: Call) -> None:
        if isinstance(result, str):
            await agent.answer_raw(call, result)
        else:
            await agent.answer(call, result)

    return behave


def streaming(*events: str) -> Behaviour:
    """Stream these events, each crossing as exactly this text, then end."""

    async def behave(agent: Agent, call: Call) -> None:
        native = cast(NativeAgent, agent)
        for seq, event in enumerate(events, 1):
            await native.event_raw(call, seq, event)
        await native.end(call)

    return behave


class Worker:
    """A behaviour that makes a task of its own, `own-1`, `own-2`, ..., for each message, and can be asked for it.

    A message that names a task goes on with that one. A task is held at work until `go` is set; then it completes with
    an artifact that says the message's text.
    """

    def __init__(self, *, is_held: bool = False) -> None:
        self.tasks: dict[str, dict[str, Any]] = {}
        self.go = asyncio.Event()
        self.texts: list[str] = []
        """What it was told, in the order in which it began."""
        self.at_work = 0
        self.most_at_work = 0
        if not is_held:
            self.go.set()

    async def __call__(self, agent: Agent, call: Call) -> None:
        if call.method in _SENDS:
            await self._work(agent, call)
        elif call.method in ("ListTasks", "tasks/list"):
            found = list(self.tasks.values())
            listed = {"tasks": found, "nextPageToken": "", "pageSize": 50, "totalSize": len(found)}
            await agent.answer(call, listed)
        elif "PushNotificationConfig" in call.method:
            await agent.answer(call, call.params)
        elif call.params["id"] not in self.tasks:
            await agent.fail(call, -32001, "no such task")
        elif call.method in ("CancelTask", "tasks/cancel"):
            self.tasks[call.params["id"]]["status"] = {"state": "TASK_STATE_CANCELED"}
            await agent.answer(call, self.tasks[call.params["id"]])
            self.go.set()
        else:
            await agent.answer(call, self.tasks[call.params["id"]])

    async def _work(self, agent: Agent, call: Call) -> None:
        asked = call.params["message"]
        number = len(self.tasks) + 1
        id = asked.get("taskId") or f"own-{number}"
        own = self.tasks[id] = {
            "id": id,
            "contextId": asked.get("contextId") or f"own-context-{number}",
            "status": {"state": "TASK_STATE_WORKING"},
        }
        self.texts.append(call.text)
        self.at_work += 1
        self.most_at_work = max(self.most_at_work, self.at_work)
        if call.stream:
            await cast(NativeAgent, agent).event(call, 1, {"task": own})
        await self.go.wait()
        if own["status"]["state"] == "TASK_STATE_WORKING":
            own["status"] = {"state": "TASK_STATE_COMPLETED"}
            own["artifacts"] = [{"artifactId": "said", "parts": [{"text": f"Echo: {call.text}"}]}]
        self.at_work -= 1
        await self._tell_the_end(agent, call, own)

    async def _tell_the_end(self, agent: Agent, call: Call, own: dict[str, Any]) -> None:
        if not call.stream:
            await agent.answer(call, {"task": own})
            return
        native, ids = cast(NativeAgent, agent), {"taskId": own["id"], "contextId": own["contextId"]}
        for artifact in own.get("artifacts", ()):
            await native.event(call, 2, {"artifactUpdate": {**ids, "artifact": artifact}})
        last = 3 if "artifacts" in own else 2
        await native.event(call, last, {"statusUpdate": {**ids, "status": own["status"]}})
        await native.end(call)
