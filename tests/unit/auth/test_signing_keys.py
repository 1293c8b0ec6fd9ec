"""Keys that sign tokens: an agent's for that agent alone, a sender's for senders, an admin's for the tenant."""

from __future__ import annotations

from typing import Any

import pytest
from doors import EXP, NOW, Door, hs256

from a2a_relay.auth import signing_keys
from a2a_relay.core.principal import Principal, Role
from a2a_relay.core.tenants import TenantState

DAY = 24 * 3600
SECRET = "a signing secret of an agent, some 50 bytes of it."


class TestAnAgentsKey:
    @pytest.mark.parametrize("claims", [{}, {"role": "agent"}, {"role": "", "sub": 7, "jti": 9, "user_id": "u"}])
    def test_signs_for_its_agent_with_relay_gos_claims(self, door: Door, claims: dict[str, Any]) -> None:
        secret, record = door.signing_key(Role.AGENT, agent="zaf", scopes=frozenset({"message:send"}))
        found = door.authenticate(hs256(secret, **claims))
        assert found == Principal(
            "acme",
            Role.AGENT,
            "agent:zaf",
            "zaf",
            EXP,
            key=record.id,
            issuer=record.id,
            scopes=frozenset({"message:send"}),
        )
        assert not found.manages
        assert found.credential == record.secrets[0].digest

    @pytest.mark.parametrize(
        "claims",
        [
            {"role": "admin"},
            {"role": "client"},
            {"role": "sender"},
            {"role": "operator"},
            {"role": "Agent"},
            {"role": ["agent"]},
            {"aud": "relay"},
            {"aud": None, "exp": EXP + 2 * DAY},
        ],
    )
    def test_signs_nothing_else(self, door: Door, claims: dict[str, Any]) -> None:
        secret, _ = door.signing_key(Role.AGENT, agent="zaf")
        assert door.refusal(hs256(secret, **claims)) != "invalid token"

    @pytest.mark.parametrize("claims", [{"agent_id": "bob"}, {"tenant": "other"}, {"agent_id": None}, {"tenant": None}])
    def test_is_not_even_tried_for_another(self, door: Door, claims: dict[str, Any]) -> None:
        secret, _ = door.signing_key(Role.AGENT, agent="zaf")
        door.tenant("other")
        door.key(Role.AGENT, agent="bob")
        assert door.refusal(hs256(secret, **claims)) == "invalid token"

    def test_that_is_revoked_or_over_opens_nothing(self, door: Door) -> None:
        secret, record = door.signing_key(Role.AGENT, agent="zaf")
        token = hs256(secret)
        door.authenticate(token)
        door.put(record._replace(expires_at=NOW))
        assert door.refusal(token) == "the key has expired"
        door.put(record._replace(revoked_at=NOW))
        assert door.refusal(token) == "invalid token"
        door.tenant(state=TenantState.DISABLED)

    def test_ends_no_later_than_the_key(self, door: Door) -> None:
        secret, _ = door.signing_key(Role.AGENT, agent="zaf", expires_at=NOW + 60)
        token = hs256(secret)
        assert door.authenticate(token).expires_at == NOW + 60
        assert door.refusal(token, NOW + 60) == "the key has expired"


class TestASendersKey:
    @pytest.mark.parametrize("role", [None, "sender", "client"])
    def test_signs_for_senders(self, door: Door, role: str | None) -> None:
        secret, record = door.signing_key(Role.SENDER, agents=frozenset({"zaf"}), scopes=frozenset({"tasks:read"}))
        found = door.authenticate(hs256(secret, role=role, user_id="zoe"))
        assert (found.role, found.identity, found.attaches_as) == (Role.SENDER, "zoe", None)
        assert (found.agents, found.scopes, found.key) == (frozenset({"zaf"}), frozenset({"tasks:read"}), record.id)

    @pytest.mark.parametrize("role", ["admin", "agent", "operator"])
    def test_signs_for_nobody_else(self, door: Door, role: str) -> None:
        secret, _ = door.signing_key(Role.SENDER)
        assert door.refusal(hs256(secret, role=role)) in ("the key may not sign for this", "unknown role in token")

    def test_gives_away_no_scope_that_it_has_not(self, door: Door) -> None:
        secret, _ = door.signing_key(Role.SENDER, scopes=frozenset({"tasks:read", "method:ping"}))
        asked = "tasks:read tasks:write keys:write method:* unknown"
        assert door.authenticate(hs256(secret, scope=asked)).scopes == {"tasks:read", "method:ping"}

    def test_gives_no_sender_what_is_an_admins(self, door: Door) -> None:
        secret, _ = door.signing_key(Role.SENDER)
        asked = ["keys:write", "letters:body", "letters:write", "message:send", "method:ping"]
        assert door.authenticate(hs256(secret, scopes=asked)).scopes == {"message:send", "method:ping"}


