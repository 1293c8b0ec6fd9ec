"""Exchanges whose link was cut wait here for their agent, which may come back over another one (decision 20)."""

from __future__ import annotations

import math
from collections.abc import Iterable

from a2a_relay.a2a.methods import BY_NAME, Operation
from a2a_relay.core.address import Address
from a2a_relay.core.call import Call, Form, Meta
from a2a_relay.core.exchange import Exchange, Phase
from a2a_relay.core.principal import Principal, Role
from a2a_relay.core.session import Session
from a2a_relay.core.stream import Stream
from a2a_relay.errors import Reason, Refused
from a2a_relay.node.exchanges import Exchanges
from a2a_relay.node.streams import Streams
from a2a_relay.node.wheel import Slot, Wheel, call_off
from a2a_relay.ports.clock import Clock
from a2a_relay.wire.frames import Claim, Resume, Resumed


class Reattachment:
    """The sessions whose agents are expected back."""

    def __init__(
        self, clock: Clock, wheel: Wheel, exchanges: Exchanges, streams: Streams, grace_seconds: float
    ) -> None:
        self._clock = clock
        self._wheel = wheel
        self._exchanges = exchanges
        self._streams = streams
        self._grace_seconds = grace_seconds
        self._lost: dict[Address, dict[Session, Slot]] = {}

    @property
    def sessions(self) -> list[Session]:
        """Those that are waited for."""
        return [session for sessions in self._lost.values() for session in sessions]

    def lose(self, session: Session) -> None:
        """A session's link was cut: what is in flight on it waits, where its agent can go on with it."""
        if not session.exchanges:
            return
        if session.can_resume and self._grace_seconds:
            slot = self._wheel.put(session, self._clock.monotonic() + self._grace_seconds, self._give_up)
            self._lost.setdefault(session.address, {})[session] = slot
        else:
            self.fail(session)

    def fail(self, session: Session) -> None:
        """Nobody will answer: every exchange of the session ends with an error that says so."""
        self._exchanges.fail_all(session, Refused(Reason.AGENT_DISCONNECTED, metadata={"delivered": "unknown"}))

    def _give_up(self, session: Session) -> None:
        sessions = self._lost.get(session.address, {})
        sessions.pop(session, None)
        if not sessions:
            self._lost.pop(session.address, None)
        self.fail(session)

    def resume(
        self, session: Session, resume: Resume, live: Session | None
    ) -> tuple[tuple[Resumed, ...], tuple[str, ...]]:
        """An agent is back, and claims what it holds of an earlier session, which may still seem to be `live`.

        What becomes of each stream, and the calls whose answers are awaited. What waited for this agent and was not
        claimed ends. Raises RELAY_BUSY when the store cannot be read; then everything is as it was.
        """
        left = self._streams.left_by_earlier(session.address, [claim.id for claim in resume.streams])
        held = self._take_held(session, resume, live)
        streams = tuple(
            self._go_on(session, claim, held.pop(claim.id, None), left.pop(claim.id, None)) for claim in resume.streams
        )
        calls = [held.pop(id) for id in resume.calls if id in held and held[id].stream is None]
        for exchange in calls:
            self._exchanges.adopt(exchange, session)
        self._fail_rest(held.values())
        return streams, tuple(exchange.id for exchange in calls)

    def _take_held(self, session: Session, resume: Resume, live: Session | None) -> dict[str, Exchange]:
        """The exchanges that the claims may speak of; those of other lost sessions of this agent end."""
        held: dict[str, Exchange] = {}
        session.resumed = resume.session
        if live is not None and resume.session in (live.id, live.resumed) and live.can_resume:
            held.update(live.exchanges)
        for lost, slot in self._lost.pop(session.address, {}).items():
            call_off(slot, lost)
            if resume.session in (lost.id, lost.resumed):
                held.update(lost.exchanges)
            else:
                self.fail(lost)
        return held

    def _fail_rest(self, exchanges: Iterable[Exchange]) -> None:
        for exchange in list(exchanges):
            self._exchanges.settle(exchange, Refused(Reason.AGENT_DISCONNECTED, metadata={"delivered": "unknown"}))

    def _go_on(self, session: Session, claim: Claim, exchange: Exchange | None, left: Stream | None) -> Resumed:
        """One stream goes on, of those that are in flight here or were `left` by an earlier process; or it is gone."""
        stream = exchange.stream if exchange is not None else left
        if stream is None:
            if exchange is not None:
                self._fail_rest([exchange])
            return Resumed(claim.id, None)
        if exchange is None:
            exchange = self._again(claim.id, stream, session)
        else:
            self._exchanges.adopt(exchange, session)
        through = self._streams.go_on(stream, exchange)
        if claim.first > through + 1 or claim.last < stream.last:
            self._exchanges.settle(exchange, Refused(Reason.INVALID_AGENT_RESPONSE, "events of the stream are missing"))
            return Resumed(claim.id, None)
        exchange.expires_at = self._clock.monotonic() + exchange.idle_seconds
        return Resumed(claim.id, through)

    def _again(self, id: str, stream: Stream, session: Session) -> Exchange:
        """The exchange of a stream that an earlier process has opened."""
        head = stream.head
        method = BY_NAME.get(head.method)
        call = Call(
            address=head.address,
            meta=Meta(Principal(head.address.tenant, Role.SENDER, head.owner)),
            operation=method.operation if method is not None else Operation.EXTENSION,
            method=head.method,
            params=b"",
            streams=True,
            form=Form.RPC if head.rpc_id is not None else Form.REST,
        )
        now, total = self._clock.monotonic(), session.rules.total_seconds
        left = max(total - max(self._clock.now() - head.opened_at, 0), 0) if total else math.inf
        exchange = Exchange(id, call, session, now, session.rules.idle_seconds, now + left)
        exchange.stream = stream
        exchange.move(Phase.STREAMING)
        self._exchanges.start(exchange)
        return exchange
