"""Which caller a task or a context belongs to, so that another one of the same tenant cannot use it (security rule S3).

Learned from the first answer of a send, without waiting for any disk (decision 30). A task whose owner is not known
(one that the agent made by itself, or that was made before anybody but admins called there) is its tenant's until the
tenant has keys of senders or agents, or issuers of them: from then on it is its admins'. A context that nobody is known
to use belongs to whoever uses it first.
"""

from __future__ import annotations

import hashlib

from a2a_relay.a2a import listing
from a2a_relay.a2a.facts import read_facts
from a2a_relay.a2a.methods import Operation
from a2a_relay.core.address import Address
from a2a_relay.core.call import Call
from a2a_relay.core.exchange import Outcome, Result, Sink
from a2a_relay.core.hub import Hub
from a2a_relay.core.letter import ID_PREFIX
from a2a_relay.core.principal import Role
from a2a_relay.core.stream import Stream
from a2a_relay.errors import Reason, Refused
from a2a_relay.ports.credentials import CredentialStore
from a2a_relay.ports.task_index import TaskIndex

_SENDS = (Operation.SEND, Operation.STREAM)
_CALLERS = (Role.SENDER, Role.AGENT)
_MAX_KEY_CHARS = 128


class Owners:
    """The owners of live tasks, in tenants where somebody who is no admin calls: an admin may see everything."""

    def __init__(self, index: TaskIndex, hub: Hub, credentials: CredentialStore | None = None) -> None:
        self._index = index
        self._hub = hub
        self._credentials = credentials
        self._strict: dict[str, bool] = {}
        """Tenants, and whether strangers share them, as of `_generation`."""
        self._generation = -1
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
            self._share(tenant)
        return self.is_shared(tenant)

    def _share(self, tenant: str) -> None:
        self._shared[tenant] = True
        for session in self._hub.of_tenant(tenant).values():
            session.is_shared = True

    def is_strict(self, tenant: str) -> bool:
        """Whether what nobody is known to own is for the tenant's admins alone: it has handed out keys."""
        credentials = self._credentials
        if credentials is None:
            return False
        if credentials.generation != self._generation:
            self._generation = credentials.generation
            self._strict.clear()
        found = self._strict.get(tenant)
        if found is None:
            record = credentials.tenant(tenant)
            found = self._strict[tenant] = bool(record and record.issuers) or any(
                key.role in _CALLERS for key in credentials.keys_of(tenant)
            )
        return found

    def require(self, call: Call) -> None:
        """Refuse what speaks of somebody else's task or context. Raises TASK_NOT_FOUND, as for an unknown one."""
        task_id, context_id, references, *_ = call.spans
        if call.principal.role is Role.ADMIN or not (task_id or context_id or references):
            return
        is_strict = self.is_strict(call.address.tenant)
        for id in (task_id, *references):
            if id and not id.startswith(ID_PREFIX):
                self.require_own(call, id, is_strict=is_strict)
        if context_id and not context_id.startswith(ID_PREFIX):
            self.require_own(call, context_id)
            if is_strict and call.operation in _SENDS:
                self._index.learn(call.address, [_key(context_id)], call.principal.owner)

    def require_own(self, call: Call, id: str, *, is_strict: bool = False) -> None:
        """Refuse an id that is known to be somebody else's; if strictly, one that nobody is known to own, too.

        Raises TASK_NOT_FOUND.
        """
        if call.principal.role is not Role.ADMIN:
            owner = self._index.owner(call.address, _key(id))
            if owner != call.principal.owner and (is_strict or owner is not None):
                raise Refused(Reason.TASK_NOT_FOUND)

    def sink_for(self, call: Call, sink: Sink) -> Sink:
        """A sink that learns from the answer, or leaves out of a list what is not the caller's.

        Only for calls that are of concern.
        """
        address, meta, operation, *_ = call
        principal = meta.principal
        if address.tenant not in self._shared or not self._shared[address.tenant]:
            self._share(address.tenant)
        if operation is Operation.SEND:
            return _Learning(self._index, address, principal.owner, sink)
        if operation is Operation.LIST and principal.role is not Role.ADMIN:
            return _Filtering(sink, address, principal.owner, self._index, self.is_strict(address.tenant))
        return sink

    def watch(self, call: Call, stream: Stream) -> None:
        """Learn from a stream's events, until they have named its task."""
        if call.operation not in _SENDS:
            return
        index, address, owner, before = self._index, call.address, call.principal.owner, stream.on_body

        def on_body(body: bytes) -> bytes:
            if _learn(index, address, owner, body):
                stream.on_body = before
            return before(body) if before is not None else body

        stream.on_body = on_body

    def learn(self, address: Address, owner: str, *ids: str) -> None:
        """An agent has named a task and its context, or taken the relay's own ids: they are this caller's."""
        if self.is_shared(address.tenant):
            self._index.learn(address, [_key(id) for id in ids if id], owner)

    def may_see(self, call: Call, id: str) -> bool:
        """Whether an id is known to be the caller's; an admin sees everything that is known."""
        owner = self._index.owner(call.address, _key(id))
        return owner is not None and (call.principal.role is Role.ADMIN or owner == call.principal.owner)


