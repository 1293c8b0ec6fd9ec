"""Keys of the form `hs256`: they sign tokens (S5), which may do no more than the key itself.

An agent's key signs tokens of that one agent. A sender's signs tokens of senders. An admin's is the tenant's own
secret: its tokens may claim to be an admin, a sender, or an agent that has no key of its own.
"""

from __future__ import annotations

import hashlib
import hmac
import math
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from a2a_relay.auth import claims as said
from a2a_relay.auth.api_keys import require_usable
from a2a_relay.auth.sealing import Seal
from a2a_relay.auth.tokens import LEEWAY_SECONDS, Token, require_names, require_plain, require_times
from a2a_relay.auth.verified import Verified, earliest, networks_of, require_active, unauthenticated
from a2a_relay.core.address import Address
from a2a_relay.core.keys import KeyForm, KeyRecord, KeySecret
from a2a_relay.core.principal import Principal, Role
from a2a_relay.errors import SettingsError, StoreError
from a2a_relay.ports.credentials import CredentialStore

ALGORITHM = "HS256"
MAX_TRIED = 16
"""Secrets that are tried on a token that does not name its key by `kid`; the newest come first."""
_NOBODYS = b"nobody's secret, for tokens of tenants and agents that have none"


class Signer(NamedTuple):
    """One secret that signs, in the clear."""

    record: KeyRecord
    secret: KeySecret
    clear: bytes

    def has_signed(self, token: Token) -> bool:
        return hmac.compare_digest(_signature(self.clear, token), token.signature)


