"""Refusing what is somebody else's takes the work that refusing what does not exist takes: counted, not timed."""

from __future__ import annotations

import sys
from types import FrameType
from typing import Any

import pytest
from attacked_relay import AttackedRelay, Belongings, Request, rpc


def calls_of(relay: AttackedRelay, who: str, request: Request) -> int:
    """The function calls of the relay's own code that a request takes until it is answered or waits."""
    count = 0

    def note(frame: FrameType, event: str, _: Any) -> None:
        nonlocal count
        count += event == "call" and "a2a_relay/" in frame.f_code.co_filename

    sys.setprofile(note)
    try:
        pipe = relay.begin(who, request)
    finally:
        sys.setprofile(None)
    assert pipe.written, "it is not answered at once"
    relay.leave(pipe)
    return count


def get_task(ids: Belongings) -> Request:
    return rpc("GetTask", {"id": ids.task}, f"/t/{ids.tenant}/a2a/{ids.agent}/")


def get_stream(ids: Belongings) -> Request:
    return Request("GET", f"/t/{ids.tenant}/a2a/{ids.agent}/streams/{ids.stream}")


@pytest.mark.parametrize("who", ["evil-admin", "evil-sender", "evil-agent", "elsewhere", "bob", "zoe", "operator"])
@pytest.mark.parametrize("ask", [get_task, get_stream])
async def test_foreign_and_unknown_cost_the_same_calls(who: str, ask: Any) -> None:
    relay = AttackedRelay("fast")
    await relay.populate()
    insider = who in ("bob", "zoe")
    unknown = relay.anns.unknown(is_own_tenant=who == "elsewhere" or insider, is_same_agent=insider)
    for ids in (relay.anns, unknown):  # what is made once is made
        calls_of(relay, who, ask(ids))
    theirs, nobodys = (calls_of(relay, who, ask(ids)) for ids in (relay.anns, unknown))
    # Of a stream that is not in memory the log is asked, too: its id has 128 random bits: nobody has one to try.
    assert abs(theirs - nobodys) <= (3 if ask is get_stream else 0)
