"""One URL of a relay, as people write it."""

from __future__ import annotations

import pytest

from a2a_relay.connector import relay_url
from a2a_relay.connector.refused import ConnectorRefused


@pytest.mark.parametrize(
    "given,link,http",
    [
        ("https://relay.example", "wss://relay.example/agent", "https://relay.example"),
        ("https://relay.example:8443/", "wss://relay.example:8443/agent", "https://relay.example:8443"),
        ("https://host.example/relay/", "wss://host.example/relay/agent", "https://host.example/relay"),
        ("wss://relay.example/agent", "wss://relay.example/agent", "https://relay.example"),
        ("wss://relay.example", "wss://relay.example/agent", "https://relay.example"),
        ("https://relay.example/agent", "wss://relay.example/agent", "https://relay.example"),
        ("http://127.0.0.1:8080", "ws://127.0.0.1:8080/agent", "http://127.0.0.1:8080"),
        ("ws://localhost:8080/agent", "ws://localhost:8080/agent", "http://localhost:8080"),
        (" http://[::1]:8080 ", "ws://[::1]:8080/agent", "http://[::1]:8080"),
    ],
)
def test_links_and_pages_are_found_from_one_url(given: str, link: str, http: str) -> None:
    found = relay_url.read(given)
    assert (found.link, found.http) == (link, http)


@pytest.mark.parametrize(
    "given",
    [
        "",
        "relay.example",
        "ftp://relay.example",
        "https://",
        "https://u:p@relay.example",
        "https://x/?a=1",
        "https://x:99999",
    ],
)
def test_anything_else_is_refused_in_one_line(given: str) -> None:
    with pytest.raises(ConnectorRefused) as caught:
        relay_url.read(given)
    assert "\n" not in caught.value.message


def test_a_token_does_not_cross_a_network_in_clear_unless_that_is_meant() -> None:
    for url in (
        "http://relay.example",
        "ws://192.168.1.5:8080/agent",
        "http://localhost.example.com",
        "http://127.0.0.1.nip.io",
    ):
        with pytest.raises(ConnectorRefused, match="TLS"):
            relay_url.read(url)
        assert relay_url.read(url, insecure=True).link.startswith("ws://")