class SigningKeys:
    """The authenticator of tokens that the relay's own signing keys have signed."""

    def __init__(
        self,
        credentials: CredentialStore,
        seal: Seal,
        *,
        is_open: bool,
        on_trouble: Callable[[str], None],
    ) -> None:
        """`on_trouble` is told of secrets that the seal does not open."""
        self._credentials = credentials
        self._seal = seal
        self._is_open = is_open
        self._on_trouble = on_trouble
        self._of_tenant: dict[str, tuple[Signer, ...]] = {}
        self._of_agent: dict[Address, tuple[Signer, ...]] = {}

    def forget(self) -> None:
        """Keys have changed."""
        self._of_tenant.clear()
        self._of_agent.clear()

    def authenticate(self, token: Token, now: float) -> Verified | None:
        """Who a token speaks for; None when none of these keys has signed it.

        Raises UNAUTHENTICATED when one has, and must not have, or not this.
        """
        if token.algorithm != ALGORITHM:
            return None
        tried, found = 0, None
        for signer in self._candidates(token):
            tried += 1
            if signer.has_signed(token):
                found = signer
                break
            if tried == MAX_TRIED:
                break
        if found is None:
            if not tried:
                hmac.compare_digest(_signature(_NOBODYS, token), token.signature)  # an absent key costs the same
            return None
        return self._verified(token, found, now)

    def principal(self, record: KeyRecord, secret: KeySecret, before: Principal, now: float) -> Principal:
        """A principal whose token this secret has signed, as it is now. Raises UNAUTHENTICATED."""
        require_usable(record, secret, now)
        tenant = require_active(self._credentials, record.tenant)
        role = before.role
        if (record.role, record.agent or None) not in _makers_of(before):
            raise unauthenticated("the key may not sign for this any more")
        if role is Role.AGENT and record.agents is not None and before.attaches_as not in record.agents:
            raise unauthenticated("the key may not sign for this agent")
        return Principal(
            record.tenant,
            role,
            before.identity,
            before.attaches_as,
            earliest(before.expires_at, record.expires_at, secret.expires_at),
            key=record.id,
            issuer=record.id,
            scopes=said.granted(role, record.scopes, before.scopes, is_open=self._is_open),
            agents=record.agents,
            manages=before.manages,
            networks=networks_of(tenant.networks, record.networks),
            credential=secret.digest,
        )

    def _verified(self, token: Token, signer: Signer, now: float) -> Verified:
        claims, record = token.claims, signer.record
        require_usable(record, signer.secret, now)
        require_plain(token)
        expires_at = require_times(claims, now)
        require_names(claims)
        if "aud" in claims:
            raise unauthenticated("the token is for somebody else: it has an aud claim")
        role, manages = _role(token, record)
        agent = said.agent_of(claims)
        if role is Role.AGENT and agent is None:
            raise unauthenticated("token missing required agent_id claim")
        asked = said.scopes_of(claims)
        before = Principal(
            record.tenant,
            role,
            _identity(token, role, agent),
            agent if role is not Role.SENDER else None,
            expires_at,
            scopes=asked,
            manages=manages,
        )
        principal = self.principal(record, signer.secret, before, now)
        self._credentials.note_use(record.id, now)
        ends = earliest(expires_at + LEEWAY_SECONDS, record.expires_at, signer.secret.expires_at)
        return Verified(principal, math.inf if ends is None else ends)

    # which keys may have signed a token: those of the tenant that it names, never of another

    def _candidates(self, token: Token) -> Iterator[Signer]:
        tenant, agent = token.claim("tenant"), token.claim("agent_id")
        if not tenant or self._credentials.tenant(tenant) is None:
            return
        address = Address(tenant, agent)
        own = self._of_agent.get(address)
        if own is None:
            own = self._open(self._credentials.keys_of_agent(address))
            if own:
                self._of_agent[address] = own
        shared = self._of_tenant.get(tenant)
        if shared is None:
            keys = self._credentials.keys_of(tenant)
            shared = self._of_tenant[tenant] = self._open(key for key in keys if key.role in (Role.ADMIN, Role.SENDER))
        named = [signer for signer in (*own, *shared) if signer.record.id == token.key_id]
        yield from named or (*own, *shared)

    def _open(self, keys: Iterable[KeyRecord]) -> tuple[Signer, ...]:
        found = []
        for record in keys:
            if record.form is not KeyForm.HS256 or record.revoked_at is not None or record.role is Role.OPERATOR:
                continue
            for secret in record.secrets:
                clear = self._clear(record, secret)
                if clear:
                    found.append(Signer(record, secret, clear))
        return tuple(sorted(found, key=lambda signer: -signer.secret.created_at))

    def _clear(self, record: KeyRecord, secret: KeySecret) -> bytes | None:
        if secret.sealed is None:
            return None
        try:
            return self._seal.open(secret.sealed, record.id)
        except (StoreError, SettingsError) as error:
            self._on_trouble(str(error))
            return None


def _signature(clear: bytes, token: Token) -> bytes:
    return hmac.digest(clear, token.signed, hashlib.sha256)


def _role(token: Token, record: KeyRecord) -> tuple[Role, bool]:
    """What a token of this key is, and whether it administers. Raises UNAUTHENTICATED for what it may not be."""
    asked = said.role_of(token.claims)
    if record.role is Role.ADMIN:  # as relay-go has it, but for the management, which must be asked for
        return asked or Role.ADMIN, asked is Role.ADMIN
    role = asked or record.role
    if role is not record.role or (role is Role.AGENT and token.claim("agent_id") != record.agent):
        raise unauthenticated("the key may not sign for this")
    return role, False


def _makers_of(principal: Principal) -> tuple[tuple[Role, str | None], ...]:
    """The keys that may sign for such a principal, by their role and agent."""
    own: tuple[Role, str | None] = (principal.role, principal.attaches_as if principal.role is Role.AGENT else None)
    return ((Role.ADMIN, None), own)


def _identity(token: Token, role: Role, agent: str | None) -> str:
    if role is Role.AGENT:
        return f"agent:{agent}"
    subject = said.subject_of(token.claims, "identity", "user_id", "sub", "agent_id")
    return f"admin:{subject}" if role is Role.ADMIN else subject
