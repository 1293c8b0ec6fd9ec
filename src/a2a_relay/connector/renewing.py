"""Renews the token of a link that goes on, from the source that it came from."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import structlog

from a2a_relay.connector import tokens
from a2a_relay.connector.refused import one_line
from a2a_relay.connector.tokens import TokenSource, TokenUnavailable
from a2a_relay.connector.watch import Wait, wait_for
from a2a_relay.wire import agent_side

_LEAD_SECONDS = 300.0
_LEAD_PART = 4
"""A token is renewed so long before its end, or in the last quarter of a short life."""
_AGAIN_SECONDS = 10.0
_LEAST_AGAIN_SECONDS = 1.0
"""How often a source is asked that has nothing new yet: the oftener, the shorter what is left."""
_LOG = structlog.get_logger("a2a_relay.connector")


class Renewal:
    """One link's token. `send` writes a frame to the relay."""

    def __init__(
        self,
        source: TokenSource,
        token: str,
        send: Callable[[bytes], Awaitable[None]],
        *,
        wait: Wait = wait_for,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._source = source
        self._token = self._tried = token
        self._send = send
        self._wait = wait
        self._now = now
        self._stirred = asyncio.Event()
        self._due_at = self._due_of(token)

    async def run(self) -> None:
        """Renew in time, until cancelled."""
        while True:
            while self._due_at is None or self._now() < self._due_at:
                await self._stir(None if self._due_at is None else self._due_at - self._now())
            await self._renew()
            await self._stir(self._again_seconds())  # for the relay's answer, or for the source to have something new

    async def _stir(self, seconds: float | None) -> None:
        if seconds is None:
            await self._stirred.wait()
        else:
            await self._wait(self._stirred, seconds)
        self._stirred.clear()

    def expiring(self) -> None:
        """The relay warns that the link will end."""
        self._due_at = self._now()
        self._stirred.set()

    def renewed(self) -> None:
        """The relay has taken the token that it was sent."""
        self._token = self._tried
        self._due_at = self._due_of(self._token)
        _LOG.info("token_renewed")
        self._stirred.set()

    def refused(self, message: str) -> None:
        """The relay has not taken it; the link goes on with the one that it has."""
        _LOG.warning("token_not_renewed", reason=one_line(message))

    async def _renew(self) -> None:
        try:
            token = await self._source.read()
        except TokenUnavailable as missing:
            _LOG.warning("token_not_renewed", reason=str(missing))
            return
        if token not in (self._token, self._tried):
            self._tried = token
            await self._send(agent_side.renew(token))

    def _again_seconds(self) -> float:
        expires_at = tokens.expiry_of(self._token)
        if expires_at is None:
            return _AGAIN_SECONDS
        return min(_AGAIN_SECONDS, max((expires_at - self._now()) / _LEAD_PART, _LEAST_AGAIN_SECONDS))

    def _due_of(self, token: str) -> float | None:
        """When a token is to be renewed, as wall time; None for one that does not say when it ends."""
        expires_at = tokens.expiry_of(token)
        if expires_at is None:
            return None
        left = max(expires_at - self._now(), 0)
        return expires_at - min(_LEAD_SECONDS, left / _LEAD_PART)
