"""The chain of audit entries."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from a2a_relay.core.audit import FIRST_HASH, AuditFact, AuditRecord, chain, is_chained

FACT = AuditFact("acme", "key:key_1", "key.revoke", "key_2", reason="lost laptop", peer="192.0.2.1")
TEXTS = st.text(max_size=20)
FACTS = st.builds(AuditFact, TEXTS, TEXTS, TEXTS, TEXTS, TEXTS, TEXTS, TEXTS, st.integers(0, 10**9))


def test_an_entry_has_the_same_hash_for_ever() -> None:
    record = chain(1, 1_700_000_000.1234, FACT, FIRST_HASH)
    assert record.at == 1_700_000_000.123
    assert record.hash == "3749ac5f0df4a91d10f0fbfe6a17e578190b32f7b25694149e6287a2893bf99d"
    assert is_chained(record)


@given(FACTS, FACTS)
def test_what_is_different_has_another_hash(one: AuditFact, other: AuditFact) -> None:
    hashes = [chain(7, 5.0, fact, FIRST_HASH).hash for fact in (one, other)]
    assert (hashes[0] == hashes[1]) is (one == other)


@pytest.mark.parametrize(
    "changed",
    [
        {"number": 2},
        {"at": 1.001},
        {"previous": "1" * 64},
        {"hash": "0" * 64},
        *({"fact": FACT._replace(**{name: "else"})} for name in AuditFact._fields if name != "times"),
        {"fact": FACT._replace(times=2)},
    ],
)
def test_a_change_of_any_part_is_seen(changed: dict[str, object]) -> None:
    record: AuditRecord = chain(1, 1.0, FACT, FIRST_HASH)
    assert not is_chained(record._replace(**changed))  # type: ignore[arg-type]
