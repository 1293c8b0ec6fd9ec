"""The agent's private key, for relays whose keys ask for a proof of possession."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from a2a_relay.connector import relay_url
from a2a_relay.connector.refused import ConnectorRefused
from a2a_relay.connector.relay_url import RelayUrl
from a2a_relay.errors import MissingExtra
from a2a_relay.wire.proof import Challenge


class ProofKey:
    """An Ed25519 private key, which signs challenges of one relay and nothing else."""

    def __init__(self, sign: Callable[[bytes], bytes]) -> None:
        self._sign = sign

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> ProofKey:
        """The key of a PEM file without a password. Raises `ConnectorRefused`, or MissingExtra."""
        try:
            from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
            from cryptography.hazmat.primitives.serialization import load_pem_private_key
        except ImportError as missing:
            raise MissingExtra("--proof-key", "verify") from missing
        try:
            key = load_pem_private_key(Path(path).read_bytes(), password=None)
        except OSError as error:
            raise ConnectorRefused(f"the proof key {path} cannot be read: {error.strerror}") from error
        except (ValueError, TypeError) as error:
            raise ConnectorRefused(f"the proof key {path} is no private key in PEM without a password") from error
        if not isinstance(key, Ed25519PrivateKey):
            raise ConnectorRefused(f"the proof key {path} is no Ed25519 key")
        return cls(key.sign)

    def answer(self, challenge: Challenge, relay: RelayUrl) -> bytes:
        """The signature for a challenge of the relay that was dialled. Raises `ConnectorRefused` for another's.

        A relay that hands on another one's challenge would get a signature that is good there.
        """
        if not challenge.is_sound or not _is_same(challenge.relay, relay):
            raise ConnectorRefused(
                f"the relay says that it is {challenge.relay}, and {relay.http} was dialled: use its public URL"
            )
        return self._sign(challenge.statement)


def _is_same(claimed: str, dialled: RelayUrl) -> bool:
    try:
        found = relay_url.read(claimed, insecure=True)
    except ConnectorRefused:
        return False
    if found.http == dialled.http:
        return True
    return found.is_loopback and dialled.is_loopback and urlsplit(found.http).port == urlsplit(dialled.http).port
