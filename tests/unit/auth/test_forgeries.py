"""Tokens that somebody has made up: none speaks for anybody, whatever its header, its claims and its spelling say."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from doors import AUDIENCE, EXP, ISSUER, NOW, Door, Signer, base64url, hs256, issuer_claims, signer

from a2a_relay.core.principal import Role
from a2a_relay.testing import TEST_SECRET, make_token, make_unsigned_token

ALGORITHMS = ("RS256", "ES256", "EdDSA")
ADMIN = issuer_claims(role="admin")
LEGACY = {"tenant": "acme", "exp": EXP}


@pytest.fixture
def guarded(door: Door) -> Door:
    """Two tenants with issuers and signing keys of their own."""
    door.trust(*map(signer, ALGORITHMS), roles=("admin", "agent", "sender"))
    door.trust(signer("EdDSA", "theirs"), tenant="other", url="https://theirs.example")
    return door


@pytest.mark.parametrize("claims", [ADMIN, LEGACY], ids=["issuer", "legacy"])
@pytest.mark.parametrize(
    "algorithm", ["none", "None", "NONE", "nOnE", "none ", " none", "", "null", "HS256none", "NONE\0", "ＨＳ256"]
)
@pytest.mark.parametrize("signature", [b"", b"\0", b"none"])
def test_no_spelling_of_none_is_an_algorithm(
    guarded: Door, claims: dict[str, Any], algorithm: str, signature: bytes
) -> None:
    guarded.refusal(make_unsigned_token(claims, algorithm=algorithm, signature=signature))


@pytest.mark.parametrize("algorithm", [None, 7, ["none"], {"alg": "none"}, True])
def test_what_is_no_text_is_no_algorithm(guarded: Door, algorithm: object) -> None:
    guarded.refusal(make_token(TEST_SECRET, ADMIN, header={"alg": algorithm}))


def public_forms(of: Signer) -> list[bytes]:
    """Everything of a public key that an attacker may take for a secret."""
    public, encoding = of.private.public_key(), serialization.Encoding
    info = serialization.PublicFormat.SubjectPublicKeyInfo
    pem, der = public.public_bytes(encoding.PEM, info), public.public_bytes(encoding.DER, info)
    jwk = json.dumps(of.jwk).encode()
    more = [base64.urlsafe_b64decode(str(of.jwk[name]) + "==") for name in ("n", "x", "y") if name in of.jwk]
    if of.algorithm == "RS256":
        more.append(public.public_bytes(encoding.PEM, serialization.PublicFormat.PKCS1))
    return [pem, pem.strip(), pem.replace(b"\n", b"\r\n"), der, jwk, b"", *more]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("mac", ["HS256", "HS384", "HS512", "hs256"])
def test_no_public_key_is_a_secret(guarded: Door, algorithm: str, mac: str) -> None:
    for claims in (ADMIN, LEGACY):
        for form in public_forms(signer(algorithm)):
            guarded.refusal(make_token(form, claims, algorithm=mac, header={"kid": f"{algorithm}-1"}))


@pytest.mark.parametrize("made_with", ALGORITHMS)
@pytest.mark.parametrize("named", [*ALGORITHMS, "RS384", "PS256", "ES384", "ES512", "ES256K", "Ed25519", "HS256"])
def test_no_signature_is_taken_for_one_of_another_algorithm(guarded: Door, made_with: str, named: str) -> None:
    if made_with == named:
        return
    for id in (*(f"{algorithm}-1" for algorithm in ALGORITHMS), None):
        guarded.refusal(signer(made_with).token(ADMIN, {"alg": named, "kid": id}))


@pytest.mark.parametrize("curve", [ec.SECP384R1()])
def test_no_signature_over_another_curve_is_one_of_es256(door: Door, curve: ec.EllipticCurve) -> None:
    wrong = Signer("ES256", ec.generate_private_key(curve), "wide")
    door.trust(wrong, roles=("admin",))
    door.refusal(wrong.token(ADMIN))


@pytest.mark.parametrize(
    "kid",
    [
        "../../../../dev/null",
        "/dev/null",
        "file:///etc/hostname",
        "' OR '1'='1",
        "x' UNION SELECT 'AAAA",
        "EdDSA-1\0",
        "EdDSA-1 ",
        "eddsa-1",
        "theirs",
        "https://attacker.example/keys",
        "| cat /etc/hostname",
        "%00",
        "",
        7,
        None,
        ["EdDSA-1"],
        {"kid": "EdDSA-1"},
    ],
)
def test_kid_is_a_name_and_nothing_else(guarded: Door, kid: object) -> None:
    stranger = Signer("EdDSA", signer("EdDSA", "stranger").private, "stranger")
    guarded.refusal(stranger.token(ADMIN, {"kid": kid}))
    guarded.refusal(signer("EdDSA", "theirs").token(ADMIN, {"kid": kid}))
    for secret in ("", "\0", "AAAA", str(kid)):
        guarded.refusal(make_token(secret, LEGACY, header={"kid": kid}))


@pytest.mark.parametrize("name", ["jwk", "jku", "x5u", "x5c", "x5t"])
def test_where_a_token_says_its_key_is_nobody_looks(guarded: Door, name: str) -> None:
    stranger = signer("EdDSA", "stranger")
    found = {"jwk": stranger.jwk, "x5c": ["AAAA"]}.get(name, "https://attacker.example/keys")
    for kid in ("EdDSA-1", "stranger", None):
        guarded.refusal(stranger.token(ADMIN, {name: found, "kid": kid}))
    assert not guarded.fetched
    assert guarded.authenticate(signer("EdDSA").token(ADMIN, {name: found})).manages  # it counts for nothing


@pytest.mark.parametrize("header", [{"crit": ["x"], "x": 1}, {"crit": ["b64"], "b64": False}, {"crit": []}])
def test_what_must_be_understood_and_is_not_is_refused(guarded: Door, header: dict[str, Any]) -> None:
    guarded.refusal(signer("EdDSA").token(ADMIN, header))
    secret, _ = guarded.signing_key(Role.ADMIN)
    guarded.refusal(make_token(secret, LEGACY, header=header))


@pytest.mark.parametrize(
    "claims",
    [
        {"tenant": "other"},
        {"tenant": "other", "iss": "https://theirs.example"},
        {"tenant": "nowhere"},
        {"tenant": ""},
        {"tenant": "acme\0"},
        {"tenant": ["acme"]},
        {"iss": "https://theirs.example"},
        {"iss": "https://issuer.example/"},
        {"iss": "https://issuer.example@attacker.example"},
        {"aud": "https://relay.example.attacker.example"},
        {"aud": "https://relay.exampl"},
        {"exp": 1e308},
        {"exp": 10**30},
        {"exp": -1},
        {"exp": True},
        {"exp": str(EXP)},
        {"exp": NOW - 61},
        {"exp": NOW + 25 * 3600},
        {"nbf": NOW + 3600},
        {"iat": NOW + 3600},
        {"iat": "yesterday"},
        {"role": "operator"},
        {"role": "admin "},
        {"role": {"admin": True}},
    ],
)
def test_a_good_signature_does_not_make_these_claims_good(guarded: Door, claims: dict[str, Any]) -> None:
    guarded.refusal(signer("EdDSA").token(ADMIN | claims))
    guarded.refusal(signer("EdDSA", "theirs").token(ADMIN | claims))


@pytest.mark.parametrize("claims", ['{"exp":NaN}', '{"exp":Infinity}', '{"exp":1e999}', '{"exp":1,"exp":9999999999}'])
def test_claims_that_are_no_strict_json_are_refused(guarded: Door, claims: str) -> None:
    rest = json.dumps({name: value for name, value in ADMIN.items() if name != "exp"})[1:]
    guarded.refusal(signer("EdDSA").token(claims[:-1] + "," + rest))


@pytest.mark.parametrize("twice", ["tenant", "role", "aud", "iss", "sub"])
def test_a_claim_that_has_two_values_has_none(guarded: Door, twice: str) -> None:
    text = json.dumps(ADMIN)
    guarded.authenticate(signer("EdDSA").token(text))
    guarded.refusal(signer("EdDSA").token(f'{{"{twice}":"other",{text[1:]}'))
    guarded.refusal(signer("EdDSA").token(f'{text[:-1]},"{twice}":{json.dumps(ADMIN[twice])}}}'))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_no_other_spelling_of_a_good_token_is_one(guarded: Door, algorithm: str) -> None:
    token = signer(algorithm).token(ADMIN)
    guarded.authenticate(token)
    head, body, signature = token.split(".")
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    last = alphabet[alphabet.index(signature[-1]) ^ 1]  # the last bit of which is padding, or else is signed
    changed = [
        f"{head}.{body}",
        f"{head}.{body}.",
        f"{head}..{signature}",
        f".{body}.{signature}",
        f"{token}.",
        f"{token}.{signature}",
        f"{head}.{head}.{body}.{signature}",
        f"{head}.{body}.{signature}{signature}",
        f"{head}.{body}.{signature[:-1]}",
        f"{head}.{body}.{signature[:-4]}",
        f"{head}.{body}.{signature[:-1]}{last}",
        f"{head}.{body}.{signature}=",
        f"{head}=.{body}.{signature}",
        f"{head}.{body}.{signature[:10]}\n{signature[10:]}",
        f"{head}.{body}.{signature} ",
        f" {token}",
        f"{body}.{head}.{signature}",
        f"{head}.{base64url(json.dumps(ADMIN | {'tenant': 'other'}).encode())}.{signature}",
        f"{head}.{body}.{base64url(bytes(64))}",
        f"{head}.{body}.{base64url(bytes(256))}",
    ]
    for text in changed:
        guarded.refusal(text)


def test_an_ecdsa_signature_is_of_the_raw_form_alone(guarded: Door) -> None:
    from cryptography.hazmat.primitives import hashes

    es256 = signer("ES256")
    head, body, _ = es256.token(ADMIN).split(".")
    der = es256.private.sign(f"{head}.{body}".encode(), ec.ECDSA(hashes.SHA256()))
    guarded.refusal(f"{head}.{body}.{base64url(der)}")
    n = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    for r, s in ((0, 0), (n, n), (0, 1), (1, 0), (n, 1)):
        guarded.refusal(f"{head}.{body}.{base64url(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}")


class TestATokenOfAnAgentsSigningKey:
    @pytest.mark.parametrize(
        "claims",
        [
            {"agent_id": "bob"},
            {"agent_id": ["zaf"]},
            {"agent_id": "zaf "},
            {"agent_id": "ZAF"},
            {"agent_id": None},
            {"tenant": "other"},
            {"tenant": "other", "agent_id": "bob"},
            {"role": "admin"},
            {"role": "client"},
            {"role": "operator"},
            {"aud": AUDIENCE},
            {"iss": ISSUER, "aud": AUDIENCE},
            {"exp": None},
            {"exp": NOW + 25 * 3600},
            {"exp": NOW - 61},
            {"nbf": NOW + 61},
            {"iat": NOW + 61},
            {"jti": 1.5},
        ],
    )
    def test_is_good_for_that_agent_alone(self, guarded: Door, claims: dict[str, Any]) -> None:
        secret, record = guarded.signing_key(Role.AGENT, agent="zaf")
        guarded.signing_key(Role.AGENT, agent="bob")
        guarded.signing_key(Role.AGENT, tenant="other", agent="bob")
        guarded.signing_key(Role.ADMIN)
        assert guarded.authenticate(hs256(secret)).key == record.id
        guarded.refusal(hs256(secret, **claims))

    @pytest.mark.parametrize("algorithm", ["HS384", "HS512", "hs256", "none", "RS256"])
    def test_is_of_one_algorithm(self, guarded: Door, algorithm: str) -> None:
        secret, _ = guarded.signing_key(Role.AGENT, agent="zaf")
        guarded.refusal(make_token(secret, LEGACY | {"agent_id": "zaf"}, algorithm=algorithm))

    def test_is_not_one_of_relay_gos_secret(self, guarded: Door) -> None:
        guarded.signing_key(Role.AGENT, agent="zaf")
        found = guarded.authenticate(hs256(TEST_SECRET, role=None))
        assert found.is_legacy
        assert not found.manages
