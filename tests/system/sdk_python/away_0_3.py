"""The independent 0.3 client (a2a-sdk 0.3.26) sends to an agent that is away, and asks for its task until it is done.

    TOKEN=... python away_0_3.py JSONRPC|HTTP+JSON URL

Prints one JSON object: the task that the send was answered with, and the task when it was done.
"""

import asyncio
import json
import os
import sys

import httpx
from a2a.client import A2ACardResolver, ClientConfig, ClientFactory
from a2a.types import Message, Part, Role, TaskQueryParams, TaskState, TextPart


async def main(binding: str, url: str) -> dict[str, object]:
    async with httpx.AsyncClient(headers={"Authorization": f"Bearer {os.environ['TOKEN']}"}, trust_env=False) as http:
        config = ClientConfig(httpx_client=http, supported_transports=[binding], streaming=False)
        client = ClientFactory(config).create(await A2ACardResolver(http, url).get_agent_card())
        text = Message(message_id="m-1", role=Role.user, parts=[Part(root=TextPart(text="one two three"))])
        sent, _ = await anext(client.send_message(text))
        done = sent
        while done.status.state != TaskState.completed:
            await asyncio.sleep(0.1)
            done = await client.get_task(TaskQueryParams(id=sent.id))
        return {"sent": sent.model_dump(mode="json"), "done": done.model_dump(mode="json")}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(*sys.argv[1:]))))
