"""Names and addresses."""

from __future__ import annotations

import pytest

from a2a_relay.core import address
from a2a_relay.core.address import Address
from a2a_relay.errors import Reason, Refused

PROPER = ["a", "A", "0", "zaf", "Zaf_1", "a-b_c", "a" * 63]
LEGACY = ["a.b", "a~b", "_a", "-a", "...a", "a" * 128, ".well-known", "~"]
NOT_ACCEPTABLE = [
    "",
    ".",
    "..",
    "...",
    "a" * 129,
    "a b",
    "a/b",
    "a\\b",
    "a:b",
    "a%2Fb",
    "a@b",
    "a\n",
    "a\x00",
    "é",
    "а",  # Cyrillic
    "١",
    "\u212a",
    "a+b",
    "a,b",
    "<a>",
    "a?b",
    "a#b",
]


@pytest.mark.parametrize("name", PROPER)
def test_a_proper_name(name: str) -> None:
    assert address.is_legacy_name(name)


@pytest.mark.parametrize("name", LEGACY)
def test_a_name_from_an_old_token(name: str) -> None:
    assert address.is_legacy_name(name)
    assert address.require_name(name, "tenant") == name


@pytest.mark.parametrize("name", NOT_ACCEPTABLE)
def test_no_name_at_all(name: str) -> None:
    assert not address.is_legacy_name(name)
    with pytest.raises(Refused) as refused:
        address.require_name(name, "agent_id")
    assert refused.value.reason is Reason.UNAUTHENTICATED
    assert "agent_id" in refused.value.message


def test_no_separator_can_be_forged() -> None:
    assert Address("a", "b:c") != Address("a:b", "c")
    assert len({Address("a", "b/c"), Address("a/b", "c")}) == 2
    assert str(Address("acme", "zaf")) == "acme/zaf"


@pytest.mark.parametrize(
    "text, fits",
    [
        ("a", True),
        ("A-b_9", True),
        ("x" * 63, True),
        ("x" * 64, False),
        ("-a", False),
        ("_a", False),
        ("a.b", False),
        ("a/b", False),
        ("é", False),
        ("a\n", False),
        ("", False),
    ],
)
def test_new_names_are_narrower_than_those_of_old_tokens(text: str, fits: bool) -> None:
    assert address.is_name(text) is fits


@pytest.mark.parametrize(
    "tenant, agent, covered",
    [
        ("*", "*", True),
        ("acme", "*", True),
        ("*", "zaf", True),
        ("acme", "zaf", True),
        ("acme", "ann", False),
        ("other", "*", False),
    ],
)
def test_a_rule_speaks_of_one_agent_or_of_any(tenant: str, agent: str, covered: bool) -> None:
    assert address.is_covered(Address("acme", "zaf"), tenant, agent) is covered
