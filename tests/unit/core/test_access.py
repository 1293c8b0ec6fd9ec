"""Who may do what."""

from __future__ import annotations

import pytest

from a2a_relay.core import access
from a2a_relay.core.address import Address
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


def test_a_role_is_required() -> None:
    access.require_role(make_principal(role=Role.ADMIN), Role.ADMIN)
    with pytest.raises(Refused):
        access.require_role(make_principal(role=Role.SENDER), Role.ADMIN)
