"""Failed logins are slowed, and nothing else is."""

from __future__ import annotations

import pytest

from a2a_relay.core.credential import Credential
from a2a_relay.core.networks import read_networks
from a2a_relay.errors import Reason, Refused
from a2a_relay.node import login_guard
from a2a_relay.node.login_guard import LoginGuard
from a2a_relay.testing import TEST_SECRET, FakeClock, make_node, make_token

HERE, THERE = "192.0.2.7", "198.51.100.9"
BAD = "rly_sender_aaaaaaBBBB"


def make_guard(allowance: int = 3, exempt: tuple[str, ...] = ("127.0.0.0/8", "::1")) -> tuple[LoginGuard, FakeClock]:
    clock = FakeClock()
    return LoginGuard(clock, allowance, read_networks(exempt)), clock


def fail(guard: LoginGuard, host: str = HERE, text: str = BAD, times: int = 3) -> None:
    for _ in range(times):
        guard.note_failure(Credential(text), host)


def is_slowed(guard: LoginGuard, host: str = HERE, text: str = BAD) -> bool:
    try:
        guard.require_patience(Credential(text), host)
    except Refused as refused:
        return refused.reason is Reason.RATE_LIMITED and (refused.retry_after_seconds or 0) >= 1
    return False


def test_the_allowance_may_fail_and_no_more() -> None:
    guard, clock = make_guard()
    fail(guard, times=2)
    assert not is_slowed(guard)
    fail(guard, times=1)
    assert is_slowed(guard)
    clock.advance(21)  # a third of a minute for a third of the allowance
    assert not is_slowed(guard)
    fail(guard, times=1)
    assert is_slowed(guard)
    clock.advance(61)
    assert not is_slowed(guard)
    assert not guard.failures


def test_it_is_told_when_to_come_back() -> None:
    guard, _ = make_guard()
    fail(guard)
    with pytest.raises(Refused) as refused:
        guard.require_patience(Credential(BAD), HERE)
    assert refused.value.retry_after_seconds == 20


def test_others_are_not_slowed() -> None:
    guard, _ = make_guard()
    fail(guard)
    assert not is_slowed(guard, THERE)
    assert not is_slowed(guard, text="rly_sender_ccccccDDDD")
    token = make_token(TEST_SECRET, {"tenant": "acme", "agent_id": "zaf", "exp": 1})
    fail(guard, text=token)
    assert is_slowed(guard, text=token)
    assert not is_slowed(guard, text=make_token(TEST_SECRET, {"tenant": "acme", "agent_id": "abe", "exp": 1}))


def test_a_credential_that_was_good_goes_on_from_a_slowed_address() -> None:
    guard, _ = make_guard()
    good = Credential(BAD + "x")
    guard.note_success(good)
    fail(guard)
    guard.require_patience(good, HERE)
    guard.note_failure(good, HERE)  # revoked
    assert is_slowed(guard, text=good.text)


def test_a_subscribers_ipv6_addresses_are_one() -> None:
    guard, _ = make_guard()
    for last in range(3):
        fail(guard, f"2001:db8::{last}", times=1)
    assert is_slowed(guard, "2001:db8::ffff")
    assert not is_slowed(guard, "2001:db8:0:1::1")


def test_an_ipv4_address_in_ipv6s_clothes_is_what_it_is() -> None:
    guard, _ = make_guard()
    fail(guard, f"::ffff:{HERE}")
    assert is_slowed(guard)


def test_new_claims_from_one_address_do_not_go_on_for_ever() -> None:
    guard, _ = make_guard()
    for number in range(3 * login_guard.ALL_AT_ONCE):
        assert not is_slowed(guard, text=f"rly_sender_{number:06}")
        fail(guard, text=f"rly_sender_{number:06}", times=1)
    assert is_slowed(guard, text="rly_sender_fresh0")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "", "unix"])
def test_exempt_addresses_and_what_is_none_are_not_counted(host: str) -> None:
    guard, _ = make_guard()
    fail(guard, host, times=50)
    assert not guard.failures


def test_no_allowance_means_no_matter() -> None:
    guard, _ = make_guard(0)
    fail(guard, times=50)
    assert not guard.failures


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(login_guard, "MAX_TRACKED", 100)
    guard, _ = make_guard()
    for number in range(500):
        fail(guard, f"192.0.{number // 250}.{number % 250}", times=1)
        guard.note_success(Credential(f"good{number}"))
    assert len(guard.failures) <= 100
    assert len(guard.known) <= 100


@pytest.mark.parametrize(
    "text", ["x", "a.b.c", "..", "a.W10.c", "a.bnVsbA.c", "a." + "W" * 4000 + ".c", "é.é.é", "\ud800"]
)
def test_credentials_of_any_form_are_counted(text: str) -> None:
    guard, _ = make_guard()
    fail(guard, text=text)
    assert is_slowed(guard, text=text)


def test_a_node_asks_the_guard_before_it_verifies() -> None:
    clock = FakeClock()
    node = make_node(clock=clock)
    good = Credential(make_token(TEST_SECRET, {"tenant": "acme", "role": "client", "exp": clock.now() + 600}))
    late = Credential(make_token(TEST_SECRET, {"tenant": "acme", "role": "client", "exp": clock.now() + 601}))
    node.authenticate(good, HERE)
    for _ in range(node.limits.login_failures):
        with pytest.raises(Refused) as refused:
            node.authenticate(Credential(good.text[:-4] + "AAAA"), HERE)
        assert refused.value.reason is Reason.UNAUTHENTICATED
    with pytest.raises(Refused) as refused:
        node.authenticate(late, HERE)
    assert refused.value.reason is Reason.RATE_LIMITED
    node.authenticate(good, HERE)
    node.authenticate(late, THERE)
    clock.advance(60)
    node.authenticate(late, HERE)
