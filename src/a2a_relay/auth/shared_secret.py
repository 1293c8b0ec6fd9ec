"""JWTs signed with one shared secret: what relay-go's agents and clients hold (decision 28).

Accepted as relay-go accepts them: HS256, HS384 or HS512; `exp` needed and at
most 24 h ahead; `iat` unchecked; 60 s leeway; integer `sub` and `jti`; any `aud`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, TypeVar

import jwt

from a2a_relay.core.address import require_name
from a2a_relay.core.credential import Credential
from a2a_relay.core.principal import Principal, Role
from a2a_relay.errors import Reason, Refused

ALGORITHMS = ("HS256", "HS384", "HS512")
MAX_LIFE_SECONDS = 24 * 3600
LEEWAY_SECONDS = 60
MIN_SECRET_BYTES = 32
_MAX_TOKEN_CHARS = 8192
_CACHED = 10_000

_T = TypeVar("_T")


class SharedSecret:
    """The authenticator of relay-go's tokens. Verified and dead tokens are remembered by hash, bounded."""

    def __init__(self, secret: str) -> None:
        # HMAC pads a short key with zeros itself; padded here, PyJWT has no reason to warn about HS512.
        self._key = secret.encode().ljust(64, b"\0")
        self._principals: OrderedDict[bytes, Principal] = OrderedDict()
        self._dead: OrderedDict[bytes, Refused] = OrderedDict()

    def authenticate(self, credential: Credential, now: float) -> Principal:
        """The principal of a token. Raises UNAUTHENTICATED."""
        if not credential.text or len(credential.text) > _MAX_TOKEN_CHARS:
            raise Refused(Reason.UNAUTHENTICATED, "invalid token")
        key = credential.digest
        known = self._principals.get(key)
        if known is not None:
            if known.expires_at is not None and now > known.expires_at + LEEWAY_SECONDS:
                del self._principals[key]
                raise Refused(Reason.UNAUTHENTICATED, "the token has expired")
            return known
        if key in self._dead:
            raise Refused(Reason.UNAUTHENTICATED, self._dead[key].message)
        try:
            principal = self._verify(credential.text, now)
        except Refused as refused:
            if "ahead" not in refused.message:  # too far ahead is cured by waiting
                _remember(self._dead, key, refused)
            raise
        _remember(self._principals, key, principal)
        return principal

    def recheck(self, principal: Principal, now: float) -> Principal:
        """Nothing that was signed can be taken back."""
        return principal

    def _verify(self, credential: str, now: float) -> Principal:
        try:
            claims = jwt.decode(
                credential,
                self._key,
                algorithms=list(ALGORITHMS),
                options={
                    "verify_exp": False,  # below, with the injected time
                    "verify_nbf": False,
                    "verify_iat": False,
                    "verify_aud": False,
                    "verify_sub": False,
                    "verify_jti": False,
                },
            )
        except (jwt.InvalidTokenError, ValueError, RecursionError) as error:
            raise Refused(Reason.UNAUTHENTICATED, "invalid token") from error
        return _principal(claims, _expiry(claims, now))


def _expiry(claims: Mapping[str, Any], now: float) -> float:
    expiry = claims.get("exp")
    if isinstance(expiry, bool) or not isinstance(expiry, int | float) or not 0 < expiry < 1e12:
        raise Refused(Reason.UNAUTHENTICATED, "the token needs an exp claim")
    if now > expiry + LEEWAY_SECONDS:
        raise Refused(Reason.UNAUTHENTICATED, "the token has expired")
    if expiry > now + MAX_LIFE_SECONDS + LEEWAY_SECONDS:
        raise Refused(Reason.UNAUTHENTICATED, "the token expires more than 24 h ahead")
    not_before = claims.get("nbf")
    if isinstance(not_before, int | float) and not_before > now + LEEWAY_SECONDS:
        raise Refused(Reason.UNAUTHENTICATED, "the token is valid only from a time ahead")
    return float(expiry)


def _principal(claims: Mapping[str, Any], expires_at: float) -> Principal:
    tenant = claims.get("tenant")
    if not isinstance(tenant, str) or not tenant:
        raise Refused(Reason.UNAUTHENTICATED, "missing tenant in token")
    require_name(tenant, "tenant")
    agent = claims.get("agent_id")
    if agent is not None and not isinstance(agent, str):
        raise Refused(Reason.UNAUTHENTICATED, "invalid token")
    if agent:
        require_name(agent, "agent_id")
    role = claims.get("role")
    if role is None or role == "":
        return Principal(tenant, Role.ADMIN, f"admin:{_subject(claims)}", agent or None, expires_at)
    if role == "agent":
        if not agent:
            raise Refused(Reason.UNAUTHENTICATED, "token missing required agent_id claim")
        return Principal(tenant, Role.AGENT, f"agent:{agent}", agent, expires_at)
    if role == "client":
        return Principal(tenant, Role.SENDER, _subject(claims), None, expires_at)
    raise Refused(Reason.UNAUTHENTICATED, "unknown role in token")


def _subject(claims: Mapping[str, Any]) -> str:
    """Who a token is for, as relay-go's claims name it."""
    for name in ("user_id", "sub", "agent_id"):
        found = claims.get(name)
        if isinstance(found, str | int) and not isinstance(found, bool) and str(found):
            return str(found)[:256].encode("utf-8", "backslashreplace").decode()  # half a character has no UTF-8 form
    return "anonymous"


def _remember(cache: OrderedDict[bytes, _T], key: bytes, value: _T) -> None:
    cache[key] = value
    if len(cache) > _CACHED:
        cache.popitem(last=False)
