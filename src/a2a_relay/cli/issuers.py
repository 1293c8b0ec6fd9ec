"""`relay issuers`: others whose tokens a tenant takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from a2a_relay.cli.administering import administration_options, ask, print_items, require

COLUMNS = {"url": "ISSUER", "audiences": "AUDIENCES", "jwks_url": "JWKS", "roles": "ROLES"}


@click.command("issuers", short_help="Take tokens of an identity provider.")
@click.argument("action", type=click.Choice(["list", "add", "remove"]), default="list")
@click.argument("url", required=False)
@click.option("--audience", "audiences", multiple=True, metavar="TEXT", help="add: an `aud` that is taken")
@click.option("--jwks-url", metavar="URL", help="add: where its keys are")
@click.option("--jwks-file", type=click.Path(path_type=Path, exists=True), metavar="PATH", help="add: its keys")
@click.option("--role", "roles", multiple=True, metavar="ROLE", help="add: a role its tokens may claim  [sender]")
@administration_options
def command(action: str, url: str | None, as_json: bool, **options: Any) -> None:
    """Take the tokens of an issuer (its URL is their `iss`) for --tenant, or take them no more."""
    path = f"tenants/{require(options['tenant'], '--tenant')}/issuers"
    if action == "list":
        found = ask(options, "GET", path)
    else:
        require(url, "the URL of an issuer")
        order: dict[str, Any] = {"url": url}
        if action == "add":
            file = options["jwks_file"]
            order |= {"audiences": list(options["audiences"]), "jwks_url": options["jwks_url"]}
            order |= {"jwks": file.read_text() if file else None, "roles": list(options["roles"]) or None}
        found = ask(options, "POST" if action == "add" else "DELETE", path, order)
    print_items("issuers", found["issuers"], COLUMNS, as_json=as_json)
