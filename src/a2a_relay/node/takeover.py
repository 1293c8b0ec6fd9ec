"""A second session for an agent that is attached already (decision 7).

The same instance over a new link, and whoever finds a dead session, simply take its place. Another instance beside a
live session is either an accident or a theft: the session there is asked for a sign of life first, and then the
tenant's policy counts.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from a2a_relay.core.address import Address
from a2a_relay.core.audit import AuditFact
from a2a_relay.core.principal import Principal
from a2a_relay.core.session import Session
from a2a_relay.errors import Reason, Refused
from a2a_relay.node.agent_link import AgentLink
from a2a_relay.ports.clock import TimerHandle
from a2a_relay.wire.dialects import Dialect
from a2a_relay.wire.frames import Auth

if TYPE_CHECKING:
    from a2a_relay.node.relay_node import RelayNode

LIFE_SECONDS = 3.0
"""How long a session has to show that it is alive."""
TWIN_TAKEOVERS = 3
TWIN_SECONDS = 60.0
"""So many takeovers of one agent in so many seconds are twins that push each other out: the next one is refused."""
MAX_WAITING = 8
"""Newcomers that wait for one session's sign of life."""
_MAX_REMEMBERED = 10_000


class Newcomer(NamedTuple):
    """An agent that may attach, as far as its credential goes."""

    link: AgentLink
    auth: Auth
    principal: Principal
    address: Address
    dialect: Dialect


class Replacement(NamedTuple):
    """How a newcomer comes in: `hold_seconds` is None unless it has taken over a live session of another instance."""

    replaced: Session | None = None
    hold_seconds: float | None = None

    @property
    def resumable(self) -> Session | None:
        """The session with whose exchanges a newcomer may go on: never another instance's."""
        return self.replaced if self.hold_seconds is None else None


