"""Whatever is stored or held has a default, a setting and a named end, and stands in one table: docs/limits.md."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from a2a_relay.a2a import jsonbytes
from a2a_relay.auth import shared_secret
from a2a_relay.core.letter import MAX_BACK_OFF_SECONDS, DeadReason, LetterEvent, LetterState
from a2a_relay.core.limits import Limits
from a2a_relay.core.rates import LIMITS as QUOTAS
from a2a_relay.errors import Reason
from a2a_relay.fronts.http import head, letters
from a2a_relay.node import agent_link, letter_desk, quotas, takeover
from a2a_relay.settings import BY_NAME, SETTINGS, Kind, Setting
from a2a_relay.settings.values import read
from a2a_relay.wire.close_codes import BY_CODE
from a2a_relay.wire.dialects import native

LIMITS = Path(__file__).resolve().parents[2] / "docs" / "limits.md"

NO_BUDGET = {
    "keep_alive": "an idle connection holds nothing of anybody's",
    "stream_idle": "ends a stream, and frees what replay_time and the windows bound",
    "stream_total": "the same; off unless set",
    "stream_head_wait": "a pace",
    "sse_heartbeat": "a pace",
    "unary_keepalive": "a pace",
    "leave_grace": "of a relay that leaves",
    "card_max_age": "at clients",
    "session_limit": "a pace",
    "takeover_hold": "what waits meanwhile is what mailbox_letters bounds",
    "exempt_addresses": "from where two others do not count",
}
"""Durations that bound nothing that is held, each with what it is instead."""

GOES = re.compile(r"\b(?:goes|go|wait|waits|waited|told to stop|checked again|closed)\b")
"""How a row without a reason says what becomes of it."""


def rows(name: str) -> list[list[str]]:
    """The rows of a table in the document, without its head."""
    table = re.search(rf"<!-- table: {name} -->\n(.*?)<!-- end -->", LIMITS.read_text(encoding="utf-8"), re.DOTALL)
    assert table
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table[1].strip().splitlines()[2:]]


BUDGETS = rows("budgets")


def is_budget(setting: Setting) -> bool:
    """Whether a setting bounds what is stored or held."""
    if setting.group not in ("limits", "times", "letters") or setting.name in NO_BUDGET:
        return False
    return setting.kind in (Kind.INTEGER, Kind.BYTES, Kind.SECONDS)


def test_every_setting_that_is_a_bound_stands_in_the_table_and_nothing_else() -> None:
    described = [row[2].strip("`") for row in BUDGETS]
    assert len(described) == len(set(described))
    assert set(described) == {setting.name for setting in SETTINGS if is_budget(setting)}


def test_what_is_said_to_be_no_budget_is_a_setting() -> None:
    assert set(NO_BUDGET) <= set(BY_NAME)


def test_every_limit_of_the_relay_has_its_setting() -> None:
    """Two names differ: `replay` alone would say nothing, and what a session is given in the end is `leave_grace`."""
    others = {"replay_seconds": "replay_time", "session_grace_seconds": "leave_grace"}
    known = {row[2].strip("`") for row in BUDGETS} | set(NO_BUDGET)
    for limit in fields(Limits):
        name = others.get(limit.name, limit.name.removesuffix("_seconds"))
        assert {name, f"{name}_events"} & known, f"{limit.name} has no row"


@pytest.mark.parametrize("row", BUDGETS, ids=lambda row: row[2].strip("`"))
def test_a_default_is_that_of_the_setting(row: list[str]) -> None:
    setting = BY_NAME[row[2].strip("`")]
    assert read(setting, row[1].strip("`")) == setting.default
    assert setting.default > 0


@pytest.mark.parametrize("row", BUDGETS + rows("quotas") + rows("fixed"), ids=lambda row: row[0])
def test_what_lies_beyond_a_bound_has_a_name(row: list[str]) -> None:
    named = set(re.findall(r"`([^`]+)`", row[-1]))
    words = {str(word) for kind in (Reason, DeadReason, LetterState, LetterEvent) for word in kind} | {"gap"}
    assert named <= words | {code.reason for code in BY_CODE.values()}, "a word that nobody says"
    assert named & words or GOES.search(row[-1]), "nothing is said of what becomes of it"


def test_every_quota_stands_in_its_table_as_the_source_has_it() -> None:
    assert [row[:-1] for row in rows("quotas")] == [
        [f"`{name}`", limit.unit, limit.help, ", ".join(limit.subjects)] for name, limit in QUOTAS.items()
    ]


def test_what_is_fixed_is_what_the_source_says() -> None:
    assert [int(row[1]) for row in rows("fixed")] == [
        jsonbytes.MAX_DEPTH,
        head.MAX_WAIT_SECONDS,
        native.MAX_RETRY_AFTER_SECONDS,
        MAX_BACK_OFF_SECONDS,
        letter_desk.MAX_REASON_CHARS,
        letter_desk.MAX_PAGE,
        letters.MAX_ORDER_BYTES,
        shared_secret._CACHED,
        takeover.MAX_WAITING,
        agent_link.MAX_EARLY,
        takeover.TWIN_TAKEOVERS,
        quotas.MAX_ACCOUNTS,
        quotas.MAX_HELD,
    ]
