"""One running relay node: the only object that fronts talk to.

`submit` is synchronous and is the one door for calls (decision 12); `send` is a
thin awaitable over it.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from a2a_relay.core import access
from a2a_relay.core import limits as core_limits
from a2a_relay.core.address import Address
from a2a_relay.core.call import Call
from a2a_relay.core.credential import Credential
from a2a_relay.core.exchange import Exchange, Outcome, Sink
from a2a_relay.core.hub import Hub
from a2a_relay.core.limits import Limits
from a2a_relay.core.principal import Principal
from a2a_relay.core.public_url import is_loopback
from a2a_relay.core.router import route
from a2a_relay.core.session import Session
from a2a_relay.core.urls import agent_urls
from a2a_relay.errors import Reason, Refused, StoreError
from a2a_relay.node.agent_link import AgentLink, LinkTransport
from a2a_relay.node.agents import Agents
from a2a_relay.node.exchanges import Exchanges
from a2a_relay.node.waiter import Waiter
from a2a_relay.node.wheel import Wheel
from a2a_relay.ports.authenticator import Authenticator
from a2a_relay.ports.clock import Clock
from a2a_relay.ports.directory import Directory
from a2a_relay.ports.observer import Observer
from a2a_relay.wire import close_codes
from a2a_relay.wire.close_codes import CloseCode
from a2a_relay.wire.dialects import NATIVE, Dialect, choose
from a2a_relay.wire.frames import Auth, Welcome

HEARTBEAT_SECONDS = 30
LAST_WORDS_SECONDS = 5.0
"""How long closed links may take to say their last words before the process ends."""
GOAWAY_SPREAD_MS = 5_000
"""Agents come back spread over this span after a goaway, so that a restart is not a storm."""


@dataclass(frozen=True, slots=True)
class Ports:
    """What a node needs from the world."""

    clock: Clock
    directory: Directory
    authenticator: Authenticator
    observer: Observer
    random: Callable[[], float]
    """A number in [0, 1), for spreading."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A few counts of a running node."""

    agents_attached: int
    calls_in_flight: int


