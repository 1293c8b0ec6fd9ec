"""What tests of letters do again and again: queue a message, ask for its Task, wait for a state."""

from __future__ import annotations

from typing import Any

from agents import Json
from behaviours import message
from clients import AT_ONCE, Client, result_of, until


async def queue(client: Client, agent_id: str, text: str = "hi", headers: Json | None = None, **fields: Any) -> Json:
    """Send a message to an agent that is away; the Task that tells of it."""
    response = await client.rpc(
        agent_id, "SendMessage", message(text, **fields), headers={**AT_ONCE, **(headers or {})}
    )
    task: Json = result_of(response)["task"]
    return task


async def get(client: Client, agent_id: str, id: str) -> Json:
    """A task, as its sender is told of it."""
    task: Json = result_of(await client.rpc(agent_id, "GetTask", {"id": id}))
    return task


async def until_state(client: Client, agent_id: str, id: str, state: str) -> Json:
    """Ask for a task until it is in a state."""
    task: Json = {}

    async def is_so() -> bool:
        nonlocal task
        task = await get(client, agent_id, id)
        return bool(task["status"]["state"] == state)

    await until(is_so)
    return task
