"""Proof of possession: keys that are good for nothing without a private key that never crosses the link."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from a2a_relay.core.principal import Principal
from a2a_relay.errors import Reason, Refused
from a2a_relay.wire.dialects import NATIVE
from a2a_relay.wire.frames import PROOF
from a2a_relay.wire.proof import Challenge

if TYPE_CHECKING:
    from a2a_relay.node.takeover import Newcomer
    from a2a_relay.ports.credentials import CredentialStore

_NONCE_BYTES = 32


def proof_key_of(principal: Principal, credentials: CredentialStore | None) -> bytes | None:
    """The public key whose possession this principal has to prove before it attaches; None: it has not to."""
    if not principal.key or credentials is None:
        return None
    record = credentials.key(principal.key)
    return record.proof_key if record is not None else None


def challenge_for(newcomer: Newcomer, epoch: str) -> Challenge:
    """What to ask a newcomer. Raises UNAUTHENTICATED for one that cannot answer."""
    if newcomer.dialect is not NATIVE or PROOF not in newcomer.auth.features:
        raise Refused(Reason.UNAUTHENTICATED, "this key needs a proof of possession (--proof-key)")
    nonce = secrets.token_urlsafe(_NONCE_BYTES)
    return Challenge(nonce, newcomer.link.base_url, epoch, *newcomer.address)


def require_proof(proof_key: bytes, challenge: Challenge, signature: bytes) -> None:
    """Refuse a signature that is not that key's over this challenge. Raises UNAUTHENTICATED."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        Ed25519PublicKey.from_public_bytes(proof_key).verify(signature, challenge.statement)
    except (InvalidSignature, ValueError) as error:
        raise Refused(Reason.UNAUTHENTICATED, "the proof of possession does not fit") from error
