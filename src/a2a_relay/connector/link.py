"""One link to a relay: dial, authenticate, then frames in and frames out until it ends."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

import structlog
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from a2a_relay.connector.calls import Calls
from a2a_relay.connector.reconnect import LinkEnd
from a2a_relay.connector.refused import one_line
from a2a_relay.connector.relay_url import RelayUrl
from a2a_relay.connector.upstream import failed
from a2a_relay.wire import agent_side
from a2a_relay.wire.agent_side import AuthOk, AuthRefused, Cancel, Goaway, IncomingRequest
from a2a_relay.wire.frames import Ping, Probe, Unreadable

DIAL_SECONDS = 15.0
AUTH_SECONDS = 30.0
_PING_SECONDS = 20.0
_CLOSE_SECONDS = 3.0
_OVERHEAD_BYTES = 64 * 1024
_LOG = structlog.get_logger("a2a_relay.connector")


class Hello(NamedTuple):
    """What an agent says of itself when it attaches."""

    token: str
    agent_card: bytes | None
    adopts_ids: bool
    rest_v03: bool
    max_frame: int
    """The largest frame that is taken from the relay, in bytes."""


class _Dial(connect):
    """The token travels in the first frame: it goes where the user said, and no redirect takes it elsewhere."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


class Link:
    """An attached link. Every frame is written whole by `send`, in the order of the calls to it."""

    def __init__(self, connection: ClientConnection, hello: Hello, welcome: AuthOk, now: Callable[[], float]) -> None:
        self.welcome = welcome
        self.told_card = hello.agent_card
        self.told_rest_v03 = hello.rest_v03
        self.told_ready = True
        """What the relay believes; an agent is taken for ready when it attaches."""
        self._connection = connection
        self._now = now
        self._attached_at = now()
        self._goaway: Goaway | None = None

    async def send(self, frame: bytes) -> None:
        """Write one frame, waiting while the relay is slow. A link that is gone takes it silently: `run` says why."""
        with suppress(ConnectionClosed):
            await self._connection.send(frame, text=True)

    async def run(self, calls: Calls) -> LinkEnd:
        """Dispatch frames until the link ends."""
        try:
            while True:
                await self._dispatch(await self._connection.recv(decode=False), calls)
        except ConnectionClosed as closed:
            return self._end(closed)
        finally:
            calls.link_lost()

    async def close(self) -> None:
        """Leave: the relay learns that the agent is gone on purpose."""
        await self._connection.close()

    async def _dispatch(self, frame: bytes, calls: Calls) -> None:
        event = agent_side.read(frame)
        match event:
            case IncomingRequest():
                calls.start(event)
            case Cancel():
                calls.cancel(event.id)
            case Ping():
                await self.send(agent_side.PONG)
            case Probe():
                await self.send(agent_side.probe(event.id))
            case Goaway():
                self._goaway = event
                _LOG.info("goaway", reason=one_line(event.reason), reconnect_after_ms=event.reconnect_after_ms)
            case Unreadable():
                _LOG.warning("frame_unreadable", reason=str(event.reason))
                if event.ids:
                    await self.send(agent_side.error(event.ids[0], failed(event.reason).error))
            case _:
                pass  # a newer relay may say more than this connector knows

    def _end(self, closed: ConnectionClosed) -> LinkEnd:
        code, reason = _close_of(closed)
        return LinkEnd(
            message=one_line(self._goaway.reason if self._goaway is not None else reason),
            close_code=code,
            is_goaway=self._goaway is not None,
            reconnect_after_ms=self._goaway.reconnect_after_ms if self._goaway is not None else None,
            lived_seconds=max(self._now() - self._attached_at, 0.001),
        )


async def attach(relay: RelayUrl, tls: ssl.SSLContext | None, hello: Hello, now: Callable[[], float]) -> Link | LinkEnd:
    """Dial and authenticate. A `LinkEnd` says why there is no link."""
    try:
        connection = await _Dial(
            relay.link,
            ssl=tls if relay.is_secure else None,
            # A proxy of the environment may lead to a relay out there, but must not see a token in clear.
            proxy=True if relay.is_secure and not relay.is_loopback else None,
            compression="deflate",  # where the relay wants it
            open_timeout=DIAL_SECONDS,
            ping_interval=_PING_SECONDS,
            ping_timeout=_PING_SECONDS,
            close_timeout=_CLOSE_SECONDS,
            max_size=hello.max_frame + _OVERHEAD_BYTES,
        )
    except (OSError, TimeoutError, WebSocketException) as error:
        return _undialled(error, relay)
    try:
        answer = await _authenticate(connection, hello)
    except BaseException:
        connection.transport.abort()
        raise
    if isinstance(answer, LinkEnd):
        await connection.close()
        return answer
    return Link(connection, hello, answer, now)


async def _authenticate(connection: ClientConnection, hello: Hello) -> AuthOk | LinkEnd:
    frame = agent_side.auth(
        hello.token,
        hello.agent_card,
        max_frame=hello.max_frame,
        adopts_ids=hello.adopts_ids,
        rest_v03=hello.rest_v03,
    )
    refusal = ""
    try:
        async with asyncio.timeout(AUTH_SECONDS):
            await connection.send(frame, text=True)
            while True:
                match agent_side.read(await connection.recv(decode=False)):
                    case AuthOk() as welcome:
                        return welcome
                    case AuthRefused(message):
                        # The close that follows says whether to come back.
                        refusal = refusal or message
                    case Ping():
                        await connection.send(agent_side.PONG, text=True)
                    case _:
                        pass
    except ConnectionClosed as closed:
        code, reason = _close_of(closed)
        return LinkEnd(one_line(refusal or reason), code, is_refused=bool(refusal))
    except TimeoutError:
        return LinkEnd(one_line(refusal or "the relay did not answer the auth frame"), is_refused=bool(refusal))


def _undialled(error: Exception, relay: RelayUrl) -> LinkEnd:
    if isinstance(error, InvalidStatus):
        status = error.response.status_code
        return LinkEnd(f"{relay.link} answered HTTP {status}", http_status=status)
    message = one_line(f"{relay.link}: {str(error) or type(error).__name__}")
    return LinkEnd(message, is_bad_certificate=isinstance(error, ssl.SSLCertVerificationError))


def _close_of(closed: ConnectionClosed) -> tuple[int | None, str]:
    """Code and reason of the relay's close frame; None where there was none."""
    if closed.rcvd is None or closed.rcvd.code in (1005, 1006):
        return None, "the connection was lost"
    return closed.rcvd.code, closed.rcvd.reason
