"""Write docs/cli.md from the commands themselves; with --check only say whether it is up to date."""

import argparse
import inspect
import sys
from pathlib import Path

import click

from a2a_relay.cli import COMMANDS, relay

TARGET = Path(__file__).resolve().parent.parent / "docs" / "cli.md"

HEAD = """\
<!-- Written by scripts/generate_cli_doc.py from the commands in src/a2a_relay/cli. -->
# The `relay` command

`pip install a2a-relay` brings every command but `relay serve`, which needs `pip install 'a2a-relay[server]'`.

| exit code | |
|---|---|
| 0 | well |
| 1 | the call, or a check, has failed; one line on standard error says why, with the reason in brackets |
| 2 | not possible as asked: a bad option, a setting, a refused agent |
| 3 | `relay connect`: another session took this agent's place |
| 4 | `relay send --stream`: well, but for events that were lost on the way for good; standard error says which |

## Which relay, and as whom

The commands that talk to a relay find it by `--relay`, else `RELAY_URL`, else the profile that a relay on this machine
leaves in its data directory. Their token comes from `--token-file`, `--token-command` or `--token`, else `RELAY_TOKEN`;
else they mint one themselves where they know the relay's secret (`RELAY_JWT_SECRET`, or the local profile). A token on
the command line can be seen by everybody on the machine: prefer the others. A token that was not named for the
occasion is only ever sent to the relay in use, and none is sent over plain `http://` to another machine unless
`--insecure` says that this is meant.

## Naming an agent

| | |
|---|---|
| `echo` | an agent of your tenant |
| `acme/echo` | an agent of another tenant |
| `a2a-relay://host[:port]/t/acme/echo` | an agent at another relay, by TLS; without TLS on loopback |
| `https://host/t/acme/a2a/echo` | an agent's base URL, at a relay or not |
"""


def section(name: str, command: click.Command) -> str:
    """Describe one command."""
    with click.Context(command, info_name=f"relay {name}") as context:
        usage = " ".join(command.collect_usage_pieces(context))
        records = [
            parameter.get_help_record(context)
            for parameter in command.get_params(context)
            if isinstance(parameter, click.Option)
        ]
    text = f"\n## `relay {name}`\n\n```\nrelay {name} {usage}\n```\n\n{inspect.cleandoc(command.help or '')}\n"
    text += "\n| option | |\n|---|---|\n"
    text += "".join(f"| `{cell(names)}` | {cell(help)} |\n" for names, help in filter(None, records))
    if name == "serve":
        text += "\nEvery other setting is an option too: see [settings](settings.md).\n"
    return text


def cell(text: str) -> str:
    """Write a text so that it stays in its cell of a table."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def document() -> str:
    """Write the whole page."""
    with click.Context(relay) as context:
        commands = [(name, relay.get_command(context, name)) for name in COMMANDS]
    return HEAD + "".join(section(name, command) for name, command in commands if command)


def main() -> int:
    """Write or check the page; the exit code is 1 when it is out of date."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--check", action="store_true")
    if not options.parse_args().check:
        TARGET.write_text(document(), encoding="utf-8")
    elif TARGET.read_text(encoding="utf-8") != document():
        print(f"{TARGET} is out of date: run scripts/generate_cli_doc.py", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
