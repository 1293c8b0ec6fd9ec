"""An agent that is one async function: no server, no SDK, no open port.

    RELAY_URL=https://relay.example RELAY_TOKEN=... python examples/handler_agent.py

It answers every message in capitals. With `--ask NAME` it hands the message to another agent of its tenant instead, and
answers what that one says: the connector's door (`peers`) lets it do so without a token of its own.

Beside a relay of your own a token comes from `relay token --agent shouter --role agent`.
"""

import argparse
import asyncio
import json
import os
import uuid
from collections.abc import AsyncIterator, Mapping
from typing import Any

import httpx

from a2a_relay.connector import AgentError, Connector, IncomingRequest

CARD = {
    "name": "shouter",
    "description": "Answers in capitals.",
    "version": "1.0.0",
    # Where the agent is reached is the relay's to say; what it speaks is said here.
    "supportedInterfaces": [{"url": "/", "protocolBinding": "JSONRPC", "protocolVersion": "1.0"}],
    "capabilities": {"streaming": True},
    "defaultInputModes": ["text/plain"],
    "defaultOutputModes": ["text/plain"],
    "skills": [{"id": "shout", "name": "Shout", "description": "Answers in capitals.", "tags": ["demo"]}],
}
UNSUPPORTED_OPERATION = -32004


class Shouter:
    """The agent. `answer` is what the connector calls, once per A2A call."""

    def __init__(self, ask: str | None = None) -> None:
        self._ask = ask
        self.connector: Connector | None = None

    async def answer(self, request: IncomingRequest) -> AsyncIterator[Mapping[str, Any]]:
        """Yield the events of a stream. Of a call that does not stream, the last one is the answer."""
        if request.method not in ("SendMessage", "SendStreamingMessage"):
            raise AgentError(UNSUPPORTED_OPERATION, f"{request.method} is not for this agent")
        message = json.loads(request.params)["message"]
        text = " ".join(part["text"] for part in message["parts"] if "text" in part)
        said = await self._hear_from(self._ask, text) if self._ask else text.upper()
        yield {"message": {"messageId": str(uuid.uuid4()), "role": "ROLE_AGENT", "parts": [{"text": said}]}}

    async def _hear_from(self, peer: str, text: str) -> str:
        """Say it to another agent of the tenant, through the door."""
        door = self.connector.peers_url if self.connector else None
        call = {"message": {"messageId": str(uuid.uuid4()), "role": "ROLE_USER", "parts": [{"text": text}]}}
        async with httpx.AsyncClient(trust_env=False, timeout=60) as http:
            answer = (await http.post(f"{door}/{peer}/message:send", json=call)).raise_for_status().json()
        spoken = answer["message"]["parts"] if "message" in answer else answer["task"]["artifacts"][0]["parts"]
        return f"{peer} says: {''.join(part['text'] for part in spoken)}"


async def run(relay: str, token: str, ask: str | None) -> None:
    """Stay attached until Ctrl-C."""
    agent = Shouter(ask)
    agent.connector = Connector(relay, token, agent_card=CARD, peers="127.0.0.1:0" if ask else None)
    async with agent.connector as connector:
        await connector.start(handler=agent.answer)
        print(f"attached to {relay}", flush=True)
        await asyncio.Event().wait()


def main() -> None:
    """Read where the relay is, and run."""
    options = argparse.ArgumentParser(description="An agent that is one function.")
    options.add_argument("--ask", metavar="NAME", help="hand each message to this agent of the same tenant")
    chosen = options.parse_args()
    try:
        asyncio.run(run(os.environ["RELAY_URL"], os.environ["RELAY_TOKEN"], chosen.ask))
    except KeyboardInterrupt:
        print("detached")


if __name__ == "__main__":
    main()
