"""The connector's log as lines for a person: its public URL on standard output, the rest on standard error."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any

import structlog

from a2a_relay.client.terminal import lines, one_line

_SENTENCES = {
    "detached": "detached: {reason}; trying again in {retry_in_seconds} s",
    "goaway": "the relay asks to reconnect: {reason}",
    "paused": "paused: {reason}",
    "ready": "the agent is ready",
    "token_renewed": "the token was renewed",
    "token_not_renewed": "the token was not renewed: {reason}",
    "token_expiring": "the token ends at {expires_at}, and the link with it",
    "peers_door_open": "the door to the other agents is open at {url}",
}
_TOLD_ELSEWHERE = frozenset({"refused"})
"""What ends the command is its last line anyway."""


def configure() -> None:
    """Send what the connector logs to a person at a terminal."""
    structlog.configure(
        processors=[structlog.processors.format_exc_info, _tell],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )


def _tell(_logger: object, _name: str, event: MutableMapping[str, Any]) -> str:
    name = str(event.pop("event"))
    trace = event.pop("exception", "")
    if name == "attached":
        print(attached_line(event), flush=True)
    if name == "attached" or name in _TOLD_ELSEWHERE:
        raise structlog.DropEvent
    return line_of(name, event) + (f"\n{lines(trace)}" if trace else "")


def attached_line(event: Mapping[str, Any]) -> str:
    """Where the agent is reachable now."""
    return one_line(f"{event.get('tenant')}/{event.get('agent')} is attached: {event.get('url')}")


def line_of(name: str, event: Mapping[str, Any]) -> str:
    """One event as a sentence, or its fields where there is no sentence for it."""
    sentence = _SENTENCES.get(name)
    if sentence is not None:
        try:
            return one_line(sentence.format_map(event), limit=500)
        except KeyError:
            pass
    fields = " ".join(f"{key}={value}" for key, value in event.items())
    return one_line(f"{name} {fields}".rstrip(), limit=500)
