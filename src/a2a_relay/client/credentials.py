"""Which relay a command talks to, and with what token.

A flag counts more than the environment (`RELAY_URL`, `RELAY_TOKEN`, `RELAY_JWT_SECRET`),
and that more than the local profile. A token that nobody named for a URL is only ever
sent to the relay in use: an address in a message must not collect tokens.
"""

from __future__ import annotations

import getpass
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from a2a_relay.client import tokens
from a2a_relay.client.address import is_same_origin, split_url
from a2a_relay.client.failures import ClientError
from a2a_relay.settings import Profile, read_secret

CALL_TOKEN_SECONDS = 300
"""Life of a token minted for one command; a stream outlives the token that opened it."""

SECRET_VARIABLES = ("RELAY_JWT_SECRET", "JWT_SECRET")
NO_TOKEN = "no token: set RELAY_TOKEN, or give --token-file or --token-command"  # noqa: S105 - a sentence


@dataclass(frozen=True)
class Credentials:
    """What the flags, the environment and the local profile say. Fields are None where nothing was given."""

    environ: Mapping[str, str]
    profile: Profile | None = None
    relay_flag: str | None = None
    tenant_flag: str | None = None
    token: str | None = field(default=None, repr=False)
    token_file: Path | None = None
    token_command: str | None = None

    @cached_property
    def relay(self) -> str | None:
        """The relay in use, without a trailing slash. Raises ClientError when it is not a URL."""
        found = self.relay_flag or self.environ.get("RELAY_URL") or (self.profile and self.profile.relay)
        if not found:
            return None
        split_url(found)
        return found.rstrip("/")

    @cached_property
    def given_token(self) -> str | None:
        """The token that a flag names. Raises ClientError."""
        if self.token:
            return self.token.strip()
        if self.token_file:
            return tokens.from_file(self.token_file)
        return tokens.from_command(self.token_command) if self.token_command else None

    @property
    def tenant(self) -> str | None:
        """The tenant in use: a flag's, else the token's, else the local profile's."""
        if self.tenant_flag:
            return self.tenant_flag
        token = self.given_token or self.environ.get("RELAY_TOKEN")
        claims = tokens.claims_of(token) if token else None
        if claims is not None and isinstance(claims.get("tenant"), str):
            return str(claims["tenant"])
        return self.profile.tenant if self.profile and self._is_local() else None

    def token_for(self, url: str, tenant: str | None, now: float, *, role: str | None) -> str | None:
        """The token for a call to `url`, minted where only a secret is known; None when there is none.

        Raises ClientError or SettingsError when a named source cannot be read.
        """
        if self.given_token:
            return self.given_token
        if self.relay is not None and not is_same_origin(url, self.relay):
            return None
        if self.environ.get("RELAY_TOKEN"):
            return self.environ["RELAY_TOKEN"].strip()
        secret = self.secret
        if secret is None or tenant is None or self.relay is None:
            return None
        return tokens.mint(secret, now, CALL_TOKEN_SECONDS, tenant=tenant, role=role, user=user_name())

    @cached_property
    def secret(self) -> str | None:
        """The secret that the relay in use takes tokens of, where this machine knows it. Raises SettingsError."""
        for variable in SECRET_VARIABLES:
            if self.environ.get(variable, "").strip():
                return self.environ[variable].strip()  # as the relay reads it
        if self.profile and self.profile.secret_file and self._is_local():
            return read_secret(self.profile.secret_file)
        return None

    def require_relay(self) -> str:
        """The relay in use. Raises ClientError."""
        if self.relay is None:
            raise ClientError("which relay? Give --relay URL, set RELAY_URL, or start one here with `relay serve`")
        return self.relay

    def require_tenant(self) -> str:
        """The tenant in use. Raises ClientError."""
        found = self.tenant
        if found is None:
            raise ClientError("which tenant? Give --tenant NAME, or a token that names one")
        return found

    def _is_local(self) -> bool:
        return self.profile is not None and self.relay is not None and is_same_origin(self.relay, self.profile.relay)


def user_name() -> str:
    """The person at the keyboard, as the sender of minted tokens."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # no such user in a container
        return "someone"
