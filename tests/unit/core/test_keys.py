"""Keys as texts and as records."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from a2a_relay.core import keys
from a2a_relay.core.keys import KeyRecord, is_key, is_well_formed, prefix_of, write_key
from a2a_relay.core.principal import Role

SECRET = bytes(range(32))


def record(**settled: object) -> KeyRecord:
    return KeyRecord("key_1", "acme", "proxy", Role.SENDER, 100.0, ())._replace(**settled)  # type: ignore[arg-type]


class TestTheTextOfAKey:
    def test_is_its_role_and_its_random_bytes_and_their_checksum(self) -> None:
        text = write_key(Role.SENDER, SECRET)
        head, role, digits = text.split("_")
        assert (head, role, len(digits)) == ("rly", "sender", 49)
        assert keys.PATTERN.fullmatch(text)

    def test_never_changes_its_form(self) -> None:
        """Keys of today must be good tomorrow, and scanners look for this form."""
        assert write_key(Role.OPERATOR, b"\0" * 32) == f"rly_operator_{'0' * 43}{keys._check('operator', '0' * 43)}"
        assert keys._check("operator", "0" * 43) == "1Gr47d"

    @given(st.sampled_from(Role), st.binary(min_size=32, max_size=32))
    def test_is_well_formed_and_bound_to_its_role(self, role: Role, secret: bytes) -> None:
        text = write_key(role, secret)
        assert is_key(text)
        assert is_well_formed(text)
        assert is_well_formed(text.replace(f"_{role}_", "_agent_")) is (role is Role.AGENT)

    @given(st.binary(min_size=32, max_size=32), st.integers(0, 48), st.sampled_from("0Az"))
    def test_shows_a_typing_error(self, secret: bytes, place: int, typed: str) -> None:
        text = write_key(Role.AGENT, secret)
        at = len("rly_agent_") + place
        other = text[:at] + typed + text[at + 1 :]
        assert is_well_formed(other) is (other == text)

    @given(st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32))
    def test_differs_where_the_secrets_do(self, one: bytes, other: bytes) -> None:
        assert (write_key(Role.ADMIN, one) == write_key(Role.ADMIN, other)) is (one == other)

    @pytest.mark.parametrize("size", [0, 31, 33])
    def test_needs_32_bytes(self, size: int) -> None:
        with pytest.raises(ValueError, match="a key has 32 random bytes"):
            write_key(Role.AGENT, b"x" * size)

    @pytest.mark.parametrize("text", ["", "rly", "RLY_agent_", "eyJhbGciOi", "key_1"])
    def test_is_not_taken_for_something_else(self, text: str) -> None:
        assert not is_key(text)
        assert not is_well_formed(text)

    @pytest.mark.parametrize("change", [" {}", "{} ", "{}\n", "{}0", "x{}"])
    def test_is_nothing_more_and_nothing_less(self, change: str) -> None:
        assert not is_well_formed(change.format(write_key(Role.AGENT, SECRET)))

    def test_has_a_beginning_for_people_that_gives_nothing_away(self) -> None:
        text = write_key(Role.SENDER, SECRET)
        assert prefix_of(text) == text[: len("rly_sender_") + 6]

    def test_is_known_to_stores_by_its_sha_256(self) -> None:
        assert keys.digest_of("rly_x") == hashlib.sha256(b"rly_x").digest()
        assert keys.digest_of("\ud800") == hashlib.sha256(b"\xed\xa0\x80").digest()


class TestARecord:
    def test_is_usable_until_it_is_revoked_or_over(self) -> None:
        assert record().is_usable(1e12)
        assert record(expires_at=200.0).is_usable(199.9)
        assert not record(expires_at=200.0).is_usable(200.0)
        assert not record(revoked_at=150.0).is_usable(100.0)
        assert not record(revoked_at=150.0, expires_at=200.0).is_usable(100.0)
