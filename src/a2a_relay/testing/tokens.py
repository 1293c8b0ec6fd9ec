"""JWTs as the world makes them, the good and the bad."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any

_DIGESTS = {"HS256": hashlib.sha256, "HS384": hashlib.sha384, "HS512": hashlib.sha512}


def make_token(
    secret: str | bytes,
    claims: dict[str, Any],
    *,
    algorithm: str = "HS256",
    header: dict[str, Any] | None = None,
) -> str:
    """A signed token. Built by hand, so that no library refuses to make a wrong one."""
    key = secret.encode() if isinstance(secret, str) else secret
    signed = _joined({"alg": algorithm, "typ": "JWT", **(header or {})}, claims)
    digest = _DIGESTS.get(algorithm, hashlib.sha256)
    return f"{signed}.{_encoded(hmac.new(key, signed.encode(), digest).digest())}"


def make_unsigned_token(claims: dict[str, Any], *, algorithm: str = "none", signature: bytes = b"") -> str:
    """A token that claims to need no signature, or has a made-up one."""
    return f"{_joined({'alg': algorithm, 'typ': 'JWT'}, claims)}.{_encoded(signature)}"


def _joined(header: dict[str, Any], claims: dict[str, Any]) -> str:
    return f"{_encoded(json.dumps(header).encode())}.{_encoded(json.dumps(claims).encode())}"


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
