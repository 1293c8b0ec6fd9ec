"""The one door: which kind a credential is, for how long it is known, and for whom the old door is still open."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from doors import EXP, NOW, Door, hs256, issuer_claims, signer

from a2a_relay.auth import chain
from a2a_relay.core.networks import read_networks
from a2a_relay.core.principal import Principal, Role
from a2a_relay.core.tenants import TenantState
from a2a_relay.testing import TEST_SECRET

LEGACY = hs256(TEST_SECRET)
NOT_TAKEN = "tokens of the shared secret are not taken for this tenant"


class TestWhatIsKnown:
    def test_is_not_looked_at_again_for_a_while(self, door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
        text, _ = door.key(Role.SENDER)
        first = door.authenticate(text)
        monkeypatch.setattr(type(door.credentials), "find", lambda *_: None)
        assert door.authenticate(text, NOW + 59) is first
        assert door.refusal(text, NOW + 60) == "unknown key"

    def test_is_forgotten_when_any_key_or_tenant_changes(self, door: Door) -> None:
        text, record = door.key(Role.SENDER)
        secret, signing = door.signing_key(Role.AGENT, agent="zaf")
        token = hs256(secret)
        door.authenticate(text)
        door.authenticate(token)
        door.put(record._replace(revoked_at=NOW))
        assert door.refusal(text) == "the key is revoked"
        door.authenticate(token)
        door.put(signing._replace(revoked_at=NOW))
        assert door.refusal(token) == "invalid token"

    def test_is_bounded(self, door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(chain, "MAX_CACHED", 3)
        for number in range(9):
            door.authenticate(hs256(TEST_SECRET, agent_id=f"a{number}"))
        assert len(door.chain._known) == 3

    def test_is_nobodys_who_was_refused(self, door: Door) -> None:
        for number in range(9):
            door.refusal(hs256("a wrong secret", agent_id=f"a{number}"))
        assert not door.chain._known

    def test_holds_no_credential_in_clear(self, door: Door) -> None:
        text, _ = door.key(Role.SENDER)
        door.authenticate(text)
        assert text not in repr(door.chain._known)
        assert text not in repr(vars(door.chain))


class TestTokensOfTheSharedSecret:
    def test_are_taken_for_everybody_where_tenants_are_open(self, door: Door) -> None:
        found = door.authenticate(LEGACY)
        assert found == Principal("acme", Role.ADMIN, "admin:zaf", "zaf", EXP, is_legacy=True)
        assert not found.manages
        assert door.recheck(found) is found

    def test_never_manage_whatever_they_say(self, door: Door) -> None:
        assert door.refusal(hs256(TEST_SECRET, role="admin")) == "unknown role in token"
        assert door.refusal(hs256(TEST_SECRET, role="operator")) == "unknown role in token"

    def test_are_good_for_registered_tenants_where_those_must_be(self, make_door: Callable[..., Door]) -> None:
        door = make_door(is_open=False)
        assert door.refusal(LEGACY) == "the tenant is not registered here"
        door.tenant()
        assert door.authenticate(LEGACY).is_legacy

    def test_are_not_taken_once_the_tenant_has_said_so(self, door: Door) -> None:
        principal = door.authenticate(LEGACY)
        door.tenant(takes_legacy=False)
        assert door.refusal(LEGACY) == NOT_TAKEN
        assert door.recheck_refusal(principal) == NOT_TAKEN

    def test_are_taken_for_the_tenants_of_a_list(self, make_door: Callable[..., Door]) -> None:
        door = make_door(legacy_tenants=("acme",))
        door.authenticate(LEGACY)
        assert door.refusal(hs256(TEST_SECRET, tenant="other")) == NOT_TAKEN
        assert make_door(legacy_tenants=()).refusal(LEGACY) == NOT_TAKEN

    def test_end_with_their_tenant(self, door: Door) -> None:
        principal = door.authenticate(LEGACY)
        door.tenant(state=TenantState.DISABLED)
        assert door.refusal(LEGACY) == door.recheck_refusal(principal) == "the tenant is disabled"

    def test_may_come_from_where_the_tenant_says(self, door: Door) -> None:
        principal = door.authenticate(LEGACY)
        door.tenant(networks=("10.0.0.0/8",))
        networks = (read_networks(["10.0.0.0/8"]),)
        assert door.authenticate(LEGACY).networks == door.recheck(principal).networks == networks
        door.tenant()
        assert door.recheck(door.authenticate(LEGACY)).networks == ()

    def test_are_counted_by_who_came_with_them(self, door: Door) -> None:
        door.authenticate(LEGACY)
        door.authenticate(LEGACY, NOW + 61)
        uses = door.credentials.legacy_uses()
        assert [(use.identity, use.first_at, use.last_at) for use in uses] == [("admin:zaf", NOW, NOW + 61)]

    def test_end_after_the_leeway(self, door: Door) -> None:
        token = hs256(TEST_SECRET, exp=NOW + 5)
        door.authenticate(token)
        door.authenticate(token, NOW + 65)
        assert door.refusal(token, NOW + 65.5) == "the token has expired"


def test_an_expired_token_is_still_somebodys_whose_session_lives(door: Door) -> None:
    secret, _ = door.signing_key(Role.AGENT, agent="zaf")
    door.trust(signer("EdDSA"))
    found = [door.authenticate(text) for text in (LEGACY, hs256(secret), signer("EdDSA").token(issuer_claims()))]
    door.clock.advance(2 * 24 * 3600)
    assert [door.recheck(principal).expires_at for principal in found] == [EXP, EXP, EXP]


@pytest.mark.parametrize("text", ["", "x", "a.b.c", "x" * 9000, "\ud83d", "rly_", "é.é.é"])
def test_what_is_no_credential_is_refused(door: Door, text: str) -> None:
    door.refusal(text)
