"""Streams from the logs that hold their windows: new ones, and those that an earlier process has left."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence

from a2a_relay.core.address import Address
from a2a_relay.core.call import Call
from a2a_relay.core.exchange import AgentError, Exchange
from a2a_relay.core.stream import Reader, Stream, StreamHead
from a2a_relay.errors import Reason, Refused, StoreError
from a2a_relay.ports.clock import Clock
from a2a_relay.ports.observer import Observer
from a2a_relay.ports.stream_log import StreamLog
from a2a_relay.wire.flow import Window


class StreamLogs:
    """The log in memory, and the durable one if there is any. `on_commit` hears of windows that have got further."""

    def __init__(
        self,
        clock: Clock,
        epoch: str,
        memory: StreamLog,
        durable: StreamLog | None,
        credit: Window,
        observer: Observer,
        on_commit: Callable[[Stream], None],
    ) -> None:
        self._clock = clock
        self._epoch = epoch
        self._memory = memory
        self._durable = durable
        self._credit = credit
        self._observer = observer
        self._on_commit = on_commit

    def new(self, call: Call, exchange: Exchange | None, reader: Reader) -> Stream:
        """A stream that begins; without an exchange it is one that the relay itself feeds."""
        head = self._head(call, "" if exchange is None else exchange.id)
        session = None if exchange is None else exchange.session
        durable = self._durable if session is not None and session.rules.is_durable else None
        found: list[Stream] = []
        window = (durable or self._memory).open(head, lambda: self._on_commit(found[0]))
        has_credit = session is not None and session.dialect.has_credit
        stream = Stream(head, window, self._credit if has_credit else None, reader)
        found.append(stream)
        stream.is_durable = durable is not None
        return stream

    def _head(self, call: Call, exchange_id: str) -> StreamHead:
        return StreamHead(
            id=secrets.token_urlsafe(16),
            epoch=self._epoch,
            exchange_id=exchange_id,
            address=call.address,
            owner=call.principal.owner,
            method=call.method,
            rpc_id=None if call.is_rest else call.client_id,
            opened_at=self._clock.now(),
        )

    def load(self, id: str) -> Stream | None:
        """A durable stream of an earlier process. Raises RELAY_BUSY when the store has failed."""
        if self._durable is None:
            return None
        found: list[Stream] = []
        try:
            stored = self._durable.find(id, lambda: self._on_commit(found[0]))
        except StoreError as error:
            raise self._failed(error) from error
        if stored is None:
            return None
        stream = Stream(stored.head, stored.window, self._credit, None)
        found.append(stream)
        stream.is_durable, stream.is_over = True, stored.is_over
        stream.failure = None if stored.failure is None else AgentError(stored.failure)
        stream.cursor = stored.window.first - 1  # nobody knows what was read
        return stream

    def find_exchanges(self, address: Address, exchange_ids: Sequence[str]) -> dict[str, str]:
        """Of calls of an agent: the ids of the streams that an earlier process has left. Raises RELAY_BUSY."""
        if self._durable is None or not exchange_ids:
            return {}
        try:
            return dict(self._durable.find_exchanges(address, exchange_ids))
        except StoreError as error:
            raise self._failed(error) from error

    def _failed(self, error: StoreError) -> Refused:
        self._observer.notice("store_trouble", message=str(error))
        return Refused(Reason.RELAY_BUSY, "the relay's store has failed")
