"""Connections are counted by address."""

from __future__ import annotations

from a2a_relay.core.networks import read_networks
from a2a_relay.fronts.http.crowding import Crowding


def test_an_address_holds_as_many_as_it_may() -> None:
    crowding = Crowding(2, ())
    first, second = crowding.enter("192.0.2.1"), crowding.enter("192.0.2.1")
    assert crowding.enter("192.0.2.1") is None
    assert crowding.enter("192.0.2.2") is not None
    assert first is not None
    crowding.leave(first)
    assert crowding.enter("::ffff:192.0.2.1") == second


def test_what_is_gone_is_forgotten() -> None:
    crowding = Crowding(2, ())
    entered = [crowding.enter(f"192.0.2.{last}") or "" for last in range(100)]
    assert len(crowding) == 100
    for network in entered:
        crowding.leave(network)
    assert len(crowding) == 0


def test_a_subscribers_ipv6_addresses_are_one() -> None:
    crowding = Crowding(1, ())
    assert crowding.enter("2001:db8::1")
    assert crowding.enter("2001:db8::2") is None
    assert crowding.enter("2001:db8:0:1::1")


def test_exempt_addresses_and_what_is_none_are_not_counted() -> None:
    crowding = Crowding(1, read_networks(["127.0.0.0/8"]))
    assert {crowding.enter(host) for host in ["127.0.0.1"] * 5 + [""] * 5} == {""}
    assert {Crowding(0, ()).enter("192.0.2.1") for _ in range(3)} == {""}
    crowding.leave("")
