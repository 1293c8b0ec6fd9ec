"""Keys that are shown themselves: found by their SHA-256, and compared with what is kept of them."""

from __future__ import annotations

from hmac import compare_digest

from a2a_relay.auth.verified import Verified, earliest, networks_of, require_active, unauthenticated
from a2a_relay.core.credential import Credential
from a2a_relay.core.keys import KeyForm, KeyRecord, KeySecret, is_well_formed
from a2a_relay.core.principal import Principal, Role
from a2a_relay.ports.credentials import CredentialStore

_NO_DIGEST = b"\0" * 32


class ApiKeys:
    """The authenticator of keys of the form `secret`."""

    def __init__(self, credentials: CredentialStore) -> None:
        self._credentials = credentials

    def authenticate(self, credential: Credential, now: float) -> Verified:
        """Who a key speaks for. Raises UNAUTHENTICATED, and says what is wrong: whoever has the key may know."""
        if not is_well_formed(credential.text):
            raise unauthenticated("the key is mistyped: its checksum does not fit")
        found = self._credentials.find(credential.digest)
        is_same = compare_digest(credential.digest, _NO_DIGEST if found is None else found[1].digest)
        if found is None or not is_same:
            raise unauthenticated("unknown key")
        record, secret = found
        if record.form is not KeyForm.SECRET:
            raise unauthenticated("this key signs tokens, and is never shown itself")
        principal = self.principal(record, secret, now)
        self._credentials.note_use(record.id, now)
        return Verified(principal, principal.expires_at if principal.expires_at is not None else float("inf"))

    def principal(self, record: KeyRecord, secret: KeySecret, now: float) -> Principal:
        """Who a key speaks for that was found by this secret. Raises UNAUTHENTICATED."""
        require_usable(record, secret, now)
        allowed = record.networks
        if record.role is Role.OPERATOR:
            networks = networks_of(allowed)
        else:
            networks = networks_of(require_active(self._credentials, record.tenant).networks, allowed)
        return Principal(
            record.tenant,
            record.role,
            _identity(record),
            record.agent if record.role is Role.AGENT else None,
            earliest(record.expires_at, secret.expires_at),
            key=record.id,
            scopes=record.scopes,
            agents=record.agents,
            manages=record.role in (Role.ADMIN, Role.OPERATOR),
            networks=networks,
            credential=secret.digest,
        )


def require_usable(record: KeyRecord, secret: KeySecret, now: float) -> None:
    """Refuse what was revoked, or is over. Raises UNAUTHENTICATED."""
    if record.revoked_at is not None:
        raise unauthenticated("the key is revoked")
    if not record.is_usable(now):
        raise unauthenticated("the key has expired")
    if secret.expires_at is not None and now >= secret.expires_at:
        raise unauthenticated("the key was rotated, and its old secret has expired")


def _identity(record: KeyRecord) -> str:
    if record.role is Role.AGENT:
        return f"agent:{record.agent}"
    return record.name if record.role is Role.SENDER else f"{record.role}:{record.name}"
