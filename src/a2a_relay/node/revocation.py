"""What lives when a tenant or a key changes is asked again whether it may: sessions, streams, feeds, held calls."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, TypeVar

from a2a_relay.core.principal import Principal
from a2a_relay.core.session import Session
from a2a_relay.errors import Reason, Refused
from a2a_relay.ports.authenticator import Authenticator

if TYPE_CHECKING:
    from a2a_relay.node.relay_node import RelayNode

_S = TypeVar("_S")
_A = TypeVar("_A")

AT_A_TIME = 250
"""So many are asked before others have their turn on the loop: about a millisecond's work."""

_Case = tuple[Principal, Callable[[Principal], None], Callable[[Refused], None]]
"""Whom to ask about; what to do with the principal as it is now; what to do when it is good no more."""


class Revocation:
    """Asks the authenticator about everybody who is here. One round at a time; a change meanwhile begins it anew."""

    def __init__(self, node: RelayNode, authenticator: Authenticator) -> None:
        self._node = node
        self._authenticator = authenticator
        self._round: Iterator[_Case] | None = None

    @property
    def is_going_on(self) -> bool:
        """Whether somebody is still to be asked about."""
        return self._round is not None

    def begin(self) -> None:
        """Something has changed: ask about everybody, soon."""
        if self._round is None:
            self._node.clock.call_later(0, self._go_on)
        self._round = self._cases()

    def _go_on(self) -> None:
        cases = self._round
        if cases is None:
            return
        for _ in range(AT_A_TIME):
            case = next(cases, None)
            if case is None:
                self._round = None
                return
            self._ask(*case)
        self._node.clock.call_later(0, self._go_on)

    def _ask(
        self, principal: Principal, is_good: Callable[[Principal], None], is_over: Callable[[Refused], None]
    ) -> None:
        try:
            found = self._authenticator.recheck(principal, self._node.clock.now())
        except Refused as refused:
            is_over(Refused(Reason.UNAUTHENTICATED, refused.message))
        else:
            is_good(found)

    def _cases(self) -> Iterator[_Case]:
        """Everybody who is here when their kind has its turn; whoever comes later was let in by what holds now."""
        node = self._node
        for session in node.sessions:
            yield session.principal, _of(session, self._keep), _of(session, self._end)
        for stream in node.streams.read():
            if stream.principal is not None:
                yield stream.principal, _let_be, _of(stream, node.streams.unread_for)
        if node.mail is None:
            return
        for feed in node.mail.receipts.feeds():
            if feed.principal is not None:
                yield feed.principal, _let_be, feed.refuse
        for held in list(node.mail.held):
            yield held.call.principal, _let_be, held.refuse

    def _keep(self, session: Session, principal: Principal) -> None:
        if principal.address == session.address:
            self._node.sessions.renew(session, principal)
        else:
            self._node.sessions.revoke(session)

    def _end(self, session: Session, _: Refused) -> None:
        self._node.sessions.revoke(session)


def _of(subject: _S, act: Callable[[_S, _A], None]) -> Callable[[_A], None]:
    return lambda argument: act(subject, argument)


def _let_be(_: Principal) -> None:
    """Nothing of it is kept that could have changed."""
