"""What holds for the streams of one agent."""

from __future__ import annotations

import math
from typing import Any

import pytest

from a2a_relay.core.stream_rules import AgentRule, StreamPolicy, StreamRules
from a2a_relay.testing import make_address

ZAF = make_address()
PAUSES = "streamIdleSeconds"
TOTAL = "streamTotalSeconds"


def test_without_a_word_the_relays_own_holds() -> None:
    assert StreamPolicy().rules_for(ZAF, {}) == StreamRules(600, 0, False)
    assert StreamPolicy(StreamRules(5, 50)).rules_for(ZAF, {}) == StreamRules(5, 50, False)


def test_a_card_may_ask_for_less_and_never_for_more() -> None:
    policy = StreamPolicy(StreamRules(600, 3600))
    assert policy.rules_for(ZAF, {PAUSES: 30, TOTAL: 1.5}) == StreamRules(30, 1.5, False)
    assert policy.rules_for(ZAF, {PAUSES: 601, TOTAL: 10**9}) == StreamRules(600, 3600, False)


def test_where_there_is_no_limit_a_card_may_set_one() -> None:
    assert StreamPolicy().rules_for(ZAF, {TOTAL: 86_400}).total_seconds == 86_400


@pytest.mark.parametrize("asked", [None, "30", True, False, 0, -1, math.nan, math.inf, -math.inf, [], {}, 10**400])
@pytest.mark.parametrize("total", [0, 3600])
def test_what_is_no_duration_changes_nothing(asked: Any, total: float) -> None:
    found = StreamPolicy(StreamRules(600, total)).rules_for(ZAF, {PAUSES: asked, TOTAL: asked})
    assert found == StreamRules(600, total, False)


@pytest.mark.parametrize(
    "windows, asked, is_durable",
    [
        ("memory", "durable", False),
        ("durable", None, True),
        ("durable", "memory", True),
        ("agent", None, False),
        ("agent", "durable", True),
        ("agent", "memory", False),
        ("agent", ["durable"], False),
    ],
)
def test_windows_survive_where_relay_and_card_agree(windows: str, asked: Any, is_durable: bool) -> None:
    assert StreamPolicy(windows=windows).rules_for(ZAF, {"streamWindow": asked}).is_durable is is_durable


def test_the_operators_word_counts_more_than_the_card_and_the_last_more_than_the_first() -> None:
    policy = StreamPolicy(
        windows="memory",
        agents=(
            AgentRule("*", "*", idle_seconds=1, total_seconds=10),
            AgentRule("acme", "*", total_seconds=20),
            AgentRule("acme", "zaf", idle_seconds=9_000, is_durable=True),
            AgentRule("other", "zaf", idle_seconds=3),
            AgentRule("acme", "ann", idle_seconds=4),
        ),
    )
    assert policy.rules_for(ZAF, {PAUSES: 30}) == StreamRules(9_000, 20, True)
    assert policy.rules_for(make_address("acme/ann"), {}) == StreamRules(4, 20, False)
    assert policy.rules_for(make_address("third/zaf"), {}) == StreamRules(1, 10, False)
