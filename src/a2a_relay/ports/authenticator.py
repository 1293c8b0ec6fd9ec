"""Credentials become principals here."""

from __future__ import annotations

from typing import Protocol

from a2a_relay.core.credential import Credential
from a2a_relay.core.principal import Principal


class Authenticator(Protocol):
    """Answers from local state, without waiting. Raises `Refused` (UNAUTHENTICATED) for a bad credential.

    `now` is wall time in seconds.
    """

    def authenticate(self, credential: Credential, now: float) -> Principal: ...
