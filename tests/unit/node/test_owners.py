"""Whose a task is, learned from answers, and who else may not use it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from a2a_relay.a2a import spans
from a2a_relay.a2a.methods import BY_NAME
from a2a_relay.core.audit import AuditFact
from a2a_relay.core.call import Call
from a2a_relay.core.exchange import AgentError, Result
from a2a_relay.core.hub import Hub
from a2a_relay.core.keys import KeyRecord
from a2a_relay.core.principal import Role
from a2a_relay.errors import Refused
from a2a_relay.node.owners import Owners
from a2a_relay.stores.memory.audit import MemoryAudit
from a2a_relay.stores.memory.credentials import MemoryCredentials
from a2a_relay.stores.memory.task_index import MemoryTaskIndex
from a2a_relay.testing import RecordingSink, make_address, make_call, make_principal

ANN = make_principal(role=Role.SENDER, identity="ann")
BOB = make_principal(role=Role.SENDER, identity="bob")
ADMIN = make_principal()
ANSWER = Result(b'{"task":{"id":"a1","contextId":"c1","status":{"state":"TASK_STATE_COMPLETED"}}}')


def call(method: str, document: dict[str, Any], principal: Any) -> Call:
    params = json.dumps(document).encode()
    return make_call(method, params, principal=principal, spans=spans.read(BY_NAME[method].operation, params))


def get(id: str, principal: Any) -> Call:
    return call("GetTask", {"id": id}, principal)


@pytest.fixture
def index() -> MemoryTaskIndex:
    return MemoryTaskIndex()


@pytest.fixture
def owners(index: MemoryTaskIndex) -> Owners:
    return Owners(index, Hub())


@pytest.fixture
def anns(owners: Owners) -> Owners:
    """The task a1 and the context c1 are Ann's."""
    owners.sink_for(make_call(principal=ANN), RecordingSink()).answer(ANSWER)
    return owners


def test_nobody_is_asked_where_only_admins_call(owners: Owners) -> None:
    assert not owners.concern(make_call())
    assert not owners.is_shared("acme")


def test_a_tenant_is_shared_from_the_first_sender_on(owners: Owners) -> None:
    assert owners.concern(make_call(principal=ANN))
    assert owners.concern(make_call())
    assert not owners.is_shared("evil")


def test_a_tenant_whose_tasks_are_known_is_shared_after_a_restart(anns: Owners, index: MemoryTaskIndex) -> None:
    assert Owners(index, Hub()).is_shared("acme")


@pytest.mark.parametrize(
    "document",
    [
        {"message": {"taskId": "a1"}},
        {"message": {"contextId": "c1"}},
        {"message": {"referenceTaskIds": ["other", "a1"]}},
    ],
)
def test_what_is_anns_nobody_else_may_use(anns: Owners, document: dict[str, Any]) -> None:
    with pytest.raises(Refused, match="TASK_NOT_FOUND"):
        anns.require(call("SendMessage", document, BOB))
    anns.require(call("SendMessage", document, ANN))
    anns.require(call("SendMessage", document, ADMIN))


def test_what_nobody_is_known_to_own_is_the_tenants(anns: Owners) -> None:
    anns.require(get("unknown", BOB))


def test_a_task_of_the_relays_is_looked_after_by_its_letter(owners: Owners) -> None:
    owners.learn(make_address(), ANN.owner, "rly-1")
    owners.require(get("rly-1", BOB))


def test_an_error_teaches_nothing(owners: Owners, index: MemoryTaskIndex) -> None:
    sink = RecordingSink()
    owners.sink_for(make_call(principal=ANN), sink).answer(AgentError(b"{}"))
    assert sink.outcome == AgentError(b"{}")
    assert not index.knows("acme")


class TestLists:
    TASKS = Result(
        json.dumps(
            {
                "tasks": [
                    {"id": "a1", "contextId": "c1"},
                    {"id": "a2", "contextId": "c2"},
                    {"id": "a3"},
                    {"id": "rly-1", "contextId": "c4"},
                ],
                "totalSize": 4,
            }
        ).encode()
    )

    def listed(self, owners: Owners, principal: Any) -> list[str]:
        sink = RecordingSink()
        owners.sink_for(call("ListTasks", {}, principal), sink).answer(self.TASKS)
        assert isinstance(sink.outcome, Result)
        return [task["id"] for task in json.loads(sink.outcome.body)["tasks"]]

    def test_leave_out_what_is_anothers(self, anns: Owners) -> None:
        anns.learn(make_address(), BOB.owner, "a2")
        anns.learn(make_address(), ANN.owner, "rly-1")  # at an agent that has adopted the letter's id
        assert self.listed(anns, BOB) == ["a2", "a3"]
        assert self.listed(anns, ANN) == ["a1", "a3", "rly-1"]

    def test_are_whole_for_an_admin(self, anns: Owners) -> None:
        assert self.listed(anns, ADMIN) == ["a1", "a2", "a3", "rly-1"]


class TestATenantWithKeys:
    """Where strangers share a tenant, what nobody is known to own is for its admins alone."""

    @pytest.fixture
    async def shared(self, index: MemoryTaskIndex) -> Owners:
        credentials = MemoryCredentials(MemoryAudit(lambda: 0.0))
        owners = Owners(index, Hub(), credentials)
        assert not owners.is_strict("acme")
        key = KeyRecord("k1", "acme", "ann", Role.SENDER, 0.0, ())
        await credentials.put_key(key, AuditFact("acme", "test", "key.create", "k1"))
        return owners

    async def test_is_one_from_its_first_key_on(self, shared: Owners) -> None:
        assert shared.is_strict("acme")
        assert not shared.is_strict("evil")

    async def test_nobody_but_admins_speaks_of_a_task_that_nobody_owns(self, shared: Owners) -> None:
        for document in ({"message": {"taskId": "a9"}}, {"message": {"referenceTaskIds": ["a9"]}}):
            with pytest.raises(Refused, match="TASK_NOT_FOUND"):
                shared.require(call("SendMessage", document, ANN))
        with pytest.raises(Refused, match="TASK_NOT_FOUND"):
            shared.require(get("a9", ANN))
        shared.require(get("a9", ADMIN))

    async def test_a_context_is_whose_who_uses_it_first(self, shared: Owners) -> None:
        document = {"message": {"contextId": "c9"}}
        shared.require(call("SendMessage", document, ANN))
        with pytest.raises(Refused, match="TASK_NOT_FOUND"):
            shared.require(call("SendMessage", document, BOB))
        shared.require(call("SendMessage", document, ANN))

    async def test_a_list_leaves_out_what_nobody_owns(self, shared: Owners) -> None:
        shared.sink_for(make_call(principal=ANN), RecordingSink()).answer(ANSWER)
        sink = RecordingSink()
        listed = Result(b'{"tasks":[{"id":"a1","contextId":"c1"},{"id":"a9"}],"totalSize":2}')
        shared.sink_for(call("ListTasks", {}, ANN), sink).answer(listed)
        (outcome,) = sink.answers
        assert isinstance(outcome, Result)
        assert json.loads(outcome.body)["tasks"] == [{"id": "a1", "contextId": "c1"}]
