"""What tokens of keys and issuers say of who comes with them, and what of that they may say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from a2a_relay.auth.verified import unauthenticated
from a2a_relay.core import scopes
from a2a_relay.core.address import require_name
from a2a_relay.core.principal import Role

MAX_IDENTITY_CHARS = 256
_ROLES = {"admin": Role.ADMIN, "agent": Role.AGENT, "sender": Role.SENDER, "client": Role.SENDER}
"""`client` is what relay-go calls a sender. No token is an operator's."""
_OF_SENDERS = scopes.CALLING | {scopes.ANY_METHOD}


def role_of(claims: Mapping[str, Any]) -> Role | None:
    """The role that a token claims; None when it claims none. Raises UNAUTHENTICATED for an unknown one."""
    found = claims.get("role", "")
    if found == "" or found is None:
        return None
    if not isinstance(found, str) or found not in _ROLES:
        raise unauthenticated("unknown role in token")
    return _ROLES[found]


def agent_of(claims: Mapping[str, Any]) -> str | None:
    """The agent that a token is for. Raises UNAUTHENTICATED for what is no name."""
    found = claims.get("agent_id")
    if found is None or found == "":
        return None
    if not isinstance(found, str):
        raise unauthenticated("the agent_id in the token is not an acceptable name")
    return require_name(found, "agent_id")


def subject_of(claims: Mapping[str, Any], *names: str) -> str:
    """Who a token is for: the first of these claims that says it; bounded, and without half characters."""
    for name in names:
        found = claims.get(name)
        if isinstance(found, str | int) and not isinstance(found, bool) and str(found):
            return str(found)[:MAX_IDENTITY_CHARS].encode("utf-8", "backslashreplace").decode()
    return "anonymous"


def scopes_of(claims: Mapping[str, Any]) -> frozenset[str] | None:
    """The scopes that a token asks for, in a `scope` string or a `scopes` list; None when it has neither.

    Raises UNAUTHENTICATED. Scopes that mean nothing here are those of others, and left out.
    """
    asked: set[str] | None = None
    if "scope" in claims:
        if not isinstance(claims["scope"], str):
            raise unauthenticated("the token's scope is not text")
        asked = set(claims["scope"].split())
    if "scopes" in claims:
        listed = claims["scopes"]
        if not isinstance(listed, list) or not all(isinstance(item, str) for item in listed):
            raise unauthenticated("the token's scopes are not a list of text")
        asked = set(listed) if asked is None else asked & set(listed)
    return None if asked is None else frozenset(scope for scope in asked if scopes.is_known(scope))


def granted(
    role: Role, held: frozenset[str] | None, asked: frozenset[str] | None, *, is_open: bool
) -> frozenset[str] | None:
    """What a token may do that asks for scopes (None: whatever it may have) by a key or an issuer that holds some.

    Whoever is no admin gets nothing that is an admin's, whatever it asks for. None: all that the role may.
    """
    if asked is None:
        return held if held is not None else scopes.default_scopes(role, is_open=is_open)
    if held is not None:
        asked = frozenset(scope for scope in asked if _covers(held, scope)) | _single_methods(asked, held)
    if role is Role.ADMIN:
        return asked
    return frozenset(scope for scope in asked if _covers(_OF_SENDERS, scope))


def _covers(held: frozenset[str], scope: str) -> bool:
    return scope in held or (scope.startswith("method:") and scopes.ANY_METHOD in held)


def _single_methods(asked: frozenset[str], held: frozenset[str]) -> frozenset[str]:
    """The single methods of a key whose token asks for all of them."""
    if scopes.ANY_METHOD not in asked:
        return frozenset()
    return frozenset(scope for scope in held if scope.startswith("method:"))
