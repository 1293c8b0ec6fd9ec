"""One link to a relay: dial, authenticate, then frames in and frames out until it ends."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple, cast

import structlog
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from a2a_relay.connector.calls import Calls
from a2a_relay.connector.outbox import Outbox
from a2a_relay.connector.proof import ProofKey
from a2a_relay.connector.reconnect import LinkEnd
from a2a_relay.connector.refused import ConnectorRefused, one_line
from a2a_relay.connector.relay_url import RelayUrl
from a2a_relay.connector.renewing import Renewal
from a2a_relay.connector.tokens import TokenSource
from a2a_relay.connector.upstream import failed
from a2a_relay.wire import agent_side, chunks, close_codes
from a2a_relay.wire.agent_side import (
    AuthOk,
    AuthRefused,
    Cancel,
    Credit,
    Goaway,
    IncomingRequest,
    TokenExpiring,
    TokenRefused,
    TokenRenewed,
)
from a2a_relay.wire.chunks import ChunkReader
from a2a_relay.wire.frames import CHUNKS, Chunk, ChunkTaken, Ping, Probe, Resume, Unreadable
from a2a_relay.wire.proof import Challenge

DIAL_SECONDS = 15.0
AUTH_SECONDS = 30.0
_PING_SECONDS = 20.0
_SILENCE_SECONDS = 60.0
"""A link over which no byte has come for so long is dead: a ping that is answered is a byte."""
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
    resume: Resume | None = None
    """What is held of a session whose link was cut."""
    checks_stamps: bool = False
    """Whether the relay is asked to vouch for senders."""
    instance: str = ""
    """The name of this connector, over all of its links."""
    source: TokenSource | None = None
    """Where a newer token comes from while the link is there; None: nowhere."""
    proof_key: ProofKey | None = None


class _Dial(connect):
    """The token travels in the first frame: it goes where the user said, and no redirect takes it elsewhere."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


class _Connection(ClientConnection):
    """Bytes are life, whole frames or not: a pong may stand behind a large body for long."""

    heard_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.heard_at = self.loop.time()
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        self.heard_at = self.loop.time()
        super().data_received(data)


