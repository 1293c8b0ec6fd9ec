"""When the connector dials again, and when it gives up."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from a2a_relay.connector.reconnect import (
    BackOff,
    Credential,
    GiveUp,
    LinkEnd,
    RetryAfter,
    RetryNow,
    Verdict,
    Waits,
    judge,
)
from a2a_relay.wire import close_codes

STATIC = Credential(can_change=False, is_expired=False, was_retried=False)
DYNAMIC = Credential(can_change=True, is_expired=False, was_retried=False)


def verdict(end: LinkEnd, credential: Credential = STATIC, *, was_attached: bool = True) -> Verdict:
    return judge(end, credential, was_attached=was_attached)


def refused(code: int | None = close_codes.AUTH_FAILED.code) -> LinkEnd:
    return LinkEnd("invalid token", code, is_refused=True)


@pytest.mark.parametrize("code", [None, 1000, 1001, 1006, 1011, 1012, 4004, 4005, 4007])
def test_a_link_that_was_lost_is_dialled_again(code: int | None) -> None:
    assert verdict(LinkEnd("gone", code, lived_seconds=3)) == BackOff()


def test_a_goaway_says_when_to_come_back() -> None:
    end = LinkEnd("restart", 1001, is_goaway=True, reconnect_after_ms=2500)
    assert verdict(end) == RetryAfter(2.5)


def test_no_goaway_keeps_an_agent_away_for_hours() -> None:
    assert verdict(LinkEnd(is_goaway=True, reconnect_after_ms=10**12)) == RetryAfter(300)


def test_a_goaway_for_good_is_for_good() -> None:
    found = verdict(LinkEnd("agent removed", 1000, is_goaway=True))
    assert isinstance(found, GiveUp)
    assert found.exit_code == 2


@pytest.mark.parametrize(
    "end",
    [
        LinkEnd("session replaced", close_codes.SESSION_REPLACED.code),
        LinkEnd("session replaced by 10.0.0.7", 4006, is_goaway=True),
        LinkEnd("session replaced", None, is_goaway=True),
    ],
)
def test_a_replaced_session_never_comes_back(end: LinkEnd) -> None:
    found = verdict(end, DYNAMIC)
    assert isinstance(found, GiveUp)
    assert found.exit_code == 3


def test_a_revoked_key_ends_it_with_the_reason_and_a_newer_one_is_read() -> None:
    end = LinkEnd("the key was revoked", close_codes.AUTH_FAILED.code, is_goaway=True, lived_seconds=60)
    found = verdict(end, STATIC)
    assert isinstance(found, GiveUp)
    assert (found.exit_code, "the key was revoked" in found.message) == (2, True)
    assert verdict(end, DYNAMIC) == RetryNow()


def test_a_refused_token_that_cannot_change_ends_it() -> None:
    assert isinstance(verdict(refused(), STATIC), GiveUp)
    assert isinstance(verdict(refused(1000), STATIC), GiveUp)
    assert isinstance(verdict(refused(None), STATIC, was_attached=False), GiveUp)


def test_a_refused_token_is_read_again_once_and_at_once() -> None:
    assert verdict(refused(), DYNAMIC) == RetryNow()
    assert isinstance(verdict(refused(), DYNAMIC._replace(was_retried=True)), GiveUp)


def test_an_expired_token_is_waited_for_when_reading_it_again_did_not_help() -> None:
    assert verdict(refused(), DYNAMIC._replace(was_retried=True, is_expired=True)) == BackOff()
    expired_link = LinkEnd("token expired", close_codes.TOKEN_EXPIRED.code, lived_seconds=60)
    assert verdict(expired_link, DYNAMIC) == RetryNow()
    assert verdict(expired_link, DYNAMIC._replace(was_retried=True)) == BackOff()
    assert isinstance(verdict(expired_link, STATIC), GiveUp)


@pytest.mark.parametrize(
    "code",
    [
        close_codes.RATE_LIMITED.code,
        close_codes.GOING_AWAY.code,
        close_codes.AUTH_TIMEOUT.code,
        close_codes.SESSION_EXISTS.code,
    ],
)
def test_not_now_is_not_never(code: int) -> None:
    assert verdict(refused(code), STATIC, was_attached=False) == BackOff()


def test_what_is_wrong_with_the_agent_itself_ends_it() -> None:
    assert isinstance(verdict(refused(close_codes.PROTOCOL_ERROR.code), DYNAMIC), GiveUp)
    assert isinstance(verdict(LinkEnd("?", close_codes.PROTOCOL_ERROR.code, lived_seconds=1)), GiveUp)


@pytest.mark.parametrize("status", [301, 307, 400, 401, 403, 404])
def test_a_wrong_address_ends_the_first_dial_only(status: int) -> None:
    end = LinkEnd("HTTP", http_status=status)
    assert isinstance(verdict(end, was_attached=False), GiveUp)
    assert verdict(end, was_attached=True) == BackOff()


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_relay_in_trouble_is_waited_for_even_at_first(status: int) -> None:
    assert verdict(LinkEnd("HTTP", http_status=status), was_attached=False) == BackOff()


def test_an_untrusted_certificate_ends_the_first_dial_only() -> None:
    end = LinkEnd("self-signed", is_bad_certificate=True)
    assert isinstance(verdict(end, was_attached=False), GiveUp)
    assert verdict(end) == BackOff()


@given(st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=40))
def test_waits_are_a_random_part_of_a_span_that_doubles_up_to_thirty_seconds(chances: list[float]) -> None:
    source = iter(chances)
    waits = Waits(lambda: next(source))
    for turn, chance in enumerate(chances):
        assert waits.next_seconds() == min(30.0, 0.5 * 2 ** min(turn, 10)) * chance


def test_a_good_link_makes_the_waits_small_again() -> None:
    waits = Waits(lambda: 1.0)
    assert [waits.next_seconds() for _ in range(3)] == [0.5, 1.0, 2.0]
    waits.reset()
    assert waits.next_seconds() == 0.5
