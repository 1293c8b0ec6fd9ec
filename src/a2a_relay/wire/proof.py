"""Proof that an agent holds the private key that belongs to its credential: what is signed, and by what it is bound.

The relay sends a challenge, the agent signs its statement with Ed25519. The nonce makes a signature good for one
attach, the relay's URL for one relay: whoever relays a challenge of another relay gets no signature for it.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import NamedTuple

_CONTEXT = "a2a-relay/1 auth.proof"
_NONCE = re.compile(r"[A-Za-z0-9_-]{22,128}", re.ASCII)
_LINE = re.compile(r"[!-~]{0,512}", re.ASCII)
SIGNATURE_BYTES = 64


class Challenge(NamedTuple):
    """What a relay asks an agent to sign. `relay` is its public URL, `epoch` that of its process."""

    nonce: str
    relay: str
    epoch: str
    tenant: str
    agent: str

    @property
    def is_sound(self) -> bool:
        """Whether its statement can be read in one way only: no member holds a line break."""
        return _NONCE.fullmatch(self.nonce) is not None and all(_LINE.fullmatch(part) for part in self[1:])

    @property
    def statement(self) -> bytes:
        """The bytes that are signed: a line for what it is, then one for each member."""
        return "\n".join((_CONTEXT, *self)).encode()


def write_signature(signature: bytes) -> str:
    """A signature as it stands in a frame: base64url without padding."""
    return base64.urlsafe_b64encode(signature).rstrip(b"=").decode()


def read_signature(text: str) -> bytes:
    """A signature from a frame; empty for what is none."""
    try:
        found = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return b""
    return found if len(found) == SIGNATURE_BYTES else b""
