"""One running relay node: the only object that fronts talk to.

`submit` and `stream` are synchronous and are the one door for calls (decision 12);
`send` is a thin awaitable over it.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from a2a_relay.a2a.methods import Operation
from a2a_relay.core import access
from a2a_relay.core import limits as core_limits
from a2a_relay.core.address import Address
from a2a_relay.core.call import NO_OPTIONS, Call
from a2a_relay.core.credential import Credential
from a2a_relay.core.exchange import Exchange, Outcome, Sink
from a2a_relay.core.hub import Hub
from a2a_relay.core.limits import Limits
from a2a_relay.core.link_rules import LinkRules
from a2a_relay.core.mail_rules import MailPolicy
from a2a_relay.core.networks import read_networks, require_from
from a2a_relay.core.principal import Principal, Role
from a2a_relay.core.rates import Subject
from a2a_relay.core.router import route
from a2a_relay.core.session import Session
from a2a_relay.core.stream import Reader, Stream
from a2a_relay.core.stream_rules import StreamPolicy
from a2a_relay.core.tenants import TenantState
from a2a_relay.errors import Reason, Refused
from a2a_relay.node.agent_link import AgentLink, LinkTransport
from a2a_relay.node.agents import Agents
from a2a_relay.node.backpressure import Backpressure
from a2a_relay.node.exchanges import Exchanges
from a2a_relay.node.login_guard import LoginGuard
from a2a_relay.node.mail.held import HeldCall
from a2a_relay.node.mail.mailroom import Mailroom
from a2a_relay.node.owners import Owners
from a2a_relay.node.quotas import Quotas
from a2a_relay.node.reattach import Reattachment
from a2a_relay.node.refusals import RefusalObserver, Refusals
from a2a_relay.node.revocation import Revocation
from a2a_relay.node.sessions import LAST_WORDS_SECONDS, Sessions
from a2a_relay.node.stamps import Stamps
from a2a_relay.node.streams import Streams
from a2a_relay.node.waiter import Waiter
from a2a_relay.node.wheel import Wheel
from a2a_relay.ports.audit import AuditLog
from a2a_relay.ports.authenticator import Authenticator
from a2a_relay.ports.clock import Clock
from a2a_relay.ports.credentials import CredentialStore
from a2a_relay.ports.directory import Directory
from a2a_relay.ports.mailbox import Mailbox
from a2a_relay.ports.observer import Observer
from a2a_relay.ports.signer import Signer
from a2a_relay.ports.stream_log import StreamLog
from a2a_relay.ports.task_index import TaskIndex
from a2a_relay.wire.chunks import CHUNKED_FROM_BYTES
from a2a_relay.wire.dialects import NATIVE, Dialect
from a2a_relay.wire.flow import Window

_ADMIN = Role.ADMIN


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
    credentials: CredentialStore | None = None
    audit: AuditLog | None = None
    signer: Signer | None = None
    """Vouches for senders; without it agents are told who calls, and shown no proof."""
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
    """The door for calls, and what one process holds: `sessions`, `exchanges`, `streams`, `agents`, `mail`."""

    def __init__(
        self,
        ports: Ports,
        limits: Limits,
        epoch: str | None = None,
        policy: StreamPolicy | None = None,
        mail_policy: MailPolicy | None = None,
        link_rules: LinkRules | None = None,
        default_limits: Mapping[Subject, Mapping[str, float]] | None = None,
    ) -> None:
        self.clock = ports.clock
        self.observer = ports.observer
        self.refusals: Refusals | None = None
        if ports.audit is not None:
            self.refusals = Refusals(ports.audit, ports.clock)
            self.observer = RefusalObserver(ports.observer, self.refusals)
        self.random = ports.random
        self.limits = limits
        self.link_rules = link_rules or LinkRules()
        self.is_leaving = False
        self.wheel = Wheel(ports.clock)
        self.credentials = ports.credentials
        self.audit = ports.audit
        self.quotas = Quotas(ports.clock, ports.credentials, default_limits)
        self._authenticator = ports.authenticator
        self.logins = LoginGuard(ports.clock, limits.login_failures, read_networks(limits.exempt_addresses))
        self._hub = Hub()
        self.agents = Agents(self._hub, ports.directory, ports.clock, limits)
        self.owners = Owners(ports.task_index, self._hub, ports.credentials)
        self.sessions = Sessions(self, self._hub, policy or StreamPolicy(), epoch or secrets.token_hex(8))
        self.stamps = Stamps(ports.signer, ports.clock, ports.observer.notice) if ports.signer is not None else None
        self._links = self.sessions.links
        """The sessions' own: every call looks for its link there, and asks nobody else on its way."""
        backpressure = Backpressure(
            limits, ports.observer.streams, self._cancel, self.sessions.tell, self.sessions.note_violation
        )
        self.streams = Streams(
            ports.clock,
            self.wheel,
            ports.observer,
            limits,
            ports.stream_logs,
            secrets.token_hex(4) if epoch is None else epoch,
            self._cancel,
            backpressure,
            self.quotas,
        )
        self.exchanges = Exchanges(ports.clock, self.wheel, self.streams, self.sessions.tell_to_stop, self._is_late)
        self.reattachment = Reattachment(
            ports.clock, self.wheel, self.exchanges, self.streams, limits.resume_grace_seconds
        )
        self.mail: Mailroom | None = None
        if ports.mailbox is not None:
            self.mail = Mailroom(self, ports.mailbox, mail_policy or MailPolicy(), ports.reach)
        self.revocation: Revocation | None = None
        if ports.credentials is not None:
            self.revocation = Revocation(self, ports.authenticator)
            ports.credentials.watch(self.revocation.begin)

    # clients

    def authenticate(self, credential: Credential, host: str = "") -> Principal:
        """Who this credential speaks for, coming from this numeric address.

        Raises UNAUTHENTICATED, ADDRESS_REFUSED, and RATE_LIMITED where too many have failed.
        """
        logins = self.logins
        if logins.failures:
            logins.require_patience(credential, host)
        try:
            principal = self._authenticator.authenticate(credential, self.clock.now())
        except Refused as refused:
            if refused.reason is Reason.UNAUTHENTICATED:
                logins.note_failure(credential, host)
            raise
        if credential.digest not in logins.known:
            logins.note_success(credential)
        if principal.networks:
            require_from(principal.networks, host)
        return principal

    def serves(self, tenant: str) -> bool:
        """Whether a tenant is not switched off; one that nobody has registered is not."""
        record = self.credentials.tenant(tenant) if self.credentials is not None else None
        return record is None or record.state is TenantState.ACTIVE

    def require_attach(self, principal: Principal) -> Address:
        """The address that this principal may attach as. Raises PERMISSION_DENIED or UNAUTHENTICATED."""
        address = access.require_attach(principal)
        if self.credentials is not None:
            access.require_own_key(principal, self.credentials.keys_of_agent(address))
        return address

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
            or principal.agents is not None
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
            stream.principal = call.principal
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
        stream.principal = call.principal
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
        if session.stamper is None:
            frame = session.dialect.request(exchange.id, exchange.call, int(timeout * 1000), window)
        else:
            stamp = session.stamper.stamp(exchange.id, exchange.call)
            frame = NATIVE.stamped_request(exchange.id, exchange.call, int(timeout * 1000), window, stamp)
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

    def _cancel(self, exchange: Exchange, refused: Refused) -> None:
        self.exchanges.cancel(exchange, refused)

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
        return self.sessions.open_link(transport, base_url, dialect)

    def link_ended(self, link: AgentLink, code: int | None = None) -> None:
        """A link's transport is gone; `code` is its close code, if it has closed by itself."""
        self.sessions.link_ended(link, code)

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
        for session in self.reattachment.sessions:
            self._end_all(session)  # nobody can come back any more
        self.sessions.say_goaway()
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
        await self.sessions.close_all()
        if self.refusals is not None:
            self.refusals.flush()

    def _end_all(self, session: Session) -> None:
        for exchange in list(session.exchanges.values()):
            self.exchanges.cancel(exchange, Refused(Reason.RELAY_LEAVING))

    def _suspend_durable(self) -> None:
        for session in (*self._hub, *self.reattachment.sessions):
            for exchange in list(session.exchanges.values()):
                is_durable = session.can_resume and exchange.stream is not None and exchange.stream.is_durable
                if is_durable or (self.mail is not None and self.mail.deliveries.leave(exchange)):
                    self.exchanges.suspend(exchange, Refused(Reason.RELAY_LEAVING))
