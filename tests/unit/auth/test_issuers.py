"""Tokens of issuers that a tenant trusts, and what they may say."""

from __future__ import annotations

import json
from typing import Any

import pytest
from doors import AUDIENCE, EXP, ISSUER, NOW, Door, Signer, issuer_claims, key_set, signer

from a2a_relay.core import scopes
from a2a_relay.core.principal import Principal, Role
from a2a_relay.core.tenants import TenantState

ALGORITHMS = ("RS256", "ES256", "EdDSA")


@pytest.fixture
def trusted(door: Door) -> Door:
    door.trust(*map(signer, ALGORITHMS), roles=("sender", "agent"))
    return door


class TestATokenSpeaksFor:
    @pytest.mark.parametrize("algorithm", ALGORITHMS)
    def test_a_sender_by_its_sub(self, trusted: Door, algorithm: str) -> None:
        found = trusted.authenticate(signer(algorithm).token(issuer_claims()))
        expected = scopes.default_scopes(Role.SENDER, is_open=True)
        assert found == Principal("acme", Role.SENDER, "zoe", None, EXP, issuer=ISSUER, scopes=expected)
        assert found.owner == f"{ISSUER}#sender:zoe"

    @pytest.mark.parametrize("aud", [AUDIENCE, [AUDIENCE], ["others", AUDIENCE]])
    def test_somebody_for_one_of_the_audiences(self, trusted: Door, aud: object) -> None:
        assert trusted.authenticate(signer("EdDSA").token(issuer_claims(aud=aud))).identity == "zoe"

    def test_an_agent_where_the_issuer_may_say_so(self, trusted: Door) -> None:
        found = trusted.authenticate(signer("ES256").token(issuer_claims(role="agent", agent_id="zaf")))
        assert (found.role, found.identity, found.attaches_as) == (Role.AGENT, "agent:zaf", "zaf")

    def test_an_admin_only_when_role_and_issuer_say_so(self, door: Door) -> None:
        door.trust(signer("EdDSA"), roles=("admin", "sender"))
        found = door.authenticate(signer("EdDSA").token(issuer_claims(role="admin")))
        assert (found.role, found.identity, found.manages, found.scopes) == (Role.ADMIN, "admin:zoe", True, None)
        assert door.authenticate(signer("EdDSA").token(issuer_claims())).role is Role.SENDER

    @pytest.mark.parametrize(
        "claims, expected",
        [
            ({"scope": "message:send  tasks:read openid profile"}, {"message:send", "tasks:read"}),
            ({"scopes": ["message:send", "keys:write", "letters:body"]}, {"message:send"}),
            ({"scope": "message:send tasks:read", "scopes": ["tasks:read", "push:read"]}, {"tasks:read"}),
            ({"scope": ""}, set()),
            ({"scope": "openid"}, set()),
            ({"scope": "method:ping"}, {"method:ping"}),
        ],
    )
    def test_somebody_with_the_scopes_that_it_asks_for(
        self, trusted: Door, claims: dict[str, Any], expected: set[str]
    ) -> None:
        assert trusted.authenticate(signer("EdDSA").token(issuer_claims(**claims))).scopes == expected

    def test_somebody_without_kid_when_only_one_key_can_be_meant(self, door: Door) -> None:
        text = signer("EdDSA").token(issuer_claims(), {"kid": None})
        door.trust(signer("EdDSA"), signer("ES256"))
        assert door.authenticate(text).identity == "zoe"
        door.trust(signer("EdDSA"), signer("EdDSA", "second"))
        assert door.refusal(text) == "invalid token"


