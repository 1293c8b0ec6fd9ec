"""An agent built on the official SDK, reachable through a relay without ever opening a port.

    RELAY_URL=https://relay.example RELAY_TOKEN=... python examples/asgi_agent.py

The connector calls the ASGI application in this process; its lifespan is run, its answers stream.
"""

import asyncio
import os
from contextlib import suppress

import demo_agent

from a2a_relay.connector import Connector


async def run(relay: str, token: str) -> None:
    """Stay attached until Ctrl-C."""
    # The card must name a URL. Of it the connector uses the path only, and the relay puts its own in its place.
    app = demo_agent.create_app("http://localhost", chunk_seconds=0.05)
    async with Connector(relay, token) as connector:
        await connector.start(app=app)
        print(f"attached to {relay}", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(run(os.environ["RELAY_URL"], os.environ["RELAY_TOKEN"]))
