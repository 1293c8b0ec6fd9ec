"""One running relay node: the only object that fronts talk to.

`submit` and `stream` are synchronous and are the one door for calls (decision 12);
`send` is a thin awaitable over it.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from a2a_relay.a2a.agent_card import relay_params, says_streaming
from a2a_relay.a2a.methods import Operation
from a2a_relay.core import access
from a2a_relay.core import limits as core_limits
from a2a_relay.core.address import Address
from a2a_relay.core.call import NO_OPTIONS, Call
from a2a_relay.core.credential import Credential
from a2a_relay.core.exchange import Exchange, Outcome, Sink
from a2a_relay.core.hub import Hub
from a2a_relay.core.limits import Limits
from a2a_relay.core.mail_rules import MailPolicy
from a2a_relay.core.principal import Principal, Role
from a2a_relay.core.public_url import is_loopback
from a2a_relay.core.router import route
from a2a_relay.core.session import Session
from a2a_relay.core.stream import Reader, Stream
from a2a_relay.core.stream_rules import StreamPolicy
from a2a_relay.core.urls import agent_urls
from a2a_relay.errors import Reason, Refused, StoreError
from a2a_relay.node.agent_link import AgentLink, LinkTransport
from a2a_relay.node.agents import Agents
from a2a_relay.node.exchanges import Exchanges
from a2a_relay.node.mail.held import HeldCall
from a2a_relay.node.mail.mailroom import Mailroom
from a2a_relay.node.owners import Owners
from a2a_relay.node.reattach import Reattachment
from a2a_relay.node.streams import Streams
from a2a_relay.node.waiter import Waiter
from a2a_relay.node.wheel import Wheel
from a2a_relay.ports.authenticator import Authenticator
from a2a_relay.ports.clock import Clock
from a2a_relay.ports.directory import Directory
from a2a_relay.ports.mailbox import Mailbox
from a2a_relay.ports.observer import Observer
from a2a_relay.ports.stream_log import StreamLog
from a2a_relay.ports.task_index import TaskIndex
from a2a_relay.wire import close_codes
from a2a_relay.wire.chunks import CHUNKED_FROM_BYTES
from a2a_relay.wire.close_codes import CloseCode
from a2a_relay.wire.dialects import NATIVE, Dialect, choose
from a2a_relay.wire.flow import Window
from a2a_relay.wire.frames import CHUNKS, CREDIT, LETTERS, RESUME, AgentState, Auth, Resumed, Welcome

HEARTBEAT_SECONDS = 30
_ADMIN = Role.ADMIN
MAX_VIOLATIONS = 2
LAST_WORDS_SECONDS = 5.0
"""How long closed links may take to say their last words before the process ends."""
GOAWAY_SPREAD_MS = 5_000
"""Agents come back spread over this span after a goaway, so that a restart is not a storm."""


_ENDS_OF_SESSIONS = (
    close_codes.NORMAL,
    close_codes.FRAME_TOO_LARGE,
    close_codes.PROTOCOL_ERROR,
    close_codes.RATE_LIMITED,
    close_codes.SESSION_REPLACED,
)
"""After these an agent will not go on with its exchanges; after all else its link was cut."""


def _pass_by(_: str) -> None:
    """Nobody breaks off here."""


@dataclass(frozen=True, slots=True)
class Ports:
    """What a node needs from the world."""

    clock: Clock
    directory: Directory
    authenticator: Authenticator
    observer: Observer
    stream_logs: tuple[StreamLog, StreamLog | None]
    """Where windows of streams live: in memory, and, where there is a store for it, durably."""
    random: Callable[[], float]
    """A number in [0, 1), for spreading."""
    task_index: TaskIndex
    mailbox: Mailbox | None = None
    """Where letters are kept; without it a call to an agent that is away is refused."""
    reach: Callable[[str], None] = _pass_by
    """Told the names of the points at which crash drills break off."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A few counts of a running node."""

    agents_attached: int
    calls_in_flight: int
    streams_kept: int
    stream_bytes: int
    letters_waiting: int = 0
    letters_done: int = 0


