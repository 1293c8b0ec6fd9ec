"""Second sessions and renewals at a real relay, by the real connector."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from administration import Administration, store_url, until_known
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from programs import SECRET, TENANT, Relay, running_relay

from a2a_relay.client.tokens import mint
from a2a_relay.connector import Connector, ConnectorRefused, IncomingRequest
from a2a_relay.core.principal import Role

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


async def test_a_stolen_key_attaches_nobody_without_the_proof_that_it_asks_for(tmp_path: Path) -> None:
    private, store = Ed25519PrivateKey.generate(), tmp_path / "relay.db"
    with running_relay(tmp_path, store=store_url(store)) as relay:
        administration = Administration(store)
        await administration.register()
        public = private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        key = await administration.make_key(Role.AGENT, "echo", proof_key=public)
        await until_known(relay, key)
        files = {"own": private, "other": Ed25519PrivateKey.generate()}
        for name, signer in files.items():
            pem = signer.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            (tmp_path / f"{name}.pem").write_bytes(pem)
        for proof_key, complaint in ((None, "--proof-key"), (tmp_path / "other.pem", "does not fit")):
            with pytest.raises(ConnectorRefused, match=complaint):
                await Connector(relay.url, key, proof_key=proof_key).serve(handler=echo)
        async with Connector(relay.url, key, proof_key=tmp_path / "own.pem") as connector:
            await connector.start(handler=echo)
            assert connector.welcome is not None
        administration.close()
