"""`relay limits`: overrides of one tenant, or of one key."""

from __future__ import annotations

from typing import Any

import click

from a2a_relay.cli.administering import administration_options, ask, print_object, require


@click.command("limits", short_help="See and override the limits of a tenant or a key.")
@click.argument("action", type=click.Choice(["show", "set"]), default="show")
@click.argument("limits", nargs=-1, metavar="[NAME=NUMBER]...")
@click.option("--key", metavar="ID", help="the limits of one key, not of --tenant")
@administration_options
def command(action: str, limits: tuple[str, ...], key: str | None, as_json: bool, **options: Any) -> int:
    """See and override the limits of --tenant, or of --key. `set NAME=` takes an override away."""
    whose = f"keys/{require(key, '--key')}" if key else f"tenants/{require(options['tenant'], '--tenant')}"
    if action == "show":
        print_object(ask(options, "GET", whose if key else f"{whose}/limits")["limits"], as_json=as_json)
        return 0
    given = dict(limit.partition("=")[::2] for limit in limits)
    try:
        asked = {name: float(value) if value else None for name, value in given.items()}
    except ValueError as error:
        raise click.UsageError("limits are given as NAME=NUMBER") from error
    if not asked:
        raise click.UsageError("this needs NAME=NUMBER")
    print_object(ask(options, "PATCH", f"{whose}/limits", {"limits": asked})["limits"], as_json=as_json)
    return 0
