"""`relay config`: every setting, its value and where it came from."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from a2a_relay.cli.options import json_option, print_json, setting_options
from a2a_relay.client.terminal import one_line
from a2a_relay.settings import SETTINGS, Setting, load, rule_text

MASK = "********"


@click.command("config", short_help="Show every setting with its value and origin.")
@setting_options
@json_option
def command(as_json: bool, **flags: Any) -> None:
    """Show every setting of `relay serve` with its value and where it came from."""
    settings = load(flags, os.environ)
    rows = [(row.name, _shown(row, getattr(settings, row.name)), settings.origin(row.name)) for row in SETTINGS]
    if as_json:
        values = {name: {"value": value, "origin": origin} for name, value, origin in rows}
        print_json({"settings": values, "warnings": settings.warnings})
        return
    width = max(len(name) for name, _, _ in rows)
    for name, value, origin in rows:
        text = ",".join(value) if isinstance(value, list) else str(value)
        print(f"{name:<{width}}  {one_line(text) or '-':<24}  {one_line(origin)}")
    for warning in settings.warnings:
        print(f"warning: {one_line(warning)}")


def _shown(setting: Setting, value: Any) -> Any:
    if setting.secret:
        return MASK if value else ""
    if isinstance(value, tuple):
        return [item if isinstance(item, str) else rule_text(item) for item in value]
    return str(value) if isinstance(value, Path) else "" if value is None else value
