"""`relay legacy`: tokens of the shared secret, tenant by tenant."""

from __future__ import annotations

from typing import Any

import click

from a2a_relay.cli.administering import administration_options, ask, print_items, require
from a2a_relay.cli.options import print_json

COLUMNS = {"identity": "IDENTITY", "role": "ROLE", "first_at": "FIRST", "last_at": "LAST"}


@click.command("legacy", short_help="See who uses the shared secret, and end it.")
@click.argument("action", type=click.Choice(["status", "off", "on"]), default="status")
@administration_options
def command(action: str, as_json: bool, **options: Any) -> None:
    """See who still comes with a token of the shared secret to --tenant, and take such tokens no more, or again."""
    path = f"tenants/{require(options['tenant'], '--tenant')}/legacy"
    if action == "status":
        found = ask(options, "GET", path)
    else:
        found = ask(options, "PATCH", path, {"takes_legacy": action == "on"})
    if not as_json:
        print(f"tokens of the shared secret are {'' if found['takes_legacy'] else 'not '}taken")
    print_items("uses", found["uses"], COLUMNS, as_json=False) if not as_json else print_json(found)
