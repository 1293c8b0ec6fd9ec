"""A relay's door with keys of every kind behind it, and keys of issuers to sign with."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from a2a_relay.auth.api_keys import ApiKeys
from a2a_relay.auth.chain import AuthenticatorChain
from a2a_relay.auth.issuers import Issuers
from a2a_relay.auth.key_sets import KeySets
from a2a_relay.auth.legacy import LegacyTokens
from a2a_relay.auth.sealing import Seal
from a2a_relay.auth.shared_secret import SharedSecret
from a2a_relay.auth.signing_keys import SigningKeys
from a2a_relay.core.audit import AuditFact
from a2a_relay.core.credential import Credential
from a2a_relay.core.keys import KeyForm, KeyRecord, KeySecret, digest_of, prefix_of, write_key
from a2a_relay.core.principal import Principal, Role
from a2a_relay.core.tenants import Issuer, TenantRecord
from a2a_relay.errors import Reason, Refused
from a2a_relay.stores.memory.audit import MemoryAudit
from a2a_relay.stores.memory.credentials import MemoryCredentials
from a2a_relay.testing import TEST_SECRET, FakeClock, make_token
from a2a_relay.testing.clock import START_AT

NOW = START_AT
EXP = NOW + 3600
FACT = AuditFact("acme", "store", "keys.put")
ISSUER = "https://issuer.example"
AUDIENCE = "https://relay.example"


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Signer:
    """A key pair of an issuer."""

    def __init__(self, algorithm: str, private: Any, id: str) -> None:
        self.algorithm, self.private, self.id = algorithm, private, id

    @property
    def jwk(self) -> dict[str, Any]:
        public = self.private.public_key()
        common = {"kid": self.id, "use": "sig", "alg": self.algorithm}
        if self.algorithm == "RS256":
            numbers = public.public_numbers()
            size = (public.key_size + 7) // 8
            return {**common, "kty": "RSA", "n": base64url(numbers.n.to_bytes(size, "big")), "e": "AQAB"}
        if self.algorithm == "ES256":
            numbers, size = public.public_numbers(), (public.curve.key_size + 7) // 8
            curve = {"secp256r1": "P-256", "secp384r1": "P-384"}[public.curve.name]
            at = {name: base64url(getattr(numbers, name).to_bytes(size, "big")) for name in ("x", "y")}
            return {**common, "kty": "EC", "crv": curve, **at}
        raw = public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        return {**common, "kty": "OKP", "crv": "Ed25519", "x": base64url(raw)}

    def signature(self, message: bytes) -> bytes:
        if self.algorithm == "RS256":
            return bytes(self.private.sign(message, padding.PKCS1v15(), hashes.SHA256()))
        if self.algorithm == "ES256":
            size = (self.private.curve.key_size + 7) // 8
            r, s = decode_dss_signature(self.private.sign(message, ec.ECDSA(hashes.SHA256())))
            return r.to_bytes(size, "big") + s.to_bytes(size, "big")
        return bytes(self.private.sign(message))

    def token(self, claims: Mapping[str, Any] | str, header: Mapping[str, Any] | None = None) -> str:
        """A token; None for a claim leaves it out."""
        head = {"alg": self.algorithm, "kid": self.id, "typ": "JWT", **(header or {})}
        texts = [
            part if isinstance(part, str) else json.dumps({k: v for k, v in part.items() if v is not None})
            for part in (head, claims)
        ]
        signed = ".".join(base64url(text.encode()) for text in texts)
        return f"{signed}.{base64url(self.signature(signed.encode()))}"


@cache
def signer(algorithm: str, id: str = "") -> Signer:
    """The same key for the same name: RSA keys take their time."""
    private: Any
    if algorithm == "RS256":
        private = rsa.generate_private_key(65537, 2048)
    elif algorithm == "ES256":
        private = ec.generate_private_key(ec.SECP256R1())
    else:
        private = ed25519.Ed25519PrivateKey.generate()
    return Signer(algorithm, private, id or f"{algorithm}-1")


def issuer_claims(**claims: Any) -> dict[str, Any]:
    full = {"iss": ISSUER, "aud": AUDIENCE, "sub": "zoe", "tenant": "acme", "exp": EXP}
    return full | claims


def key_set(*signers: Signer) -> str:
    return json.dumps({"keys": [each.jwk for each in signers]})


@dataclass
class Door:
    """The whole chain, as a relay has it, with stores in memory."""

    path: Path
    is_open: bool = True
    legacy_tenants: tuple[str, ...] = ("*",)
    clock: FakeClock = field(default_factory=FakeClock)
    troubles: list[str] = field(default_factory=list)
    published: dict[str, bytes | Exception] = field(default_factory=dict)
    fetched: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.credentials = MemoryCredentials(MemoryAudit(self.clock.now))
        self.seal = Seal(self.path / "master_key")
        self.key_sets = KeySets(self.fetch, self.clock.monotonic, self.troubles.append)
        self.signing_keys = SigningKeys(
            self.credentials, self.seal, is_open=self.is_open, on_trouble=self.troubles.append
        )
        legacy = LegacyTokens(
            self.credentials, SharedSecret(TEST_SECRET), tenants=self.legacy_tenants, is_open=self.is_open
        )
        self.issuers = Issuers(self.credentials, self.key_sets, is_open=self.is_open)
        self.chain = AuthenticatorChain(
            self.credentials, ApiKeys(self.credentials), self.signing_keys, self.issuers, legacy
        )

    async def fetch(self, url: str) -> bytes:
        self.fetched.append(url)
        await asyncio.sleep(0)
        found = self.published[url]
        if isinstance(found, Exception):
            raise found
        return found

    def authenticate(self, text: str, now: float | None = None) -> Principal:
        return self.chain.authenticate(Credential(text), self.clock.now() if now is None else now)

    def refusal(self, text: str, now: float | None = None) -> str:
        """Why a credential is refused."""
        with pytest.raises(Refused) as refused:
            self.authenticate(text, now)
        assert refused.value.reason is Reason.UNAUTHENTICATED
        return refused.value.message

    def recheck(self, principal: Principal) -> Principal:
        return self.chain.recheck(principal, self.clock.now())

    def recheck_refusal(self, principal: Principal) -> str:
        with pytest.raises(Refused) as refused:
            self.recheck(principal)
        assert refused.value.reason is Reason.UNAUTHENTICATED
        return refused.value.message

    def tenant(self, name: str = "acme", **settled: Any) -> TenantRecord:
        record = TenantRecord(name, NOW)._replace(**settled)
        asyncio.run(self.credentials.put_tenant(record, FACT))
        return record

    def key(self, role: Role, text: str = "", *, tenant: str = "acme", **settled: Any) -> tuple[str, KeyRecord]:
        """A key and what is known of it; one of the form hs256 signs with its own text."""
        if tenant and self.credentials.tenant(tenant) is None:
            self.tenant(tenant)
        number = len(self.credentials.keys_of(tenant)) + 1
        id = f"key_{tenant}{number}"
        text = text or write_key(role, digest_of(id))
        record = KeyRecord(id, tenant, f"name-{number}", role, NOW, ())._replace(**settled)
        if not record.secrets:
            record = record._replace(secrets=(self.secret(text, record),))
        self.put(record)
        return text, record

    def secret(self, text: str, record: KeyRecord, **settled: Any) -> KeySecret:
        sealed = self.seal.seal(text.encode(), record.id) if record.form is KeyForm.HS256 else None
        return KeySecret(digest_of(text), prefix_of(text), NOW, sealed=sealed)._replace(**settled)

    def put(self, record: KeyRecord) -> None:
        asyncio.run(self.credentials.put_key(record, FACT))

    def signing_key(self, role: Role, **settled: Any) -> tuple[str, KeyRecord]:
        return self.key(role, form=KeyForm.HS256, **settled)

    def trust(self, *signers: Signer, tenant: str = "acme", **settled: Any) -> Issuer:
        """An issuer with these keys, offline."""
        issuer = Issuer(ISSUER, (AUDIENCE,), jwks=key_set(*signers))._replace(**settled)
        self.tenant(tenant, issuers=(issuer,))
        return issuer


def hs256(secret: str, **claims: Any) -> str:
    """A token as agents of today mint theirs; None for a claim leaves it out."""
    full = {"tenant": "acme", "agent_id": "zaf", "exp": EXP, **claims}
    return make_token(secret, {name: value for name, value in full.items() if value is not None})
