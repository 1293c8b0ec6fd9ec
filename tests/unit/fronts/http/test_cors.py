"""What pages of other origins get to see."""

from __future__ import annotations

import pytest

from a2a_relay.errors import Refused
from a2a_relay.fronts.http.cors import Cors
from a2a_relay.fronts.http.head import HeaderBlock, RequestHead

PAGE, OTHER = "https://app.example", "https://evil.example"


def asked(origin: str | None, verb: str | None = "POST", target: bytes = b"/t/acme/a2a/zaf/") -> RequestHead:
    lines = [(b"Host", b"x")]
    lines += [(b"Origin", origin.encode())] if origin is not None else []
    lines += [(b"Access-Control-Request-Method", verb.encode())] if verb is not None else []
    return RequestHead("OPTIONS", target, HeaderBlock(lines), "http", "192.0.2.1:1")


def test_a_page_that_is_named_may_read() -> None:
    found = dict(Cors([PAGE]).headers({"origin": PAGE}))
    assert found["access-control-allow-origin"] == PAGE
    assert found["vary"] == "Origin"
    assert "A2A-Relay-Stream" in found["access-control-expose-headers"]
    assert "access-control-allow-credentials" not in found


@pytest.mark.parametrize("origin", [OTHER, PAGE + ".evil", PAGE.upper(), "null", ""])
def test_others_may_not_and_caches_are_told(origin: str) -> None:
    assert Cors([PAGE]).headers({"origin": origin}) == (("vary", "Origin"),)
    assert Cors([PAGE]).headers({}) == (("vary", "Origin"),)


def test_any_page_may_with_a_star_and_nothing_varies() -> None:
    found = dict(Cors(["*"]).headers({"origin": OTHER}))
    assert found["access-control-allow-origin"] == "*"
    assert "vary" not in found


def test_a_preflight_is_told_what_the_path_takes() -> None:
    answer = Cors([PAGE]).preflight(asked(PAGE), relay_elixir=False)
    assert answer is not None
    assert answer.status == 204
    assert dict(answer.headers)["access-control-allow-methods"] == "POST"
    assert "Authorization" in dict(answer.headers)["access-control-allow-headers"]


def test_a_strangers_preflight_is_told_nothing() -> None:
    answer = Cors([PAGE]).preflight(asked(OTHER), relay_elixir=False)
    assert answer is not None
    assert answer.headers == ()


def test_what_is_no_preflight_is_not_answered() -> None:
    assert Cors([PAGE]).preflight(asked(None), relay_elixir=False) is None
    assert Cors([PAGE]).preflight(asked(PAGE, None), relay_elixir=False) is None


@pytest.mark.parametrize(("verb", "target"), [("POST", b"/nothing"), ("DELETE", b"/t/acme/a2a/zaf/"), ("POST", b"//")])
def test_a_preflight_of_what_is_not_served_is_refused(verb: str, target: bytes) -> None:
    with pytest.raises(Refused):
        Cors(["*"]).preflight(asked(PAGE, verb, target), relay_elixir=False)
