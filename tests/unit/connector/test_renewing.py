"""A link's token is renewed in time, from the source that it came from."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from a2a_relay.connector.renewing import Renewal
from a2a_relay.connector.tokens import TokenCallable, TokenUnavailable, expiry_of
from a2a_relay.testing import make_token

NOW = 1_700_000_000.0


def token(ends_in: float) -> str:
    return make_token("s" * 32, {"exp": NOW + ends_in})


class Link:
    """What one link's renewal does, in a time that its waits take."""

    def __init__(self, *tokens: str | Exception) -> None:
        self.left = list(tokens)
        self.now = NOW
        self.sent: list[tuple[float, str]] = []
        self.waits = 0
        first = self.left.pop(0)
        assert isinstance(first, str)
        self.renewal = Renewal(TokenCallable(self.read), first, self.send, wait=self.wait, now=lambda: self.now)

    def read(self) -> str:
        found = self.left.pop(0) if len(self.left) > 1 else self.left[0]
        if isinstance(found, Exception):
            raise found
        return found

    async def send(self, frame: bytes) -> None:
        self.sent.append((self.now - NOW, json.loads(frame)["payload"]["token"]))

    async def wait(self, event: asyncio.Event, seconds: float) -> None:
        self.waits += 1
        if not event.is_set():
            self.now += seconds
        await asyncio.sleep(0)

    @asynccontextmanager
    async def running(self, waits: int) -> AsyncIterator[None]:
        """Until it has waited so often."""
        task = asyncio.create_task(self.renewal.run())
        while self.waits < waits and not task.done():
            await asyncio.sleep(0)
        yield
        task.cancel()


@pytest.mark.parametrize("ends_in,at", [(3600, 3300), (400, 300)])
async def test_a_token_is_renewed_five_minutes_before_its_end_or_in_its_last_quarter(ends_in: float, at: float) -> None:
    new = token(9999)
    link = Link(token(ends_in), new)
    async with link.running(2):
        assert link.sent == [(at, new)]


async def test_a_source_that_has_nothing_new_is_asked_again() -> None:
    old, new = token(400), token(9999)
    link = Link(old, old, old, TokenUnavailable("not now"), new)
    async with link.running(5):
        assert link.sent == [(330, new)]


async def test_what_the_relay_has_taken_counts_from_then_on() -> None:
    new, newest = token(1000), token(9999)
    link = Link(token(400), new, newest)
    async with link.running(2):
        link.renewal.renewed()
        while len(link.sent) < 2:
            await asyncio.sleep(0)
    assert [text for _, text in link.sent] == [new, newest]
    assert link.sent[1][0] > 800


async def test_what_the_relay_refuses_is_not_sent_again() -> None:
    new = token(9999)
    link = Link(token(400), new)
    async with link.running(2):
        link.renewal.refused("for another agent\x1b[2J")
    async with link.running(6):
        assert [text for _, text in link.sent] == [new]


async def test_a_warning_renews_what_does_not_say_when_it_ends() -> None:
    link = Link("rly_agent_1", "rly_agent_2")
    task = asyncio.create_task(link.renewal.run())
    for _ in range(10):
        await asyncio.sleep(0)
    assert link.sent == []
    link.renewal.expiring()
    while not link.sent:
        await asyncio.sleep(0)
    assert link.sent == [(0, "rly_agent_2")]
    task.cancel()


@pytest.mark.parametrize("claims", [{}, {"exp": "soon"}, {"exp": 1e300}, {"exp": -1}], ids=str)
def test_a_token_without_an_end_that_is_one_never_ends(claims: dict[str, Any]) -> None:
    assert expiry_of(make_token("s" * 32, claims)) is None
