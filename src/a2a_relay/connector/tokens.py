"""Where the connector's token comes from. A source is read before each attach, so that tokens can change meanwhile."""

from __future__ import annotations

import asyncio
import inspect
import os
import shlex
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import jwt

from a2a_relay.connector.refused import ConnectorRefused, place_of

_MAX_TOKEN_BYTES = 16 * 1024
_COMMAND_SECONDS = 10.0
_MINTED_LIFE_SECONDS = 12 * 3600
_RENEW_BEFORE_SECONDS = 600
_NO_INSTANT = 1e12


class TokenUnavailable(Exception):
    """The source has no token now; the message says why and holds no part of one."""


class TokenSource(Protocol):
    """Gives the token of the moment. `can_change` is False where asking again is pointless."""

    can_change: bool

    async def read(self) -> str:
        """Raises `TokenUnavailable`."""


class StaticToken:
    """One token for ever."""

    can_change = False

    def __init__(self, token: str) -> None:
        self._token = token.strip()

    async def read(self) -> str:
        if not self._token:
            raise TokenUnavailable("no token was given")
        return self._token


class TokenFile:
    """The text of a file."""

    can_change = True

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path)

    async def read(self) -> str:
        try:
            with self._path.open("rb") as file:
                data = file.read(_MAX_TOKEN_BYTES + 1)
        except OSError as error:
            raise TokenUnavailable(f"the token file {self._path} cannot be read: {error.strerror}") from error
        return _clean(data, f"the token file {self._path}")


class TokenCommand:
    """What a command prints: a sequence of arguments, or one line that is split as a shell would (no shell is run)."""

    can_change = True

    def __init__(self, command: str | Sequence[str], timeout_seconds: float = _COMMAND_SECONDS) -> None:
        self._arguments = _split(command) if isinstance(command, str) else list(command)
        self._timeout_seconds = timeout_seconds

    async def read(self) -> str:
        if not self._arguments:
            raise TokenUnavailable("the token command is empty")
        name = self._arguments[0]
        try:
            process = await asyncio.create_subprocess_exec(
                *self._arguments, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE
            )
        except (OSError, ValueError) as error:
            raise TokenUnavailable(f"the token command {name} cannot be started: {error}") from error
        try:
            async with asyncio.timeout(self._timeout_seconds):
                output, _ = await process.communicate()
        except TimeoutError as error:
            raise TokenUnavailable(f"the token command {name} did not end in {self._timeout_seconds:g} s") from error
        finally:
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        if process.returncode:
            raise TokenUnavailable(f"the token command {name} failed with exit code {process.returncode}")
        return _clean(output, f"the token command {name}")


class TokenCallable:
    """A function of the caller's own, plain or async."""

    can_change = True

    def __init__(self, function: Callable[[], str | Awaitable[str]]) -> None:
        self._function = function

    async def read(self) -> str:
        try:
            found = self._function()
            token = await found if inspect.isawaitable(found) else found
        except Exception as error:
            raise TokenUnavailable(f"the token function has failed: {place_of(error)}") from error
        return _clean(token.encode(), "the token function")


class MintedToken:
    """Tokens that this process signs itself, with the shared secret of a relay on the same machine.

    A token lives twelve hours and is replaced when it is asked for within ten minutes of its end.
    """

    can_change = True

    def __init__(self, secret: str, tenant: str, agent: str, now: Callable[[], float] = time.time) -> None:
        self._secret = secret
        self._claims = {"tenant": tenant, "agent_id": agent, "role": "agent"}
        self._now = now
        self._token = ""
        self._expires_at = 0.0

    async def read(self) -> str:
        now = self._now()
        if now > self._expires_at - _RENEW_BEFORE_SECONDS:
            self._expires_at = now + _MINTED_LIFE_SECONDS
            claims = {**self._claims, "exp": int(self._expires_at)}
            self._token = jwt.encode(claims, self._secret, algorithm="HS256")
        return self._token


def as_source(token: str | TokenSource | Callable[[], str | Awaitable[str]]) -> TokenSource:
    """A token, a source or a function as a source."""
    if isinstance(token, str):
        return StaticToken(token)
    if callable(token):
        return TokenCallable(token)
    return token


def is_expired(token: str, now: float) -> bool:
    """Whether a JWT says itself that it has expired. False for what is no JWT."""
    expires_at = expiry_of(token)
    return expires_at is not None and now >= expires_at


def expiry_of(token: str) -> float | None:
    """When a JWT says itself that it ends, as wall time. None for what is no JWT, such as a key."""
    try:
        expires_at = jwt.decode(token, options={"verify_signature": False}).get("exp")
    except (jwt.InvalidTokenError, ValueError, RecursionError):
        return None
    return float(expires_at) if isinstance(expires_at, int | float) and 0 < expires_at < _NO_INSTANT else None


def _split(command: str) -> list[str]:
    """Arguments of one line. On Windows a backslash is part of a path, and quotes only hold words together."""
    if os.name == "nt":
        return [argument.strip('"') for argument in shlex.split(command, posix=False)]
    try:
        return shlex.split(command)
    except ValueError as error:
        raise ConnectorRefused(f"the token command cannot be read: {error}") from error


def _clean(data: bytes, what: str) -> str:
    token = data.decode("utf-8", "replace").strip()
    if not token:
        raise TokenUnavailable(f"{what} gave no token")
    if len(data) > _MAX_TOKEN_BYTES or not token.isascii() or not token.isprintable() or " " in token:
        raise TokenUnavailable(f"{what} gave something that is no token")
    return token
