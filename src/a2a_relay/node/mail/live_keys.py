"""Idempotency keys of calls that went to their agent at once; those of letters are the store's (security rule S15)."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from a2a_relay.a2a.methods import Operation
from a2a_relay.core.call import Call
from a2a_relay.core.exchange import AgentError, Outcome, Result
from a2a_relay.core.letter import IdempotencyKey
from a2a_relay.core.limits import Limits
from a2a_relay.core.stream import Stream
from a2a_relay.errors import Reason, Refused
from a2a_relay.node.mail.held import Held, HeldCall
from a2a_relay.node.streams import Streams
from a2a_relay.ports.clock import Clock


def key_of(call: Call, seconds: float) -> IdempotencyKey | None:
    """The key of a send that has one: scoped by tenant, caller, agent and operation; with a digest of the params."""
    key = call.options.idempotency_key
    if not key or call.operation not in (Operation.SEND, Operation.STREAM):
        return None
    parts = (*call.address, call.principal.owner, call.operation.value, key)
    scope = hashlib.sha256(b"".join(b"%d:%b" % (len(part), part.encode()) for part in parts)).hexdigest()
    return IdempotencyKey(scope, hashlib.sha256(call.params).digest(), seconds)


class _Record:
    """A keyed call; `outcome` None while it is in flight. A streaming one has its `stream`."""

    __slots__ = ("digest", "ends_at", "outcome", "size", "stream")

    def __init__(self, digest: bytes, ends_at: float, stream: Stream | None) -> None:
        self.digest = digest
        self.ends_at = ends_at
        self.stream = stream
        self.outcome: Outcome | None = None
        self.size = 0

    @property
    def was_refused(self) -> bool:
        """Whether nothing of a stream was delivered, so that its call may be tried again."""
        stream = self.stream
        failure = stream.failure if stream is not None and not stream.last else None
        return isinstance(failure, Refused) and failure.ruling.temporary


class LiveKeys:
    """What was answered to keyed calls, in memory and bounded: the oldest go."""

    def __init__(self, clock: Clock, limits: Limits, streams: Streams) -> None:
        self._clock = clock
        self._limits = limits
        self._streams = streams
        self._records: dict[str, _Record] = {}
        self._bytes = 0
        self._undecided: dict[str, asyncio.Event] = {}
        """Keys of calls of which it is not known yet whether they become letters."""

    def __len__(self) -> int:
        return len(self._records)

    @asynccontextmanager
    async def turn(self, key: IdempotencyKey | None) -> AsyncIterator[None]:
        """Whoever comes with a key waits until it is settled what becomes of the call that came with it before."""
        if key is None:
            yield
            return
        while (before := self._undecided.get(key.scope)) is not None:
            await before.wait()
        decided = self._undecided[key.scope] = asyncio.Event()
        try:
            yield
        finally:
            del self._undecided[key.scope]
            decided.set()

    def replay(self, key: IdempotencyKey, held: Held) -> bool:
        """Answer a call as its key was answered before; False when it was not used.

        Raises IDEMPOTENCY_CONFLICT for another body, IDEMPOTENCY_IN_FLIGHT while there is no answer yet.
        """
        record = self._records.get(key.scope)
        if record is None or record.ends_at <= self._clock.monotonic() or record.was_refused:
            self._forget(key.scope)
            return False
        if record.digest != key.digest:
            raise Refused(Reason.IDEMPOTENCY_CONFLICT)
        if isinstance(held, HeldCall):
            if record.outcome is None:
                raise Refused(Reason.IDEMPOTENCY_IN_FLIGHT)
            held.answer(record.outcome)
        else:
            self._replay_stream(record.stream, held.stream)
        return True

    def _replay_stream(self, before: Stream | None, stream: Stream) -> None:
        """Hand out once more what a stream has carried, as far as it is still here."""
        if before is None or not before.is_over:
            raise Refused(Reason.IDEMPOTENCY_IN_FLIGHT)
        if not before.last and before.failure is not None:  # it never began
            self._streams.answered(stream, before.failure)
            return
        if before.window.first != 1:
            raise Refused(Reason.STREAM_GONE)
        for event in before.window.after(0, before.last):
            self._streams.feed(stream, event.body)
        self._streams.ended(stream, before.failure)

    def begin(self, key: IdempotencyKey, held: Held) -> None:
        """A keyed call goes to its agent: whatever comes of it is the answer to its key."""
        stream = None if isinstance(held, HeldCall) else held.stream
        record = _Record(key.digest, self._clock.monotonic() + key.seconds, stream)
        self._forget(key.scope)
        self._records[key.scope] = record
        if isinstance(held, HeldCall):
            held.is_keyed = True
            held.on_outcome = lambda outcome: self._answered(key.scope, record, outcome)
        self._make_room()

    def _answered(self, scope: str, record: _Record, outcome: Outcome) -> Outcome:
        if isinstance(outcome, Refused) and outcome.ruling.temporary:  # nothing was delivered: it may be tried again
            self._forget(scope)
        elif self._records.get(scope) is record:
            record.outcome = outcome
            record.size = len(outcome.body) if isinstance(outcome, Result | AgentError) else 0
            self._bytes += record.size
            self._make_room()
        return outcome

    def _forget(self, scope: str) -> None:
        record = self._records.pop(scope, None)
        if record is not None:
            self._bytes -= record.size

    def _make_room(self) -> None:
        limits = self._limits
        while len(self._records) > limits.keyed_answers or self._bytes > limits.keyed_answers_bytes:
            self._forget(next(iter(self._records)))
