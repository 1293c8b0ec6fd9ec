"""The relay's own URL, and whose word counts for it (decision 27)."""

from __future__ import annotations

import pytest

from a2a_relay.errors import Reason, Refused
from a2a_relay.fronts.http.exposure import Exposure

STRANGER = "192.0.2.1:4000"
FORWARDED = {"host": "inner:8080", "x-forwarded-host": "relay.example", "x-forwarded-proto": "https"}


def test_the_configured_url_counts_before_everything() -> None:
    exposure = Exposure("https://relay.example/", ["192.0.2.0/24"])
    assert exposure.is_configured
    assert exposure.base_url({"host": "evil.example", "x-forwarded-host": "evil"}, "http", STRANGER) == (
        "https://relay.example"
    )


def test_else_the_host_header() -> None:
    exposure = Exposure("", [])
    assert not exposure.is_configured
    assert exposure.base_url({"host": "relay.example:8080"}, "http", STRANGER) == "http://relay.example:8080"
    assert exposure.base_url({"host": "relay.example"}, "wss", STRANGER) == "https://relay.example"


@pytest.mark.parametrize("headers", [{}, {"host": ""}, {"host": "a/b"}, {"host": "a b"}, {"host": "u@h"}])
def test_that_is_none_is_refused(headers: dict[str, str]) -> None:
    with pytest.raises(Refused) as refused:
        Exposure("", []).base_url(headers, "http", STRANGER)
    assert refused.value.reason is Reason.INVALID_HTTP


def test_a_strangers_forwarded_headers_do_not_count() -> None:
    for trusted in ([], ["10.0.0.0/8"], ["192.0.2.2"]):
        assert Exposure("", trusted).base_url(FORWARDED, "http", STRANGER) == "http://inner:8080"


@pytest.mark.parametrize("trusted", ["192.0.2.1", "192.0.2.0/24", "192.0.2.7/24", "0.0.0.0/0"])
def test_a_trusted_proxys_do(trusted: str) -> None:
    assert Exposure("", [trusted]).base_url(FORWARDED, "http", STRANGER) == "https://relay.example"


def test_the_first_of_several_hops_is_the_clients() -> None:
    headers = {"host": "x", "x-forwarded-host": "relay.example, inner", "x-forwarded-proto": "https, http"}
    assert Exposure("", ["192.0.2.1"]).base_url(headers, "http", STRANGER) == "https://relay.example"


def test_a_trusted_proxys_nonsense_is_refused() -> None:
    with pytest.raises(Refused):
        Exposure("", ["192.0.2.1"]).base_url({"x-forwarded-host": "a b"}, "http", STRANGER)


@pytest.mark.parametrize("peer", ["", "unix:", "x:1", "192.0.2.1", ":", "[::1"])
def test_a_peer_that_is_no_address_is_not_trusted(peer: str) -> None:
    assert not Exposure("", ["0.0.0.0/0", "::/0"]).trusts(peer)


@pytest.mark.parametrize("peer", ["::1:4000", "[::1]:4000"])
def test_peers_may_be_of_ipv6(peer: str) -> None:
    assert Exposure("", ["::1"]).trusts(peer)


def test_a_mapped_address_is_the_ipv4_one() -> None:
    assert Exposure("", ["192.0.2.0/24"]).trusts("::ffff:192.0.2.1:4000")


PROXIES = ["10.0.0.0/8", "2001:db8::/32"]
NEAREST = "10.0.0.1:40000"


def test_the_client_is_the_peer_unless_it_is_a_trusted_proxy() -> None:
    headers = {"x-forwarded-for": "203.0.113.7"}
    for exposure in (Exposure("", []), Exposure("", PROXIES)):
        assert exposure.client_host(headers, STRANGER) == "192.0.2.1"
        assert exposure.client_peer(headers, STRANGER) == STRANGER


@pytest.mark.parametrize(
    ("headers", "host"),
    [
        ({"x-forwarded-for": "203.0.113.7"}, "203.0.113.7"),
        ({"x-forwarded-for": "198.51.100.1, 203.0.113.7"}, "203.0.113.7"),
        ({"x-forwarded-for": "198.51.100.1, 203.0.113.7, 10.9.9.9,10.8.8.8"}, "203.0.113.7"),
        ({"x-forwarded-for": "nonsense, 203.0.113.7"}, "203.0.113.7"),
        ({"x-forwarded-for": "203.0.113.7:4711"}, "203.0.113.7"),
        ({"x-forwarded-for": "[2001:bad::7]:4711"}, "2001:bad::7"),
        ({"x-forwarded-for": "2001:bad::7"}, "2001:bad::7"),
        ({"x-forwarded-for": "::ffff:203.0.113.7"}, "203.0.113.7"),
        ({"x-forwarded-for": "10.3.3.3"}, "10.3.3.3"),
        ({"forwarded": 'for=203.0.113.7;proto=https, For="[2001:db8::1]:80"'}, "203.0.113.7"),
        ({"forwarded": "for=198.51.100.1", "x-forwarded-for": "203.0.113.7"}, "203.0.113.7"),
    ],
)
def test_a_trusted_proxy_says_for_whom_it_asks(headers: dict[str, str], host: str) -> None:
    exposure = Exposure("", PROXIES)
    assert exposure.client_host(headers, NEAREST) == host
    assert exposure.client_peer(headers, NEAREST) == f"{host}:0"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"x-forwarded-for": ""},
        {"x-forwarded-for": "203.0.113.7, unknown"},
        {"x-forwarded-for": "203.0.113.7, 1.2.3.4.5"},
        {"x-forwarded-for": "203.0.113.7,"},
        {"x-forwarded-for": "\u0661.1.1.1"},
        {"forwarded": "for=_hidden"},
        {"forwarded": "proto=https"},
    ],
)
def test_what_a_proxy_says_and_is_no_address_leaves_the_proxy(headers: dict[str, str]) -> None:
    assert Exposure("", PROXIES).client_host(headers, NEAREST) == "10.0.0.1"


def test_chains_without_end_are_not_followed() -> None:
    headers = {"x-forwarded-for": "203.0.113.7," + ",".join(["10.0.0.2"] * 8_000)}
    assert Exposure("", PROXIES).client_host(headers, NEAREST) == "10.0.0.2"


def test_links_from_pages_are_taken_unless_origins_are_named() -> None:
    page = {"origin": "https://app.example"}
    Exposure("", []).require_origin(page)
    Exposure("", [], allowed_origins=["https://app.example"]).require_origin(page)
    Exposure("", [], allowed_origins=["*"]).require_origin(page)
    named = Exposure("", [], allowed_origins=["https://other.example"])
    named.require_origin({})
    for origin in ("https://app.example", "null", ""):
        with pytest.raises(Refused) as refused:
            named.require_origin({"origin": origin})
        assert refused.value.reason is Reason.PERMISSION_DENIED
