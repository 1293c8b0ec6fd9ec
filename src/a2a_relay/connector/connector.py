"""The connector: keeps one agent attached to one relay until it is told to stop or sent away for good."""

from __future__ import annotations

import asyncio
import os
import random
import secrets
import ssl
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from types import TracebackType
from typing import Any, Self

import structlog

from a2a_relay.connector import cards, relay_url, tokens
from a2a_relay.connector.asgi import AppUpstream, AsgiApp
from a2a_relay.connector.calls import Calls
from a2a_relay.connector.handler import Handler, HandlerUpstream
from a2a_relay.connector.link import Hello, Link, attach
from a2a_relay.connector.peers import PeersDoor
from a2a_relay.connector.proof import ProofKey
from a2a_relay.connector.reconnect import (
    LIVED_SECONDS,
    BackOff,
    Credential,
    GiveUp,
    LinkEnd,
    RetryAfter,
    RetryNow,
    Waits,
    judge,
)
from a2a_relay.connector.refused import ConnectorRefused, one_line
from a2a_relay.connector.sender_gate import SenderGate, VerifySenders, keys_for
from a2a_relay.connector.senders import RelayKeys
from a2a_relay.connector.tokens import TokenSource, TokenUnavailable
from a2a_relay.connector.upstream import Upstream
from a2a_relay.connector.upstream_http import HttpUpstream
from a2a_relay.connector.watch import Wait, Watch, wait_for
from a2a_relay.wire import agent_side
from a2a_relay.wire.agent_side import AuthOk

MAX_FRAME_BYTES = 64 * 1024 * 1024 + 64 * 1024
"""A body of the largest size that a relay may be set to, and what a frame puts around it."""
_LOG = structlog.get_logger("a2a_relay.connector")

Token = str | TokenSource | Callable[[], str | Awaitable[str]]


class _Ended(Exception):
    """Ends the task group of a connector."""


