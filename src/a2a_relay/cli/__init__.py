"""The `relay` command: one subcommand per file, each loaded only when it is used.

An agent's machine has no server packages, so that nothing here imports the relay's rooms
before `relay serve` runs.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from io import TextIOWrapper

import click

import a2a_relay
from a2a_relay.errors import RelayError

COMMANDS = (
    "serve",
    "connect",
    "send",
    "agents",
    "mailbox",
    "doctor",
    "token",
    "tenants",
    "keys",
    "legacy",
    "limits",
    "issuers",
    "audit",
    "config",
    "backup",
    "restore",
)
EXIT_FAILED = 1
EXIT_REFUSED = 2
EXIT_INTERRUPTED = 130


class Commands(click.Group):
    """Subcommands by the name of their module."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The order of a first day with the relay."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the one that is asked for."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"a2a_relay.cli.{cmd_name}").command
        return command


@click.command(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(a2a_relay.__version__, prog_name="relay", message="%(prog)s %(version)s")
def relay() -> None:
    """A public A2A address for agents that only dial out."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code.

    0 well, 1 the call failed, 2 refused as asked, 3 replaced (connect), 4 well but for lost events (send --stream).
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal that lacks a character shows its number
    try:
        code = relay.main(arguments, prog_name="relay", standalone_mode=False)
        sys.stdout.flush()
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader has left: nothing to complain to
        return EXIT_FAILED
    except RelayError as error:
        from a2a_relay.client.failures import ClientError
        from a2a_relay.client.terminal import one_line

        print(f"relay: {one_line(str(error), limit=1000)}", file=sys.stderr)
        return int(getattr(error, "exit_code", EXIT_FAILED if isinstance(error, ClientError) else EXIT_REFUSED))
    return int(code or 0)
