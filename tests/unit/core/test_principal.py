"""Who a credential speaks for."""

from __future__ import annotations

from a2a_relay.core.address import Address
from a2a_relay.core.principal import Principal, Role


def test_an_address_is_tenant_and_agent() -> None:
    assert Principal("acme", Role.AGENT, "agent:zaf", "zaf").address == Address("acme", "zaf")


def test_who_may_attach_as_nobody_has_no_address() -> None:
    assert Principal("acme", Role.SENDER, "sam").address is None


def test_what_belongs_to_a_key_belongs_to_it_after_its_name_has_changed_and_to_no_namesake() -> None:
    before = Principal("acme", Role.SENDER, "proxy-1", key="k1")
    renamed = Principal("acme", Role.SENDER, "proxy-2", key="k1")
    namesake = Principal("acme", Role.SENDER, "proxy-1", key="k2")
    assert before.owner == renamed.owner != namesake.owner


def test_nobody_owns_what_somebody_of_the_same_name_and_another_kind_does() -> None:
    parties = [
        Principal("acme", Role.SENDER, "sam"),
        Principal("acme", Role.AGENT, "sam"),
        Principal("acme", Role.SENDER, "sam", key="sam"),
        Principal("acme", Role.SENDER, "sam", issuer="https://a.example"),
        Principal("acme", Role.SENDER, "sam", issuer="https://b.example"),
        Principal("acme", Role.AGENT, "sam", issuer="https://b.example"),
    ]
    assert len({party.owner for party in parties}) == len(parties)


def test_what_was_shown_is_neither_told_nor_compared() -> None:
    shown = Principal("acme", Role.SENDER, "sam", credential=b"a digest")
    assert "digest" not in repr(shown)
    assert shown == Principal("acme", Role.SENDER, "sam")


def test_either_bound_makes_a_principal_bounded() -> None:
    assert not Principal("acme", Role.SENDER, "sam").is_bounded
    assert Principal("acme", Role.SENDER, "sam", scopes=frozenset()).is_bounded
    assert Principal("acme", Role.SENDER, "sam", agents=frozenset()).is_bounded
