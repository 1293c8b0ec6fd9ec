"""What a party shows to say who it is."""

from __future__ import annotations

import hashlib


class Credential:
    """A bare token or key, and its SHA-256 digest: what caches and stores know it by."""

    __slots__ = ("digest", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()

    def __repr__(self) -> str:
        return "Credential(...)"
