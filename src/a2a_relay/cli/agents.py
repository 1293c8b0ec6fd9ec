"""`relay agents`: the agents of a tenant."""

from __future__ import annotations

import time
from typing import Any

import click

from a2a_relay.cli.options import credentials_of, json_option, print_json, relay_options
from a2a_relay.client import directory
from a2a_relay.client.connection import open_http
from a2a_relay.client.terminal import one_line

COLUMNS = {"id": "AGENT", "state": "STATE", "last_seen_at": "LAST SEEN", "name": "NAME", "description": "DESCRIPTION"}
WIDEST = 60


@click.command("agents", short_help="List the agents of a tenant, or forget one.")
@click.argument("action", type=click.Choice(["list", "forget"]), default="list")
@click.argument("name", required=False)
@relay_options
@json_option
def command(action: str, name: str | None, as_json: bool, **options: Any) -> None:
    """List the agents that the relay knows, or forget NAME, which is away, with its card."""
    if (action == "forget") != (name is not None):
        raise click.UsageError("`relay agents` takes nothing more; `relay agents forget` takes the agent's NAME")
    credentials = credentials_of(options)
    relay, tenant = credentials.require_relay(), credentials.require_tenant()
    token = credentials.token_for(relay, tenant, time.time(), role=None)
    with open_http(relay, token, ca=options["ca"], insecure=options["insecure"]) as http:
        if name is not None:
            directory.forget_agent(http, relay, tenant, name)
            print_json({"tenant": tenant, "forgotten": name}) if as_json else print(f"{one_line(name)} is forgotten")
            return
        agents = directory.list_agents(http, relay, tenant)
    print_json({"tenant": tenant, "agents": agents}) if as_json else _print_agents(tenant, agents)


def _print_agents(tenant: str, agents: list[dict[str, Any]]) -> None:
    if not agents:
        print(f"tenant {one_line(tenant)} has no agents")
        return
    rows = [list(COLUMNS.values())]
    rows += [[one_line(str(agent.get(column) or "-"), WIDEST) for column in COLUMNS] for agent in agents]
    widths = [max(len(row[at]) for row in rows) for at in range(len(COLUMNS))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
