"""Shared-secret tokens: what relay-go accepts is accepted (decision 28), and nothing else."""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import Any

import pytest

from a2a_relay.auth import shared_secret
from a2a_relay.auth.shared_secret import SharedSecret
from a2a_relay.core.credential import Credential
from a2a_relay.core.principal import Principal, Role
from a2a_relay.errors import Reason, Refused
from a2a_relay.testing import TEST_SECRET, make_token, make_unsigned_token

NOW = 1_700_000_000.0
HOUR = 3600
DAY = 24 * HOUR
EXP = NOW + HOUR


@pytest.fixture
def door() -> SharedSecret:
    return SharedSecret(TEST_SECRET)


def token(_secret: str | bytes = TEST_SECRET, _algorithm: str = "HS256", **claims: Any) -> str:
    full = {"tenant": "acme", "exp": EXP, **claims}
    return make_token(_secret, {name: value for name, value in full.items() if value is not None}, algorithm=_algorithm)


def refusal(door: SharedSecret, credential: str, now: float = NOW) -> str:
    with pytest.raises(Refused) as refused:
        door.authenticate(Credential(credential), now)
    assert refused.value.reason is Reason.UNAUTHENTICATED
    return refused.value.message


class TestRoles:
    @pytest.mark.parametrize(
        "claims, principal",
        [
            ({"role": "agent", "agent_id": "zaf"}, Principal("acme", Role.AGENT, "agent:zaf", "zaf", EXP)),
            ({"role": "client", "user_id": "u", "sub": "s"}, Principal("acme", Role.SENDER, "u", None, EXP)),
            ({"role": "client", "sub": "s"}, Principal("acme", Role.SENDER, "s", None, EXP)),
            ({"role": "client", "sub": 7}, Principal("acme", Role.SENDER, "7", None, EXP)),
            ({"role": "client", "agent_id": "zaf"}, Principal("acme", Role.SENDER, "zaf", None, EXP)),
            ({"role": "client"}, Principal("acme", Role.SENDER, "anonymous", None, EXP)),
            ({"role": "client", "sub": "a\ud83d"}, Principal("acme", Role.SENDER, "a\\ud83d", None, EXP)),
            ({"agent_id": "zaf"}, Principal("acme", Role.ADMIN, "admin:zaf", "zaf", EXP)),
            ({"role": ""}, Principal("acme", Role.ADMIN, "admin:anonymous", None, EXP)),
            ({"user_id": "u", "agent_id": ""}, Principal("acme", Role.ADMIN, "admin:u", None, EXP)),
            ({"sub": True}, Principal("acme", Role.ADMIN, "admin:anonymous", None, EXP)),
            ({"sub": "x" * 999}, Principal("acme", Role.ADMIN, "admin:" + "x" * 256, None, EXP)),
        ],
    )
    def test_follow_from_the_claims(self, door: SharedSecret, claims: dict[str, Any], principal: Principal) -> None:
        assert door.authenticate(Credential(token(**claims)), NOW) == principal

    @pytest.mark.parametrize(
        "claims, message",
        [
            ({"role": "agent"}, "token missing required agent_id claim"),
            ({"role": "admin"}, "unknown role in token"),
            ({"role": "superuser"}, "unknown role in token"),
            ({"role": ["agent"]}, "unknown role in token"),
            ({"role": 1}, "unknown role in token"),
            ({"role": False}, "unknown role in token"),
            ({"tenant": None}, "missing tenant in token"),
            ({"tenant": ""}, "missing tenant in token"),
            ({"tenant": 7}, "missing tenant in token"),
            ({"tenant": "a/b"}, "the tenant in the token is not an acceptable name"),
            ({"tenant": ".."}, "the tenant in the token is not an acceptable name"),
            ({"tenant": "a\u0000"}, "the tenant in the token is not an acceptable name"),
            ({"agent_id": "a:b"}, "the agent_id in the token is not an acceptable name"),
            ({"agent_id": 7}, "invalid token"),
        ],
    )
    def test_that_are_none_are_refused(self, door: SharedSecret, claims: dict[str, Any], message: str) -> None:
        assert refusal(door, token(**claims)) == message


