"""What the relay itself signs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol


class Signer(Protocol):
    """Signs with the relay's own key, and publishes what its signatures are checked with.

    Answers without waiting. Raises `RelayError` where there is no key, and none can be made.
    """

    @property
    def key_set(self) -> bytes:
        """The public keys as a JWK Set: that of every signature that may still be good."""

    def sign(self, type: str, claims: Mapping[str, Any]) -> str:
        """A compact JWS of these claims; `type` is its `typ`."""