class _Question:
    """A session that was asked for a sign of life, and who waits for it."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.waiting: list[Newcomer] = []
        self.is_answered = False
        self.timer: TimerHandle | None = None


class Takeovers:
    """Judges newcomers for addresses at which a session is already."""

    def __init__(self, node: RelayNode, links: dict[str, AgentLink], go_on: Callable[[Newcomer, Session, bool], None]):
        """`go_on` is called for each newcomer that has waited: with the session that was asked, and if it lives."""
        self._node = node
        self._clock = node.clock
        self._links = links
        self._go_on = go_on
        self._questions: dict[Session, _Question] = {}
        self._lately: OrderedDict[Address, deque[float]] = OrderedDict()

    def judge(self, newcomer: Newcomer, live: Session | None, is_alive: bool | None = None) -> Replacement | None:
        """How a newcomer comes in, or None: it has to wait. Raises SESSION_EXISTS.

        `is_alive` is what was found out about the live session; None: nothing was.
        """
        if live is None or is_alive is False or self._is_same_instance(newcomer, live):
            return Replacement(live)
        if is_alive is None and self._ask(newcomer, live):
            return None
        return Replacement(live, self._take_over(newcomer, live))

    def _is_same_instance(self, newcomer: Newcomer, live: Session) -> bool:
        """Whether a session's own process is back. One that names no instance is known by where it comes from."""
        if newcomer.auth.instance or live.instance:
            return newcomer.auth.instance == live.instance
        link = self._links.get(live.id)
        return newcomer.auth.resume.session in (live.id, live.resumed or live.id) or (
            link is not None and link.host == newcomer.link.host
        )

    # the sign of life

    def _ask(self, newcomer: Newcomer, live: Session) -> bool:
        """Let a newcomer wait for a session's sign of life; False where there is no way to ask for one."""
        question = self._questions.get(live)
        if question is None:
            link = self._links.get(live.id)
            if link is None:
                return False
            question = self._questions[live] = _Question(live)
            if not link.ask_for_life(partial(self._answered, question)):
                del self._questions[live]
                return False
            question.timer = self._clock.call_later(LIFE_SECONDS, partial(self._settle, question))
        question.waiting = [other for other in question.waiting if not other.link.is_closed]
        if len(question.waiting) >= MAX_WAITING:
            raise Refused(Reason.RATE_LIMITED, "too many instances attach as this agent")
        question.waiting.append(newcomer)
        return True

    def _answered(self, question: _Question) -> None:
        question.is_answered = True
        self._settle(question)

    def ended(self, session: Session) -> None:
        """A session is gone: nobody needs to wait for its sign of life any more."""
        question = self._questions.get(session)
        if question is not None and question.timer is not None:
            question.timer.cancel()  # soon, and not in the midst of what ends it
            question.timer = self._clock.call_later(0, partial(self._settle, question))

    def _settle(self, question: _Question) -> None:
        if self._questions.get(question.session) is not question:
            return
        del self._questions[question.session]
        if question.timer is not None:
            question.timer.cancel()
        for newcomer in question.waiting:
            self._go_on(newcomer, question.session, question.is_answered)

    # the policy

    def _take_over(self, newcomer: Newcomer, live: Session) -> float:
        """Let another instance take a live session's place, and tell of it; how long letters are held.

        Raises SESSION_EXISTS.
        """
        refuses, hold_seconds = self._policy(newcomer.address.tenant)
        if newcomer.principal.key and not live.principal.key:
            refuses = False  # a key counts for more than the secret that everybody shares
        elif self._count_lately(newcomer.address) >= TWIN_TAKEOVERS:
            raise self._refused(newcomer, "instances of this agent keep pushing each other out")
        if refuses:
            raise self._refused(newcomer, "another instance of this agent is attached")
        self._remember(newcomer.address)
        self._write_down(newcomer, "done")
        self._node.observer.notice(
            "session_taken_over",
            address=str(newcomer.address),
            by=newcomer.link.peer,
            replaced=live.id,
            letters_held_seconds=hold_seconds,
        )
        return hold_seconds

    def _policy(self, name: str) -> tuple[bool, float]:
        """Whether a tenant's live sessions keep others out, and how long letters are held after a takeover."""
        (refuses, hold_seconds, _), credentials = self._node.link_rules, self._node.credentials
        tenant = credentials.tenant(name) if credentials is not None else None
        if tenant is not None and tenant.on_second_session:
            refuses = tenant.on_second_session == "refuse"
        if tenant is not None and tenant.takeover_hold_seconds is not None:
            hold_seconds = tenant.takeover_hold_seconds
        return refuses, hold_seconds

    def _refused(self, newcomer: Newcomer, why: str) -> Refused:
        self._write_down(newcomer, str(Reason.SESSION_EXISTS))
        return Refused(Reason.SESSION_EXISTS, why)

    def _write_down(self, newcomer: Newcomer, outcome: str) -> None:
        if self._node.audit is not None:
            tenant, agent = newcomer.address
            fact = AuditFact(tenant, newcomer.principal.owner, "session.takeover", f"agent:{agent}", outcome)
            self._node.audit.write(fact._replace(peer=newcomer.link.host))

    def _remember(self, address: Address) -> None:
        self._lately.setdefault(address, deque(maxlen=TWIN_TAKEOVERS)).append(self._clock.monotonic())
        self._lately.move_to_end(address)
        for old in list(self._forgettable()):
            del self._lately[old]

    def _forgettable(self) -> Iterator[Address]:
        """The longest unchanged ones, as far as they are old or too many."""
        excess = len(self._lately) - _MAX_REMEMBERED
        for number, (address, instants) in enumerate(self._lately.items()):
            if number >= excess and instants[-1] > self._clock.monotonic() - TWIN_SECONDS:
                return
            yield address

    def _count_lately(self, address: Address) -> int:
        since = self._clock.monotonic() - TWIN_SECONDS
        return sum(instant > since for instant in self._lately.get(address, ()))
