"""One stream of events on its way from an agent to whoever reads it.

A stream outlives the connection of its reader and the link of its agent: events are
numbered from 1 as the agent numbers them, wait in a window until they are read, and
stay there for a while so that a reader that was cut off can go on where it was.
State and arithmetic only; what follows from it is done by `node.streams`.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from a2a_relay.core.address import Address
from a2a_relay.core.exchange import AgentError, Outcome
from a2a_relay.core.principal import Principal
from a2a_relay.errors import Refused
from a2a_relay.wire.flow import Window
from a2a_relay.wire.frames import NO_HEADERS

if TYPE_CHECKING:
    from a2a_relay.core.exchange import Exchange
    from a2a_relay.core.session import Session


class Event(NamedTuple):
    """One event: its position as `id:` has it, and the agent's result bytes."""

    position: bytes
    body: bytes


def offset_of(event: Event) -> int:
    """The number of an event."""
    return int(event.position.rpartition(b"-")[2])


class Reader(Protocol):
    """Who reads a stream. Called from the node, synchronously; after `answer` or `end` never again."""

    def answer(self, outcome: Outcome) -> None:
        """Nothing was streamed: the call has failed."""

    def event(self, event: Event, headers: Mapping[str, str]) -> bool:
        """One event. False: it is taken, and no further one until the reader asks (`RelayNode.read_on`).

        `headers` are the agent's answer headers, the same for every event of a stream.
        """

    def gap(self, first: int, last: Event) -> None:
        """What a resumed reader has missed for good: the events from number `first` to the position of `last`."""

    def end(self, failure: AgentError | Refused | None) -> None:
        """The end of the stream; None is the agent's own regular end."""


class StreamHead(NamedTuple):
    """What is known of a stream from its beginning; a durable one is found again by it.

    `exchange_id` is the frame id of its call; `owner` who may read it; `rpc_id` the JSON-RPC id's bytes, None for a
    call over HTTP+JSON. `opened_at` is wall time in seconds.
    """

    id: str
    epoch: str
    exchange_id: str
    address: Address
    owner: str
    method: str
    rpc_id: bytes | None
    opened_at: float

    @property
    def prefix(self) -> bytes:
        """Every position of this stream, up to its offset."""
        return f"{self.id}.{self.epoch}-".encode()


class StreamWindow(Protocol):
    """The events of one stream that are here: `first` to `last`, `size` bytes of bodies together.

    `first` is `last + 1` when there are none. `committed` is the last event that survives the process, which for a
    window that does not survive it is `last`.
    """

    first: int
    last: int
    size: int

    @property
    def committed(self) -> int: ...

    @property
    def is_end_committed(self) -> bool:
        """Whether the end survives the process too; true of a window that does not."""

    @property
    def waiting_bytes(self) -> int:
        """What is still to be handed to the disk, whether it is in the window yet or not; 0 where there is none."""

    def append(self, event: Event) -> None:
        """Take the event after `last`."""

    def after(self, offset: int, limit: int) -> Iterable[Event]:
        """The events that follow `offset`, in order, `limit` at most."""

    def forget(self, through: int, max_events: int, max_bytes: int) -> int:
        """Let the oldest go until what is left is within bounds, but none after `through`; the bytes let go."""

    def close(self, failure: bytes | None) -> None:
        """The stream has ended; `failure` is a JSON-RPC error object."""

    def drop(self) -> None:
        """Let go of everything: nobody will read it again."""


class ReplayWindow:
    """A window in memory.

    It holds bodies alone: a tuple for each of a hundred thousand events is what the garbage collector would walk.
    """

    __slots__ = ("_bodies", "_prefix", "first", "last", "size")

    def __init__(self, prefix: bytes, last: int = 0, bodies: Iterable[bytes] = ()) -> None:
        """`prefix` is that of its events' positions; `bodies` are those of the last ones, up to number `last`."""
        self._prefix = prefix
        self._bodies = deque(bodies)
        self.last = last
        self.first = last - len(self._bodies) + 1
        self.size = sum(map(len, self._bodies))

    is_end_committed = True
    waiting_bytes = 0

    @property
    def committed(self) -> int:
        return self.last

    def append(self, event: Event) -> None:
        self._bodies.append(event.body)
        self.last += 1
        self.size += len(event.body)

    def after(self, offset: int, limit: int) -> Iterable[Event]:
        start = max(offset + 1 - self.first, 0)
        found = islice(self._bodies, start, start + limit)
        return [Event(b"%b%d" % (self._prefix, number), body) for number, body in enumerate(found, self.first + start)]

    def forget(self, through: int, max_events: int, max_bytes: int) -> int:
        bodies, before = self._bodies, self.size
        while bodies and self.first <= through and (len(bodies) > max_events or self.size > max_bytes):
            self.size -= len(bodies.popleft())
            self.first += 1
        return before - self.size

    def close(self, failure: bytes | None) -> None:
        """Nothing to do: it does not outlive its stream."""

    def drop(self) -> None:
        self._bodies.clear()
        self.first, self.size = self.last + 1, 0


