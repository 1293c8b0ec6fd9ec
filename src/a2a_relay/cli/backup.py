"""`relay backup`: a copy of the store, while its relay runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from a2a_relay.cli.options import json_option, print_json, require_store_file, store_options
from a2a_relay.client.terminal import one_line


@click.command("backup", short_help="Copy the store of a relay, which may be running.")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--verify", is_flag=True, help="read the whole copy and check it")
@store_options
@json_option
def command(file: Path, verify: bool, as_json: bool, **options: Any) -> None:
    """Copy the store, as of one moment, into FILE, which only its owner may read.

    The relay may be running. FILE is replaced whole or left as it was. It holds letters with their bodies: keep it as
    carefully as the store.
    """
    store = require_store_file(options)
    from a2a_relay.stores.sqlite.backup import back_up

    back_up(store, file, verify=verify)
    done = {"store": str(store), "backup": str(file), "bytes": file.stat().st_size, "verified": verify}
    checked = ", and checked" if verify else ""
    print_json(done) if as_json else print(f"{one_line(str(store))} is copied to {one_line(str(file))}{checked}")