class Link:
    """An attached link."""

    def __init__(self, connection: _Connection, hello: Hello, welcome: AuthOk, now: Callable[[], float]) -> None:
        self.welcome = welcome
        self.told_card = hello.agent_card
        self.told_rest_v03 = hello.rest_v03
        self.told_adopts_ids = hello.adopts_ids
        self.told_ready = True
        """What the relay believes; an agent is taken for ready when it attaches."""
        self._connection = connection
        self._now = now
        self._attached_at = now()
        self._goaway: Goaway | None = None
        self._is_left = self._is_silent = False
        self._outbox = Outbox(self._write, now, in_pieces=CHUNKS in welcome.features)
        self._joined = ChunkReader(hello.max_frame, 2 * hello.max_frame)
        self._renewal = Renewal(hello.source, hello.token, self.send) if hello.source is not None else None

    async def send(self, frame: bytes) -> None:
        """Send a frame of the link itself. A link that is gone takes it silently: `run` says why."""
        await self._outbox.say(frame)

    async def run(self, calls: Calls, tasks: asyncio.TaskGroup) -> LinkEnd:
        """Dispatch frames until the link ends."""
        helpers = [tasks.create_task(self._outbox.run()), tasks.create_task(self._watch())]
        if self._renewal is not None and self.welcome.is_native:
            helpers.append(tasks.create_task(self._renewal.run()))
        calls.attach(self._outbox, self.welcome)
        is_cut = False
        try:
            while True:
                await self._dispatch(await self._connection.recv(decode=False), calls)
        except ConnectionClosed as closed:
            is_cut = not self._is_left
            return self._end(closed)
        finally:
            for helper in helpers:
                helper.cancel()
            self._outbox.close()
            if is_cut:
                calls.cut()
            else:
                calls.drop_all()

    async def close(self) -> None:
        """Leave: the relay learns that the agent is gone on purpose."""
        self._is_left = True
        try:
            async with asyncio.timeout(_CLOSE_SECONDS):
                await self._connection.close()
        except TimeoutError:  # what is under way has not left in this time, and the close frame stands behind it
            self._connection.transport.abort()

    async def _write(self, message: bytes, is_text: bool) -> None:
        with suppress(ConnectionClosed):
            await self._connection.send(message, text=is_text)

    async def _watch(self) -> None:
        """Give up a link over which nothing comes any more, not even the answers to pings."""
        connection = self._connection
        while not self._is_silent:
            left = connection.heard_at + _SILENCE_SECONDS - connection.loop.time()
            await asyncio.sleep(max(left, 0))
            self._is_silent = left <= 0
        connection.transport.abort()

    async def _dispatch(self, frame: bytes, calls: Calls) -> None:
        event = agent_side.read(frame)
        match event:
            case IncomingRequest():
                calls.start(event)
            case Credit():
                calls.credit(event.id, event.through)
            case Cancel():
                self._joined.drop(event.id)
                calls.cancel(event.id)
            case Chunk():
                await self._join(event, calls)
            case ChunkTaken():
                self._outbox.take(event)
            case Ping():
                await self.send(agent_side.PONG)
            case Probe():
                await self.send(agent_side.probe(event.id))
            case Goaway():
                self._goaway = event
                _LOG.info("goaway", reason=one_line(event.reason), reconnect_after_ms=event.reconnect_after_ms)
            case TokenExpiring() | TokenRenewed() | TokenRefused():
                self._note_token(event)
            case Unreadable():
                _LOG.warning("frame_unreadable", reason=str(event.reason))
                if event.ids:
                    self._joined.drop(event.ids[0])
                    calls.cancel(event.ids[0])
                    await self.send(agent_side.error(event.ids[0], failed(event.reason).error))
            case _:
                pass  # a newer relay may say more than this connector knows

    def _note_token(self, event: TokenExpiring | TokenRenewed | TokenRefused) -> None:
        match event:
            case TokenExpiring() if self._renewal is not None:
                self._renewal.expiring()
            case TokenExpiring():
                _LOG.warning("token_expiring", expires_at=one_line(event.expires_at))
            case TokenRenewed() if self._renewal is not None:
                self._renewal.renewed()
            case TokenRefused() if self._renewal is not None:
                self._renewal.refused(event.message)

    async def _join(self, chunk: Chunk, calls: Calls) -> None:
        """Take a piece of a frame; the whole one is dispatched as if it had come so."""
        try:
            receipt, frame = self._joined.take(chunk)
        except chunks.TooLarge as refused:
            _LOG.warning("frame_unreadable", reason=str(refused.reason))
            await self.send(refused.receipt)
            await self.send(agent_side.error(chunk.id, failed(refused.reason).error))
            return
        await self.send(receipt)
        if frame is not None and not frame.startswith(chunks.HEAD):
            await self._dispatch(frame, calls)

    def _end(self, closed: ConnectionClosed) -> LinkEnd:
        code, reason = _close_of(closed)
        if self._is_silent:
            reason = f"nothing was heard of the relay for {_SILENCE_SECONDS:.0f} s"
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
            ping_timeout=None,
            close_timeout=_CLOSE_SECONDS,
            max_size=hello.max_frame + _OVERHEAD_BYTES,
            create_connection=_Connection,
        )
    except (OSError, TimeoutError, WebSocketException) as error:
        return _undialled(error, relay)
    try:
        answer = await _authenticate(connection, hello, relay)
    except BaseException:
        connection.transport.abort()
        raise
    if isinstance(answer, LinkEnd):
        await connection.close()
        return answer
    return Link(cast(_Connection, connection), hello, answer, now)


async def _authenticate(connection: ClientConnection, hello: Hello, relay: RelayUrl) -> AuthOk | LinkEnd:
    frame = agent_side.auth(
        hello.token,
        hello.agent_card,
        max_frame=hello.max_frame,
        adopts_ids=hello.adopts_ids,
        rest_v03=hello.rest_v03,
        resume=hello.resume,
        checks_stamps=hello.checks_stamps,
        instance=hello.instance,
        can_renew=hello.source is not None,
        can_prove=hello.proof_key is not None,
    )
    refusal = ""
    try:
        async with asyncio.timeout(AUTH_SECONDS):
            await connection.send(frame, text=True)
            while True:
                match agent_side.read(await connection.recv(decode=False)):
                    case AuthOk() as welcome:
                        return welcome
                    case Challenge() as challenge if hello.proof_key is not None:
                        signature = hello.proof_key.answer(challenge, relay)
                        await connection.send(agent_side.proof(signature), text=True)
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
    except ConnectorRefused as refused:
        return LinkEnd(refused.message, close_codes.PROTOCOL_ERROR.code, is_refused=True)
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
