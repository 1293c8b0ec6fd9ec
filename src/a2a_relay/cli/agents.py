"""`relay agents`: the agents of a tenant."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import click

from a2a_relay.cli.options import credentials_of, json_option, print_json, print_table, relay_options
from a2a_relay.client import directory
from a2a_relay.client.connection import open_http
from a2a_relay.client.failures import ClientError
from a2a_relay.client.terminal import one_line

COLUMNS = {"id": "AGENT", "state": "STATE", "last_seen_at": "LAST SEEN", "name": "NAME", "description": "DESCRIPTION"}


@click.command("agents", short_help="List the agents of a tenant, register or forget one.")
@click.argument("action", type=click.Choice(["list", "register", "forget"]), default="list")
@click.argument("name", required=False)
@click.option(
    "--card", metavar="PATH", type=click.Path(path_type=Path), help="register: the agent's card, until it gives its own"
)
@relay_options
@json_option
def command(action: str, name: str | None, card: Path | None, as_json: bool, **options: Any) -> None:
    """List the agents that the relay knows; register NAME, which is to attach later, so that letters for it are kept;
    or forget NAME, which is away, with its card.
    """
    if (action == "list") == (name is not None) or (card is not None and action != "register"):
        raise click.UsageError(
            "`relay agents` takes nothing more; `relay agents register` and `forget` take the agent's NAME,"
            " register a --card"
        )
    document = None if card is None else _read_card(card)
    credentials = credentials_of(options)
    relay, tenant = credentials.require_relay(), credentials.require_tenant()
    token = credentials.token_for(relay, tenant, time.time(), role=None)
    with open_http(relay, token, ca=options["ca"], insecure=options["insecure"]) as http:
        if action == "register" and name is not None:
            found = directory.register_agent(http, relay, tenant, name, document)
            print_json({"tenant": tenant, "agent": found}) if as_json else print(f"{one_line(name)} is registered")
            return
        if name is not None:
            directory.forget_agent(http, relay, tenant, name)
            print_json({"tenant": tenant, "forgotten": name}) if as_json else print(f"{one_line(name)} is forgotten")
            return
        agents = directory.list_agents(http, relay, tenant)
    print_json({"tenant": tenant, "agents": agents}) if as_json else _print_agents(tenant, agents)


def _read_card(path: Path) -> Any:
    """The card in a file. Raises ClientError."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ClientError(f"the card in {path} cannot be read: {error}") from error


def _print_agents(tenant: str, agents: list[dict[str, Any]]) -> None:
    if agents:
        print_table(COLUMNS, agents)
    else:
        print(f"tenant {one_line(tenant)} has no agents")
