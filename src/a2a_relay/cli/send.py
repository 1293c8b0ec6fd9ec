"""`relay send`: say something to an agent and print its answer."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from typing import Any

import click

from a2a_relay.cli.options import credentials_of, json_option, print_json, relay_options
from a2a_relay.client import terminal
from a2a_relay.client.address import read_agent
from a2a_relay.client.answers import FAILED_STATES, Answer, read_answer
from a2a_relay.client.calls import AgentClient
from a2a_relay.client.connection import open_http
from a2a_relay.client.credentials import Credentials
from a2a_relay.client.failures import ClientError
from a2a_relay.client.streams import Gap, Hooks

EXIT_GAP = 4


@click.command("send")
@click.argument("agent")
@click.argument("text")
@click.option("--stream", is_flag=True, help="print the answer as it comes")
@relay_options
@json_option
def command(agent: str, text: str, stream: bool, as_json: bool, **options: Any) -> int:
    """Send TEXT to AGENT and print its answer.

    AGENT is a name, TENANT/NAME, a2a-relay://HOST/t/TENANT/NAME or an agent's base URL. TEXT is - for what
    standard input holds.

    A stream whose connection is lost is read on where it was, if the relay keeps it, for up to 30 s; standard error
    says so. Exit code 4 when all has gone well but events of the stream were lost for good; --json lists their
    numbers under `lost`.
    """
    text = sys.stdin.read() if text == "-" else text
    credentials = credentials_of(options)
    target = read_agent(agent, credentials.relay, credentials.tenant)

    def find_token(known: Credentials) -> str | None:
        return known.token_for(target.base, target.tenant, time.time(), role="client")

    with open_http(target.base, find_token(credentials), ca=options["ca"], insecure=options["insecure"]) as http:
        client = AgentClient(http, target.base)
        client.find_interface()
        if not stream:
            _print_answer(client.send(text), as_json=as_json)
            return 0
        page = Page()
        hooks = Hooks(page.note_loss, page.note_gap, renew=lambda: find_token(credentials_of(options)))
        results = client.stream(text, hooks)
        if as_json:
            print_json({"events": list(results), "lost": [gap._asdict() for gap in page.gaps]})
        else:
            _require_success(page.print(results))
    return EXIT_GAP if page.gaps else 0


def _print_answer(result: Any, *, as_json: bool) -> None:
    answer = read_answer(result)
    if as_json or answer.kind == "other":
        print_json(result)
    else:
        print(terminal.lines(answer.text.removesuffix("\n")))
    _require_success(answer)


class Page:
    """A streamed answer on standard output, and what becomes of its connection on standard error."""

    def __init__(self) -> None:
        self.gaps: list[Gap] = []
        self._line_is_open = False

    def print(self, results: Iterable[Any]) -> Answer:
        """Print text as it comes, pieces of one artifact on one line; the last state that was told."""
        last = Answer("other", "")
        try:
            for result in results:
                answer = read_answer(result)
                last = answer if answer.state else last
                if not answer.text:
                    continue
                if self._line_is_open and not answer.continues:
                    print()
                print(terminal.lines(answer.text), end="", flush=True)
                self._line_is_open = not answer.text.endswith("\n")
        finally:
            if self._line_is_open:
                print(flush=True)
        return last

    def note_loss(self, failure: ClientError) -> None:
        """Say that the connection was lost."""
        self._note(f"the connection was lost ({terminal.one_line(failure.message, limit=300)}); reading on")

    def note_gap(self, gap: Gap) -> None:
        """Say which events are missing, and remember it."""
        self.gaps.append(gap)
        which = f"event {gap.first} is" if gap.first == gap.last else f"events {gap.first} to {gap.last} are"
        self._note(f"a gap: {which} lost")

    def _note(self, text: str) -> None:
        """One line on standard error, below and not behind what is on the same screen."""
        if self._line_is_open and sys.stdout.isatty() and sys.stderr.isatty():
            print(file=sys.stderr)
        print(f"relay: {text}", file=sys.stderr, flush=True)


def _require_success(answer: Answer) -> None:
    """Say where a task stands that has not completed. Raises ClientError for one that never will."""
    if answer.state in FAILED_STATES:
        raise ClientError(f"the task ended as {answer.state}")
    if answer.state not in ("", "completed"):
        print(f"relay: task {terminal.one_line(answer.task_id)} is {terminal.one_line(answer.state)}", file=sys.stderr)
