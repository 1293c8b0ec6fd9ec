"""The relay's public URL from a Host header."""

from __future__ import annotations

import pytest

from a2a_relay.core import public_url


@pytest.mark.parametrize(
    "host, scheme, url",
    [
        ("relay.example", "https", "https://relay.example"),
        ("relay.example:8080", "http", "http://relay.example:8080"),
        ("relay.example", "wss", "https://relay.example"),
        ("relay.example", "ws", "http://relay.example"),
        ("127.0.0.1:80", "http", "http://127.0.0.1:80"),
        ("[::1]:8080", "http", "http://[::1]:8080"),
        ("relay.example", "gopher", "http://relay.example"),
    ],
)
def test_of_a_plain_authority(host: str, scheme: str, url: str) -> None:
    assert public_url.from_host(host, scheme) == url


@pytest.mark.parametrize(
    "host",
    [
        "",
        "a b",
        "a/b",
        "a?b",
        "a#b",
        "user@relay.example",
        "relay.example\n",
        "relay.example\r\nx: y",
        "relay.example:",
        "relay.example:x",
        "relay.example:123456",
        "::1",
        "[::1",
        '"><script>',
        "relay.éxample",
        "a" * 254,
    ],
)
def test_of_anything_else_is_none(host: str) -> None:
    assert public_url.from_host(host, "http") is None


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "[::1]"])
def test_this_machine_is_loopback(host: str) -> None:
    assert public_url.is_loopback(host)


@pytest.mark.parametrize("host", ["", "localhost", "10.0.0.1", "192.0.2.1", "[::2]", "relay.example", "127.1"])
def test_everything_else_is_not(host: str) -> None:
    assert not public_url.is_loopback(host)
