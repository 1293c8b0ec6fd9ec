"""`relay tenants`: who shares this relay."""

from __future__ import annotations

from typing import Any

import click

from a2a_relay.cli.administering import administration_options, ask, ask_all, print_items, print_object, require

COLUMNS = {"name": "TENANT", "state": "STATE", "created_at": "CREATED", "takes_legacy": "LEGACY"}


@click.command("tenants", short_help="Register, disable and delete tenants.")
@click.argument("action", type=click.Choice(["list", "create", "show", "disable", "enable", "delete"]), default="list")
@click.argument("name", required=False)
@click.option("--networks", metavar="LIST", help="create: addresses and CIDR ranges from which it may come")
@administration_options
def command(action: str, name: str | None, networks: str | None, as_json: bool, **options: Any) -> int:
    """Register, disable and delete tenants.

    `disable` makes every credential of a tenant useless and keeps its letters; `delete` erases all that it has.
    """
    if action == "list":
        print_items("tenants", ask_all(options, "tenants", "tenants"), COLUMNS, as_json=as_json)
        return 0
    path = f"tenants/{require(name, 'the NAME of a tenant')}"
    if action == "create":
        found = ask(options, "POST", "tenants", {"name": name, "networks": networks.split(",") if networks else None})
    elif action == "show":
        found = ask(options, "GET", path)
    elif action == "delete":
        found = ask(options, "DELETE", path)
    else:
        found = ask(options, "PATCH", path, {"state": "disabled" if action == "disable" else "active"})
    print_object(found, as_json=as_json)
    return 0
