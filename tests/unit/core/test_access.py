"""Who may do what."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from a2a_relay.a2a.methods import Operation
from a2a_relay.core import access, scopes
from a2a_relay.core.address import Address
from a2a_relay.core.keys import KeyRecord
from a2a_relay.core.principal import Principal, Role
from a2a_relay.errors import Reason, Refused
from a2a_relay.testing import make_principal

ZAF = Address("acme", "zaf")


def test_an_agent_attaches_as_itself() -> None:
    assert access.require_attach(make_principal(role=Role.AGENT, attaches_as="zaf")) == ZAF


def test_an_admin_attaches_as_its_tokens_agent() -> None:
    assert access.require_attach(make_principal(attaches_as="zaf")) == ZAF


@pytest.mark.parametrize(
    "principal, reason, message",
    [
        (make_principal(role=Role.SENDER, attaches_as="zaf"), Reason.PERMISSION_DENIED, "role client may not attach"),
        (make_principal(), Reason.UNAUTHENTICATED, "token missing required agent_id claim"),
    ],
)
def test_others_do_not_attach(principal: Principal, reason: Reason, message: str) -> None:
    with pytest.raises(Refused) as refused:
        access.require_attach(principal)
    assert (refused.value.reason, refused.value.message) == (reason, message)


@pytest.mark.parametrize("role", list(Role))
def test_everyone_calls_within_the_own_tenant(role: Role) -> None:
    access.require_call(make_principal("acme", role), ZAF)


@pytest.mark.parametrize("role", list(Role))
def test_a_call_across_tenants_is_answered_as_an_unknown_agent(role: Role) -> None:
    with pytest.raises(Refused) as refused:
        access.require_call(make_principal("other", role), ZAF)
    assert refused.value.reason is Reason.AGENT_NOT_FOUND
    assert refused.value.message == Refused(Reason.AGENT_NOT_FOUND).message
    assert refused.value.metadata == {}


def test_a_foreign_directory_is_refused_as_relay_go_does() -> None:
    access.require_tenant(make_principal("acme"), "acme")
    with pytest.raises(Refused, match="tenant mismatch") as refused:
        access.require_tenant(make_principal("acme"), "other")
    assert refused.value.ruling.http_status == 403


def bounded(role: Role = Role.SENDER, tenant: str = "acme", **bounds: Any) -> Principal:
    return replace(make_principal(tenant, role), **bounds)


def reason_of(check: Callable[[], object]) -> Reason | None:
    try:
        check()
    except Refused as refused:
        return refused.reason
    return None


def test_an_agent_past_the_allow_list_is_answered_as_one_that_does_not_exist() -> None:
    principal = bounded(agents=frozenset({"zoe"}))
    with pytest.raises(Refused) as refused:
        access.require_call(principal, ZAF)
    assert (refused.value.reason, refused.value.metadata) == (Reason.AGENT_NOT_FOUND, {})
    access.require_call(principal, Address("acme", "zoe"))
    assert not access.is_visible(principal, ZAF)
    assert access.is_visible(principal, Address("acme", "zoe"))
    assert not access.is_visible(principal, Address("evil", "zoe"))


@pytest.mark.parametrize("operation", [operation for operation in Operation if operation in scopes.SCOPE_OF])
def test_an_operation_needs_its_scope_and_no_other(operation: Operation) -> None:
    needed = scopes.SCOPE_OF[operation]
    access.require_operation(bounded(scopes=frozenset({needed})), operation, "m")
    with pytest.raises(Refused) as refused:
        access.require_operation(bounded(scopes=scopes.KNOWN - {needed}), operation, "m")
    assert (refused.value.reason, refused.value.metadata) == (Reason.PERMISSION_DENIED, {"scope": needed})


def test_every_operation_of_a2a_needs_a_scope() -> None:
    assert set(scopes.SCOPE_OF) == set(Operation) - {Operation.EXTENSION}


@pytest.mark.parametrize(
    "granted, passes",
    [
        (None, True),
        (frozenset({"method:*"}), True),
        (frozenset({"method:x/do"}), True),
        (frozenset({"method:x/undo", *scopes.CALLING}), False),
        (frozenset(), False),
    ],
)
def test_a_method_that_a2a_does_not_know_needs_a_scope_of_its_own(granted: frozenset[str] | None, passes: bool) -> None:
    check = partial(access.require_operation, bounded(scopes=granted), Operation.EXTENSION, "x/do")
    assert reason_of(check) == (None if passes else Reason.PERMISSION_DENIED)


def test_one_of_several_scopes_is_enough() -> None:
    access.require_scope(bounded(scopes=frozenset({"b"})), "a", "b")
    access.require_scope(bounded(), "a")
    with pytest.raises(Refused, match="no scope a"):
        access.require_scope(bounded(scopes=frozenset({"c"})), "a", "b")
    assert access.has_scope(bounded(), "a")
    assert access.has_scope(bounded(scopes=frozenset({"a"})), "a")
    assert not access.has_scope(bounded(scopes=frozenset({"b"})), "a")


DENIED, MISMATCH = Reason.PERMISSION_DENIED, Reason.TENANT_MISMATCH


@pytest.mark.parametrize(
    "principal, workbench, management, operators",
    [
        (bounded(Role.ADMIN), None, DENIED, DENIED),
        (bounded(Role.ADMIN, manages=True), None, None, DENIED),
        (bounded(Role.ADMIN, manages=True, scopes=frozenset({"x"})), DENIED, DENIED, DENIED),
        (bounded(Role.ADMIN, "evil", manages=True), MISMATCH, DENIED, DENIED),
        (bounded(Role.SENDER, manages=True), DENIED, DENIED, DENIED),
        (bounded(Role.AGENT, manages=True), DENIED, DENIED, DENIED),
        (bounded(Role.OPERATOR, "", manages=True), None, None, None),
        (bounded(Role.OPERATOR, "", manages=False), None, DENIED, DENIED),
        (bounded(Role.OPERATOR, "", manages=True, scopes=frozenset()), DENIED, DENIED, None),
    ],
)
def test_who_may_administer_what(
    principal: Principal, workbench: Reason | None, management: Reason | None, operators: Reason | None
) -> None:
    assert reason_of(lambda: access.require_admin(principal, "acme", "agents:write")) == workbench
    assert reason_of(lambda: access.require_management(principal, "acme", "keys:write")) == management
    assert reason_of(lambda: access.require_operator(principal)) == operators


def test_an_operator_sees_every_directory_and_attaches_and_calls_nowhere() -> None:
    operator = bounded(Role.OPERATOR, "", manages=True)
    access.require_tenant(operator, "acme")
    assert access.is_admin(operator)
    assert reason_of(lambda: access.require_attach(operator)) is DENIED
    assert reason_of(lambda: access.require_call(operator, ZAF)) is Reason.AGENT_NOT_FOUND


@pytest.mark.parametrize("role, is_admin", [(Role.ADMIN, True), (Role.SENDER, False), (Role.AGENT, False)])
def test_who_sees_all_of_a_tenant(role: Role, is_admin: bool) -> None:
    assert access.is_admin(bounded(role)) is is_admin


def test_an_agent_that_has_had_a_key_attaches_with_its_own_and_nothing_else() -> None:
    one, other = (KeyRecord(id, "acme", id, Role.AGENT, 0.0, (), agent="zaf") for id in ("k1", "k2"))
    access.require_own_key(make_principal(), [])
    access.require_own_key(replace(make_principal(), key="k2"), [one._replace(revoked_at=1.0), other])
    for key in ("", "k3"):
        with pytest.raises(Refused) as caught:
            access.require_own_key(replace(make_principal(), key=key), [one, other])
        assert caught.value.reason is Reason.PERMISSION_DENIED
        assert caught.value.message == "this agent has a key of its own, and attaches with nothing else"
