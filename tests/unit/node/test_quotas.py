"""Who may have how much: defaults and overrides, both halves of a call, and what is remembered of it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

import pytest

from a2a_relay.core.address import Address
from a2a_relay.core.audit import AuditFact
from a2a_relay.core.keys import KeyRecord
from a2a_relay.core.principal import Principal, Role
from a2a_relay.core.rates import Subject
from a2a_relay.core.tenants import TenantRecord
from a2a_relay.errors import OverLimit, Reason
from a2a_relay.node import quotas as module
from a2a_relay.node.quotas import Accounts, Quotas
from a2a_relay.stores.memory.audit import MemoryAudit
from a2a_relay.stores.memory.credentials import MemoryCredentials
from a2a_relay.testing import FakeClock

ZAF, MIA = Address("acme", "zaf"), Address("acme", "mia")
FACT = AuditFact("acme", "test", "limits", "acme", "changed")


def sender(name: str = "ann", tenant: str = "acme") -> Principal:
    return Principal(tenant, Role.SENDER, name, key=name)


class World:
    """Quotas, with a clock and credentials in hand."""

    def __init__(self, **defaults: Mapping[str, float]) -> None:
        self.clock = FakeClock()
        self.credentials = MemoryCredentials(MemoryAudit(self.clock.now))
        given = {Subject(name): limits for name, limits in defaults.items()}
        self.quotas = Quotas(self.clock, self.credentials, given)

    async def tenant(self, name: str = "acme", **limits: float) -> None:
        await self.credentials.put_tenant(TenantRecord(name, 0, limits=limits), FACT)
        self.clock.advance(module.REFRESH_SECONDS)

    async def key(self, name: str = "ann", **limits: float) -> None:
        await self.credentials.put_key(KeyRecord(name, "acme", name, Role.SENDER, 0, (), limits=limits), FACT)
        self.clock.advance(module.REFRESH_SECONDS)

    def calls(self, principal: Principal | None = None, address: Address = ZAF, times: int = 100) -> int:
        """How many calls of so many are let through now."""
        found = 0
        for _ in range(times):
            with suppress(OverLimit):
                self.quotas.require_call(principal or sender(), address)
                found += 1
        return found


def test_without_limits_nobody_is_asked_and_nothing_is_counted() -> None:
    world = World()
    assert not world.quotas.is_set
    assert len(world.quotas) == 0


def test_a_tenant_shares_its_calls_and_another_has_its_own() -> None:
    world = World(tenant={"calls_per_second": 5})
    assert world.quotas.is_set
    assert world.calls(sender("ann")) + world.calls(sender("bob")) == 5
    assert world.calls(sender("eve", "other"), Address("other", "zaf")) == 5
    world.clock.advance(0.4)
    assert world.calls() == 2


def test_a_party_has_its_calls_and_they_count_for_its_tenant() -> None:
    world = World(tenant={"calls_per_second": 8}, key={"calls_per_second": 5})
    assert world.calls(sender("ann")) == 5
    assert world.calls(sender("bob")) == 3


def test_an_agent_has_the_calls_of_everybody_together() -> None:
    world = World(agent={"calls_per_second": 1, "calls_burst": 4})
    assert world.calls(sender("ann"), ZAF) == 4
    assert world.calls(sender("bob"), ZAF) == 0
    assert world.calls(sender("bob"), MIA) == 4


def test_a_call_that_one_limit_refuses_costs_nothing_of_the_others() -> None:
    world = World(tenant={"calls_per_second": 10}, key={"calls_per_second": 2})
    assert world.calls(sender("ann")) == 2
    assert [world.calls(sender(name)) for name in "bcdef"] == [2, 2, 2, 2, 0]


async def test_overrides_take_the_place_of_defaults_by_name() -> None:
    world = World(tenant={"calls_per_second": 5, "calls_burst": 7})
    await world.tenant(calls_per_second=1)
    assert world.calls() == 7
    await world.tenant(calls_per_second=0)
    assert world.calls() == 100


async def test_an_override_is_known_before_the_second_is_over_although_there_was_no_limit() -> None:
    world = World()
    await world.tenant(calls_in_flight=1)
    assert world.quotas.is_set
    world.quotas.enter(sender(), is_stream=False)
    with pytest.raises(OverLimit):
        world.quotas.enter(sender(), is_stream=False)
    await world.tenant()
    assert not world.quotas.is_set


async def test_a_key_has_limits_of_its_own() -> None:
    world = World()
    await world.tenant()
    await world.key("ann", calls_per_second=3)
    assert world.quotas.is_set
    assert world.calls(sender("ann")) == 3
    assert world.calls(sender("bob")) == 100


async def test_a_limit_that_only_a_newer_relay_knows_is_nobodys() -> None:
    world = World()
    await world.tenant(moons=1)
    assert world.calls() == 100


def test_a_refusal_says_what_is_used_up_and_when_there_is_more() -> None:
    world = World(tenant={"calls_per_second": 0.5, "calls_burst": 2})
    world.calls()
    with pytest.raises(OverLimit) as caught:
        world.quotas.require_call(sender(), ZAF)
    refused = caught.value
    assert refused.reason is Reason.RATE_LIMITED
    assert refused.retry_after_seconds == 2
    assert refused.quota == ("calls", 2, 4)
    assert refused.metadata == {"limit": "calls_per_second", "subject": "tenant"}


@pytest.mark.parametrize("is_stream", [False, True])
def test_what_is_in_flight_is_counted_until_it_is_over(*, is_stream: bool) -> None:
    world = World(tenant={"streams_in_flight" if is_stream else "calls_in_flight": 3}, key={"calls_in_flight": 2})
    quotas = world.quotas
    places = [quotas.enter(sender(name), is_stream=is_stream) for name in "abc"]
    with pytest.raises(OverLimit) as caught:
        quotas.enter(sender("d"), is_stream=is_stream)
    assert caught.value.quota.window_seconds is None
    quotas.enter(sender("d"), is_stream=not is_stream)
    places[0].leave()
    places[0].leave()  # it is over only once
    quotas.enter(sender("a"), is_stream=is_stream)
    with pytest.raises(OverLimit):
        quotas.enter(sender("a"), is_stream=is_stream)


def test_streamed_bytes_are_counted_beyond_the_limit_and_waited_for() -> None:
    world = World(tenant={"stream_bytes_per_second": 1000})
    quotas = world.quotas
    quotas.count_streamed(sender(), 900)
    assert quotas.stream_wait(sender()) == 0
    quotas.count_streamed(sender(), 2_100)
    assert quotas.stream_wait(sender()) == pytest.approx(2, abs=0.01)
    with pytest.raises(OverLimit) as caught:
        quotas.enter(sender(), is_stream=True)
    assert caught.value.retry_after_seconds in (2, 3)
    quotas.enter(sender(), is_stream=False)
    world.clock.advance(2.1)
    quotas.enter(sender(), is_stream=True)


def test_reads_are_no_calls() -> None:
    world = World(key={"reads_per_second": 2})
    world.quotas.require_read(sender())
    world.quotas.require_read(sender())
    with pytest.raises(OverLimit):
        world.quotas.require_read(sender())
    assert world.calls() == 100


def test_sessions_and_letters_are_the_tenants() -> None:
    world = World(tenant={"sessions": 2, "mailbox_bytes": 100})
    world.quotas.require_session("acme", 1)
    with pytest.raises(OverLimit):
        world.quotas.require_session("acme", 2)
    world.quotas.require_mailbox_room("acme", 50, 50)
    with pytest.raises(OverLimit):
        world.quotas.require_mailbox_room("acme", 50, 51)


def test_only_whoever_goes_on_regardless_waits_for_its_refusals() -> None:
    world = World(tenant={"calls_per_second": 1})
    held = []
    for _ in range(30):
        try:
            world.quotas.require_call(sender(), ZAF)
        except OverLimit as refused:
            held.append(refused.hold_seconds)
    assert held[:10] == [0] * 10
    assert all(module.HOLD_SECONDS / 2 <= seconds <= module.HOLD_SECONDS for seconds in held[10:])
    assert len(set(held[10:])) > 10  # they do not come back all at once
    world.clock.advance(60)
    world.calls(times=2)
    with pytest.raises(OverLimit) as caught:
        world.quotas.require_call(sender(), ZAF)
    assert caught.value.hold_seconds == 0


def test_so_many_refusals_are_kept_back_and_not_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_HELD", 5)
    world = World(tenant={"calls_per_second": 1})
    held = []
    for _ in range(30):
        try:
            world.quotas.require_call(sender(), ZAF)
        except OverLimit as refused:
            held.append(refused.hold_seconds)
    assert sum(seconds > 0 for seconds in held) == 5


def test_a_hundred_thousand_parties_leave_no_more_than_two_generations_of_accounts() -> None:
    accounts = Accounts(max_accounts=1_000)
    for number in range(100_000):
        accounts.of(number)
    assert len(accounts) <= 2_000


def test_an_account_is_remembered_while_something_is_in_flight() -> None:
    world = World(key={"calls_in_flight": 1})
    world.quotas._parties = Accounts(10)
    world.quotas.enter(sender("ann"), is_stream=False)
    for number in range(100):
        world.quotas.enter(sender(str(number)), is_stream=False).leave()
    with pytest.raises(OverLimit):
        world.quotas.enter(sender("ann"), is_stream=False)
