"""Lists of addresses."""

from __future__ import annotations

import pytest

from a2a_relay.core.networks import contains, network_of, read_networks, require_from
from a2a_relay.errors import Reason, Refused

OFFICE = read_networks(["192.0.2.0/24", "2001:db8::/32", "198.51.100.7"])


@pytest.mark.parametrize(
    "host", ["192.0.2.1", "192.0.2.255", "198.51.100.7", "2001:db8::1", "[2001:db8::1]", "::ffff:192.0.2.9"]
)
def test_an_address_in_the_list_is_let_in(host: str) -> None:
    assert contains(OFFICE, host)
    require_from([OFFICE], host)


@pytest.mark.parametrize(
    "host", ["192.0.3.1", "198.51.100.8", "2001:db9::1", "::ffff:192.0.3.9", "", "office.example", "192.0.2.1:80", "[]"]
)
def test_any_other_is_refused(host: str) -> None:
    assert not contains(OFFICE, host)
    with pytest.raises(Refused) as caught:
        require_from([OFFICE], host)
    assert caught.value.reason is Reason.ADDRESS_REFUSED


def test_every_list_counts() -> None:
    narrow = read_networks(["192.0.2.7"])
    require_from([OFFICE, narrow], "192.0.2.7")
    with pytest.raises(Refused):
        require_from([OFFICE, narrow], "192.0.2.8")
    with pytest.raises(Refused):
        require_from([narrow, OFFICE], "192.0.2.8")


def test_no_list_lets_everybody_in_and_an_empty_one_nobody() -> None:
    require_from([], "")
    assert not contains((), "192.0.2.1")


def test_a_range_may_be_written_from_any_of_its_addresses() -> None:
    assert read_networks(["192.0.2.77/24"]) == read_networks(["192.0.2.0/24"])


@pytest.mark.parametrize("text", ["office", "192.0.2.0/33", "", "192.0.2"])
def test_what_is_no_network_is_no_network(text: str) -> None:
    with pytest.raises(ValueError, match="network"):
        read_networks([text])


@pytest.mark.parametrize(
    ("host", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("[2001:db8:1:2::1]", "2001:db8:1:2::/64"),
        ("relay.example", ""),
        ("", ""),
    ],
)
def test_a_subscriber_stands_behind_one_address_or_a_64_bit_prefix(host: str, network: str) -> None:
    assert network_of(host) == network
