"""`relay audit`: who has done what, and whether the log is whole."""

from __future__ import annotations

from typing import Any

import click

from a2a_relay.cli.administering import administration_options, ask, print_items, print_object

COLUMNS = {
    "number": "NUMBER",
    "at": "AT",
    "tenant": "TENANT",
    "actor": "ACTOR",
    "action": "ACTION",
    "target": "TARGET",
    "outcome": "OUTCOME",
    "reason": "REASON",
}


@click.command("audit", short_help="Read and check the audit log.")
@click.argument("action", type=click.Choice(["list", "verify"]), default="list")
@click.option("--limit", type=click.IntRange(1, 200), default=50, help="list: entries at most  [50]")
@administration_options
def command(action: str, limit: int, as_json: bool, **options: Any) -> int:
    """Read the audit log, the newest entry first, or check that no entry was changed, removed or inserted."""
    if action == "list":
        entries = ask(options, "GET", "audit", {"tenant": options["tenant"], "limit": limit})["entries"]
        print_items("entries", entries, COLUMNS, as_json=as_json)
        return 0
    found = ask(options, "GET", "audit:verify")
    print_object(found, as_json=as_json)
    return 0 if found["broken_at"] is None else 1
