"""Sets of public keys (RFC 7517), of which those are taken that verify one of three algorithms."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from jwt import InvalidKeyError, algorithms

from a2a_relay.auth.tokens import MAX_KEY_ID_CHARS, Token, read_object

MAX_KEYS = 64
MAX_BYTES = 64 * 1024
_RSA_BITS = range(2048, 8193)
_MAX_EXPONENT = 2**32
"""Larger ones are nobody's, and cost whoever verifies with them."""

_ALGORITHM_OF = {("RSA", ""): "RS256", ("EC", "P-256"): "ES256", ("OKP", "Ed25519"): "EdDSA"}
_PUBLIC = {"RSA": ("n", "e"), "EC": ("crv", "x", "y"), "OKP": ("crv", "x")}
_VERIFIERS: Mapping[str, Any] = {
    "RS256": algorithms.RSAAlgorithm(algorithms.RSAAlgorithm.SHA256),
    "ES256": algorithms.ECAlgorithm(algorithms.ECAlgorithm.SHA256),
    "EdDSA": algorithms.OKPAlgorithm(),
}
ALGORITHMS = frozenset(_VERIFIERS)
"""What tokens of issuers may be signed with: never with anything whose key is a secret."""


class PublicKey(NamedTuple):
    """One key of an issuer. It verifies one algorithm, whatever a token says; `digest` is of the key alone."""

    id: str
    algorithm: str
    key: Any
    digest: bytes

    def has_signed(self, token: Token) -> bool:
        """Whether a token's signature is this key's."""
        return bool(_VERIFIERS[self.algorithm].verify(token.signed, self.key, token.signature))


def read_key_set(data: bytes) -> tuple[PublicKey, ...]:
    """The keys of a set that can be used here; others are passed over. Raises ValueError for what is no set."""
    try:
        listed = read_object(data.decode("utf-8")).get("keys")
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if len(data) > MAX_BYTES or not isinstance(listed, list) or len(listed) > MAX_KEYS:
        raise ValueError(f"not a list of at most {MAX_KEYS} keys in at most {MAX_BYTES} bytes")
    return tuple(key for key in map(_read_key, listed) if key is not None)


def _read_key(jwk: Any) -> PublicKey | None:
    if not isinstance(jwk, dict):
        return None
    kind, curve, id = (jwk.get(name, "") for name in ("kty", "crv", "kid"))
    algorithm = _ALGORITHM_OF.get((kind, curve)) if isinstance(kind, str) and isinstance(curve, str) else None
    if algorithm is None or not isinstance(id, str) or len(id) > MAX_KEY_ID_CHARS or not _verifies(jwk, algorithm):
        return None
    public = {"kty": kind, **{name: jwk.get(name) for name in _PUBLIC[kind]}}  # never what is private in it
    try:
        key = _VERIFIERS[algorithm].from_jwk(public)
    except (InvalidKeyError, ValueError, TypeError):
        return None
    if kind == "RSA" and (key.key_size not in _RSA_BITS or key.public_numbers().e > _MAX_EXPONENT):
        return None
    digest = hashlib.sha256(json.dumps(public, sort_keys=True).encode()).digest()
    return PublicKey(id, algorithm, key, digest)


def _verifies(jwk: Mapping[str, Any], algorithm: str) -> bool:
    """Whether a key says that it is for this; most say it, and one that says otherwise is not used."""
    operations = jwk.get("key_ops", ["verify"])
    return (
        jwk.get("use", "sig") == "sig"
        and jwk.get("alg", algorithm) in (algorithm, "Ed25519" if algorithm == "EdDSA" else algorithm)
        and isinstance(operations, list)
        and "verify" in operations
    )