class RelayNode:
    """Sessions, calls in flight and the directory of one process."""

    def __init__(self, ports: Ports, limits: Limits, epoch: str | None = None) -> None:
        self.clock = ports.clock
        self.observer = ports.observer
        self.limits = limits
        self.is_leaving = False
        self.wheel = Wheel(ports.clock)
        self.exchanges = Exchanges(ports.clock, self.wheel, self._tell_agent_to_stop)
        self._hub = Hub()
        self.agents = Agents(self._hub, ports.directory, ports.clock, limits)
        self._authenticator = ports.authenticator
        self._random = ports.random
        self._links: dict[str, AgentLink] = {}
        self._unauthenticated: set[AgentLink] = set()
        self._open: set[AgentLink] = set()
        self._all_ended = asyncio.Event()
        self._epoch = epoch or secrets.token_hex(8)
        self._sessions = 0

    # clients

    def authenticate(self, credential: Credential) -> Principal:
        """Who this credential speaks for. Raises UNAUTHENTICATED."""
        return self._authenticator.authenticate(credential, self.clock.now())

    def submit(self, call: Call, sink: Sink) -> Exchange:
        """Take one call. Raises `Refused`; after that everything comes through the sink.

        The sink may be called before this returns.
        """
        access.require_call(call.principal, call.address)
        if self.is_leaving:
            raise Refused(Reason.RELAY_LEAVING)
        session = self._hub.find(call.address)
        verdict = route(call, session, is_known=session is not None or self.agents.is_known(call.address))
        if isinstance(verdict, Refused):
            raise verdict
        return self._deliver(call, sink, verdict)

    def _deliver(self, call: Call, sink: Sink, session: Session) -> Exchange:
        limits, link = self.limits, self._links[session.id]
        core_limits.require_room(session, call, limits)
        timeout = limits.request_timeout_seconds
        if call.timeout_seconds is not None:
            timeout = min(call.timeout_seconds, timeout)
        now = self.clock.monotonic()
        exchange = Exchange(session.next_frame_id(), call, sink, session, now, now + timeout)
        frame = session.dialect.request(exchange.id, call, int(timeout * 1000))
        core_limits.require_fit(session, frame)
        backlog = link.backlog_bytes
        if backlog and backlog + len(frame) > max(limits.link_backlog_bytes, len(frame)):
            raise Refused(Reason.AGENT_BUSY, "the agent reads too slowly")
        self.exchanges.start(exchange)
        link.send(frame)
        return exchange

    async def send(self, call: Call) -> Outcome:
        """One unary call and its outcome. Raises `Refused` as `submit` does."""
        waiter = Waiter()
        exchange = self.submit(call, waiter)
        try:
            return await waiter.outcome
        finally:
            self.exchanges.abandon(exchange)

    def abandon(self, exchange: Exchange) -> None:
        """The reader of an exchange is gone."""
        self.exchanges.abandon(exchange)

    def cancel(self, exchange: Exchange, refused: Refused) -> None:
        """End an exchange from the reader's side, with a reason that the reader still gets."""
        self.exchanges.cancel(exchange, refused)

    # agents

    def open_link(self, transport: LinkTransport, base_url: str, dialect: Dialect | None = None) -> AgentLink:
        """A new, unauthenticated link. `base_url` is the relay's public URL as this agent is told it.

        `dialect` is what the upgrade has settled; None: the first frame does.
        """
        link = AgentLink(self, transport, base_url, dialect)
        self._open.add(link)
        if self._is_crowded(transport.peer):
            self.observer.link_refused(Reason.RATE_LIMITED, "too many unauthenticated links", transport.peer)
            link.close(close_codes.RATE_LIMITED)
        else:
            self._unauthenticated.add(link)
        return link

    def _is_crowded(self, peer: str) -> bool:
        """Whether an address holds its fill of links that never authenticated (decision 31)."""
        host = peer.rpartition(":")[0]
        if len(self._unauthenticated) < self.limits.unauthenticated_per_address or is_loopback(host):
            return False
        before = self.clock.monotonic() - core_limits.UNAUTHENTICATED_GRACE_SECONDS
        idle = sum(link.opened_at < before and link.peer.rpartition(":")[0] == host for link in self._unauthenticated)
        return idle >= self.limits.unauthenticated_per_address

    def attach(self, link: AgentLink, auth: Auth) -> Session:
        """Authenticate and register an agent, and welcome it. Raises `Refused`."""
        if self.is_leaving:
            raise Refused(Reason.RELAY_LEAVING)
        principal = self.authenticate(Credential(auth.token))
        address = access.require_attach(principal)
        self.agents.require_acceptable_card(auth.agent_card)
        session = self._new_session(principal, address, auth, choose(auth, link.dialect))
        self.agents.register(session, auth.agent_card)
        self._unauthenticated.discard(link)
        replaced = self._hub.attach(session)
        self._links[session.id] = link
        link.send(session.dialect.welcome(self._welcome(session, link.base_url)))
        self.observer.session_attached(session, replaced=replaced is not None)
        if replaced is not None:
            self._replace(replaced)
        if self.limits.session_limit_seconds:
            link.after(self.limits.session_limit_seconds, partial(self._end_of_life, link))
        return session

    def _end_of_life(self, link: AgentLink) -> None:
        """A link has lived as long as it may: ask its agent to reconnect, and close after the grace."""
        if link.is_closed or link.session is None:
            return
        link.send(link.session.dialect.goaway("session limit", 0))
        link.after(self.limits.session_grace_seconds, partial(link.close, close_codes.GOING_AWAY))

    def _new_session(self, principal: Principal, address: Address, auth: Auth, dialect: Dialect) -> Session:
        self._sessions += 1
        return Session(
            id=f"{self._epoch}-{self._sessions:x}",
            address=address,
            principal=principal,
            dialect=dialect,
            attached_at=self.clock.now(),
            max_frame=self.limits.link_max_frame(auth.max_frame, is_native=dialect is NATIVE),
            serves_rest_v03=dialect is NATIVE and auth.rest_v03,
        )

    def _welcome(self, session: Session, base_url: str) -> Welcome:
        return Welcome(
            agent=session.address.agent,
            tenant=session.address.tenant,
            session=session.id,
            heartbeat_seconds=HEARTBEAT_SECONDS,
            max_frame=self.limits.max_frame,
            max_body=self.limits.max_body,
            public_urls=agent_urls(base_url, session.address),
        )

    def _replace(self, session: Session) -> None:
        """Tell an old session that a newer one has taken its place, and not to come back."""
        link = self._links.get(session.id)
        if link is not None:
            link.send(session.dialect.goaway("session replaced", None))
            link.close(close_codes.SESSION_REPLACED)

    def detach(self, link: AgentLink, session: Session, code: CloseCode | None) -> None:
        """A link is gone. Its calls fail; its end never removes a successor."""
        self._links.pop(session.id, None)
        was_current = self._hub.detach(session)
        self.exchanges.fail_all(session, Refused(Reason.AGENT_DISCONNECTED, metadata={"delivered": "unknown"}))
        self.observer.session_closed(session, code)
        if was_current:
            try:
                self.agents.left(session)
            except StoreError as error:
                self.observer.notice("store_trouble", message=str(error))

    def link_ended(self, link: AgentLink, code: int | None = None) -> None:
        """A link's transport is gone, whether or not it ever authenticated.

        `code` is the close code of a transport that has closed by itself (a frame over its limit, no byte in time).
        """
        self._unauthenticated.discard(link)
        self._open.discard(link)
        link.closed(close_codes.BY_CODE.get(code) if code is not None else None)
        if not self._open:
            self._all_ended.set()

    def _tell_agent_to_stop(self, exchange: Exchange, reason: Reason) -> None:
        link = self._links.get(exchange.session.id)
        if link is not None:
            link.send(exchange.session.dialect.cancel(exchange.id, str(reason)))

    # the node itself

    def snapshot(self) -> Snapshot:
        """A few counts."""
        return Snapshot(len(self._hub), len(self.exchanges))

    async def leave(self, grace_seconds: float) -> None:
        """Say goaway, let calls in flight finish, end what is left with an error, close the links."""
        self.is_leaving = True
        for link in list(self._links.values()):
            if link.session is not None:
                after = int(self._random() * GOAWAY_SPREAD_MS)
                link.send(link.session.dialect.goaway("relay is shutting down", after))
        if len(self.exchanges):
            idle = asyncio.Event()
            self.exchanges.on_idle = idle.set
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(grace_seconds):
                    await idle.wait()
        for session in self._hub:
            for exchange in list(session.exchanges.values()):
                self.exchanges.cancel(exchange, Refused(Reason.RELAY_LEAVING))
        for link in list(self._open):
            link.close(close_codes.GOING_AWAY)
        if self._open:
            self._all_ended.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LAST_WORDS_SECONDS):
                    await self._all_ended.wait()