def _learn(index: TaskIndex, address: Address, owner: str, body: bytes) -> bool:
    """Learn whose task an answer or an event names; whether it names any."""
    _, task_id, context_id, _ = read_facts(body)
    ids = [_key(id) for id in (task_id, context_id) if id is not None and not id.startswith(ID_PREFIX)]
    if ids:
        index.learn(address, ids, owner)
    return task_id is not None or context_id is not None


_TASK_HEAD = b'{"task":{"id":"'
_TASK_HEAD_SIZE = len(_TASK_HEAD)
_CONTEXT_HEAD = b'","contextId":"'
_CONTEXT_HEAD_SIZE = len(_CONTEXT_HEAD)
_RELAYS = ID_PREFIX.encode()


def _key(id: str) -> str:
    """What an id is known by: callers and agents choose it, and it may be as long as a body."""
    return id if len(id) <= _MAX_KEY_CHARS else hashlib.sha256(id.encode("utf-8", "surrogatepass")).hexdigest()


class _Learning:
    """Passes an answer on, and learns whose its task is."""

    __slots__ = ("_address", "_index", "_owner", "_sink")

    def __init__(self, index: TaskIndex, address: Address, owner: str, sink: Sink) -> None:
        self._index = index
        self._address = address
        self._owner = owner
        self._sink = sink

    def answer(self, outcome: Outcome) -> None:
        if isinstance(outcome, Result):
            body = outcome.body
            if body.startswith(_TASK_HEAD) and not body.startswith(_RELAYS, _TASK_HEAD_SIZE):
                # As nearly all begin: without a look at the rest of it. What the relay itself has named is no agent's.
                end = body.find(b'"', _TASK_HEAD_SIZE)
                behind = end + _CONTEXT_HEAD_SIZE
                last = body.find(b'"', behind)
                if (
                    body[end:behind] == _CONTEXT_HEAD
                    and last - _TASK_HEAD_SIZE <= _MAX_KEY_CHARS
                    and body.find(b"\\", 0, last) < 0
                ):
                    ids = (body[_TASK_HEAD_SIZE:end].decode(), body[behind:last].decode())
                    self._index.learn(self._address, ids, self._owner)
                    self._sink.answer(outcome)
                    return
            _learn(self._index, self._address, self._owner, body)
        self._sink.answer(outcome)


class _Filtering:
    """Passes a list of tasks on, without those of others."""

    def __init__(self, sink: Sink, address: Address, owner: str, index: TaskIndex, is_strict: bool) -> None:
        self._sink = sink
        self._taken = (owner,) if is_strict else (None, owner)
        self._address = address
        self._owner = owner
        self._index = index

    def answer(self, outcome: Outcome) -> None:
        if isinstance(outcome, Result):
            outcome = self._filtered(outcome)
        self._sink.answer(outcome)

    def _filtered(self, result: Result) -> Outcome:
        try:
            return result._replace(body=listing.filter_list(result.body, self._is_own))
        except Refused:  # it cannot be read through, and holds tasks of others perhaps
            return Refused(Reason.INVALID_AGENT_RESPONSE, "the agent's list is too long")

    def _is_own(self, task_id: str, context_id: str) -> bool:
        owner, address = self._index.owner, self._address
        if owner(address, _key(task_id)) not in self._taken:
            return False
        return not context_id or owner(address, _key(context_id)) in (None, self._owner)
