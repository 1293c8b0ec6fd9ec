"""For whom tokens of relay-go's shared secret are still taken (S4): this door closes tenant by tenant."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from a2a_relay.auth.shared_secret import LEEWAY_SECONDS, SharedSecret
from a2a_relay.auth.verified import Verified, networks_of, require_active, unauthenticated
from a2a_relay.core.credential import Credential
from a2a_relay.core.principal import Principal
from a2a_relay.ports.credentials import CredentialStore

ALL = "*"


class LegacyTokens:
    """The authenticator of relay-go's tokens: they attach, send and read, and never administer."""

    def __init__(
        self, credentials: CredentialStore, door: SharedSecret, *, tenants: Collection[str], is_open: bool
    ) -> None:
        """`tenants` are those for which such tokens are taken, ALL among them for every one."""
        self._credentials = credentials
        self._door = door
        self._tenants = None if ALL in tenants else frozenset(tenants)
        self._is_open = is_open

    def authenticate(self, credential: Credential, now: float) -> Verified:
        """Who a token speaks for. Raises UNAUTHENTICATED."""
        found = self._door.authenticate(credential, now)
        principal = self.principal(replace(found, is_legacy=True, credential=credential.digest))
        self._credentials.note_legacy(principal.tenant, principal.identity, principal.role, now)
        return Verified(principal, (principal.expires_at or 0) + LEEWAY_SECONDS)

    def principal(self, before: Principal) -> Principal:
        """A principal that came with such a token, as it is now. Raises UNAUTHENTICATED."""
        if self._tenants is not None and before.tenant not in self._tenants:
            raise unauthenticated("tokens of the shared secret are not taken for this tenant")
        if self._is_open and self._credentials.tenant(before.tenant) is None:
            return replace(before, networks=()) if before.networks else before
        tenant = require_active(self._credentials, before.tenant)
        if not tenant.takes_legacy:
            raise unauthenticated("tokens of the shared secret are not taken for this tenant")
        networks = networks_of(tenant.networks)
        return before if networks == before.networks else replace(before, networks=networks)
