"""The agents' side of a node: the links that are open, and the sessions that come of them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

from a2a_relay.a2a.agent_card import relay_params, says_streaming
from a2a_relay.a2a.tasks import timestamp
from a2a_relay.core import limits as core_limits
from a2a_relay.core.credential import Credential
from a2a_relay.core.exchange import Exchange
from a2a_relay.core.hub import Hub
from a2a_relay.core.principal import Principal
from a2a_relay.core.public_url import is_loopback
from a2a_relay.core.session import Session
from a2a_relay.core.stream_rules import StreamPolicy
from a2a_relay.core.urls import agent_urls
from a2a_relay.errors import Reason, Refused, StoreError
from a2a_relay.node.agent_link import AgentLink, LinkTransport
from a2a_relay.node.expiry import Expiry
from a2a_relay.node.proofs import challenge_for, proof_key_of, require_proof
from a2a_relay.node.takeover import Newcomer, Replacement, Takeovers
from a2a_relay.wire import close_codes
from a2a_relay.wire.close_codes import CloseCode
from a2a_relay.wire.dialects import NATIVE, Dialect, choose, native
from a2a_relay.wire.frames import CHUNKS, CREDIT, LETTERS, RENEW, RESUME, STAMP, AgentState, Auth, Resumed, Welcome

if TYPE_CHECKING:
    from a2a_relay.node.relay_node import RelayNode

HEARTBEAT_SECONDS = 30
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
    close_codes.AUTH_FAILED,
)
"""After these an agent will not go on with its exchanges; after all else its link was cut."""


class Sessions:
    """Opens links, attaches agents over them, and writes to those that are attached.

    Iterating gives the live sessions.
    """

    def __init__(self, node: RelayNode, hub: Hub, policy: StreamPolicy, epoch: str) -> None:
        """`epoch` begins the names of this process's sessions, which no other's share."""
        self._node = node
        self._clock = node.clock
        self._limits = node.limits
        self._observer = node.observer
        self._hub = hub
        self._policy = policy
        self._epoch = epoch
        self.links: dict[str, AgentLink] = {}
        """The links of live sessions, by session id; not to be changed by others."""
        self._takeovers = Takeovers(node, self.links, self._go_on)
        self.expiry = Expiry(node)
        self._unauthenticated: set[AgentLink] = set()
        self._open: set[AgentLink] = set()
        self._all_ended = asyncio.Event()
        self._attached = 0

    def __iter__(self) -> Iterator[Session]:
        return iter(self._hub)

    # a link, from its first byte to its last

    def open_link(self, transport: LinkTransport, base_url: str, dialect: Dialect | None = None) -> AgentLink:
        """A new, unauthenticated link. `base_url` is the relay's public URL as this agent is told it.

        `dialect` is what the upgrade has settled; None: the first frame does.
        """
        link = AgentLink(self._node, transport, base_url, dialect)
        self._open.add(link)
        if self._is_crowded(transport.peer):
            self._observer.link_refused(Reason.RATE_LIMITED, "too many unauthenticated links", transport.peer)
            link.close(close_codes.RATE_LIMITED)
        else:
            self._unauthenticated.add(link)
        return link

    def _is_crowded(self, peer: str) -> bool:
        """Whether an address holds its fill of links that never authenticated (decision 31)."""
        host = peer.rpartition(":")[0]
        if len(self._unauthenticated) < self._limits.unauthenticated_per_address or is_loopback(host):
            return False
        before = self._clock.monotonic() - core_limits.UNAUTHENTICATED_GRACE_SECONDS
        idle = sum(link.opened_at < before and link.peer.rpartition(":")[0] == host for link in self._unauthenticated)
        return idle >= self._limits.unauthenticated_per_address

    def link_ended(self, link: AgentLink, code: int | None = None) -> None:
        """A link's transport is gone, whether or not it ever authenticated.

        `code` is the close code of a transport that has closed by itself (a frame over its limit, no byte in time).
        """
        self._unauthenticated.discard(link)
        self._open.discard(link)
        link.closed(close_codes.BY_CODE.get(code) if code is not None else None)
        if not self._open:
            self._all_ended.set()

    def say_goaway(self) -> None:
        """Ask every attached agent to reconnect, elsewhere or later."""
        for link in list(self.links.values()):
            if link.session is not None:
                after = int(self._node.random() * GOAWAY_SPREAD_MS)
                link.send(link.session.dialect.goaway("relay is shutting down", after))

    async def close_all(self) -> None:
        """Close every link, and give them LAST_WORDS_SECONDS to leave."""
        for link in list(self._open):
            link.close(close_codes.GOING_AWAY)
        if self._open:
            self._all_ended.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LAST_WORDS_SECONDS):
                    await self._all_ended.wait()

    # attached agents

    def attach(self, link: AgentLink, auth: Auth) -> Session | None:
        """Authenticate and register an agent, and welcome it; None: it has to prove or to await something first.

        Raises `Refused`.
        """
        newcomer = self._admit(link, auth)
        proof_key = proof_key_of(newcomer.principal, self._node.credentials)
        if proof_key is None:
            return self._enter(newcomer)
        challenge = challenge_for(newcomer, self._epoch)

        def prove(signature: bytes) -> Session | None:
            require_proof(proof_key, challenge, signature)
            return self._enter(self._admit(link, auth))

        link.await_proof(auth, prove)
        link.send(native.challenge(challenge))
        return None

    def _admit(self, link: AgentLink, auth: Auth) -> Newcomer:
        """Who wants to attach, if it may by its credential and its card. Raises `Refused`."""
        if self._node.is_leaving:
            raise Refused(Reason.RELAY_LEAVING)
        principal = self._node.authenticate(Credential(auth.token), link.host)
        address = self._node.require_attach(principal)
        if self._node.quotas.is_set and self._hub.find(address) is None:
            self._node.quotas.require_session(address.tenant, len(self._hub.of_tenant(address.tenant)))
        self._node.agents.require_acceptable_card(auth.agent_card)
        return Newcomer(link, auth, principal, address, choose(auth, link.dialect))

    def _enter(self, newcomer: Newcomer) -> Session | None:
        """Begin a session, at once or when it is known what becomes of the one that is there. Raises `Refused`."""
        replacement = self._takeovers.judge(newcomer, self._hub.find(newcomer.address))
        return self._begin(newcomer, replacement) if replacement is not None else None

    def _go_on(self, waited: Newcomer, asked: Session, is_alive: bool) -> None:
        """It is known whether the session is alive that a newcomer has found: much may have happened meanwhile."""

        def enter() -> Session | None:
            newcomer = self._admit(waited.link, waited.auth)
            live = self._hub.find(newcomer.address)
            replacement = self._takeovers.judge(newcomer, live, is_alive if live is asked else True)
            return self._begin(newcomer, replacement) if replacement is not None else None

        waited.link.proceed(waited.auth, enter)

    def _begin(self, newcomer: Newcomer, replacement: Replacement) -> Session:
        """Register and welcome an agent that may attach now. Raises `Refused`."""
        link, auth = newcomer.link, newcomer.auth
        session = self._new_session(newcomer)
        self._register(session, auth.agent_card)
        self._unauthenticated.discard(link)
        stamp_key = self._open_stamper(session, auth, link.base_url)
        streams, calls = self._node.reattachment.resume(session, auth.resume, replacement.resumable)
        self._hub.attach(session)
        self.links[session.id] = link
        link.send(session.dialect.welcome(self._welcome(session, link.base_url, streams, calls, stamp_key)))
        self._observer.session_attached(session, replaced=replacement.replaced is not None)
        self.expiry.watch(link, session)
        if replacement.replaced is not None:
            self._replace(replacement, link)
        if self._node.mail is not None:
            if replacement.hold_seconds:
                self._node.mail.deliveries.hold(session.address, replacement.hold_seconds)
            self._node.mail.agent_is_ready(session)
        if self._limits.session_limit_seconds:
            link.after(self._limits.session_limit_seconds, partial(self._end_of_life, link))
        return session

    def _register(self, session: Session, card: bytes | None) -> None:
        kept = self._node.agents.register(session, card)
        params = relay_params(kept)
        session.rules = self._policy.rules_for(session.address, params)
        session.is_idempotent = params.get("idempotent") is True
        session.is_streaming = session.dialect.streams and says_streaming(kept)

    def update_card(self, session: Session, card: bytes) -> None:
        """Take a new card without a reconnect. Raises `Refused` when it is not acceptable or comes too often."""
        self._node.agents.require_update(session, card)
        self._register(session, card)

    def note_state(self, session: Session, state: AgentState) -> None:
        """An agent says whether it can work."""
        session.is_ready, session.paused_because = state.is_ready, state.reason
        session.review()
        self._observer.notice("agent_state", address=str(session.address), ready=state.is_ready)
        if self._node.mail is not None and state.is_ready and self._hub.find(session.address) is session:
            self._node.mail.agent_is_ready(session)

    def note_accept(self, session: Session, id: str) -> None:
        """An agent says that it works on a letter."""
        delivery = self._node.mail.deliveries.of_exchange(session, id) if self._node.mail is not None else None
        if delivery is not None:
            delivery.is_accepted = True

    def _end_of_life(self, link: AgentLink) -> None:
        """A link has lived as long as it may: ask its agent to reconnect, and close after the grace."""
        if link.is_closed or link.session is None:
            return
        link.send(link.session.dialect.goaway("session limit", 0))
        link.after(self._limits.session_grace_seconds, partial(link.close, close_codes.GOING_AWAY))

    def _new_session(self, newcomer: Newcomer) -> Session:
        self._attached += 1
        _, auth, principal, address, dialect = newcomer
        return Session(
            id=f"{self._epoch}-{self._attached:x}",
            address=address,
            principal=principal,
            dialect=dialect,
            attached_at=self._clock.now(),
            max_frame=self._limits.link_max_frame(auth.max_frame, is_native=dialect is NATIVE),
            serves_rest_v03=dialect is NATIVE and auth.rest_v03,
            takes_chunks=dialect is NATIVE and CHUNKS in auth.features,
            heeds_credit=dialect is NATIVE and CREDIT in auth.features,
            can_resume=dialect is NATIVE and RESUME in auth.features,
            is_shared=self._node.owners.is_shared(address.tenant),
            late_seconds=self._limits.late_answer_seconds if self._node.mail is not None and dialect is NATIVE else 0,
            remembers_letters=dialect is NATIVE and LETTERS in auth.features,
            adopts_ids=dialect is NATIVE and auth.adopts_ids,
            instance=auth.instance,
            can_renew=dialect is NATIVE and RENEW in auth.features,
        )

    def _welcome(
        self,
        session: Session,
        base_url: str,
        streams: tuple[Resumed, ...],
        calls: tuple[str, ...],
        stamp_key: bytes,
    ) -> Welcome:
        return Welcome(
            agent=session.address.agent,
            tenant=session.address.tenant,
            session=session.id,
            heartbeat_seconds=HEARTBEAT_SECONDS,
            max_frame=self._limits.max_frame,
            max_body=self._limits.max_body,
            public_urls=agent_urls(base_url, session.address),
            resume_seconds=int(self._limits.resume_grace_seconds),
            streams=streams,
            calls=calls,
            stamp_key=stamp_key,
        )

    def _open_stamper(self, session: Session, auth: Auth, base_url: str) -> bytes:
        """Have the senders of a session's calls vouched for where its agent has asked; the key of the MACs, or b""."""
        stamps = self._node.stamps
        if stamps is None or session.dialect is not NATIVE or STAMP not in auth.features:
            return b""
        session.stamper = stamper = stamps.open(session.id, session.address, base_url)
        return b"" if stamper is None else stamper.key

    def _replace(self, replacement: Replacement, by: AgentLink) -> None:
        """Tell an old session that a newer one has taken its place, and whose that is, and not to come back."""
        session = replacement.replaced
        link = self.links.get(session.id) if session is not None else None
        if session is None or link is None:
            return
        reason = "session replaced"
        if replacement.hold_seconds is not None:
            reason += f" by {by.host or 'another instance'} at {timestamp(self._clock.now())}"
        link.send(session.dialect.goaway(reason, None))
        link.close(close_codes.SESSION_REPLACED)

    def detach(self, link: AgentLink, session: Session, code: CloseCode | None) -> None:
        """A link is gone. Its calls fail, or wait for their agent; its end never removes a successor."""
        self.links.pop(session.id, None)
        self.expiry.forget(session)
        self._takeovers.ended(session)
        was_current = self._hub.detach(session)
        if code in _ENDS_OF_SESSIONS or self._node.is_leaving:
            self._node.reattachment.fail(session)
        else:
            self._node.reattachment.lose(session)
        self._observer.session_closed(session, code)
        if was_current:
            try:
                self._node.agents.left(session)
            except StoreError as error:
                self._observer.notice("store_trouble", message=str(error))

    # what is written to them

    def renew(self, session: Session, principal: Principal) -> None:
        """What a session's credential is good for has changed, or may have."""
        session.principal = principal
        link = self.links.get(session.id)
        if link is not None:
            self.expiry.watch(link, session)

    def revoke(self, session: Session) -> None:
        """A session's credential is not good any more: it ends, with whatever it was about to answer."""
        link = self.links.get(session.id)
        if link is not None:
            link.send(session.dialect.goaway("the credential was revoked", None))
            link.close(close_codes.AUTH_FAILED)

    def note_violation(self, session: Session) -> None:
        """An agent that ignores its credit loses the stream; at the second time its link."""
        session.violations += 1
        link = self.links.get(session.id)
        if link is not None and session.violations >= MAX_VIOLATIONS:
            link.close(close_codes.RATE_LIMITED)

    def tell(self, session: Session, frame: bytes | None) -> None:
        """Write a frame to an agent, if it is still there; None is one that its dialect does not have."""
        link = self.links.get(session.id)
        if link is not None:
            link.send(frame)

    def tell_to_stop(self, exchange: Exchange, reason: Reason) -> None:
        """Nobody waits for the agent's answer any more."""
        link = self.links.get(exchange.session.id)
        if link is not None:
            link.drop_body(exchange.id)
            link.send(exchange.session.dialect.cancel(exchange.id, str(reason)))
