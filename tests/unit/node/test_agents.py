"""The directory as a node sees it."""

from __future__ import annotations

from typing import Any

import pytest

from a2a_relay.core.address import Address
from a2a_relay.errors import Reason, Refused
from a2a_relay.testing import make_principal

ZAF = Address("acme", "zaf")


def test_agents_are_listed_by_name_with_their_state(relay: Any) -> None:
    relay.attached("zaf").play('>> {"type":"agent.state","payload":{"state":"paused","reason":"x"}}')
    relay.attached("ann")
    relay.attached("bob").play("xx")
    relay.attached("zoe", "other")
    views = relay.node.agents.of_tenant("acme")
    assert [(view.record.address.agent, view.state) for view in views] == [
        ("ann", "attached"),
        ("bob", "away"),
        ("zaf", "paused"),
    ]
    assert [view.attached_at is None for view in views] == [False, True, False]


def test_when_an_agent_was_last_seen_is_when_it_left(relay: Any) -> None:
    link = relay.attached()
    attached_at = relay.clock.now()
    relay.clock.advance(100)
    link.play("xx")
    record = relay.node.agents.find(ZAF).record
    assert (record.registered_at, record.last_seen_at) == (attached_at, attached_at + 100)


def test_an_agent_that_comes_back_was_registered_at_first(relay: Any) -> None:
    relay.attached().play("xx")
    registered_at = relay.clock.now()
    relay.clock.advance(100)
    relay.attached()
    record = relay.node.agents.find(ZAF).record
    assert (record.registered_at, record.last_seen_at) == (registered_at, registered_at + 100)


def test_the_dialect_is_noted(relay: Any) -> None:
    relay.attached("ann", more=',"rest_0_3":true')
    relay.attached_old("bob")
    found = {view.record.address.agent: view.record for view in relay.node.agents.of_tenant("acme")}
    assert (found["ann"].dialect, found["ann"].serves_rest_v03) == ("native", True)
    assert (found["bob"].dialect, found["bob"].serves_rest_v03) == ("relay-go", False)


def test_the_only_agent_is_at_the_root(relay: Any) -> None:
    with pytest.raises(Refused) as refused:
        relay.node.agents.at_root(make_principal("acme"), None)
    assert refused.value.reason is Reason.AGENT_NOT_FOUND
    relay.attached("zaf")
    relay.attached("zoe", "other")
    assert relay.node.agents.at_root(make_principal("acme"), None) == ZAF
    relay.attached("ann")
    with pytest.raises(Refused) as refused:
        relay.node.agents.at_root(make_principal("acme"), None)
    assert refused.value.reason is Reason.AGENT_AMBIGUOUS
    assert refused.value.metadata == {"agents": "ann, zaf"}


def test_a_default_agent_is_at_the_root_of_its_own_tenant_alone(relay: Any) -> None:
    relay.attached("zaf")
    relay.attached("ann")
    relay.attached("zoe", "other")
    assert relay.node.agents.at_root(make_principal("acme"), ZAF) == ZAF
    assert relay.node.agents.at_root(make_principal("other"), ZAF) == Address("other", "zoe")
    with pytest.raises(Refused):
        relay.node.agents.at_root(make_principal("third"), ZAF)


def test_an_agent_may_be_forgotten_when_it_is_away(relay: Any) -> None:
    link = relay.attached()
    with pytest.raises(Refused) as refused:
        relay.node.agents.forget(ZAF)
    assert refused.value.reason is Reason.PERMISSION_DENIED
    link.play("xx")
    assert relay.node.agents.forget(ZAF)
    assert not relay.node.agents.forget(ZAF)
    assert not relay.node.agents.is_known(ZAF)
    assert relay.node.agents.find(ZAF) is None


def test_an_expected_agent_is_known_and_was_never_seen(relay: Any) -> None:
    assert relay.node.agents.expect(ZAF, None)
    view = relay.node.agents.find(ZAF)
    assert (view.state, view.record.last_seen_at, view.record.dialect) == ("away", 0.0, "")
    relay.attached()
    assert relay.node.agents.find(ZAF).record.registered_at == view.record.registered_at


def test_an_expected_agents_card_counts_until_it_gives_its_own(relay: Any) -> None:
    for card in (None, b'{"name":"a"}', b'{"name":"b"}'):
        relay.node.agents.expect(ZAF, card)
        assert relay.node.agents.find(ZAF).record.agent_card == card
    relay.attached()
    assert relay.node.agents.find(ZAF).record.agent_card == b'{"name":"b"}'
    relay.attached(more=',"agent_card":{"name":"own"}')
    assert not relay.node.agents.expect(ZAF, b'{"name":"c"}')
    assert relay.node.agents.find(ZAF).record.agent_card == b'{"name":"own"}'


def test_expected_agents_count_for_their_tenant(relay_with: Any) -> None:
    relay = relay_with(agents_per_tenant=1)
    relay.node.agents.expect(ZAF, None)
    relay.node.agents.expect(Address("other", "zaf"), None)
    with pytest.raises(Refused) as refused:
        relay.node.agents.expect(Address("acme", "ann"), None)
    assert refused.value.reason is Reason.RATE_LIMITED
    assert not relay.node.agents.expect(ZAF, None)
