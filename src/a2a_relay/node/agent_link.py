"""The relay's end of one agent link: the handshake, then frames in and frames out.

`receive` takes whole frames from whatever transport there is and never raises
for what an agent sends: a bad frame is counted and the link lives on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from a2a_relay.core.session import Session
from a2a_relay.errors import Reason, Refused, StoreError
from a2a_relay.wire import close_codes
from a2a_relay.wire.chunks import HEAD as CHUNK_HEAD
from a2a_relay.wire.chunks import ChunkReader, ChunkSender, TooLarge
from a2a_relay.wire.close_codes import CloseCode
from a2a_relay.wire.dialects import OPENCLAW, RELAY_GO, Dialect, base, choose
from a2a_relay.wire.frames import (
    Accept,
    AgentFrame,
    AgentState,
    Auth,
    CardUpdate,
    Chunk,
    ChunkTaken,
    Ignored,
    Nack,
    Ping,
    Pong,
    Probe,
    Response,
    StreamEnd,
    StreamEvent,
    Unreadable,
)

if TYPE_CHECKING:
    from a2a_relay.node.relay_node import RelayNode


class LinkTransport(Protocol):
    """What carries a link. `send` and `close` return at once and keep their order."""

    @property
    def peer(self) -> str:
        """The other side's address, for the log."""

    @property
    def backlog_bytes(self) -> int:
        """Bytes that were given to `send` and have not left yet."""

    def send(self, frame: bytes) -> None: ...

    def send_binary(self, message: bytes) -> None: ...

    def close(self, code: CloseCode) -> None:
        """Close after what was sent before."""