class TestTakenAsRelayGoTakesIt:
    @pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
    def test_any_hmac(self, door: SharedSecret, algorithm: str) -> None:
        assert door.authenticate(Credential(token(_algorithm=algorithm)), NOW).tenant == "acme"

    @pytest.mark.parametrize("secret", ["x" * 32, "x" * 64, "ключ" * 8])
    @pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
    def test_any_secret_that_is_long_enough(self, secret: str, algorithm: str) -> None:
        assert SharedSecret(secret).authenticate(Credential(token(secret, algorithm)), NOW).tenant == "acme"

    @pytest.mark.parametrize(
        "claims",
        [
            {"aud": "somebody else"},
            {"aud": ["a", "b"]},
            {"aud": 7},
            {"iss": "x"},
            {"iss": 7},
            {"iat": NOW + DAY},
            {"iat": "yesterday"},
            {"sub": 7},
            {"jti": 7},
            {"nbf": "x"},
            {"nbf": NOW + 60},
            {"unknown": {"a": [1]}},
        ],
    )
    def test_claims_that_do_not_matter(self, door: SharedSecret, claims: dict[str, Any]) -> None:
        assert door.authenticate(Credential(token(**claims)), NOW).tenant == "acme"

    @pytest.mark.parametrize("exp", [NOW - 60, NOW, NOW + 1, NOW + DAY, NOW + DAY + 60, NOW + 0.5, int(NOW)])
    def test_an_expiry_within_the_leeway(self, door: SharedSecret, exp: float) -> None:
        assert door.authenticate(Credential(token(exp=exp)), NOW).expires_at == exp


class TestTime:
    @pytest.mark.parametrize(
        "exp, message",
        [
            (NOW - 61, "the token has expired"),
            (1, "the token has expired"),
            (NOW + DAY + 61, "the token expires more than 24 h ahead"),
            (None, "the token needs an exp claim"),
            ("soon", "the token needs an exp claim"),
            (str(EXP), "the token needs an exp claim"),
            (True, "the token needs an exp claim"),
            (0, "the token needs an exp claim"),
            (-5, "the token needs an exp claim"),
            (1e300, "the token needs an exp claim"),
            (float("inf"), "the token needs an exp claim"),
            (float("nan"), "the token needs an exp claim"),
            ([EXP], "the token needs an exp claim"),
        ],
    )
    def test_an_expiry_that_is_not_acceptable(self, door: SharedSecret, exp: object, message: str) -> None:
        claims = {"tenant": "acme"} | ({} if exp is None else {"exp": exp})
        assert refusal(door, make_token(TEST_SECRET, claims)) == message

    def test_a_token_from_the_future_is_good_later(self, door: SharedSecret) -> None:
        credential = token(nbf=NOW + 120)
        assert "ahead" in refusal(door, credential)
        assert door.authenticate(Credential(credential), NOW + 60).tenant == "acme"

    def test_a_token_for_too_long_is_good_later(self, door: SharedSecret) -> None:
        credential = token(exp=NOW + DAY + HOUR)
        assert "ahead" in refusal(door, credential)
        assert door.authenticate(Credential(credential), NOW + HOUR).tenant == "acme"

    def test_a_known_token_expires_on_the_second(self, door: SharedSecret) -> None:
        credential = token()
        for now in (NOW, EXP, EXP + 60):
            assert door.authenticate(Credential(credential), now).tenant == "acme"
        for now in (EXP + 60.5, EXP + 61, EXP + DAY):
            assert refusal(door, credential, now) == "the token has expired"


