"""How much of everything there may be."""

from __future__ import annotations

import pytest

from a2a_relay.core.limits import FRAME_OVERHEAD_BYTES, BodyBudget, Limits, WindowBudget, require_fit, require_room
from a2a_relay.core.session import Session
from a2a_relay.errors import Reason, Refused
from a2a_relay.testing import make_address, make_call, make_principal
from a2a_relay.wire.dialects import NATIVE


def session(**fields: int) -> Session:
    found = Session("e-1", make_address(), make_principal(), NATIVE, 0.0, fields.pop("max_frame", 1000))
    for name, number in fields.items():
        setattr(found, name, number)
    return found


def test_defaults_are_the_decided_ones() -> None:
    limits = Limits()
    assert (limits.unary_in_flight, limits.streams_in_flight) == (256, 1024)
    assert limits.max_frame == limits.max_body + 64 * 1024 == 4 * 2**20 + FRAME_OVERHEAD_BYTES
    assert (limits.older_dialect_max_frame, limits.max_first_frame, limits.max_card) == (2**20, 2**17, 2**16)
    assert (limits.agents_per_tenant, limits.card_updates_per_minute) == (100_000, 10)
    assert (limits.auth_timeout_seconds, limits.request_timeout_seconds) == (30, 600)


@pytest.mark.parametrize(
    "asked, is_native, most",
    [
        (None, True, Limits().max_frame),
        (None, False, 2**20),
        (5_000, True, 5_000),
        (5_000, False, 5_000),
        (2**40, True, Limits().max_frame),
        (2**40, False, Limits().max_frame),
    ],
)
def test_a_link_takes_frames_up_to(asked: int | None, is_native: bool, most: int) -> None:
    assert Limits().link_max_frame(asked, is_native=is_native) == most


def test_an_older_dialect_never_takes_more_than_the_relay_itself() -> None:
    assert Limits(max_body=1000).link_max_frame(None, is_native=False) == 1000 + FRAME_OVERHEAD_BYTES


def test_unary_calls_and_streams_are_counted_apart() -> None:
    limits = Limits(unary_in_flight=2, streams_in_flight=3)
    unary, stream = make_call("SendMessage"), make_call("SendStreamingMessage")
    require_room(session(unary_in_flight=1, streams_in_flight=3), unary, limits)
    require_room(session(unary_in_flight=2, streams_in_flight=2), stream, limits)
    for full, call in ((session(unary_in_flight=2), unary), (session(streams_in_flight=3), stream)):
        with pytest.raises(Refused) as refused:
            require_room(full, call, limits)
        assert refused.value.reason is Reason.AGENT_BUSY
        assert (refused.value.ruling.http_status, refused.value.retry_after_seconds) == (429, 1)


def test_a_frame_fits_up_to_the_last_byte() -> None:
    require_fit(session(max_frame=10), b"x" * 10)
    with pytest.raises(Refused) as refused:
        require_fit(session(max_frame=10), b"x" * 11)
    assert refused.value.reason is Reason.AGENT_FRAME_LIMIT
    assert refused.value.metadata == {"limit": "10"}


class TestABodyBudget:
    def test_holds_for_the_process_and_half_of_it_for_one_tenant(self) -> None:
        budget = BodyBudget(100)
        budget.take("acme", 50)
        with pytest.raises(Refused) as refused:
            budget.take("acme", 1)
        assert refused.value.reason is Reason.RELAY_BUSY
        budget.take("other", 50)
        with pytest.raises(Refused):
            budget.take("third", 1)
        budget.give_back("acme", 50)
        budget.take("third", 50)

    def test_forgets_tenants_that_hold_nothing(self) -> None:
        budget = BodyBudget(100)
        for number in range(1_000):
            budget.take(str(number), 10)
            budget.give_back(str(number), 10)
        assert budget._by_tenant == {}
        budget.take("acme", 50)

    def test_counts_empty_bodies_too(self) -> None:
        budget = BodyBudget(10)
        for _ in range(3):
            budget.take("acme", 0)
        for _ in range(3):
            budget.give_back("acme", 0)
        assert budget._by_tenant == {}


class TestAWindowBudget:
    def test_takes_everything_and_says_when_something_has_to_go(self) -> None:
        budget = WindowBudget(100)
        assert budget.take("acme", 50)
        assert not budget.take("acme", 1)
        assert budget.held == 51
        assert budget.is_tenants_fault("acme")
        assert budget.take("acme", -1)
        assert not budget.is_tenants_fault("acme")

    def test_holds_for_the_process_too(self) -> None:
        budget = WindowBudget(100)
        assert budget.take("acme", 40)
        assert budget.take("other", 40)
        assert not budget.take("third", 40)
        assert not budget.is_tenants_fault("third")
        assert not budget.take("acme", -10)
        assert budget.take("acme", -10)
        assert budget.held == 100

    def test_forgets_tenants_that_hold_nothing(self) -> None:
        budget = WindowBudget(100)
        for number in range(1_000):
            budget.take(str(number), 10)
            budget.give_back(str(number), 10)
        assert (budget.held, budget._by_tenant) == (0, {})
        assert not budget.is_tenants_fault("0")
