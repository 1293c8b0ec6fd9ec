"""`relay restore`: a copy becomes the store, while no relay runs on it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from a2a_relay.cli.options import json_option, print_json, require_store_file, store_options
from a2a_relay.client.terminal import one_line


@click.command("restore", short_help="Put a backup in the place of a relay's store.")
@click.argument("file", type=click.Path(path_type=Path))
@store_options
@json_option
def command(file: Path, as_json: bool, **options: Any) -> None:
    """Put FILE, a backup, in the place of the store; what the store held is gone.

    Refused while a relay runs on it. Letters that had not been answered when the backup was taken are delivered,
    perhaps once more: they are marked as restored.
    """
    store = require_store_file(options)
    from a2a_relay.stores.sqlite.backup import restore

    waiting = restore(file, store)
    if as_json:
        print_json({"store": str(store), "backup": str(file), "waiting": waiting})
        return
    print(f"{one_line(str(file))} is restored to {one_line(str(store))}")
    print(f"letters that wait in it: {waiting}")
