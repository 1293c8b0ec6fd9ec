"""JWTs, read strictly: what has more than one reading, or asks for what is not done here, is no token.

Nothing is verified here. Each door that takes tokens asks its own keys, by names that it knows already.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any, NamedTuple, NoReturn

from a2a_relay.auth.verified import unauthenticated

MAX_TOKEN_CHARS = 8192
LEEWAY_SECONDS = 60
MAX_LIFE_SECONDS = 24 * 3600
MAX_KEY_ID_CHARS = 256
_TYPES = ("jwt", "at+jwt", "application/at+jwt")
_TOO_LATE = 1e12
"""Instants that are further away than this are none."""


class Token(NamedTuple):
    """One token, not verified. `signed` are the bytes that its signature is over."""

    header: Mapping[str, Any]
    claims: Mapping[str, Any]
    signed: bytes
    signature: bytes

    @property
    def algorithm(self) -> str:
        """What its header says it is signed with; empty when it says nothing that could be."""
        return self.text_in(self.header, "alg")

    @property
    def key_id(self) -> str:
        """What its header calls the key: a name to compare, never a place to look."""
        return self.text_in(self.header, "kid")

    def claim(self, name: str) -> str:
        """A claim that is text; empty when it is not there, or something else."""
        return self.text_in(self.claims, name)

    @staticmethod
    def text_in(members: Mapping[str, Any], name: str) -> str:
        found = members.get(name)
        return found if isinstance(found, str) else ""


def read_token(text: str) -> Token | None:
    """A token in its one spelling; None for whatever else a text may be."""
    if len(text) > MAX_TOKEN_CHARS or text.count(".") != 2:
        return None
    try:
        head, body, signature = map(_decoded, text.split("."))
        header, claims = _members(head), _members(body)
    except (ValueError, RecursionError):
        return None
    return Token(header, claims, text.rpartition(".")[0].encode(), signature)


def require_plain(token: Token) -> None:
    """Refuse a header that asks for more than a signature. Raises UNAUTHENTICATED.

    What it says of where its key is (`jku`, `x5u`, `jwk`, `x5c`) counts for nothing.
    """
    header = token.header
    if "crit" in header or "b64" in header or "zip" in header or "enc" in header:
        raise unauthenticated("the token's header asks for what is not known here")
    if "typ" in header and str(header["typ"]).lower() not in _TYPES:
        raise unauthenticated("the token's typ is not one of an access token")
    if "kid" in header and not 0 < len(token.key_id) <= MAX_KEY_ID_CHARS:
        raise unauthenticated("the token's kid is not a name")


def require_times(claims: Mapping[str, Any], now: float) -> float:
    """The end of a token's life, in seconds of wall time. Raises UNAUTHENTICATED outside of it.

    `exp` is needed and at most a day ahead; LEEWAY_SECONDS are forgiven at either end.
    """
    expires_at = _instant(claims, "exp")
    if expires_at is None:
        raise unauthenticated("the token needs an exp claim")
    if now > expires_at + LEEWAY_SECONDS:
        raise unauthenticated("the token has expired")
    if expires_at > now + MAX_LIFE_SECONDS + LEEWAY_SECONDS:
        raise unauthenticated("the token expires more than 24 h ahead")
    for name in ("nbf", "iat"):
        begins_at = _instant(claims, name)
        if begins_at is not None and begins_at > now + LEEWAY_SECONDS:
            raise unauthenticated(f"the token's {name} is ahead")
    return expires_at


def require_names(claims: Mapping[str, Any]) -> None:
    """Refuse `sub` and `jti` that are neither text nor a whole number, as relay-go's are. Raises UNAUTHENTICATED."""
    for name in ("sub", "jti"):
        found = claims.get(name, "")
        if isinstance(found, bool) or not isinstance(found, str | int):
            raise unauthenticated(f"the token's {name} is neither text nor a number")


def _instant(claims: Mapping[str, Any], name: str) -> float | None:
    if name not in claims:
        return None
    found = claims[name]
    if isinstance(found, bool) or not isinstance(found, int | float) or not 0 <= found < _TOO_LATE:
        raise unauthenticated(f"the token's {name} is not an instant")
    return float(found)


def _decoded(segment: str) -> bytes:
    """Base64url without padding, in the one spelling that these bytes have. Raises ValueError."""
    found = base64.b64decode(segment + "=" * (-len(segment) % 4), altchars=b"-_", validate=True)
    if base64.urlsafe_b64encode(found).rstrip(b"=").decode() != segment:
        raise ValueError("another spelling")
    return found


def _members(data: bytes) -> dict[str, Any]:
    return read_object(data.decode("utf-8"))


def read_object(text: str) -> dict[str, Any]:
    """A JSON object, none of whose members has two values. Raises ValueError, RecursionError."""
    found = json.loads(text, object_pairs_hook=_once, parse_constant=_no_number)
    if not isinstance(found, dict):
        raise ValueError("no object")
    return found


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a member twice")
    return found


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")