class Stream:
    """The state of one stream. Numbers are of events, from 1; `*_bytes` count bodies from the beginning.

    `cursor` is the last event that the reader has; `taken` the last that a reader or the window has taken over from
    the agent; `granted` the last `through` that the agent was told.
    """

    __slots__ = (
        "check_at",
        "check_bytes",
        "counted",
        "counted_bytes",
        "counted_events",
        "credit",
        "cursor",
        "due",
        "due_bytes",
        "end_due",
        "exchange",
        "failure",
        "granted",
        "granted_bytes",
        "has_room",
        "head",
        "headers",
        "is_durable",
        "is_held_back",
        "is_over",
        "last",
        "last_bytes",
        "on_body",
        "on_left",
        "paced_bytes",
        "prefix",
        "principal",
        "reader",
        "resumes",
        "slot",
        "taken",
        "taken_bytes",
        "was_full",
        "window",
    )

    def __init__(self, head: StreamHead, window: StreamWindow, credit: Window | None, reader: Reader | None) -> None:
        """`credit` is the window of a stream whose agent heeds it, else None."""
        self.head = head
        self.prefix = head.prefix
        self.window = window
        self.credit = credit
        self.reader = reader
        self.principal: Principal | None = None
        """Who reads it, or was the last to."""
        self.has_room = reader is not None
        self.exchange: Exchange | None = None
        self.headers: Mapping[str, str] = NO_HEADERS
        self.last = self.cursor = self.taken = self.granted = window.last
        self.last_bytes = self.taken_bytes = self.granted_bytes = 0
        self.is_durable = False
        self.is_held_back = False
        """Whether its agent waits because its reader's party has had its bytes for now."""
        self.paced_bytes = 0
        """What of its bytes its reader's party was charged with."""
        self.is_over = False
        self.failure: AgentError | Refused | None = None
        self.was_full = 0
        self.resumes = 0
        self.counted = 0
        """Bytes that the budget counts for it."""
        self.counted_events, self.counted_bytes = self.last, 0
        """What of it the totals have."""
        self.check_at: float = 0
        self.check_bytes: float = 0
        """When so much has come, there is something to do that need not be done for each event."""
        self.due: float = math.inf
        self.due_bytes: float = math.inf
        """When so much has been taken, the agent is to be told."""
        self.grant(self.granted)
        self.end_due: Session | None = None
        """Whose agent is still to be told that the end was taken."""
        self.on_body: Callable[[bytes], bytes] | None = None
        """What each body passes on its way into the window: ids of the agent's become the relay's."""
        self.on_left: Callable[[Stream], None] | None = None
        """Of a stream that the relay itself feeds: told when it is let go."""
        self.slot: dict[Any, Any] = {}
        """The slot of its timer: nobody reads it, or its agent is away, or it is over."""

    def may_be_read_by(self, principal: Principal, address: Address) -> bool:
        """Whether this principal opened it, at this address."""
        return self.head.owner == principal.owner and self.head.address == address

    def take(self) -> None:
        """Everything that is here is taken over from the agent."""
        self.taken, self.taken_bytes = self.last, self.last_bytes

    def take_through(self, offset: int) -> None:
        """A reader says that it has everything up to `offset`, which is taken over then, whoever has given it."""
        if offset > self.taken:
            taken = list(self.window.after(self.taken, offset - self.taken))
            self.taken += len(taken)
            self.taken_bytes += sum(len(event.body) for event in taken)

    def credit_due(self) -> int | None:
        """The `through` to tell the agent, when enough has been taken since it was told."""
        if self.taken < self.due and self.taken_bytes < self.due_bytes:
            return None
        through = self.grantable
        return through if through > self.granted else None

    @property
    def grantable(self) -> int:
        """The last event that need not be sent again, whatever happens to this process."""
        return min(self.taken, self.window.committed)

    def grant(self, through: int) -> None:
        """The agent is told that it may go on from `through`."""
        if through == self.taken:
            self.granted_bytes = self.taken_bytes
        else:
            behind = sum(len(event.body) for event in self.window.after(through, self.last - through))
            self.granted_bytes = self.last_bytes - behind
        self.granted = through
        if self.credit is not None:
            self.due = through + self.credit.half_events
            self.due_bytes = self.granted_bytes + self.credit.half_bytes
