"""Which caller a task or a context belongs to, so that another one of the same tenant cannot use it (security rule S3).

Learned from the first answer of a send, without waiting for any disk (decision 30). An id whose owner is not known is
its tenant's: one that the agent made by itself, or that was made before anybody but admins called there.
"""

from __future__ import annotations

from collections.abc import Callable

from a2a_relay.a2a import listing
from a2a_relay.a2a.facts import read_facts
from a2a_relay.a2a.methods import Operation
from a2a_relay.core.address import Address
from a2a_relay.core.call import Call
from a2a_relay.core.exchange import Outcome, Result, Sink
from a2a_relay.core.hub import Hub
from a2a_relay.core.letter import ID_PREFIX
from a2a_relay.core.principal import Role
from a2a_relay.core.stream import Stream, owner_of
from a2a_relay.errors import Reason, Refused
from a2a_relay.ports.task_index import TaskIndex

_SENDS = (Operation.SEND, Operation.STREAM)


class Owners:
    """The owners of live tasks, in tenants where somebody who is no admin calls: an admin may see everything."""

    def __init__(self, index: TaskIndex, hub: Hub) -> None:
        self._index = index
        self._hub = hub
        self._shared: dict[str, bool] = {}
        """Tenants, and whether tasks have owners there."""

    def is_shared(self, tenant: str) -> bool:
        """Whether tasks of a tenant have owners."""
        known = self._shared.get(tenant)
        if known is None:
            known = self._shared[tenant] = self._index.knows(tenant)
        return known

    def concern(self, call: Call) -> bool:
        """Whether a call must be looked at: it is no admin's, or its answer may be asked for by who is none."""
        tenant = call.address.tenant
        if call.principal.role is not Role.ADMIN and not self.is_shared(tenant):
            self._shared[tenant] = True
            for session in self._hub.of_tenant(tenant).values():
                session.is_shared = True
                session.review()
        return self.is_shared(tenant)

    def require(self, call: Call) -> None:
        """Refuse what speaks of somebody else's task or context. Raises TASK_NOT_FOUND, as for an unknown one."""
        if call.principal.role is Role.ADMIN:
            return
        owner, spans = owner_of(call.principal), call.spans
        for id in (spans.task_id, spans.context_id, *spans.reference_task_ids):
            if id and not id.startswith(ID_PREFIX) and self._index.owner(call.address, id) not in (None, owner):
                raise Refused(Reason.TASK_NOT_FOUND)

    def sink_for(self, call: Call, sink: Sink) -> Sink:
        """A sink that learns from the answer, or leaves out of a list what is not the caller's."""
        if call.operation is Operation.SEND:
            return _Learning(sink, self._learner(call))
        if call.operation is Operation.LIST and call.principal.role is not Role.ADMIN:
            return _Filtering(sink, call.address, owner_of(call.principal), self._index)
        return sink

    def watch(self, call: Call, stream: Stream) -> None:
        """Learn from a stream's events, until they have named its task."""
        if call.operation not in _SENDS:
            return
        learn, before = self._learner(call), stream.on_body

        def on_body(body: bytes) -> bytes:
            if learn(body):
                stream.on_body = before
            return before(body) if before is not None else body

        stream.on_body = on_body

    def learn(self, address: Address, owner: str, *ids: str) -> None:
        """These ids of an agent's are this caller's."""
        self._index.learn(address, [id for id in ids if id and not id.startswith(ID_PREFIX)], owner)

    def _learner(self, call: Call) -> Callable[[bytes], bool]:
        address, owner = call.address, owner_of(call.principal)

        def learn(body: bytes) -> bool:
            found = read_facts(body)
            self.learn(address, owner, found.task_id or "", found.context_id or "")
            return bool(found.task_id or found.context_id)

        return learn


class _Learning:
    """Passes an answer on, and learns whose its task is."""

    def __init__(self, sink: Sink, learn: Callable[[bytes], bool]) -> None:
        self._sink = sink
        self._learn = learn

    def answer(self, outcome: Outcome) -> None:
        if isinstance(outcome, Result):
            self._learn(outcome.body)
        self._sink.answer(outcome)


class _Filtering:
    """Passes a list of tasks on, without those of others."""

    def __init__(self, sink: Sink, address: Address, owner: str, index: TaskIndex) -> None:
        self._sink = sink
        self._address = address
        self._owner = owner
        self._index = index

    def answer(self, outcome: Outcome) -> None:
        if isinstance(outcome, Result):
            outcome = outcome._replace(body=listing.filter_list(outcome.body, self._is_own))
        self._sink.answer(outcome)

    def _is_own(self, task_id: str, context_id: str) -> bool:
        ids = (task_id, context_id)
        return all(self._index.owner(self._address, id) in (None, self._owner) for id in ids if id)
