"""Secrets that the relay itself must be able to read again: encrypted under a master key that no store has.

A store, or a backup of one, gives none of them away without the file of the master key.
"""

from __future__ import annotations

import base64
import os
import secrets
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from a2a_relay.errors import SettingsError, StoreError
from a2a_relay.settings import Settings, write_private

FILE_NAME = "master_key"
KEY_BYTES = 32
_HEAD = "a2a-relay-master-key-1:"
"""What a file begins with: another version of it would be another way of sealing."""
_VERSION = b"\x01"
_PURPOSE = b"a2a-relay signing keys 1"
_NONCE_BYTES = 12
_TAG_BYTES = 16


class Seal:
    """Seals the secrets of keys that sign, with AES-256-GCM; what was sealed for one key opens for no other.

    The file of the master key is read when it is first needed, and made when there is something to seal.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._cipher: AESGCM | None = None

    def seal(self, secret: bytes, key_id: str) -> bytes:
        """A secret as a store may keep it. Raises SettingsError when the master key can be neither read nor made."""
        if self._cipher is None and not self._path.exists():
            fresh = base64.urlsafe_b64encode(secrets.token_bytes(KEY_BYTES)).decode()
            write_private(self._path, f"{_HEAD}{fresh}\n", replace=False)
        nonce = os.urandom(_NONCE_BYTES)
        return _VERSION + nonce + self._opened().encrypt(nonce, secret, _bound_to(key_id))

    def open(self, sealed: bytes, key_id: str) -> bytes:
        """The secret again. Raises StoreError for what this master key has not sealed for this key; SettingsError."""
        nonce, body = sealed[1 : 1 + _NONCE_BYTES], sealed[1 + _NONCE_BYTES :]
        if sealed[:1] != _VERSION or len(body) < _TAG_BYTES:
            raise StoreError(f"the secret of key {key_id} is sealed in a way that is not known here")
        try:
            return self._opened().decrypt(nonce, body, _bound_to(key_id))
        except InvalidTag as error:
            raise StoreError(f"the secret of key {key_id} was not sealed under the key in {self._path}") from error

    def _opened(self) -> AESGCM:
        if self._cipher is None:
            derived = HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=_PURPOSE).derive(_read(self._path))
            self._cipher = AESGCM(derived)
        return self._cipher


def open_seal(settings: Settings) -> Seal:
    """The seal of the relay that has these settings; nothing is read or made yet."""
    return Seal(settings.master_key_file or settings.data_dir / FILE_NAME)


def _bound_to(key_id: str) -> bytes:
    return _VERSION + key_id.encode()


def _read(path: Path) -> bytes:
    try:
        text = path.read_text(encoding="ascii").strip()
        master = base64.b64decode(text.removeprefix(_HEAD), altchars=b"-_", validate=True)
    except (OSError, ValueError) as error:
        raise SettingsError(f"the master key {path} cannot be read: {type(error).__name__}") from error
    if not text.startswith(_HEAD) or len(master) != KEY_BYTES:
        raise SettingsError(f"{path} holds no master key")
    return master