class TestForgery:
    @pytest.mark.parametrize(
        "algorithm", ["none", "None", "NONE", "nOnE", "", "HS1", "RS256", "ES256", "EdDSA", "PS256"]
    )
    def test_of_the_algorithm_is_refused(self, door: SharedSecret, algorithm: str) -> None:
        claims = {"tenant": "acme", "exp": EXP}
        assert refusal(door, make_unsigned_token(claims, algorithm=algorithm)) == "invalid token"
        assert refusal(door, make_unsigned_token(claims, algorithm=algorithm, signature=b"x" * 32)) == "invalid token"
        assert refusal(door, make_token(TEST_SECRET, claims, algorithm=algorithm)) == "invalid token"

    @pytest.mark.parametrize("algorithm", [None, 7, ["HS256"], {"a": 1}])
    def test_of_the_header_is_refused(self, door: SharedSecret, algorithm: object) -> None:
        claims = {"tenant": "acme", "exp": EXP}
        assert refusal(door, make_token(TEST_SECRET, claims, header={"alg": algorithm})) == "invalid token"

    @pytest.mark.parametrize(
        "secret", ["", "another secret, which is long enough for anything at all", TEST_SECRET + "x"]
    )
    def test_with_another_secret_is_refused(self, door: SharedSecret, secret: str) -> None:
        assert refusal(door, token(secret)) == "invalid token"

    def test_with_one_algorithms_signature_under_anothers_name_is_refused(self, door: SharedSecret) -> None:
        signed = token(_algorithm="HS512").rsplit(".", 1)[0]
        digest = hmac.new(TEST_SECRET.encode(), signed.encode(), hashlib.sha256).digest()
        forged = f"{signed}.{base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}"
        assert refusal(door, forged) == "invalid token"

    def test_of_a_claim_is_refused(self, door: SharedSecret) -> None:
        head, _, tail = token().split(".")
        _, other, _ = token(tenant="other").split(".")
        assert refusal(door, f"{head}.{other}.{tail}") == "invalid token"

    def test_a_public_key_is_no_secret(self) -> None:
        pem = "-----BEGIN PUBLIC KEY-----\n" + "A" * 64 + "\n-----END PUBLIC KEY-----\n"
        assert refusal(SharedSecret(TEST_SECRET), token(pem)) == "invalid token"

    def test_unknown_critical_headers_are_refused(self, door: SharedSecret) -> None:
        claims = {"tenant": "acme", "exp": EXP}
        assert refusal(door, make_token(TEST_SECRET, claims, header={"crit": ["x"], "x": 1})) == "invalid token"


class TestJunk:
    @pytest.mark.parametrize(
        "credential",
        [
            "",
            " ",
            ".",
            "..",
            "...",
            "a.b.c",
            "a.b",
            "é.é.é",
            "\x00",
            "\ud800",
            "a.\udcff.c",
            "x" * 8192,
            "x" * 8193,
            "." * 8192,
            "eyJhbGciOiJIUzI1NiJ9..",
            "eyJhbGciOiJIUzI1NiJ9.W10.x",
        ],
    )
    def test_is_refused(self, door: SharedSecret, credential: str) -> None:
        assert refusal(door, credential) == "invalid token"

    def test_a_huge_good_token_is_refused_unread(self, door: SharedSecret) -> None:
        assert refusal(door, token(pad="x" * 8192)) == "invalid token"

    def test_claims_that_are_deep_are_refused(self, door: SharedSecret) -> None:
        deep: Any = []
        for _ in range(900):
            deep = [deep]
        good = token(deep=deep)
        assert door.authenticate(Credential(good), NOW).tenant == "acme" or len(good) > 8192

    @pytest.mark.parametrize("claims", [[], "x", 7, None])
    def test_claims_that_are_no_object_are_refused(self, door: SharedSecret, claims: Any) -> None:
        assert refusal(door, make_token(TEST_SECRET, claims)) == "invalid token"


class TestMemory:
    def test_a_verified_token_is_remembered(self, door: SharedSecret) -> None:
        credential = token()
        assert door.authenticate(Credential(credential), NOW) is door.authenticate(Credential(credential), NOW + 1)

    def test_a_dead_token_is_refused_alike_again(self, door: SharedSecret) -> None:
        for credential in (token(role="boss"), "a.b.c", token(exp=1)):
            assert refusal(door, credential) == refusal(door, credential)

    def test_is_bounded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(shared_secret, "_CACHED", 50)
        door = SharedSecret(TEST_SECRET)
        for number in range(120):
            door.authenticate(Credential(token(sub=number)), NOW)
            refusal(door, f"{number}.b.c")
        assert len(door._principals) == len(door._dead) == 50

    def test_a_flood_of_dead_tokens_forgets_no_good_one(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(shared_secret, "_CACHED", 50)
        door = SharedSecret(TEST_SECRET)
        known = door.authenticate(Credential(token()), NOW)
        for number in range(120):
            refusal(door, f"{number}.b.c")
        assert door.authenticate(Credential(token()), NOW) is known

    def test_never_answers_for_another_secret(self) -> None:
        credential = token()
        SharedSecret(TEST_SECRET).authenticate(Credential(credential), NOW)
        assert refusal(SharedSecret("y" * 64), credential) == "invalid token"

    def test_keeps_no_token_in_clear(self, door: SharedSecret) -> None:
        credential = token()
        door.authenticate(Credential(credential), NOW)
        assert credential not in repr(vars(door)["_principals"])
