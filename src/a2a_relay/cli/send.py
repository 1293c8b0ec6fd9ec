"""`relay send`: say something to an agent and print its answer."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from typing import Any

import click

from a2a_relay.cli.options import credentials_of, json_option, print_json, relay_options
from a2a_relay.client import terminal
from a2a_relay.client.address import read_agent
from a2a_relay.client.answers import FAILED_STATES, Answer, read_answer
from a2a_relay.client.calls import AgentClient
from a2a_relay.client.connection import open_http
from a2a_relay.client.failures import ClientError


@click.command("send")
@click.argument("agent")
@click.argument("text")
@click.option("--stream", is_flag=True, help="print the answer as it comes")
@relay_options
@json_option
def command(agent: str, text: str, stream: bool, as_json: bool, **options: Any) -> None:
    """Send TEXT to AGENT and print its answer.

    AGENT is a name, TENANT/NAME, a2a-relay://HOST/t/TENANT/NAME or an agent's base URL. TEXT is - for what
    standard input holds.
    """
    text = sys.stdin.read() if text == "-" else text
    credentials = credentials_of(options)
    target = read_agent(agent, credentials.relay, credentials.tenant)
    token = credentials.token_for(target.base, target.tenant, time.time(), role="client")
    with open_http(target.base, token, ca=options["ca"], insecure=options["insecure"]) as http:
        client = AgentClient(http, target.base)
        client.find_interface()
        if stream and as_json:
            print_json({"events": list(client.stream(text))})
        elif stream:
            _require_success(_print_stream(client.stream(text)))
        else:
            _print_answer(client.send(text), as_json=as_json)


def _print_answer(result: Any, *, as_json: bool) -> None:
    answer = read_answer(result)
    if as_json or answer.kind == "other":
        print_json(result)
    else:
        print(terminal.lines(answer.text.removesuffix("\n")))
    _require_success(answer)


def _print_stream(results: Iterator[Any]) -> Answer:
    """Print text as it comes, pieces of one artifact on one line; the last state that was told."""
    last = Answer("other", "")
    line_is_open = False
    try:
        for result in results:
            answer = read_answer(result)
            last = answer if answer.state else last
            if not answer.text:
                continue
            if line_is_open and not answer.continues:
                print()
            print(terminal.lines(answer.text), end="", flush=True)
            line_is_open = not answer.text.endswith("\n")
    finally:
        if line_is_open:
            print(flush=True)
    return last


def _require_success(answer: Answer) -> None:
    """Say where a task stands that has not completed. Raises ClientError for one that never will."""
    if answer.state in FAILED_STATES:
        raise ClientError(f"the task ended as {answer.state}")
    if answer.state not in ("", "completed"):
        print(f"relay: task {terminal.one_line(answer.task_id)} is {terminal.one_line(answer.state)}", file=sys.stderr)
