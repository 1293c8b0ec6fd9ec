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

    def recheck(self, principal: Principal, now: float) -> Principal:
        """The principal as it would be authenticated now, for sessions and streams that live long.

        Raises `Refused` (UNAUTHENTICATED) when what it has shown is not good any more. A token that has merely
        expired is still good: its end is `expires_at`.
        """
