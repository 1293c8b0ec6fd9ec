"""`relay connect`: make an agent on this machine reachable through a relay."""

from __future__ import annotations

import asyncio
import signal
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from a2a_relay.cli import connect_log
from a2a_relay.cli.options import credentials_of, relay_options
from a2a_relay.client import tokens
from a2a_relay.client.credentials import NO_TOKEN, Credentials
from a2a_relay.client.failures import ClientError
from a2a_relay.connector import Connector, MintedToken, StaticToken, TokenCommand, TokenFile, read_header_file

DEFAULT_AGENT = "echo"
_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command("connect", short_help="Make an agent on this machine reachable.")
@click.option("--upstream", metavar="URL", required=True, help="the agent's own A2A server, as this machine reaches it")
@click.option("--agent", metavar="NAME", help=f"its name where the token is minted here  [{DEFAULT_AGENT}]")
@click.option("--card", metavar="FILE|URL", help="its card, where it is not at the well-known place")
@click.option("--upstream-header-file", type=_FILE, metavar="PATH", help="headers for a protected upstream, one a line")
@click.option("--peers", metavar="HOST:PORT", help="open a door here through which it calls its tenant's other agents")
@click.option("--peers-token-file", type=_FILE, metavar="PATH", help="token that the door asks for")
@click.option(
    "--verify-senders",
    type=click.Choice(["off", "on", "require"]),
    help="check who the relay says is calling; require: refuse calls where that fails  [on, with the extra `verify`]",
)
@click.option("--allow-sender", metavar="NAME", multiple=True, help="let only this sender's calls through (repeatable)")
@click.option("--proof-key", type=_FILE, metavar="PATH", help="Ed25519 key (PEM) for a relay that asks for a proof")
@relay_options
def command(upstream: str, agent: str | None, card: str | None, **options: Any) -> None:
    """Keep an agent attached to a relay until Ctrl-C. Exit code 2 when it is refused, 3 when another took its place.

    Beside a relay on this machine neither --relay nor a token is needed.
    """
    connect_log.configure()
    credentials = credentials_of(options)
    headers, door_file = options["upstream_header_file"], options["peers_token_file"]
    connector = Connector(
        credentials.require_relay(),
        _token_source(credentials, agent),
        ca_file=str(options["ca"]) if options["ca"] else None,
        insecure=options["insecure"],
        peers=options["peers"],
        verify_senders=options["verify_senders"],
        allow_senders=options["allow_sender"],
        proof_key=options["proof_key"],
        peers_token=tokens.from_file(door_file) if door_file else None,
    )
    asyncio.run(_serve(connector, upstream, card=card, upstream_headers=read_header_file(headers) if headers else None))


async def _serve(connector: Connector, upstream: str, **options: Any) -> None:
    """Serve until SIGINT or SIGTERM. Raises ConnectorRefused."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        with suppress(NotImplementedError):  # Windows: Ctrl-C arrives as KeyboardInterrupt
            loop.add_signal_handler(number, connector.stop)
    await connector.serve(upstream, **options)


def _token_source(credentials: Credentials, agent: str | None) -> StaticToken | TokenFile | TokenCommand | MintedToken:
    """Where the connector's token comes from. Raises ClientError or SettingsError."""
    if credentials.token_file:
        return TokenFile(credentials.token_file)
    if credentials.token_command:
        return TokenCommand(credentials.token_command)
    token = credentials.token or credentials.environ.get("RELAY_TOKEN")
    if token:
        _require_agent(token, agent)
        return StaticToken(token)
    if credentials.secret is None:
        raise ClientError(NO_TOKEN)
    return MintedToken(credentials.secret, credentials.require_tenant(), agent or DEFAULT_AGENT)


def _require_agent(token: str, agent: str | None) -> None:
    """A token names its agent itself: --agent may only say the same."""
    claims = tokens.claims_of(token)
    named = claims.get("agent_id") if claims else None
    if agent is not None and named is not None and named != agent:
        raise click.UsageError(f"the token is for the agent {named!r}, not for {agent!r}")
