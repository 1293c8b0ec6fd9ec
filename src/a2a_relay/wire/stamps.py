"""Who calls, as the relay vouches for it: what is signed, and what ties a signed assertion to one call.

An assertion is a compact JWS of the relay's (EdDSA), made once for a sender and a session and good for
`LIFE_SECONDS`. Each frame carries it with a MAC under a key that only the two ends of that session hold, over the
assertion's `jti`, the frame's id, the method, where a call of 0.3's HTTP+JSON goes, and its params as delivered.
A letter has no MAC: its JWS names all that itself, because it counts beyond its session.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from functools import lru_cache
from hashlib import sha256

from a2a_relay.wire.frames import Rest

ALGORITHM = "EdDSA"
SENDER_TYPE = "a2a-relay-sender+jwt"
LETTER_TYPE = "a2a-relay-letter+jwt"
LIFE_SECONDS = 300
KEY_BYTES = 32
_BLOCK_BYTES = 64
"""SHA-256's; keys are no longer."""
KEY_SET_PATH = "/.well-known/jwks.json"


def audience(tenant: str, agent: str) -> str:
    """`aud` of what is meant for one agent."""
    return f"{tenant}/{agent}"


def mac(key: bytes, jti: str, id: str, method: str, params: bytes, rest: Rest | None = None) -> bytes:
    """What ties a call to an assertion, as hexadecimal digits. Each part has its length before it."""
    return Mac(key)(jti, id, method, params, rest)


class Mac:
    """`mac` under one key, whose share of the work is done once: HMAC hashes the padded key first (RFC 2104)."""

    __slots__ = ("_inner", "_outer")

    def __init__(self, key: bytes) -> None:
        padded = key.ljust(_BLOCK_BYTES, b"\0")
        self._inner = sha256(bytes(byte ^ 0x36 for byte in padded))
        self._outer = sha256(bytes(byte ^ 0x5C for byte in padded))

    def __call__(self, jti: str, id: str, method: str, params: bytes, rest: Rest | None = None) -> bytes:
        """As `mac`."""
        message = b"%b%b%b%b" % (_part(jti), _write_part(id), _part(method), sha256(params).digest())
        if rest is not None:
            message += b"".join(map(_write_part, (rest.verb, rest.query, *rest.segments)))
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(message)
        outer.update(inner.digest())
        return outer.hexdigest().encode()


def params_digest(params: bytes) -> str:
    """The SHA-256 of params as delivered, in base64url: what a letter's JWS has for them."""
    return urlsafe_b64encode(sha256(params).digest()).rstrip(b"=").decode()


def _write_part(text: str) -> bytes:
    data = text.encode("utf-8", "surrogatepass")
    return len(data).to_bytes(4, "big") + data


_part = lru_cache(1024)(_write_part)  # of what call after call has: assertions and methods
