"""Where a call goes."""

from __future__ import annotations

import pytest

from a2a_relay.core.router import route
from a2a_relay.core.session import Session
from a2a_relay.errors import Reason, Refused
from a2a_relay.testing import make_address, make_call, make_principal
from a2a_relay.wire.dialects import NATIVE
from a2a_relay.wire.frames import Rest

REST = Rest("GET", ("v1", "tasks", "t"), "")


def session(**fields: object) -> Session:
    return Session("e-1", make_address(), make_principal(), NATIVE, 0.0, 1000, **fields)  # type: ignore[arg-type]


def refusal(verdict: object) -> Reason:
    assert isinstance(verdict, Refused)
    return verdict.reason


def test_to_the_live_session() -> None:
    live = session()
    assert route(make_call(), live, is_known=True) is live


def test_nowhere_when_nobody_knows_the_agent() -> None:
    assert refusal(route(make_call(), None, is_known=False)) is Reason.AGENT_NOT_FOUND


def test_nowhere_when_the_agent_is_away() -> None:
    verdict = route(make_call(), None, is_known=True)
    assert refusal(verdict) is Reason.AGENT_OFFLINE
    assert isinstance(verdict, Refused)
    assert verdict.retry_after_seconds == 5


@pytest.mark.parametrize("reason, told", [("upstream down", "upstream down"), ("", "no reason given")])
def test_nowhere_when_the_agent_is_paused(reason: str, told: str) -> None:
    verdict = route(make_call(), session(is_ready=False, paused_because=reason), is_known=True)
    assert refusal(verdict) is Reason.AGENT_OFFLINE
    assert isinstance(verdict, Refused)
    assert told in verdict.message


def test_0_3_rest_only_to_an_agent_that_serves_it() -> None:
    call = make_call(rest=REST)
    assert refusal(route(call, session(), is_known=True)) is Reason.BINDING_NOT_SERVED
    assert isinstance(route(call, session(serves_rest_v03=True), is_known=True), Session)
