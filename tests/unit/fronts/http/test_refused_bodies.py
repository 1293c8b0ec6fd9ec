"""A refusal waits for a small body: what has not been read whole costs the connection under other servers."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from a2a_relay.errors import Reason, Refused
from a2a_relay.fronts.http.answer import refusal
from a2a_relay.fronts.http.request import HttpRequest
from a2a_relay.fronts.http.responding import Responder


async def refused(length: str, pieces: Sequence[dict[str, Any]], **headers: str) -> tuple[int, list[str]]:
    """How many pieces are still there when the refusal is sent, and what is sent."""
    left = list(pieces)
    sent: list[str] = []

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(0)
        return left.pop(0) if left else {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(f"{message['type']} {message.get('status', '')}".strip())

    given = {"content-length": length, **headers}
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in given.items()]
    scope = {"method": "POST", "path": "/", "raw_path": b"/", "query_string": b"", "headers": raw}
    await Responder(HttpRequest(scope, receive), send).whole(refusal(Refused(Reason.AGENT_NOT_FOUND)))
    return len(left), sent


PIECES = ({"type": "http.request", "body": b"ab", "more_body": True}, {"type": "http.request", "body": b"c"})
ANSWER = ["http.response.start 404", "http.response.body"]


async def test_a_small_body_is_read_before_its_refusal_is_sent() -> None:
    assert await refused("3", PIECES) == (0, ANSWER)


@pytest.mark.parametrize("length", ["65537", "9" * 5000, "3x", ""])
async def test_a_large_one_and_what_is_no_length_is_left_to_the_server(length: str) -> None:
    assert await refused(length, PIECES) == (2, ANSWER)


async def test_whoever_waits_for_leave_to_send_its_body_gets_its_refusal_at_once() -> None:
    assert await refused("3", PIECES, expect="100-continue") == (2, ANSWER)


async def test_a_body_that_breaks_off_is_refused_all_the_same() -> None:
    assert await refused("3", PIECES[:1]) == (0, ANSWER)
