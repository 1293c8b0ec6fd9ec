"""Second sessions and renewals at a real relay, by the real connector."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from programs import SECRET, TENANT, Relay, running_relay

from a2a_relay.client.tokens import mint
from a2a_relay.connector import Connector, ConnectorRefused, IncomingRequest

PATIENCE_SECONDS = 25.0
SHORT_LIFE_SECONDS = 5


async def echo(request: IncomingRequest) -> bytes:
    return b"{}"


@asynccontextmanager
async def serving(relay: Relay, token: Any) -> AsyncIterator[tuple[Connector, asyncio.Task[None]]]:
    """A connector of its own instance, which is stopped at the end of the block."""
    connector = Connector(relay.url, token)
    task = asyncio.create_task(connector.serve(handler=echo))
    try:
        yield connector, task
    finally:
        connector.stop()
        await asyncio.wait({task})


async def until_attached(connector: Connector) -> str:
    """Its session."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while connector.welcome is None:
            await asyncio.sleep(0.02)
        return connector.welcome.session


async def test_a_connector_that_is_taken_over_ends_and_says_by_whom(tmp_path: Path) -> None:
    with running_relay(tmp_path) as relay:
        token = relay.token(role="agent", agent="echo")
        async with serving(relay, token) as (first, ended):
            await until_attached(first)
            async with serving(relay, token) as (second, _), asyncio.timeout(PATIENCE_SECONDS):
                await until_attached(second)
                await asyncio.wait({ended})
            refused = ended.exception()
        assert isinstance(refused, ConnectorRefused)
        assert refused.exit_code == 3
        assert "replaced by 127.0.0.1 at 20" in refused.message
        assert '"session_taken_over"' in relay.program.output()


async def test_a_connector_that_is_kept_out_comes_in_when_the_other_has_left(tmp_path: Path) -> None:
    with running_relay(tmp_path, "--on-second-session", "refuse") as relay:
        token = relay.token(role="agent", agent="echo")
        async with serving(relay, token) as (first, _):
            session = await until_attached(first)
            async with serving(relay, token) as (second, ended):
                async with asyncio.timeout(PATIENCE_SECONDS):
                    while "SESSION_EXISTS" not in relay.program.output():
                        await asyncio.sleep(0.05)
                assert first.welcome is not None
                assert (first.welcome.session, second.welcome) == (session, None)
                first.stop()
                await until_attached(second)
                assert not ended.done()


async def test_a_link_outlives_its_first_token_by_renewing_it(tmp_path: Path) -> None:
    asked: list[float] = []

    def short() -> str:
        asked.append(time.time())
        return mint(SECRET, time.time(), SHORT_LIFE_SECONDS, tenant=TENANT, role="agent", agent="echo")

    with running_relay(tmp_path) as relay:
        async with serving(relay, short) as (connector, _):
            session = await until_attached(connector)
            async with asyncio.timeout(PATIENCE_SECONDS):
                while time.time() < asked[0] + SHORT_LIFE_SECONDS + 1:
                    await asyncio.sleep(0.1)
            assert len(asked) > 1
            assert connector.welcome is not None
            assert connector.welcome.session == session