class RelayNode:
    """Sessions, calls in flight and the directory of one process."""

    def __init__(
        self,
        ports: Ports,
        limits: Limits,
        epoch: str | None = None,
        policy: StreamPolicy | None = None,
        mail_policy: MailPolicy | None = None,
    ) -> None:
        self.clock = ports.clock
        self.observer = ports.observer
        self.limits = limits
        self.is_leaving = False
        self.wheel = Wheel(ports.clock)
        self._epoch = epoch or secrets.token_hex(8)
        self.streams = Streams(
            ports.clock,
            self.wheel,
            ports.observer,
            limits,
            ports.stream_logs,
            secrets.token_hex(4) if epoch is None else epoch,
            cancel=self._cancel,
            tell=self._tell,
            on_violation=self._note_violation,
        )
        self.exchanges = Exchanges(ports.clock, self.wheel, self.streams, self._tell_agent_to_stop, self._is_late)
        self._reattachment = Reattachment(
            ports.clock, self.wheel, self.exchanges, self.streams, limits.resume_grace_seconds
        )
        self._policy = policy or StreamPolicy()
        self._hub = Hub()
        self.agents = Agents(self._hub, ports.directory, ports.clock, limits)
        self._authenticator = ports.authenticator
        self.random = ports.random
        self.owners = Owners(ports.task_index, self._hub)
        self._links: dict[str, AgentLink] = {}
        self._unauthenticated: set[AgentLink] = set()
        self._open: set[AgentLink] = set()
        self._all_ended = asyncio.Event()
        self._sessions = 0
        self.mail: Mailroom | None = None
        if ports.mailbox is not None:
            self.mail = Mailroom(self, ports.mailbox, mail_policy or MailPolicy(), ports.reach)

    # clients

    def authenticate(self, credential: Credential) -> Principal:
        """Who this credential speaks for. Raises UNAUTHENTICATED."""
        return self._authenticator.authenticate(credential, self.clock.now())

    def submit(self, call: Call, sink: Sink) -> Exchange | HeldCall:
        """Take one unary call. Raises `Refused`; after that its answer comes through the sink.

        The sink may be called before this returns.
        """
        spans, principal = call.spans, call.meta.principal
        session = self._hub.find(call.address)
        if (
            session is None
            or not session.is_plain
            or spans.task_id
            or spans.context_id
            or spans.reference_task_ids
            or call.rest is not None
            or call.options is not NO_OPTIONS
            or principal.tenant != session.address.tenant
            or session.unary_in_flight >= self.limits.unary_in_flight
            or self.is_leaving
        ):
            return self._submit_with_care(call, session, sink)
        if session.is_shared or principal.role is not _ADMIN:
            if call.operation is Operation.LIST:  # in which tasks of the relay's have its ids
                return self._submit_with_care(call, session, sink)
            sink = self.owners.sink_for(call, sink)
        return self.hand_over(call, session, sink)

    def _submit_with_care(self, call: Call, session: Session | None, sink: Sink) -> Exchange | HeldCall:
        """Take a unary call of which not everything is as with nearly all of them. Raises `Refused`."""
        access.require_call(call.principal, call.address)
        if self.is_leaving:
            raise Refused(Reason.RELAY_LEAVING)
        if self.owners.concern(call):
            self.owners.require(call)
            sink = self.owners.sink_for(call, sink)
        if self.mail is not None and self.mail.concerns(call, session):
            return self.mail.submit(call, sink)
        return self.hand_over(call, self._require_session(call, session), sink)

    def hand_over(self, call: Call, session: Session, sink: Sink, timeout: float | None = None) -> Exchange:
        """Make a unary call at its agent now. Raises `Refused` when it does not fit."""
        if timeout is None:
            timeout = self.limits.request_timeout_seconds
            if call.options.timeout_seconds is not None:
                timeout = min(call.options.timeout_seconds, timeout)
        exchange = Exchange(session.next_frame_id(), call, session, self.clock.monotonic(), timeout)
        exchange.sink = sink
        self._deliver(exchange, timeout + session.late_seconds, None)
        return exchange

    def stream(self, call: Call, reader: Reader) -> Stream:
        """Take one streaming call, or read a stream on from a position. Raises `Refused`.

        The reader may be called before this returns.
        """
        access.require_call(call.principal, call.address)
        if self.is_leaving:
            raise Refused(Reason.RELAY_LEAVING)
        position = call.options.position
        if position is not None:
            stream = self.streams.find(call.principal, call.address, position)
            self.streams.resume(stream, position.offset, reader)
            return stream
        is_owned = self.owners.concern(call)
        if is_owned:
            self.owners.require(call)
        session = self._hub.find(call.address)
        if self.mail is not None and self.mail.concerns(call, session):
            stream = self.mail.stream(call, reader)
        else:
            session = self._require_session(call, session)
            stream = self.hand_over_stream(call, session, reader, call.options.timeout_seconds)
        if is_owned:
            self.owners.watch(call, stream)
        return stream

    def hand_over_stream(
        self, call: Call, session: Session, reader: Reader, total_seconds: float | None = None
    ) -> Stream:
        """Make a streaming call at its agent now, read by `reader`. Raises `Refused`."""
        exchange, total = self._streaming_exchange(call, session, total_seconds)
        stream = self.streams.open(call, exchange, reader)
        try:
            self._deliver(exchange, min(session.rules.idle_seconds, total), self.limits.stream_window)
        except Refused:
            self.streams.forget(stream)
            raise
        exchange.call = call._replace(params=b"")  # a stream may live long, and nobody reads its request again
        return stream

    def hand_over_held(self, call: Call, session: Session, stream: Stream) -> None:
        """Make the call of a stream at its agent that was opened before the agent was there. Raises `Refused`."""
        exchange, total = self._streaming_exchange(call, session, call.options.timeout_seconds)
        self.streams.begin(stream, exchange)
        try:
            self._deliver(exchange, min(session.rules.idle_seconds, total), self.limits.stream_window)
        except Refused:
            stream.exchange = None
            raise
        exchange.call = call._replace(params=b"")

    def _streaming_exchange(self, call: Call, session: Session, total: float | None) -> tuple[Exchange, float]:
        """An exchange that is about to be delivered, and how long all of it may take."""
        rules = session.rules
        total = min(rules.total_seconds or math.inf, total or math.inf)
        now = self.clock.monotonic()
        return Exchange(session.next_frame_id(), call, session, now, rules.idle_seconds, now + total), total

    def find_session(self, address: Address) -> Session | None:
        """The live session of an agent, ready or not."""
        return self._hub.find(address)

    @property
    def sessions(self) -> list[Session]:
        """The live sessions."""
        return list(self._hub)

    def require_session(self, call: Call) -> Session:
        """The session that takes a call now. Raises `Refused`."""
        return self._require_session(call, self._hub.find(call.address))

    def _require_session(self, call: Call, session: Session | None) -> Session:
        verdict = route(call, session, is_known=session is not None or self.agents.is_known(call.address))
        if isinstance(verdict, Refused):
            raise verdict
        if call.streams and verdict.streams_in_flight >= self.limits.streams_in_flight:
            self.streams.stop_one_unread(verdict)
        core_limits.require_room(verdict, call, self.limits)
        return verdict

    def _deliver(self, exchange: Exchange, timeout: float, window: Window | None) -> None:
        """Hand a call to its agent. Raises `Refused` when it does not fit."""
        session = exchange.session
        link = self._links[session.id]
        frame = session.dialect.request(exchange.id, exchange.call, int(timeout * 1000), window)
        core_limits.require_fit(session, frame)
        backlog = link.backlog_bytes
        if backlog and backlog + len(frame) > max(self.limits.link_backlog_bytes, len(frame)):
            raise Refused(Reason.AGENT_BUSY, "the agent reads too slowly")
        self.exchanges.start(exchange)
        if session.takes_chunks and len(frame) > CHUNKED_FROM_BYTES:
            link.send_in_pieces(exchange.id, frame)
        else:
            link.send(frame)

    async def send(self, call: Call) -> Outcome:
        """One unary call and its outcome. Raises `Refused` as `submit` does."""
        waiter = Waiter()
        taken = self.submit(call, waiter)
        try:
            return await waiter.outcome
        finally:
            self.abandon(taken)

    def abandon(self, taken: Exchange | HeldCall) -> None:
        """Whoever awaited a unary call is gone."""
        if isinstance(taken, Exchange):
            if self.mail is None or not self.mail.late.leave(taken):
                self.exchanges.abandon(taken)
        elif self.mail is not None:
            self.mail.abandon(taken)

    def _is_late(self, exchange: Exchange) -> bool:
        return self.mail is not None and self.mail.late.take(exchange)

    def read_on(self, stream: Stream, reader: Reader) -> None:
        """The reader of a stream has room again."""
        self.streams.read_on(stream, reader)

    def leave_stream(self, stream: Stream, reader: Reader) -> None:
        """The reader of a stream is gone; the stream goes on for a while."""
        self.streams.leave(stream, reader)

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
        self._register(session, auth.agent_card)
        self._unauthenticated.discard(link)
        streams, calls = self._reattachment.resume(session, auth.resume, self._hub.find(address))
        replaced = self._hub.attach(session)
        self._links[session.id] = link
        link.send(session.dialect.welcome(self._welcome(session, link.base_url, streams, calls)))
        self.observer.session_attached(session, replaced=replaced is not None)
        if replaced is not None:
            self._replace(replaced)
        if self.mail is not None:
            self.mail.agent_is_ready(session)
        if self.limits.session_limit_seconds:
            link.after(self.limits.session_limit_seconds, partial(self._end_of_life, link))
        return session

    def _register(self, session: Session, card: bytes | None) -> None:
        kept = self.agents.register(session, card)
        params = relay_params(kept)
        session.rules = self._policy.rules_for(session.address, params)
        session.is_idempotent = params.get("idempotent") is True
        session.is_streaming = session.dialect.streams and says_streaming(kept)

    def update_card(self, session: Session, card: bytes) -> None:
        """Take a new card without a reconnect. Raises `Refused` when it is not acceptable or comes too often."""
        self.agents.require_update(session, card)
        self._register(session, card)

    def note_state(self, session: Session, state: AgentState) -> None:
        """An agent says whether it can work."""
        session.is_ready, session.paused_because = state.is_ready, state.reason
        session.review()
        self.observer.notice("agent_state", address=str(session.address), ready=state.is_ready)
        if self.mail is not None and state.is_ready and self._hub.find(session.address) is session:
            self.mail.agent_is_ready(session)

    def note_accept(self, session: Session, id: str) -> None:
        """An agent says that it works on a letter."""
        delivery = self.mail.deliveries.of_exchange(session, id) if self.mail is not None else None
        if delivery is not None:
            delivery.is_accepted = True

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
            takes_chunks=dialect is NATIVE and CHUNKS in auth.features,
            heeds_credit=dialect is NATIVE and CREDIT in auth.features,
            can_resume=dialect is NATIVE and RESUME in auth.features,
            is_shared=self.owners.is_shared(address.tenant),
            late_seconds=self.limits.late_answer_seconds if self.mail is not None and dialect is NATIVE else 0,
            remembers_letters=dialect is NATIVE and LETTERS in auth.features,
            adopts_ids=dialect is NATIVE and auth.adopts_ids,
        )

    def _welcome(
        self, session: Session, base_url: str, streams: tuple[Resumed, ...], calls: tuple[str, ...]
    ) -> Welcome:
        return Welcome(
            agent=session.address.agent,
            tenant=session.address.tenant,
            session=session.id,
            heartbeat_seconds=HEARTBEAT_SECONDS,
            max_frame=self.limits.max_frame,
            max_body=self.limits.max_body,
            public_urls=agent_urls(base_url, session.address),
            resume_seconds=int(self.limits.resume_grace_seconds),
            streams=streams,
            calls=calls,
        )

    def _replace(self, session: Session) -> None:
        """Tell an old session that a newer one has taken its place, and not to come back."""
        link = self._links.get(session.id)
        if link is not None:
            link.send(session.dialect.goaway("session replaced", None))
            link.close(close_codes.SESSION_REPLACED)

    def detach(self, link: AgentLink, session: Session, code: CloseCode | None) -> None:
        """A link is gone. Its calls fail, or wait for their agent; its end never removes a successor."""
        self._links.pop(session.id, None)
        was_current = self._hub.detach(session)
        if code in _ENDS_OF_SESSIONS or self.is_leaving:
            self._reattachment.fail(session)
        else:
            self._reattachment.lose(session)
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

    def _cancel(self, exchange: Exchange, refused: Refused) -> None:
        self.exchanges.cancel(exchange, refused)

    def _note_violation(self, session: Session) -> None:
        """An agent that ignores its credit loses the stream; at the second time its link."""
        session.violations += 1
        link = self._links.get(session.id)
        if link is not None and session.violations >= MAX_VIOLATIONS:
            link.close(close_codes.RATE_LIMITED)

    def _tell(self, session: Session, frame: bytes | None) -> None:
        link = self._links.get(session.id)
        if link is not None:
            link.send(frame)

    def _tell_agent_to_stop(self, exchange: Exchange, reason: Reason) -> None:
        link = self._links.get(exchange.session.id)
        if link is not None:
            link.drop_body(exchange.id)
            link.send(exchange.session.dialect.cancel(exchange.id, str(reason)))

    # the node itself

    @property
    def durability(self) -> str:
        """What accepted letters survive: `disk`, `memory` (nothing), or `none`: none are accepted."""
        return "none" if self.mail is None else self.mail.mailbox.durability

    def snapshot(self) -> Snapshot:
        """A few counts."""
        mail = (self.mail.waiting, self.mail.done) if self.mail is not None else ()
        return Snapshot(len(self._hub), len(self.exchanges), len(self.streams), self.streams.held_bytes, *mail)

    async def leave(self, grace_seconds: float) -> None:
        """Say goaway, let calls in flight finish, end what is left with an error, close the links.

        Durable streams do not hold this up: another process goes on with them.
        """
        self.is_leaving = True
        if self.mail is not None:
            self.mail.leave()
        self._suspend_durable()
        for session in self._reattachment.sessions:
            self._end_all(session)  # nobody can come back any more
        for link in list(self._links.values()):
            if link.session is not None:
                after = int(self.random() * GOAWAY_SPREAD_MS)
                link.send(link.session.dialect.goaway("relay is shutting down", after))
        if len(self.exchanges):
            idle = asyncio.Event()
            self.exchanges.on_idle = idle.set
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(grace_seconds):
                    await idle.wait()
        for session in self._hub:
            self._end_all(session)
        if self.mail is not None:
            await self.mail.jobs.finished(LAST_WORDS_SECONDS)
        self.streams.leave_all(Refused(Reason.RELAY_LEAVING))
        for link in list(self._open):
            link.close(close_codes.GOING_AWAY)
        if self._open:
            self._all_ended.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LAST_WORDS_SECONDS):
                    await self._all_ended.wait()

    def _end_all(self, session: Session) -> None:
        for exchange in list(session.exchanges.values()):
            self.exchanges.cancel(exchange, Refused(Reason.RELAY_LEAVING))

    def _suspend_durable(self) -> None:
        for session in (*self._hub, *self._reattachment.sessions):
            for exchange in list(session.exchanges.values()):
                is_durable = session.can_resume and exchange.stream is not None and exchange.stream.is_durable
                if is_durable or (self.mail is not None and self.mail.deliveries.leave(exchange)):
                    self.exchanges.suspend(exchange, Refused(Reason.RELAY_LEAVING))
