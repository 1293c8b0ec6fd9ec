"""The relay's own signatures: Ed25519, with keys in one file that only its owner may read.

The file holds PEM blocks. The first key signs, all are published: a new one is put before the old one, and the old one
is taken out when nothing that it has signed is good any more.
"""

from __future__ import annotations

import hashlib
import re
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import jwt

from a2a_relay.a2a import jsonbytes
from a2a_relay.errors import MissingExtra, SettingsError
from a2a_relay.settings.secret import write_private
from a2a_relay.wire.stamps import ALGORITHM

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

FILE_NAME = "signing_key.pem"
MAX_KEYS = 8
_BLOCK = re.compile(rb"-----BEGIN ([A-Z ]*PRIVATE KEY)-----.+?-----END \1-----\r?\n?", re.DOTALL)


class _Key(NamedTuple):
    private: Ed25519PrivateKey
    id: str
    public: dict[str, str]


class StampSigner:
    """Signs with the first key of a file. One that is missing is made when it is first needed."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @cached_property
    def _keys(self) -> tuple[_Key, ...]:
        if not self._path.exists():
            write_private(self._path, _new_pem(), replace=False)
        return _read(self._path)

    @cached_property
    def key_set(self) -> bytes:
        """The public keys, the one that signs first. Raises SettingsError or MissingExtra."""
        return jsonbytes.dump({"keys": [key.public for key in self._keys]})

    def sign(self, type: str, claims: Mapping[str, Any]) -> str:
        """A compact JWS. Raises SettingsError or MissingExtra."""
        key = self._keys[0]
        return jwt.encode(dict(claims), key.private, ALGORITHM, headers={"kid": key.id, "typ": type})


def thumbprint(x: str) -> str:
    """The id of an Ed25519 key by its public half in base64url (RFC 7638, RFC 8037)."""
    return _base64url(hashlib.sha256(b'{"crv":"Ed25519","kty":"OKP","x":"%b"}' % x.encode()).digest())


def _new_pem() -> str:
    try:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    except ImportError as error:
        raise MissingExtra("signing", "server") from error
    return (
        Ed25519PrivateKey.generate()
        .private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        .decode()
    )


def _read(path: Path) -> tuple[_Key, ...]:
    try:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    except ImportError as error:
        raise MissingExtra("signing", "server") from error
    try:
        blocks = [match.group() for match in _BLOCK.finditer(path.read_bytes())]
        found = [serialization.load_pem_private_key(block, None) for block in blocks]
    except (OSError, ValueError, TypeError) as error:  # TypeError: an encrypted key
        raise SettingsError(f"the signing key file {path} cannot be read: {error}") from error
    if not 0 < len(found) <= MAX_KEYS or not all(isinstance(key, Ed25519PrivateKey) for key in found):
        raise SettingsError(f"the signing key file {path} needs 1 to {MAX_KEYS} Ed25519 private keys, in PEM")
    return tuple(_key(private) for private in found if isinstance(private, Ed25519PrivateKey))


def _key(private: Ed25519PrivateKey) -> _Key:
    x = _base64url(private.public_key().public_bytes_raw())
    id = thumbprint(x)
    return _Key(private, id, {"kty": "OKP", "crv": "Ed25519", "x": x, "kid": id, "use": "sig", "alg": ALGORITHM})


def _base64url(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()
