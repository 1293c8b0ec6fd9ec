"""Keys: what a relay hands out to agents, senders, admins and operators, and how one is written.

    rly_<role>_<43 base62 digits of 32 random bytes><6 base62 digits of their CRC-32>

The fixed head and the checksum let scanners of leaked secrets find a key, and tell a typing error from a wrong key
without any look-up. A store keeps the SHA-256 of the text: 256 random bits need no slow hash.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import NamedTuple

from a2a_relay.core.principal import Role

SECRET_BYTES = 32
_SECRET_DIGITS = 43
_CHECK_DIGITS = 6
_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_PREFIX_CHARS = 6
HEAD = "rly_"
PATTERN = re.compile(r"rly_(admin|agent|sender|operator)_[0-9A-Za-z]{49}", re.ASCII)
"""As which a scanner of leaked secrets finds a key."""


class KeyForm(StrEnum):
    """How a key is used."""

    SECRET = "secret"  # noqa: S105 - the name of a form
    """It is shown itself, as a bearer token."""
    HS256 = "hs256"
    """It signs tokens (S5), which may do no more than the key itself."""


class KeySecret(NamedTuple):
    """One secret of a key; for a while after a rotation there are two.

    `prefix` are its first characters, for people. `sealed` is the secret itself, encrypted, of a key that signs.
    `expires_at` is the end of a rotation's overlap.
    """

    digest: bytes
    prefix: str
    created_at: float
    expires_at: float | None = None
    sealed: bytes | None = None


class KeyRecord(NamedTuple):
    """One key. Instants are wall time in seconds; `tenant` is empty for an operator's."""

    id: str
    tenant: str
    name: str
    role: Role
    created_at: float
    secrets: tuple[KeySecret, ...]
    agent: str = ""
    """The one agent that an agent's key attaches as."""
    form: KeyForm = KeyForm.SECRET
    scopes: frozenset[str] | None = None
    agents: frozenset[str] | None = None
    networks: tuple[str, ...] = ()
    """Addresses and CIDR ranges from which it may be used; none: any."""
    limits: Mapping[str, float] = MappingProxyType({})
    """Overrides of limits, by their names."""
    created_by: str = ""
    expires_at: float | None = None
    revoked_at: float | None = None
    last_used_at: float | None = None
    proof_key: bytes | None = None
    """The Ed25519 public key (32 bytes) whose possession an agent must prove at attach."""

    def is_usable(self, now: float) -> bool:
        """Whether it is neither revoked nor over."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


def write_key(role: Role, secret: bytes) -> str:
    """The text of a key of 32 random bytes."""
    if len(secret) != SECRET_BYTES:
        raise ValueError("a key has 32 random bytes")
    digits = _base62(int.from_bytes(secret, "big"), _SECRET_DIGITS)
    return f"{HEAD}{role}_{digits}{_check(role, digits)}"


def is_key(text: str) -> bool:
    """Whether a text claims to be a key of ours."""
    return text.startswith(HEAD)


def is_well_formed(text: str) -> bool:
    """Whether a key has no typing error: its checksum fits."""
    if PATTERN.fullmatch(text) is None:
        return False
    role, _, digits = text[len(HEAD) :].partition("_")
    return _check(role, digits[:_SECRET_DIGITS]) == digits[_SECRET_DIGITS:]


def digest_of(text: str) -> bytes:
    """What a store knows a key by."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def prefix_of(text: str) -> str:
    """The beginning of a key, by which people know it again."""
    head, _, digits = text.rpartition("_")
    return f"{head}_{digits[:_PREFIX_CHARS]}"


def _check(role: str, digits: str) -> str:
    return _base62(zlib.crc32(f"{role}_{digits}".encode()), _CHECK_DIGITS)


def _base62(number: int, length: int) -> str:
    found = ""
    while number:
        number, digit = divmod(number, 62)
        found = _DIGITS[digit] + found
    return found.rjust(length, _DIGITS[0])
