"""Fixtures of the system tests: a relay, agents and connectors as real processes, for a whole run or one test."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NoReturn

import pytest

# The modules beside this file find each other by this.
sys.path.insert(0, str(Path(__file__).parent))

from programs import ReachedTwice, Relay, running_behind, running_relay

LONG_THOUGHT_SECONDS = 12
"""Longer than the Python client's five silent seconds, twice over."""
VERY_LONG_THOUGHT_SECONDS = 30


@pytest.fixture(scope="session")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relay]:
    """One relay for the whole run. It keeps no letters for agents that are called sleepers."""
    rules = "*/sleeper offline=reject,*/js-sleeper offline=reject"
    with running_relay(tmp_path_factory.mktemp("relay"), "--mailbox-rules", rules) as running:
        yield running


@pytest.fixture(scope="session")
def start_agent(tmp_path_factory: pytest.TempPathFactory, relay: Relay) -> Iterator[Callable[..., ReachedTwice]]:
    """Start example agents behind the relay; they are stopped at the end of the run."""
    with ExitStack() as stack:

        def start(name: str, *words: str) -> ReachedTwice:
            return stack.enter_context(running_behind(tmp_path_factory.mktemp(name), relay, name, *words))

        yield start


@pytest.fixture(scope="session")
def echo(start_agent: Callable[..., ReachedTwice]) -> ReachedTwice:
    """An agent that answers at once, with a task."""
    return start_agent("echo", "--chunk", "0.01")


@pytest.fixture(scope="session")
def talker(start_agent: Callable[..., ReachedTwice]) -> ReachedTwice:
    """An agent that answers at once, with a message and no task."""
    return start_agent("talker", "--reply", "message")


@pytest.fixture(scope="session")
def thinker(start_agent: Callable[..., ReachedTwice]) -> ReachedTwice:
    """An agent that thinks for a long time before its first word."""
    return start_agent("thinker", "--chunk", "0.01", "--think", str(LONG_THOUGHT_SECONDS))


@pytest.fixture(scope="session")
def brooder(start_agent: Callable[..., ReachedTwice]) -> ReachedTwice:
    """An agent that thinks for a very long time before its first word."""
    return start_agent("brooder", "--chunk", "0.01", "--think", str(VERY_LONG_THOUGHT_SECONDS))


@pytest.fixture(scope="session")
def unavailable() -> Callable[[str], NoReturn]:
    """Leave a test out because this machine lacks something; in CI that is a failure."""

    def leave_out(reason: str) -> NoReturn:
        if os.environ.get("CI"):
            pytest.fail(f"CI must have it: {reason}")
        pytest.skip(reason)

    return leave_out
