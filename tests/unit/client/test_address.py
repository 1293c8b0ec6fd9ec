"""How a person names an agent."""

from __future__ import annotations

import pytest

from a2a_relay.client.address import Target, is_same_origin, read_agent
from a2a_relay.client.failures import ClientError

RELAY = "http://127.0.0.1:8080"


@pytest.mark.parametrize(
    "text,expected",
    [
        ("echo", Target(f"{RELAY}/t/local/a2a/echo", RELAY, "local", "echo")),
        ("acme/echo", Target(f"{RELAY}/t/acme/a2a/echo", RELAY, "acme", "echo")),
        (
            "a2a-relay://relay.example/t/acme/echo",
            Target("https://relay.example/t/acme/a2a/echo", "https://relay.example", "acme", "echo"),
        ),
        (
            "a2a-relay://localhost:8080/t/acme/echo",
            Target("http://localhost:8080/t/acme/a2a/echo", "http://localhost:8080", "acme", "echo"),
        ),
        (
            "https://relay.example/base/t/acme/a2a/echo/",
            Target("https://relay.example/base/t/acme/a2a/echo", "https://relay.example/base", "acme", "echo"),
        ),
        ("http://127.0.0.1:9999/", Target("http://127.0.0.1:9999", "http://127.0.0.1:9999")),
        ("http://host/agents/one", Target("http://host/agents/one", "http://host")),
    ],
)
def test_each_way_to_name_an_agent(text: str, expected: Target) -> None:
    assert read_agent(text, RELAY, "local") == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a/b/c",
        "../admin",
        "acme/..",
        "echo?x",
        "a b",
        "a%2fb",
        "ftp://host/t/a/b",
        "a2a-relay://host/",
        "a2a-relay://host/t/a/b/c/d",
        "https://user:pass@host/t/a/a2a/b",
        "https://host/t/a/a2a/b?x=1",
        "https://[::1/",
        "https://host:99999/",
    ],
)
def test_what_names_no_agent_is_refused(text: str) -> None:
    with pytest.raises(ClientError):
        read_agent(text, RELAY, "local")


def test_a_plain_name_needs_a_relay_and_a_tenant() -> None:
    with pytest.raises(ClientError, match="which relay"):
        read_agent("echo", None, "local")
    with pytest.raises(ClientError, match="of which tenant"):
        read_agent("echo", RELAY, None)


@pytest.mark.parametrize(
    "one,other,same",
    [
        ("http://127.0.0.1:80", "http://localhost/x", True),
        ("https://relay.example", "https://RELAY.example:443/t", True),
        ("https://relay.example", "http://relay.example", False),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8081", False),
        ("https://relay.example", "https://relay.example.evil", False),
    ],
)
def test_origins_are_compared_as_browsers_do_and_all_names_of_this_machine_are_one(
    one: str, other: str, same: bool
) -> None:
    assert is_same_origin(one, other) is same
