"""Tokens for talking to a relay: found, minted from the shared secret, and looked into."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jwt

from a2a_relay.client.failures import ClientError

MAX_LIFE_SECONDS = 24 * 3600
"""A relay takes no token that lives longer (decision 28)."""

COMMAND_TIMEOUT_SECONDS = 30


def mint(
    secret: str,
    now: float,
    life_seconds: float,
    *,
    tenant: str,
    role: str | None = None,
    agent: str | None = None,
    user: str | None = None,
) -> str:
    """A shared-secret token as relay-go's agents and clients hold it. Raises ClientError on a life beyond 24 h."""
    if not 0 < life_seconds <= MAX_LIFE_SECONDS:
        raise ClientError("a token lives at most 24 h")
    claims: dict[str, Any] = {"tenant": tenant, "agent_id": agent, "role": role, "user_id": user}
    claims |= {"iat": int(now), "exp": int(now + life_seconds)}
    return jwt.encode({name: value for name, value in claims.items() if value is not None}, secret, algorithm="HS256")


def claims_of(token: str) -> Mapping[str, Any] | None:
    """What a token says of itself, unverified; None when it is not a JWT (it may still be a good credential)."""
    try:
        found: Mapping[str, Any] = jwt.decode(token, options={"verify_signature": False})
    except jwt.InvalidTokenError:
        return None
    return found


def from_file(path: Path) -> str:
    """The token in a file. Raises ClientError."""
    try:
        return _require_token(path.read_text(encoding="utf-8"), f"the token file {path}")
    except (OSError, ValueError) as error:
        raise ClientError(f"the token file {path} cannot be read: {error}") from error


def from_command(command: str) -> str:
    """The token that a command prints. Raises ClientError."""
    try:
        words = shlex.split(command)
        done = subprocess.run(  # noqa: S603 - the user's own command
            words,
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT_SECONDS,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, ValueError, IndexError, subprocess.TimeoutExpired) as error:
        raise ClientError(f"the token command cannot be run: {error}") from error
    if done.returncode != 0:
        raise ClientError(f"the token command ended with exit code {done.returncode}")
    return _require_token(done.stdout, "the token command")


def _require_token(text: str, source: str) -> str:
    token = text.strip()
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise ClientError(f"{source} holds no token")
    return token
