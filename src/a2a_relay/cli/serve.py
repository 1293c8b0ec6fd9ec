"""`relay serve`: run a relay."""

from __future__ import annotations

import importlib.util
import os
from typing import Any

import click

from a2a_relay.cli.options import setting_options
from a2a_relay.errors import MissingExtra
from a2a_relay.settings import load, require_certificate

SERVER_PACKAGES = ("httptools", "msgspec", "uvicorn")


@click.command("serve", epilog="Further options are as `relay config` lists them: --request-timeout 10m, and so on.")
@setting_options
def command(**flags: Any) -> int:
    """Run a relay on this machine.

    Each option also comes from the environment (RELAY_PORT, PORT ...) or a TOML file. Without a secret a relay on
    loopback makes its own and lets other commands on this machine use it.
    """
    settings = load(flags, os.environ)
    require_certificate(settings)
    if any(importlib.util.find_spec(package) is None for package in SERVER_PACKAGES):
        raise MissingExtra("relay serve", "server")
    from a2a_relay.assembly import serve

    return serve(settings)