class Connector:
    """One agent's way to one relay.

        await Connector("https://relay.example", token).serve(upstream="http://127.0.0.1:9999")

    `serve` runs until it is cancelled or `stop` is called, and raises `ConnectorRefused` when retrying cannot help.
    `verify_senders` is `off`, `on` or `require`; by default senders are checked where the extra `verify` is installed.
    `allow_senders` are the identities whose calls reach the agent: empty means all.
    `async with Connector(...) as connector: await connector.start(app=app)` serves while the block runs.
    One connector serves once.
    """

    def __init__(
        self,
        relay: str,
        token: Token,
        *,
        agent_card: bytes | str | Mapping[str, Any] | None = None,
        ca_file: str | None = None,
        insecure: bool = False,
        max_frame: int = MAX_FRAME_BYTES,
        peers: str | None = None,
        peers_token: str | None = None,
        verify_senders: str | None = None,
        allow_senders: Collection[str] = (),
        proof_key: str | os.PathLike[str] | None = None,
        chance: Callable[[], float] = random.random,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        wait: Wait = wait_for,
    ) -> None:
        self._relay = relay_url.read(relay, insecure=insecure)
        self._tokens = tokens.as_source(token)
        self._agent_card = None if agent_card is None else cards.as_bytes(agent_card)
        self._tls = _tls(ca_file) if self._relay.is_secure else None
        self._proof_key = ProofKey.read(proof_key) if proof_key is not None else None
        self._instance = secrets.token_urlsafe(16)
        self._max_frame = max_frame
        self._verify_senders = None if verify_senders is None else VerifySenders(verify_senders)
        self._allow_senders = tuple(allow_senders)
        self._sender_keys = keys_for(self._verify_senders, lambda: RelayKeys(self._relay, tls=self._tls))
        self._chance = chance
        self._sleep = sleep
        self._wait = wait
        self._door = PeersDoor(peers, peers_token, self._relay, self._tls, self._tokens) if peers else None
        self._agent: SenderGate | None = None
        self._watch: Watch | None = None
        self._link: Link | None = None
        self._attached = asyncio.Event()
        self._keeper: asyncio.Task[ConnectorRefused | None] | None = None
        self._serving: asyncio.Task[None] | None = None
        self._is_stopping = False

    @property
    def welcome(self) -> AuthOk | None:
        """What the relay said when the agent attached; None while it is not attached."""
        return self._link.welcome if self._link is not None else None

    @property
    def peers_url(self) -> str | None:
        """Where the peers door is open; None without one."""
        return self._door.url if self._door is not None else None

    async def serve(
        self,
        upstream: str | None = None,
        *,
        app: AsgiApp | None = None,
        handler: Handler | None = None,
        card: str | None = None,
        upstream_headers: Mapping[str, str] | None = None,
    ) -> None:
        """Serve one agent: an A2A server at a URL, an ASGI app, or an async function.

        `card` is a file or URL for an agent whose card is elsewhere; `upstream_headers` go with every call to
        the upstream's URL. Raises `ConnectorRefused`.
        """
        agent = SenderGate(
            self._upstream(upstream, app, handler, card, upstream_headers),
            self._sender_keys,
            is_required=self._verify_senders is VerifySenders.REQUIRE,
            allowed=self._allow_senders,
        )
        watch = Watch(agent, self._publish, self._wait)
        try:
            await agent.start()
            await watch.look()
            refused = await self._run(agent, watch)
        finally:
            await agent.aclose()
        if refused is not None:
            _LOG.error("refused", message=refused.message)
            raise refused

    async def start(self, upstream: str | None = None, **options: Any) -> None:
        """`serve` in the background; returns when the agent is attached. Raises `ConnectorRefused`."""
        self._serving = asyncio.get_running_loop().create_task(self.serve(upstream, **options))
        attached = asyncio.get_running_loop().create_task(self._attached.wait())
        try:
            await asyncio.wait({self._serving, attached}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            attached.cancel()
        if self._serving.done():
            await self._serving

    def stop(self) -> None:
        """Leave the relay; `serve` returns soon after."""
        self._is_stopping = True
        if self._keeper is not None:
            self._keeper.cancel()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        if self._serving is None:
            return
        await asyncio.wait({self._serving})
        failure = None if self._serving.cancelled() else self._serving.exception()
        if failure is not None and error is None:
            raise failure

    def _upstream(
        self,
        url: str | None,
        app: AsgiApp | None,
        handler: Handler | None,
        card: str | None,
        headers: Mapping[str, str] | None,
    ) -> Upstream:
        if sum(given is not None for given in (url, app, handler)) != 1:
            raise ConnectorRefused("give one of upstream=, app= and handler=")
        if handler is not None:
            return HandlerUpstream(handler, self._agent_card)
        source: cards.CardSource | None = None
        if self._agent_card is not None:
            source = cards.GivenCard(self._agent_card)
        elif card is not None:
            source = cards.source(card)
        if app is not None:
            return AppUpstream(app, card=source)
        return HttpUpstream(url or "", card=source, headers=headers)

    async def _run(self, agent: SenderGate, watch: Watch) -> ConnectorRefused | None:
        self._agent, self._watch = agent, watch
        keeper: asyncio.Task[ConnectorRefused | None] | None = None
        if self._door is not None:
            await self._door.open()
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(watch.run())
                calls = Calls(tasks, agent, watch.report_down)
                keeper = self._keeper = tasks.create_task(self._keep_attached(tasks, agent, watch, calls))
                if self._is_stopping:
                    keeper.cancel()
                await asyncio.wait({keeper})
                calls.drop_all()
                raise _Ended
        except* _Ended:
            pass  # with it the group has ended what still ran: the watch, and calls whose answers nobody awaits
        finally:
            if self._door is not None:
                await self._door.aclose()
        return None if keeper is None or keeper.cancelled() else keeper.result()

    async def _keep_attached(
        self, tasks: asyncio.TaskGroup, agent: SenderGate, watch: Watch, calls: Calls
    ) -> ConnectorRefused | None:
        """Attach again and again; the refusal that ended it."""
        waits = Waits(self._chance)
        was_attached = was_retried = False
        while True:
            try:
                token = await self._tokens.read()
                end = await self._attach_once(token, tasks, agent, watch, calls)
            except TokenUnavailable as missing:
                if not was_attached:
                    return ConnectorRefused(str(missing))
                token, end = "", LinkEnd(str(missing))
            if end.lived_seconds:
                was_attached = True
            if end.lived_seconds >= LIVED_SECONDS:
                was_retried = False
                waits.reset()
            credential = Credential(self._tokens.can_change, tokens.is_expired(token, time.time()), was_retried)
            verdict = judge(end, credential, was_attached=was_attached)
            match verdict:
                case GiveUp(message, exit_code):
                    return ConnectorRefused(message, exit_code)
                case RetryNow():
                    was_retried = True
                    _LOG.info("token_read_again", reason=end.message)
                case RetryAfter(seconds):
                    await self._pause(end, seconds)
                case BackOff():
                    await self._pause(end, waits.next_seconds())

    async def _pause(self, end: LinkEnd, seconds: float) -> None:
        _LOG.info("detached", reason=end.message, close_code=end.close_code, retry_in_seconds=round(seconds, 2))
        await self._sleep(seconds)

    async def _attach_once(
        self, token: str, tasks: asyncio.TaskGroup, agent: SenderGate, watch: Watch, calls: Calls
    ) -> LinkEnd:
        hello = Hello(
            token,
            watch.card,
            agent.adopts_ids,
            agent.serves_rest_v03,
            self._max_frame,
            calls.claims(),
            agent.checks,
            instance=self._instance,
            source=self._tokens if self._tokens.can_change else None,
            proof_key=self._proof_key,
        )
        link = await attach(self._relay, self._tls, hello, time.monotonic)
        if isinstance(link, LinkEnd):
            return link
        try:
            self._link = link
            agent.attach(link.welcome)
            self._attached.set()
            self._announce(link.welcome)
            await self._publish()
            return await link.run(calls, tasks)
        finally:
            self._link = None
            self._attached.clear()
            await link.close()

    def _announce(self, welcome: AuthOk) -> None:
        if self._door is not None:
            self._door.follow(welcome)
        url = welcome.public_urls.get("JSONRPC") or self._relay.http
        _LOG.info("attached", agent=one_line(welcome.agent), tenant=one_line(welcome.tenant), url=one_line(url))

    async def _publish(self) -> None:
        """Tell the relay what it does not know yet: a new card first, then the state."""
        link, watch, agent = self._link, self._watch, self._agent
        if link is None or watch is None or agent is None:
            return
        is_ready, card = watch.is_ready, watch.card
        is_new_card = card is not None and card != link.told_card
        told, holds = (link.told_rest_v03, link.told_adopts_ids), (agent.serves_rest_v03, agent.adopts_ids)
        if is_new_card and (not link.welcome.is_native or told != holds):
            await link.close()  # only attaching again can say that
            return
        if not link.welcome.is_native:
            return
        if is_new_card and card is not None:
            link.told_card = card
            await link.send(agent_side.card_update(card))
        if is_ready != link.told_ready:
            link.told_ready = is_ready
            await link.send(agent_side.state(is_ready=is_ready, reason=watch.reason))


def _tls(ca_file: str | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        raise ConnectorRefused(f"the CA file {ca_file} cannot be read: {error}") from error
