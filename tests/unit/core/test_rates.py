"""The bucket of a rate, against what it promises and against the plainest model of one; and the names of limits."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from a2a_relay.core.rates import LIMITS, Bucket, Rate, Subject, check_limit, check_limits, is_limit

RATES = st.tuples(st.integers(1, 500), st.integers(1, 50))
GAPS = st.lists(st.integers(0, 400), max_size=150)
"""Milliseconds between one attempt and the next."""


def attempts(rate: Rate, gaps: list[int]) -> list[tuple[float, bool]]:
    bucket, now, found = Bucket(), 0, []
    for gap in gaps:
        now += gap
        is_free = not bucket.wait(rate, now / 1000)
        is_let = not bucket.try_take(rate, now / 1000)
        assert is_let == is_free
        found.append((now / 1000, is_let))
    return found


@given(RATES, GAPS)
def test_no_window_has_more_than_the_burst_and_what_the_rate_adds(numbers: tuple[int, int], gaps: list[int]) -> None:
    rate = Rate.of(*numbers)
    assert rate is not None
    let = [at for at, is_let in attempts(rate, gaps) if is_let]
    for first in range(len(let)):
        for last in range(first, len(let)):
            assert last - first + 1 <= rate.burst + rate.per_second * (let[last] - let[first]) + 1e-6


@given(RATES, GAPS)
def test_it_lets_through_what_a_bucket_of_counted_drops_does(numbers: tuple[int, int], gaps: list[int]) -> None:
    rate = Rate.of(*numbers)
    assert rate is not None
    drops, before = Fraction(numbers[1]), 0
    for at, is_let in attempts(rate, gaps):
        now = round(at * 1000)
        drops = min(Fraction(numbers[1]), drops + Fraction((now - before) * numbers[0], 1000))
        before = now
        assert is_let == (drops >= 1)
        drops -= is_let


@given(RATES, st.integers(1, 100))
def test_whoever_waits_as_long_as_told_is_let_through(numbers: tuple[int, int], taken: int) -> None:
    rate, bucket = Rate.of(*numbers), Bucket()
    assert rate is not None
    bucket.take(rate, 5.0, taken)
    assert bucket.wait(rate, 5.0 + bucket.wait(rate, 5.0)) == 0


def test_a_full_bucket_has_its_burst_left_and_an_empty_one_nothing() -> None:
    rate, bucket = Rate.of(10, 3), Bucket()
    assert rate is not None
    assert bucket.left(rate, 7.0) == 3
    for _ in range(3):
        bucket.take(rate, 7.0)
    assert bucket.left(rate, 7.0) == 0
    assert bucket.left(rate, 7.1) == 1


@pytest.mark.parametrize(
    ("per_second", "burst", "quota", "window"), [(200, 0, 200, 1), (200, 50, 200, 1), (0.1, 1, 1, 10), (5, 50, 50, 10)]
)
def test_a_rate_can_be_read_as_a_quota_in_a_window(per_second: float, burst: int, quota: int, window: int) -> None:
    rate = Rate.of(per_second, burst)
    assert rate is not None
    assert (rate.quota, rate.window_seconds) == (quota, window)


def test_none_is_no_limit() -> None:
    assert Rate.of(0, 5) is None


def test_every_limit_says_what_it_is() -> None:
    for name, limit in LIMITS.items():
        assert is_limit(name)
        assert limit.unit
        assert limit.help
        assert limit.subjects
        check_limit(name, 0)
        check_limit(name, 5)


def test_a_wrong_name_is_told_the_right_ones() -> None:
    assert not is_limit("calls")
    with pytest.raises(ValueError, match="calls_per_second, calls_burst, calls_in_flight"):
        check_limit("calls", 1)
    with pytest.raises(ValueError, match="no limit 'sessions' of a key; the limits are calls_per_second"):
        check_limit("sessions", 1, Subject.KEY)


@pytest.mark.parametrize("value", [-1, float("nan"), float("inf"), True, "5"])
def test_a_limit_is_a_number_from_0(value: object) -> None:
    with pytest.raises(ValueError, match="calls_per_second is a number of 1/s"):
        check_limit("calls_per_second", value)


def test_only_rates_have_fractions() -> None:
    check_limit("calls_per_second", 0.5)
    with pytest.raises(ValueError, match="sessions is a whole number"):
        check_limit("sessions", 0.5)


def test_limits_are_checked_together() -> None:
    assert check_limits([("sessions", 1), ("calls_burst", 2), ("sessions", 3)]) == {"sessions": 3.0, "calls_burst": 2.0}
    with pytest.raises(ValueError, match="no limit 'x'"):
        check_limits([("sessions", 1), ("x", 2)])
