"""Options that several commands share, and what they amount to."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from a2a_relay.client.credentials import Credentials
from a2a_relay.client.terminal import one_line
from a2a_relay.errors import SettingsError
from a2a_relay.settings import SETTINGS, Kind, Setting, load, load_only, read_profile

F = TypeVar("F", bound=Callable[..., Any])

_WIDEST = 60
_METAVARS = {Kind.PATH: "PATH", Kind.URL: "URL", Kind.INTEGER: "N", Kind.SECONDS: "TIME", Kind.BYTES: "SIZE"}


def setting_options(function: F) -> F:
    """Every setting as an option; the few that matter are shown."""
    for setting in reversed(SETTINGS):
        function = _setting_option(setting)(function)
    return function


def _setting_option(setting: Setting) -> Callable[[F], F]:
    default = setting.default_text or ("" if callable(setting.default) else str(setting.default or ""))
    return click.option(
        setting.flag,
        setting.name,
        metavar=_METAVARS.get(setting.kind, "TEXT"),
        help=f"{setting.help}{f'  [{default}]' if default else ''}",
        hidden=not setting.in_help,
    )


data_dir_option = click.option(
    "--data-dir",
    metavar="PATH",
    help="where the local relay keeps its profile  [RELAY_DATA_DIR, the user's data directory]",
)
json_option = click.option("--json", "as_json", is_flag=True, help="print one JSON object")
_RELAY_OPTIONS = (
    click.option("--relay", metavar="URL", help="the relay  [RELAY_URL, the local relay]"),
    click.option("--token", metavar="TOKEN", help="a token; others on this machine can see it: prefer RELAY_TOKEN"),
    click.option("--token-file", metavar="PATH", type=click.Path(path_type=Path), help="file that holds the token"),
    click.option("--token-command", metavar="COMMAND", help="command that prints the token"),
    click.option("--tenant", metavar="NAME", help="the tenant  [the token's, or 'local' at the local relay]"),
    click.option("--ca", metavar="PATH", type=click.Path(path_type=Path), help="certificates to believe (PEM)"),
    click.option("--insecure", is_flag=True, help="allow http:// beyond this machine"),
    data_dir_option,
)


def relay_options(function: F) -> F:
    """Which relay, and as whom."""
    for option in reversed(_RELAY_OPTIONS):
        function = option(function)
    return function


def read_data_dir(flag: str | None) -> Path:
    """The data directory of a command. Raises SettingsError."""
    return load_only(("data_dir",), {"data_dir": flag}, os.environ).data_dir


def store_options(function: F) -> F:
    """Which store of this machine."""
    function = data_dir_option(function)
    return click.option("--store", metavar="URL", help="the store  [RELAY_STORE, relay.toml, the data directory's]")(
        function
    )


def require_store_file(options: dict[str, Any]) -> Path:
    """The file of the store that `store_options` mean. Raises SettingsError."""
    settings = load({name: options[name] for name in ("store", "data_dir")}, os.environ)
    if settings.store_file is None:
        raise SettingsError(f"store {settings.store!r} is no file: only sqlite: stores can be copied")
    return settings.store_file


def credentials_of(options: dict[str, Any]) -> Credentials:
    """What `relay_options` were given. Raises SettingsError."""
    if sum(options[name] is not None for name in ("token", "token_file", "token_command")) > 1:
        raise click.UsageError("give one of --token, --token-file and --token-command")
    return Credentials(
        environ=os.environ,
        profile=read_profile(read_data_dir(options["data_dir"])),
        relay_flag=options["relay"],
        tenant_flag=options["tenant"],
        token=options["token"],
        token_file=options["token_file"],
        token_command=options["token_command"],
    )


def print_table(columns: Mapping[str, str], items: Sequence[Mapping[str, Any]]) -> None:
    """Items in lines, below the titles of `columns`: what strangers wrote in them harmless and cut."""
    rows = [list(columns.values())]
    rows += [[one_line(_cell(item.get(name)), _WIDEST) for name in columns] for item in items]
    widths = [max(len(row[at]) for row in rows) for at in range(len(columns))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "-"
    return "-" if value in (None, "") else str(value)


def print_json(document: Any) -> None:
    """One JSON object, in ASCII, so that nothing in it can reach into a terminal."""
    print(json.dumps(document, indent=2))