class TestTheTenantsOwnSecret:
    def test_manages_only_when_a_token_says_that_it_is_an_admins(self, door: Door) -> None:
        secret, _ = door.signing_key(Role.ADMIN)
        explicit = door.authenticate(hs256(secret, role="admin", identity="zoe", agent_id=None))
        assert (explicit.role, explicit.identity, explicit.manages) == (Role.ADMIN, "admin:zoe", True)
        silent = door.authenticate(hs256(secret))
        assert (silent.role, silent.attaches_as, silent.manages) == (Role.ADMIN, "zaf", False)

    @pytest.mark.parametrize(
        "role, expected, attaches_as", [("agent", Role.AGENT, "zaf"), ("client", Role.SENDER, None)]
    )
    def test_signs_for_agents_and_senders(self, door: Door, role: str, expected: Role, attaches_as: str | None) -> None:
        secret, _ = door.signing_key(Role.ADMIN)
        found = door.authenticate(hs256(secret, role=role))
        assert (found.role, found.attaches_as, found.manages) == (expected, attaches_as, False)

    def test_signs_for_no_operator_and_no_other_tenant(self, door: Door) -> None:
        secret, _ = door.signing_key(Role.ADMIN)
        door.tenant("other")
        assert door.refusal(hs256(secret, role="operator")) == "unknown role in token"
        assert door.refusal(hs256(secret, role="admin", tenant="other")) == "invalid token"

    def test_signs_for_no_agent_that_it_may_not_see(self, door: Door) -> None:
        secret, _ = door.signing_key(Role.ADMIN, agents=frozenset({"bob"}))
        assert door.refusal(hs256(secret, role="agent")) == "the key may not sign for this agent"

    def test_needs_the_agent_of_an_agents_token(self, door: Door) -> None:
        secret, _ = door.signing_key(Role.ADMIN)
        assert door.refusal(hs256(secret, role="agent", agent_id=None)) == "token missing required agent_id claim"


class TestWhichKeyIsTried:
    def test_follows_from_kid_among_the_tenants_own(self, door: Door) -> None:
        first, one = door.signing_key(Role.ADMIN)
        second, two = door.signing_key(Role.SENDER)
        from a2a_relay.testing import make_token

        claims = {"tenant": "acme", "exp": EXP}
        assert door.authenticate(make_token(second, claims, header={"kid": two.id})).key == two.id
        assert door.refusal(make_token(first, claims, header={"kid": two.id})) == "invalid token"
        assert door.authenticate(make_token(first, claims, header={"kid": "of-the-agents-own"})).key == one.id

    def test_without_kid_the_newest_first_and_not_without_end(self, door: Door) -> None:
        oldest, _ = door.signing_key(Role.SENDER)
        for later in range(signing_keys.MAX_TRIED):
            text, record = door.signing_key(Role.SENDER)
            secret = record.secrets[0]._replace(created_at=NOW + 1 + later)
            door.put(record._replace(secrets=(secret,)))
        assert door.authenticate(hs256(text)).key == record.id
        assert door.refusal(hs256(oldest)) == "invalid token"

    def test_an_absent_key_costs_what_a_wrong_one_does(self, door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
        tried: list[bytes] = []
        real = signing_keys._signature
        monkeypatch.setattr(signing_keys, "_signature", lambda clear, token: tried.append(clear) or real(clear, token))
        door.signing_key(Role.AGENT, agent="zaf")
        counts = []
        for claims in ({}, {"agent_id": "nobody"}, {"tenant": "nowhere"}):
            tried.clear()
            assert door.refusal(hs256("another secret, that nobody has", **claims)) == "invalid token"
            counts.append(len(tried))
        assert counts == [1, 1, 1]

    def test_a_secret_that_does_not_open_is_told_of_and_passed_over(self, door: Door) -> None:
        secret, record = door.signing_key(Role.AGENT, agent="zaf")
        broken = record.secrets[0]._replace(sealed=b"\1" + b"0" * 60)
        door.put(record._replace(secrets=(broken,)))
        assert door.refusal(hs256(secret)) == "invalid token"
        assert record.id in door.troubles[0]
        assert secret not in door.troubles[0]


class TestAPrincipalThatIsAskedAgain:
    def test_is_what_its_key_makes_of_it_today(self, door: Door) -> None:
        secret, record = door.signing_key(Role.SENDER)
        principal = door.authenticate(hs256(secret, scope="message:send tasks:read"))
        door.put(record._replace(scopes=frozenset({"tasks:read"}), agents=frozenset({"zaf"}), expires_at=NOW + 9))
        again = door.recheck(principal)
        assert (again.scopes, again.agents, again.expires_at) == ({"tasks:read"}, {"zaf"}, NOW + 9)
        assert again.owner == principal.owner

    def test_is_nobody_once_its_key_is_revoked(self, door: Door) -> None:
        secret, record = door.signing_key(Role.ADMIN)
        principal = door.authenticate(hs256(secret))
        assert door.recheck(principal) == principal
        door.put(record._replace(revoked_at=NOW))
        assert door.recheck_refusal(principal) == "the key is revoked"

    def test_is_nobody_once_its_key_speaks_for_another(self, door: Door) -> None:
        secret, record = door.signing_key(Role.AGENT, agent="zaf")
        principal = door.authenticate(hs256(secret))
        door.put(record._replace(agent="bob"))
        assert door.recheck_refusal(principal) == "the key may not sign for this any more"