class AgentLink:
    """One link. `session` is None until the agent has authenticated."""

    def __init__(
        self, node: RelayNode, transport: LinkTransport, base_url: str, dialect: Dialect | None = None
    ) -> None:
        self._node = node
        self._transport = transport
        self.base_url = base_url
        self.dialect = dialect
        """The dialect that the upgrade has settled; None: the first frame does."""
        self.session: Session | None = None
        self.is_closed = False
        self.opened_at = node.clock.monotonic()
        self._cut: ChunkSender | None = None
        self._joined: ChunkReader | None = None
        self._timer = node.clock.call_later(node.limits.auth_timeout_seconds, self._auth_timed_out)

    @property
    def peer(self) -> str:
        """The agent's network address, for the log."""
        return self._transport.peer

    @property
    def backlog_bytes(self) -> int:
        """Bytes waiting to leave for this agent."""
        backlog = self._transport.backlog_bytes
        return backlog if self._cut is None else backlog + self._cut.backlog_bytes

    def has_spoken(self) -> None:
        """The first frame is here and waits its turn: that wait is not the agent's fault."""
        if self.session is None:
            self._timer.cancel()

    def receive(self, frame: bytes) -> None:
        """Take one whole frame."""
        if self.is_closed:
            return
        session = self.session
        if session is None:
            self._authenticate(frame)
            return
        event = session.dialect.read(frame)
        if type(event) is Response:
            self._count(session, self._node.exchanges.answer(session, event))
            if self._cut is not None or self._joined is not None:
                self.drop_body(event.id)  # an answer before the whole of its request
        elif type(event) is StreamEvent:
            if not self._node.exchanges.event(session, event):
                self._disown(session, event.id)
        else:
            self._dispatch(session, event)

    def send(self, frame: bytes | None) -> None:
        """Write one frame; None is a frame that this link's dialect does not have."""
        if frame is not None and not self.is_closed:
            self._transport.send(frame)

    def send_in_pieces(self, id: str, frame: bytes) -> None:
        """Write a call's large frame so that it delays nobody."""
        if self._cut is None:
            self._cut = ChunkSender()
        self._cut.put(id, frame)
        self._send_pieces(self._cut)

    def _send_pieces(self, cut: ChunkSender) -> None:
        now = self._node.clock.monotonic()
        while not self.is_closed and (piece := cut.next_piece(now)) is not None:
            self._transport.send_binary(piece)

    def drop_body(self, id: str) -> None:
        """Nobody wants the rest of what crosses in pieces for a call."""
        if self._cut is not None:
            self._cut.drop(id)
            self._send_pieces(self._cut)
        if self._joined is not None:
            self._joined.drop(id)

    def close(self, code: CloseCode) -> None:
        """Close the link from this side."""
        if not self.is_closed:
            self._transport.close(code)
            self.closed(code)

    def closed(self, code: CloseCode | None) -> None:
        """The link is gone: `code` is this side's reason, None when the agent or the network ended it."""
        if self.is_closed:
            return
        self.is_closed = True
        self._timer.cancel()
        if self.session is not None:
            self._node.sessions.detach(self, self.session, code)

    def after(self, seconds: float, callback: Callable[[], None]) -> None:
        """Call back once, unless the link is closed before: first for the handshake, then for its length of life."""
        self._timer.cancel()
        self._timer = self._node.clock.call_later(seconds, callback)

    # the handshake

    def _authenticate(self, frame: bytes) -> None:
        if len(frame) > self._node.limits.max_first_frame:
            return self._refuse(None, Refused(Reason.TOO_LARGE, "the auth frame is too large"))
        event = (self.dialect or RELAY_GO).read(frame)
        if isinstance(event, Unreadable):
            return self._refuse(None, Refused(Reason.INVALID_REQUEST, base.UNREADABLE_AUTH))
        if not isinstance(event, Auth):
            return self._refuse(None, Refused(Reason.INVALID_REQUEST, base.NO_AUTH))
        return self.attach(event)

    def attach(self, auth: Auth) -> None:
        """Attach the agent, or refuse it and close; without a first frame where the upgrade brought the credential."""
        if self.is_closed:
            return
        self._timer.cancel()
        try:
            self.session = self._node.sessions.attach(self, auth)
        except Refused as refused:
            self._refuse(auth, refused)
        except StoreError as error:
            self._node.observer.notice("store_trouble", message=str(error))
            self._refuse(auth, Refused(Reason.RELAY_BUSY, "the relay's store has failed"))

    def _refuse(self, auth: Auth | None, refused: Refused) -> None:
        """Say why, in the dialect the agent seems to speak, and close."""
        dialect = choose(auth, self.dialect) if auth is not None else self.dialect or RELAY_GO
        self.send(dialect.refusal(refused.message))
        if self.dialect is None and auth is None:
            self.send(OPENCLAW.refusal(refused.message))
        self._node.observer.link_refused(refused.reason, refused.message, self.peer)
        self.close(_refusal_code(refused))

    def _auth_timed_out(self) -> None:
        self.send((self.dialect or RELAY_GO).refusal(base.LATE_AUTH))
        self._node.observer.link_refused(Reason.REQUEST_TIMEOUT, "no auth frame in time", self.peer)
        self.close(close_codes.AUTH_TIMEOUT)

    # frames of an attached agent

    def _dispatch(self, session: Session, event: AgentFrame) -> None:
        match event:
            case StreamEnd():
                self._count(session, self._node.exchanges.end(session, event) or session.dialect.confirms_cancels)
            case Chunk():
                self._join(session, event)
            case ChunkTaken():
                if self._cut is not None:
                    self._cut.take(event, self._node.clock.monotonic())
                    self._send_pieces(self._cut)
            case Nack():
                self._count(session, self._node.exchanges.nack(session, event))
            case Ping():
                self.send(session.dialect.pong())
            case AgentState():
                self._node.sessions.note_state(session, event)
            case CardUpdate():
                self._update_card(session, event)
            case Unreadable():
                self._fail_unreadable(session, event)
            case Ignored() | Auth():
                self._node.observer.frame_refused(session, "unknown_type")
            case Probe():
                if not event.id.startswith(session.id):  # else it answers one of ours
                    self.send(session.dialect.probe(event.id))
            case Accept():
                self._node.sessions.note_accept(session, event.id)
            case Pong():
                pass

    def _join(self, session: Session, chunk: Chunk) -> None:
        """Take a piece of a frame; the whole one is received as if it had come so."""
        if chunk.id not in session.exchanges:
            self._disown(session, chunk.id)
            return
        limits = self._node.limits
        if self._joined is None:
            self._joined = ChunkReader(limits.max_frame, max(limits.link_backlog_bytes, limits.max_frame))
        if chunk.id not in self._joined:
            self._joined.keep(session.exchanges)
        try:
            receipt, frame = self._joined.take(chunk)
        except TooLarge as error:
            self.send(error.receipt)
            self._node.observer.frame_refused(session, str(error.reason))
            refused = Refused(Reason.INVALID_AGENT_RESPONSE, "the agent's answer is larger than the link takes")
            self._node.exchanges.cancel(session.exchanges[chunk.id], refused)
            return
        self.send(receipt)
        if frame is not None and not frame.startswith(CHUNK_HEAD):
            self.receive(frame)

    def _disown(self, session: Session, id: str) -> None:
        """Nobody reads this here, and its agent should stop; not so when another process will go on with it."""
        self._count(session, is_known=False)
        if not self._node.is_leaving:
            self.send(session.dialect.cancel(id, str(Reason.CLIENT_GONE)))

    def _count(self, session: Session, is_known: bool) -> None:
        if not is_known:
            self._node.observer.frame_refused(session, "unknown_id")

    def _update_card(self, session: Session, update: CardUpdate) -> None:
        try:
            self._node.sessions.update_card(session, update.agent_card)
        except Refused as refused:
            self._node.observer.frame_refused(session, str(refused.reason))

    def _fail_unreadable(self, session: Session, event: Unreadable) -> None:
        """One bad frame fails its own call at once, and nothing else (decision 13)."""
        self._node.observer.frame_refused(session, str(event.reason))
        exchange = next((session.exchanges[id] for id in event.ids if id in session.exchanges), None)
        if exchange is None:
            return
        refused = Refused(Reason.INVALID_AGENT_RESPONSE)
        if exchange.stream is None:
            self._node.exchanges.settle(exchange, refused)
        else:  # more of it may follow, or wait for credit
            self._node.exchanges.cancel(exchange, refused)


def _refusal_code(refused: Refused) -> CloseCode:
    if refused.reason is Reason.UNAUTHENTICATED and refused.retry_after_seconds is not None:
        return close_codes.RATE_LIMITED  # it is not known yet: whoever comes again may be let in
    if refused.reason in (Reason.UNAUTHENTICATED, Reason.PERMISSION_DENIED):
        return close_codes.AUTH_FAILED
    if refused.reason in (Reason.RATE_LIMITED, Reason.RELAY_BUSY):
        return close_codes.RATE_LIMITED
    if refused.reason is Reason.RELAY_LEAVING:
        return close_codes.GOING_AWAY
    return close_codes.PROTOCOL_ERROR