class TestATokenIsRefused:
    @pytest.mark.parametrize(
        "claims, message",
        [
            ({"iss": ISSUER + "/"}, "invalid token"),
            ({"iss": ISSUER.upper()}, "invalid token"),
            ({"iss": [ISSUER]}, "invalid token"),
            ({"iss": None}, "invalid token"),
            ({"aud": None}, "invalid token"),
            ({"aud": "others"}, "invalid token"),
            ({"aud": [AUDIENCE, 7]}, "invalid token"),
            ({"aud": {AUDIENCE: 1}}, "invalid token"),
            ({"aud": []}, "invalid token"),
            ({"tenant": None}, "invalid token"),
            ({"tenant": "other"}, "invalid token"),
            ({"tenant": ["acme"]}, "invalid token"),
            ({"exp": None}, "the token needs an exp claim"),
            ({"exp": NOW - 61}, "the token has expired"),
            ({"nbf": NOW + 61}, "the token's nbf is ahead"),
            ({"iat": NOW + 61}, "the token's iat is ahead"),
            ({"sub": None}, "the token needs a sub claim"),
            ({"sub": ""}, "the token needs a sub claim"),
            ({"sub": 7}, "the token needs a sub claim"),
            ({"sub": ["zoe"]}, "the token's sub is neither text nor a number"),
            ({"jti": 1.5}, "the token's jti is neither text nor a number"),
            ({"role": "admin"}, "the issuer may not give this role"),
            ({"role": "operator"}, "unknown role in token"),
            ({"role": "SENDER"}, "unknown role in token"),
            ({"role": ["sender"]}, "unknown role in token"),
            ({"role": "agent"}, "token missing required agent_id claim"),
            ({"role": "agent", "agent_id": "../x"}, "the agent_id in the token is not an acceptable name"),
            ({"role": "agent", "agent_id": 7}, "the agent_id in the token is not an acceptable name"),
            ({"scope": ["message:send"]}, "the token's scope is not text"),
            ({"scopes": "message:send"}, "the token's scopes are not a list of text"),
            ({"scopes": ["message:send", 7]}, "the token's scopes are not a list of text"),
        ],
    )
    def test_for_what_it_claims(self, trusted: Door, claims: dict[str, Any], message: str) -> None:
        assert trusted.refusal(signer("EdDSA").token(issuer_claims(**claims))) == message

    def test_of_an_issuer_whose_algorithms_it_is_not_of(self, door: Door) -> None:
        door.trust(signer("EdDSA"), signer("ES256"), algorithms=("ES256",))
        assert door.refusal(signer("EdDSA").token(issuer_claims())) == "invalid token"
        assert door.authenticate(signer("ES256").token(issuer_claims()))

    def test_of_another_tenants_issuer(self, trusted: Door) -> None:
        trusted.trust(signer("EdDSA", "theirs"), tenant="other", url="https://theirs.example")
        theirs = signer("EdDSA", "theirs")
        own = issuer_claims(tenant="other", iss="https://theirs.example")
        assert trusted.authenticate(theirs.token(own)).tenant == "other"
        for claims in (own | {"tenant": "acme"}, own | {"iss": ISSUER}, issuer_claims()):
            assert trusted.refusal(theirs.token(claims)) == "invalid token"

    def test_of_a_tenant_that_is_disabled(self, trusted: Door) -> None:
        record = trusted.credentials.tenant("acme")
        assert record is not None
        trusted.tenant(state=TenantState.DISABLED, issuers=record.issuers)
        assert trusted.refusal(signer("EdDSA").token(issuer_claims())) == "the tenant is disabled"

    def test_when_the_offline_keys_cannot_be_read(self, door: Door) -> None:
        door.trust(jwks='{"keys": 7}')
        assert door.refusal(signer("EdDSA").token(issuer_claims())) == "invalid token"
        assert "cannot be read" in door.troubles[0]


class TestAPrincipalThatIsAskedAgain:
    def test_is_good_while_its_issuer_has_its_key(self, trusted: Door) -> None:
        principal = trusted.authenticate(signer("EdDSA").token(issuer_claims()))
        assert trusted.recheck(principal) == principal
        trusted.trust(signer("ES256"))
        assert trusted.recheck_refusal(principal) == "the token's issuer is not trusted any more"

    def test_is_nobody_once_its_issuer_is_gone_or_may_not_give_its_role(self, trusted: Door) -> None:
        principal = trusted.authenticate(signer("EdDSA").token(issuer_claims()))
        issuer = trusted.trust(signer("EdDSA"), roles=("agent",))
        assert trusted.recheck_refusal(principal) == "the token's issuer is not trusted any more"
        trusted.tenant(issuers=(issuer._replace(url="https://else.example", roles=("sender",)),))
        assert trusted.recheck_refusal(principal) == "the token's issuer is not trusted any more"
        trusted.tenant(state=TenantState.DISABLED, issuers=(issuer,))
        assert trusted.recheck_refusal(principal) == "the tenant is disabled"


class TestAKeySet:
    @pytest.mark.parametrize(
        "change",
        [
            {"use": "enc"},
            {"alg": "RS512"},
            {"alg": "HS256"},
            {"key_ops": ["sign"]},
            {"key_ops": "verify"},
            {"kty": "oct", "k": "AAAA"},
            {"kid": 7},
            {"kid": "k" * 300},
            {"crv": "P-384"},
            {"crv": ["Ed25519"]},
            {"x": "AAAA"},
            {"x": None},
        ],
    )
    def test_gives_no_key_that_is_for_something_else(self, door: Door, change: dict[str, Any]) -> None:
        jwk = signer("EdDSA").jwk | change
        door.trust(jwks=json.dumps({"keys": [7, None, "x", jwk]}))
        assert door.refusal(signer("EdDSA").token(issuer_claims())) == "invalid token"

    def test_gives_no_weak_and_no_monstrous_rsa_key(self, door: Door) -> None:
        from cryptography.hazmat.primitives.asymmetric import rsa

        weak = Signer("RS256", rsa.generate_private_key(65537, 1024), "weak")
        costly = signer("RS256").jwk | {"e": "A" + "Q" * 20}
        door.trust(jwks=json.dumps({"keys": [weak.jwk, costly]}))
        assert door.refusal(weak.token(issuer_claims())) == "invalid token"
        assert door.refusal(signer("RS256").token(issuer_claims())) == "invalid token"

    def test_may_hold_what_is_private_and_is_used_without_it(self, door: Door) -> None:
        jwk = signer("EdDSA").jwk | {"d": "AAAA"}
        door.trust(jwks=json.dumps({"keys": [jwk]}))
        assert door.authenticate(signer("EdDSA").token(issuer_claims()))

    def test_with_one_kid_for_two_keys_of_a_kind_verifies_nothing(self, door: Door) -> None:
        twin = Signer("EdDSA", signer("EdDSA", "twin").private, "EdDSA-1")
        door.trust(jwks=key_set(signer("EdDSA"), twin))
        assert door.refusal(signer("EdDSA").token(issuer_claims())) == "invalid token"
