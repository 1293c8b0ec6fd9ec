"""Tokens of others, whom a tenant trusts: verified by the keys that the issuer publishes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from a2a_relay.auth import claims as said
from a2a_relay.auth.jwks import ALGORITHMS, PublicKey
from a2a_relay.auth.key_sets import KeySets
from a2a_relay.auth.tokens import LEEWAY_SECONDS, Token, require_names, require_plain, require_times
from a2a_relay.auth.verified import Verified, networks_of, require_active, unauthenticated
from a2a_relay.core.principal import Principal, Role
from a2a_relay.core.tenants import Issuer, TenantRecord
from a2a_relay.ports.credentials import CredentialStore


class Issuers:
    """The authenticator of tokens that issuers have signed.

    A token names its tenant, and counts there alone: by that tenant's own list of issuers, their audiences, their
    algorithms and the roles that they may give.
    """

    def __init__(self, credentials: CredentialStore, key_sets: KeySets, *, is_open: bool) -> None:
        self._credentials = credentials
        self._key_sets = key_sets
        self._is_open = is_open

    def load(self) -> None:
        """Have the keys of all tenants' issuers at hand. Call it on the running loop."""
        self._key_sets.load(issuer for tenant in self._credentials.tenants() for issuer in tenant.issuers)

    def watch(self, on_change: Callable[[], None]) -> None:
        """Tell of keys that have come in the place of others, or gone."""
        self._key_sets.on_change = on_change

    def authenticate(self, token: Token, now: float) -> Verified:
        """Who a token speaks for. Raises UNAUTHENTICATED; with a time to come again while keys are being fetched."""
        issuer = self._issuer_of(token)
        if issuer is None or token.algorithm not in ALGORITHMS or token.algorithm not in issuer.algorithms:
            raise unauthenticated("invalid token")
        require_plain(token)
        expires_at = require_times(token.claims, now)
        key = self._key_of(token, issuer)
        return Verified(self._principal(token, issuer, key, expires_at), expires_at + LEEWAY_SECONDS)

    def principal(self, before: Principal) -> Principal:
        """A principal that came with an issuer's token, as it is now. Raises UNAUTHENTICATED."""
        tenant = require_active(self._credentials, before.tenant)
        issuers = [issuer for issuer in tenant.issuers if issuer.url == before.issuer and before.role in issuer.roles]
        if not any(self._still_has(issuer, before.credential) for issuer in issuers):
            raise unauthenticated("the token's issuer is not trusted any more")
        return _with_networks(before, tenant)

    def _still_has(self, issuer: Issuer, digest: bytes) -> bool:
        keys = self._key_sets.keys(issuer)
        return keys is None or any(key.digest == digest for key in keys)

    def _issuer_of(self, token: Token) -> Issuer | None:
        tenant = self._credentials.tenant(token.claim("tenant"))
        url, audiences = token.claim("iss"), _audiences(token)
        if tenant is None or not url:
            return None
        meant = (issuer for issuer in tenant.issuers if issuer.url == url)
        return next((issuer for issuer in meant if audiences.intersection(issuer.audiences)), None)

    def _key_of(self, token: Token, issuer: Issuer) -> PublicKey:
        """The key that has signed. Raises UNAUTHENTICATED."""
        keys = self._key_sets.keys(issuer)
        if keys is None:
            raise self._key_sets.pending(issuer)
        fitting = [key for key in keys if key.algorithm == token.algorithm]
        named = [key for key in fitting if key.id == token.key_id] if token.key_id else fitting
        if not named and self._key_sets.look_again(issuer):
            raise self._key_sets.pending(issuer)
        if len(named) == 1 and named[0].has_signed(token):
            return named[0]
        raise unauthenticated("invalid token")

    def _principal(self, token: Token, issuer: Issuer, key: PublicKey, expires_at: float) -> Principal:
        claims = token.claims
        require_names(claims)
        role = said.role_of(claims) or Role.SENDER
        if role not in issuer.roles:
            raise unauthenticated("the issuer may not give this role")
        agent = said.agent_of(claims)
        if role is Role.AGENT and agent is None:
            raise unauthenticated("token missing required agent_id claim")
        subject = token.claim("sub")
        if not subject:
            raise unauthenticated("the token needs a sub claim")
        tenant = require_active(self._credentials, token.claim("tenant"))
        principal = Principal(
            tenant.name,
            role,
            _identity(role, agent, said.subject_of(claims, "sub")),
            agent if role is not Role.SENDER else None,
            expires_at,
            issuer=issuer.url,
            scopes=said.granted(role, None, said.scopes_of(claims), is_open=self._is_open),
            manages=role is Role.ADMIN,
            credential=key.digest,
        )
        return _with_networks(principal, tenant)


def _identity(role: Role, agent: str | None, subject: str) -> str:
    if role is Role.AGENT:
        return f"agent:{agent}"
    return f"admin:{subject}" if role is Role.ADMIN else subject


def _with_networks(principal: Principal, tenant: TenantRecord) -> Principal:
    return replace(principal, networks=networks_of(tenant.networks))


def _audiences(token: Token) -> frozenset[str]:
    """Whom a token is for; nobody, when it says that in a way that can be read in two."""
    found = token.claims.get("aud")
    listed = [found] if isinstance(found, str) else found
    if not isinstance(listed, list) or not all(isinstance(item, str) for item in listed):
        return frozenset()
    return frozenset(listed)
