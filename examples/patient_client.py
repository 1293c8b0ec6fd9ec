"""A client built on the official Python SDK (`a2a-sdk`) that sends, and comes back for the answer.

It knows nothing of the relay: it asks not to be kept waiting (`polling`), gets a task, and asks for that task until it
is done. Whether the agent was there when it sent, or came hours later, makes no difference to it.

    RELAY_TOKEN=$(relay token) python examples/patient_client.py http://127.0.0.1:8080/t/local/a2a/echo/ "hi there"
"""

import argparse
import asyncio
import os
import time

import httpx
from a2a.client import ClientConfig, ClientFactory
from a2a.helpers.proto_helpers import new_text_message
from a2a.types.a2a_pb2 import GetTaskRequest, Role, SendMessageRequest, Task, TaskState

POLL_SECONDS = 0.2
ENDS = (
    TaskState.TASK_STATE_COMPLETED,
    TaskState.TASK_STATE_FAILED,
    TaskState.TASK_STATE_CANCELED,
    TaskState.TASK_STATE_REJECTED,
)


def show(task: Task) -> None:
    """Print where a task stands."""
    print(f"{TaskState.Name(task.status.state).removeprefix('TASK_STATE_')}  {task.id}", flush=True)


def said_in(task: Task) -> str:
    """What the agent has said in a task's artifacts."""
    return "".join(part.text for artifact in task.artifacts for part in artifact.parts)


async def send(url: str, text: str, wait_seconds: float) -> int:
    """Send a text, print each state of its task and the answer; the exit code. Raises TimeoutError."""
    headers = {"Authorization": f"Bearer {os.environ['RELAY_TOKEN']}"}
    async with httpx.AsyncClient(headers=headers) as http:
        factory = ClientFactory(ClientConfig(httpx_client=http, streaming=False, polling=True))
        client = await factory.create_from_url(url)
        request = SendMessageRequest(message=new_text_message(text, role=Role.ROLE_USER))
        task = (await anext(client.send_message(request))).task
        show(task)
        ends_at = time.monotonic() + wait_seconds
        while task.status.state not in ENDS:
            if time.monotonic() > ends_at:
                raise TimeoutError(f"no answer within {wait_seconds:.0f} s")
            await asyncio.sleep(POLL_SECONDS)
            before = task.status.state
            task = await client.get_task(GetTaskRequest(id=task.id))
            if task.status.state != before:
                show(task)
        print(said_in(task), flush=True)
        return 0 if task.status.state == TaskState.TASK_STATE_COMPLETED else 1


def main() -> int:
    """Run the client and return its exit code."""
    options = argparse.ArgumentParser(description="Send a text to an A2A agent, and wait for the answer.")
    options.add_argument("url", help="the agent's base URL")
    options.add_argument("text", help="what to send")
    options.add_argument("--wait", type=float, default=60.0, metavar="SECONDS", help="for the answer (default: 60)")
    chosen = options.parse_args()
    return asyncio.run(send(chosen.url, chosen.text, chosen.wait))


if __name__ == "__main__":
    raise SystemExit(main())
