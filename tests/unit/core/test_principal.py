"""Who a credential speaks for."""

from __future__ import annotations

from a2a_relay.core.address import Address
from a2a_relay.core.principal import Principal, Role


def test_an_address_is_tenant_and_agent() -> None:
    assert Principal("acme", Role.AGENT, "agent:zaf", "zaf").address == Address("acme", "zaf")


def test_who_may_attach_as_nobody_has_no_address() -> None:
    assert Principal("acme", Role.SENDER, "sam").address is None
