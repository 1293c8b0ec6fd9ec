"""`relay mailbox`: letters, that is calls kept for agents that are away."""

from __future__ import annotations

import time
from typing import Any

import click

from a2a_relay.cli.options import credentials_of, json_option, print_json, print_table, relay_options
from a2a_relay.client.connection import open_http
from a2a_relay.client.letters import LetterClient
from a2a_relay.client.terminal import one_line

LETTERS = {
    "id": "LETTER",
    "agent": "AGENT",
    "state": "STATE",
    "reason": "REASON",
    "attempt": "ATTEMPT",
    "accepted_at": "ACCEPTED",
    "expires_at": "EXPIRES",
    "owner": "SENDER",
}
HISTORY = {"at": "AT", "event": "EVENT", "attempt": "ATTEMPT", "reason": "REASON"}
BOXES = {
    "agent": "AGENT",
    "queued": "QUEUED",
    "leased": "LEASED",
    "dead": "DEAD",
    "bytes": "BYTES",
    "oldest_at": "OLDEST",
    "paused": "PAUSED",
}
ACTIONS = ("list", "show", "dead", "redrive", "purge", "pause", "resume", "boxes")
_NAMED = {"show": "the letter's ID", "pause": "the agent's NAME", "resume": "the agent's NAME"}
_WITH_REASON = ("redrive", "purge", "pause", "resume")
_WITH_FILTER = ("list", "dead", "redrive", "purge")


@click.command("mailbox", short_help="See and mend letters: calls kept for agents that are away.")
@click.argument("action", type=click.Choice(ACTIONS), default="list")
@click.argument("name", required=False)
@click.option("--agent", metavar="NAME", help="only letters for this agent")
@click.option("--state", metavar="STATE", help="only queued, leased, done, expired, dead or canceled ones")
@click.option("--reason-is", metavar="REASON", help="only letters that died for this reason")
@click.option("--before", metavar="INSTANT", help="only letters accepted before, such as 2026-11-22T08:00:00Z")
@click.option("--id", metavar="ID", help="only this letter")
@click.option("--all", "is_all", is_flag=True, help="redrive, purge: all letters are meant")
@click.option("--why", metavar="TEXT", help="redrive, purge, pause, resume: the reason, which is written down")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, help="list, dead: letters at most  [50]")
@relay_options
@json_option
def command(
    action: str, name: str | None, why: str | None, is_all: bool, limit: int, as_json: bool, **options: Any
) -> None:
    """See and mend letters: calls that are kept for agents that are away.

    `list` and `dead` list letters, the newest first, `show ID` tells the history of one. `redrive` queues dead and
    expired letters anew, `purge` removes letters that are not in delivery; both need a filter, or --all. `pause NAME`
    keeps an agent's letters back, `resume NAME` hands them out again. `boxes` lists the mailboxes that hold anything.
    A sender sees its own letters; the rest is for the tenant's admin.
    """
    filter = _filter_of(options)
    _require_sense(action, name, filter, why, is_all=is_all)
    credentials = credentials_of(options)
    relay, tenant = credentials.require_relay(), credentials.require_tenant()
    token = credentials.token_for(relay, tenant, time.time(), role=None)
    with open_http(relay, token, ca=options["ca"], insecure=options["insecure"]) as http:
        client = LetterClient(http, relay, tenant)
        if action in ("list", "dead"):
            found = client.find({**filter, "state": "dead"} if action == "dead" else filter, limit)
            print_json(found) if as_json else _print_letters(found)
        elif action == "show":
            letter = client.show(name or "")
            print_json(letter) if as_json else _print_letter(letter)
        elif action == "boxes":
            boxes = client.mailboxes()
            print_json({"mailboxes": boxes}) if as_json else _print_boxes(boxes)
        else:
            _change(client, action, name or "", filter, why or "", is_all=is_all, as_json=as_json)


def _filter_of(options: dict[str, Any]) -> dict[str, str]:
    """The filter that the options amount to, in the relay's words."""
    given = {
        "agent": options.pop("agent"),
        "state": options.pop("state"),
        "reason": options.pop("reason_is"),
        "before": options.pop("before"),
        "id": options.pop("id"),
    }
    return {name: value for name, value in given.items() if value is not None}


def _require_sense(action: str, name: str | None, filter: dict[str, str], why: str | None, *, is_all: bool) -> None:
    """Refuse what an action does not take, so that nobody believes it was heeded. Raises UsageError."""
    if (action in _NAMED) != (name is not None):
        takes = _NAMED.get(action, "no name")
        raise click.UsageError(f"`relay mailbox {action}` takes {takes}")
    if (action in _WITH_REASON) != (why is not None):
        raise click.UsageError(
            f"`relay mailbox {action}` {'needs --why' if action in _WITH_REASON else 'takes no --why'}"
        )
    if filter and action not in _WITH_FILTER:
        raise click.UsageError(f"`relay mailbox {action}` takes no filter")
    if action == "dead" and "state" in filter:
        raise click.UsageError("`relay mailbox dead` lists dead letters: it takes no --state")
    if is_all and (filter or action not in ("redrive", "purge")):
        raise click.UsageError("--all is for redrive and purge, in the place of a filter")
    if action in ("redrive", "purge") and not filter and not is_all:
        raise click.UsageError(f"`relay mailbox {action}` needs a filter, or --all")


def _change(
    client: LetterClient, action: str, name: str, filter: dict[str, str], why: str, *, is_all: bool, as_json: bool
) -> None:
    if action in ("pause", "resume"):
        client.set_paused(name, why, is_paused=action == "pause")
        done: dict[str, Any] = {"agent": name, "paused": action == "pause"}
        line = f"the mailbox of {one_line(name)} is {'paused' if action == 'pause' else 'resumed'}"
    else:
        order = client.redrive if action == "redrive" else client.purge
        count = order(filter, why, is_all=is_all)
        verb = {"redrive": "redriven", "purge": "purged"}[action]
        done, line = {verb: count}, f"{count} {'letter' if count == 1 else 'letters'} {verb}"
    print_json(done) if as_json else print(line)


def _print_letters(found: dict[str, Any]) -> None:
    letters = found["letters"]
    if not letters:
        print("no letters")
        return
    knows_senders = any("owner" in letter for letter in letters)
    print_table({name: title for name, title in LETTERS.items() if name != "owner" or knows_senders}, letters)
    if found["total"] != len(letters):
        print(f"{len(letters)} of {one_line(str(found['total']))} letters: --limit shows more")


def _print_letter(letter: dict[str, Any]) -> None:
    history = letter.pop("history", None)
    width = max((len(name) for name in letter), default=0)
    for name, value in letter.items():
        print(f"{one_line(name):<{width}}  {one_line(str(value))}".rstrip())
    lines = [line for line in history if isinstance(line, dict)] if isinstance(history, list) else []
    if lines:
        print()
        print_table(HISTORY, lines)


def _print_boxes(boxes: list[dict[str, Any]]) -> None:
    if boxes:
        print_table(BOXES, boxes)
    else:
        print("no mailbox holds anything")
