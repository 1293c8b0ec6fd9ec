"""Agents on the official SDK that take the ids that the relay suggests, and agents that do not."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from a2a.server.agent_execution import AgentExecutor, RequestContext, SimpleRequestContextBuilder
from a2a.server.events import EventQueue
from a2a.server.request_handlers import DefaultRequestHandler, LegacyRequestHandler
from a2a.server.routes import create_agent_card_routes, create_jsonrpc_routes
from a2a.server.tasks import InMemoryTaskStore, TaskUpdater
from a2a.types.a2a_pb2 import AgentCapabilities, AgentCard, AgentInterface, AgentSkill, Task, TaskState, TaskStatus
from google.protobuf.json_format import MessageToDict
from small_relay import NEW_WELCOME, Link, dialogue
from starlette.applications import Starlette

from a2a_relay.a2a.agent_card import RELAY_EXTENSION
from a2a_relay.connector import ConnectorRefused, adopt

LETTER = {"letter": "rly-1", "attempt": 1, "task_id": "rly-1", "context_id": "rly-c"}
HANDLERS = pytest.mark.parametrize("handler", [DefaultRequestHandler, LegacyRequestHandler])


class Working(AgentExecutor):
    """Makes a task, which it leaves open when it is told to ask."""

    async def execute(self, context: RequestContext, event_queue: EventQueue) -> None:
        task_id, context_id = context.task_id or "", context.context_id or ""
        if context.current_task is None:
            begun = TaskStatus(state=TaskState.TASK_STATE_SUBMITTED)
            await event_queue.enqueue_event(Task(id=task_id, context_id=context_id, status=begun))
        updater = TaskUpdater(event_queue, task_id, context_id)
        await (updater.requires_input() if context.get_user_input() == "ask" else updater.complete())

    async def cancel(self, context: RequestContext, event_queue: EventQueue) -> None:
        raise NotImplementedError


def make_app(handler: Any = DefaultRequestHandler, *, adopts: bool = True) -> Starlette:
    """An agent's application; but for the two lines, as the SDK's own examples have it."""
    card = AgentCard(
        name="working",
        description="Works.",
        version="1.0.0",
        supported_interfaces=[AgentInterface(url="/", protocol_binding="JSONRPC", protocol_version="1.0")],
        capabilities=AgentCapabilities(streaming=True),
        default_input_modes=["text/plain"],
        default_output_modes=["text/plain"],
        skills=[AgentSkill(id="work", name="Work", description="Works.", tags=["test"])],
    )
    builder = None
    if adopts:
        adopt.announce(card)
        builder = adopt.context_builder()
    serving = handler(Working(), InMemoryTaskStore(), card, request_context_builder=builder)
    return Starlette(routes=[*create_agent_card_routes(card), *create_jsonrpc_routes(serving, "/")])


def message(text: str = "hi", **fields: str) -> dict[str, Any]:
    return {"message": {"messageId": "m", "role": "ROLE_USER", "parts": [{"text": text}], **fields}}


async def welcome(link: Link) -> None:
    await link.say({**NEW_WELCOME, "features": [*NEW_WELCOME["features"], "letters"]})


async def hear_task(link: Link) -> Any:
    """The task, or the error, that is the next answer."""
    while (frame := await link.hear())["type"] == "a2a.accept":
        pass
    payload = frame["payload"]
    result = payload.get("result", {})
    return payload["error"] if "error" in payload else result.get("task", result)


@HANDLERS
async def test_a_letter_becomes_the_task_that_its_sender_was_told(handler: Any) -> None:
    async def script(link: Link) -> None:
        assert link.auth["adopts_ids"] is True
        await welcome(link)
        await link.ask("1", params=message(), meta=LETTER)
        task = await hear_task(link)
        assert (task["id"], task["contextId"]) == ("rly-1", "rly-c")
        await link.ask("2", "GetTask", {"id": "rly-1"})
        assert (await hear_task(link))["status"]["state"] == "TASK_STATE_COMPLETED"

    await dialogue(script, app=make_app(handler))


@HANDLERS
async def test_its_stream_is_of_that_task_from_the_first_event(handler: Any) -> None:
    async def script(link: Link) -> None:
        await welcome(link)
        asked = {"stream": True, "window": {"events": 64, "bytes": 99_999}}
        await link.ask("1", "SendStreamingMessage", message(), meta=LETTER, **asked)
        assert (await link.hear())["type"] == "a2a.accept"
        assert (await link.hear())["payload"]["result"]["task"]["id"] == "rly-1"
        assert (await link.hear())["payload"]["result"]["statusUpdate"]["taskId"] == "rly-1"

    await dialogue(script, app=make_app(handler))


async def test_a_message_that_names_its_context_keeps_it() -> None:
    async def script(link: Link) -> None:
        await welcome(link)
        await link.ask("1", params=message(contextId="mine"), meta=LETTER)
        task = await hear_task(link)
        assert (task["id"], task["contextId"]) == ("rly-1", "mine")

    await dialogue(script, app=make_app())


async def test_a_message_that_goes_on_with_a_task_makes_no_other() -> None:
    async def script(link: Link) -> None:
        await welcome(link)
        await link.ask("1", params=message("ask"), meta=LETTER)
        assert (await hear_task(link))["status"]["state"] == "TASK_STATE_INPUT_REQUIRED"
        more = {**LETTER, "letter": "rly-2", "task_id": "rly-2"}
        await link.ask("2", params=message(taskId="rly-1"), meta=more)
        task = await hear_task(link)
        assert (task["id"], task["status"]["state"]) == ("rly-1", "TASK_STATE_COMPLETED")

    await dialogue(script, app=make_app())


@pytest.mark.parametrize("task_id", ["other", "", "rly-", "rly-a b", 7])
async def test_calls_without_a_suggestion_of_the_relay_have_ids_of_the_agent(task_id: Any) -> None:
    async def script(link: Link) -> None:
        await welcome(link)
        await link.ask("1", params=message(), meta={"letter": "rly-1", "task_id": task_id})
        task = await hear_task(link)
        assert task["id"] != task_id
        assert len(task["id"]) == 36

    await dialogue(script, app=make_app())


async def test_an_agent_without_the_two_lines_says_nothing_and_keeps_its_ids() -> None:
    async def script(link: Link) -> None:
        assert link.auth["adopts_ids"] is False
        await welcome(link)
        await link.ask("1", params=message(), meta=LETTER)
        assert (await hear_task(link))["id"] != "rly-1"

    await dialogue(script, app=make_app(adopts=False))


async def test_an_adopted_id_keeps_a_letter_that_was_forgotten_from_a_second_run() -> None:
    async def script(link: Link) -> None:
        await welcome(link)
        await link.ask("1", params=message(), meta=LETTER)
        done = await hear_task(link)
        await link.ask("2", params=message(), meta={**LETTER, "letter": "unknown to a connector that has just begun"})
        assert "rly-1 is in terminal state" in (await hear_task(link))["message"]
        await link.ask("3", "GetTask", {"id": "rly-1"})
        assert await hear_task(link) == done

    await dialogue(script, app=make_app())


def test_an_announcement_leaves_the_rest_of_the_card_alone() -> None:
    card = AgentCard()
    extension = card.capabilities.extensions.add(uri=RELAY_EXTENSION)
    extension.params.update({"streamWindow": "durable"})
    card.capabilities.extensions.add(uri="https://example.com/other")
    adopt.announce(card)
    adopt.announce(card)
    assert MessageToDict(card)["capabilities"]["extensions"] == [
        {"uri": RELAY_EXTENSION, "params": {"streamWindow": "durable", "adoptsIds": True}},
        {"uri": "https://example.com/other"},
    ]


async def test_a_builder_of_the_agents_own_still_builds() -> None:
    class Noting(SimpleRequestContextBuilder):
        async def build(self, *given: Any, **named: Any) -> RequestContext:
            built = await super().build(*given, **named)
            built.call_context.state["noted"] = built.task_id
            return built

    from a2a.server.context import ServerCallContext
    from a2a.types.a2a_pb2 import SendMessageRequest

    context = ServerCallContext(state={"headers": {"a2a-relay-task-id": "rly-7"}})
    await adopt.context_builder(Noting()).build(context, SendMessageRequest())
    assert context.state["noted"] == "rly-7"


def test_without_the_sdk_the_reason_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "a2a.server.agent_execution", None)
    with pytest.raises(ConnectorRefused, match="pip install 'a2a-sdk"):
        adopt.context_builder()
