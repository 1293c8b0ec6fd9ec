"""The request target is read once, raw, and one way (security rule S9)."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from a2a_relay.a2a.methods import Operation
from a2a_relay.a2a.rest import Dialect
from a2a_relay.core.address import Address
from a2a_relay.core.target import Route, Surface, read_target
from a2a_relay.errors import Reason, Refused

ZAF = Address("acme", "zaf")
BASE = "/t/acme/a2a/zaf"


def reason(verb: str, target: str | bytes) -> Reason:
    with pytest.raises(Refused) as refused:
        read_target(verb, target.encode() if isinstance(target, str) else target)
    return refused.value.reason


@pytest.mark.parametrize(
    "verb, target, surface",
    [
        ("GET", "/", Surface.INFO),
        ("POST", "/", Surface.ROOT_RPC),
        ("GET", "/health", Surface.HEALTH),
        ("GET", "/health/", Surface.HEALTH),
        ("GET", "/livez", Surface.LIVEZ),
        ("GET", "/readyz", Surface.READYZ),
        ("GET", "/.well-known/jwks.json", Surface.JWKS),
        ("GET", "/agent", Surface.AGENT_LINK),
        ("GET", "/.well-known/agents", Surface.DIRECTORY),
        ("GET", "/.well-known/agent-card.json", Surface.ROOT_CARD),
        ("GET", "/.well-known/agent.json", Surface.ROOT_CARD),
        ("GET", "/t/acme/agents", Surface.TENANT_DIRECTORY),
        ("DELETE", "/t/acme/agents/zaf", Surface.DIRECTORY_ENTRY),
        ("PUT", "/t/acme/agents/zaf", Surface.DIRECTORY_ENTRY),
        ("POST", "/t/acme/agents/zaf/mailbox:pause", Surface.PAUSE),
        ("POST", "/t/acme/agents/zaf/mailbox:resume", Surface.RESUME),
        ("GET", "/t/acme/tasks/x", Surface.LETTER),
        ("GET", "/t/acme/letters", Surface.LETTERS),
        ("GET", "/t/acme/letters/", Surface.LETTERS),
        ("GET", "/t/acme/letters/events", Surface.LETTERS_FEED),
        ("GET", "/t/acme/letters/rly-1", Surface.LETTER_RECEIPT),
        ("GET", "/t/acme/letters/rly-1/events", Surface.LETTER_FEED),
        ("POST", "/t/acme/letters:redrive", Surface.REDRIVE),
        ("POST", "/t/acme/letters:purge", Surface.PURGE),
        ("GET", "/t/acme/letters:audit", Surface.AUDIT),
        ("GET", "/t/acme/mailboxes", Surface.MAILBOXES),
        ("POST", BASE, Surface.RPC),
        ("POST", f"{BASE}/", Surface.RPC),
        ("GET", f"{BASE}/.well-known/agent-card.json", Surface.CARD),
        ("GET", f"{BASE}/.well-known/agent.json", Surface.CARD),
        ("GET", f"{BASE}/.well-known/agent-card.original.json", Surface.ORIGINAL_CARD),
        ("POST", f"{BASE}/message:send", Surface.REST),
        ("POST", f"{BASE}/message%3Asend", Surface.REST),
        ("GET", f"{BASE}/v1/tasks/t", Surface.REST),
        ("GET", "/t/a.b~c/a2a/x_y", None),
        ("PATCH", "/admin/api/v1/tenants/acme", Surface.ADMIN),
        ("DELETE", "/admin/api/v1", Surface.ADMIN),
    ],
)
def test_what_is_served_where(verb: str, target: str, surface: Surface | None) -> None:
    if surface is None:
        assert reason(verb, target) is Reason.METHOD_NOT_ALLOWED
        return
    assert read_target(verb, target.encode()).surface is surface


def test_an_action_on_a_key_stays_one_segment_however_it_is_written() -> None:
    for target in (b"/admin/api/v1/keys/k1:rotate", b"/admin/api/v1/keys/k1%3Arotate/"):
        assert read_target("POST", target).segments == ("keys", "k1:rotate")


@pytest.mark.parametrize("target", ["/admin", "/admin/api", "/admin/api/v2/keys", "/admin/acme"])
def test_nothing_else_is_served_below_admin(target: str) -> None:
    with pytest.raises(Refused) as caught:
        read_target("GET", target.encode(), relay_elixir=True)
    assert caught.value.reason is Reason.NOT_FOUND


def test_an_agents_routes_have_its_address() -> None:
    for target in (BASE, f"{BASE}/message:send", f"{BASE}/v1/message:send"):
        assert read_target("POST", target.encode()).agent == ZAF
    for target in (b"/t/acme/tasks/x", b"/t/acme/letters/x", b"/t/acme/letters/x/events"):
        assert read_target("GET", target).segments == ("x",)
    with pytest.raises(Refused):
        _ = read_target("GET", b"/health").agent


@pytest.mark.parametrize("target", ["/health", f"{BASE}/tasks/t", f"{BASE}/.well-known/agent-card.json", "/"])
def test_head_is_routed_as_get(target: str) -> None:
    assert read_target("HEAD", target.encode()) == read_target("GET", target.encode())


@pytest.mark.parametrize(
    "verb, target, allow",
    [
        ("POST", "/health", {"GET"}),
        ("PUT", "/", {"GET", "POST"}),
        ("GET", BASE, {"POST"}),
        ("GET", f"{BASE}/message:send", {"POST"}),
        ("DELETE", f"{BASE}/tasks/t", {"GET"}),
        ("PUT", f"{BASE}/tasks/t:subscribe", {"GET", "POST"}),
        ("DELETE", f"{BASE}/tasks/t/pushNotificationConfigs", {"GET", "POST"}),
        ("POST", f"{BASE}/tasks/t/pushNotificationConfigs/c", {"GET", "DELETE"}),
        ("GET", "/t/acme/agents/zaf", {"PUT", "DELETE"}),
        ("POST", "/t/acme/letters", {"GET"}),
        ("GET", "/t/acme/letters:purge", {"POST"}),
        ("DELETE", "/t/acme/letters/rly-1", {"GET"}),
        ("GET", "/t/acme/agents/zaf/mailbox:pause", {"POST"}),
        ("GET", f"{BASE}/message/send", {"POST"}),
        ("get", "/health", {"GET"}),
        ("OPTIONS", "/health", {"GET"}),
    ],
)
def test_another_verb_is_told_which_are_allowed(verb: str, target: str, allow: set[str]) -> None:
    with pytest.raises(Refused) as refused:
        read_target(verb, target.encode())
    assert refused.value.reason is Reason.METHOD_NOT_ALLOWED
    assert set(refused.value.metadata["allow"].split(", ")) - {"HEAD"} == allow


ATTACKS = [
    "http://evil.example/health",
    "http://relay.example/health",
    "*",
    "relay.example:443",
    "",
    "health",
    "?x",
    "//",
    "//evil.example/health",
    "/health//",
    "/t//a2a/zaf",
    f"/{BASE}",
    f"{BASE}//",
    f"{BASE}//tasks",
    "/./health",
    "/../health",
    "/t/acme/a2a/zaf/../other",
    "/t/acme/a2a/zaf/.",
    "/t/acme/a2a/zaf/%2e%2e/other",
    "/t/acme/a2a/zaf/%2E/x",
    "/t/acme/a2a/zaf/.%2e/x",
    f"{BASE}/tasks/a%2Fb",
    f"{BASE}/tasks/a%2fb",
    f"{BASE}/tasks/%2F",
    f"{BASE}/tasks/a%5Cb",
    f"{BASE}/tasks/a\\b",
    f"{BASE}/tasks/a%00",
    f"{BASE}/tasks/%0d%0aset-cookie:x",
    f"{BASE}/tasks/a%0A",
    f"{BASE}/tasks/a%7f",
    f"{BASE}/tasks/a%E2%80%AEb",
    f"{BASE}/tasks/a%E2%80%8Bb",
    f"{BASE}/tasks/%252F",
    f"{BASE}/tasks/%252e%252e",
    f"{BASE}/tasks/%2541",
    f"{BASE}/tasks/%25%34%31",
    f"{BASE}/tasks/%ff",
    f"{BASE}/tasks/%c0%af",
    f"{BASE}/tasks/%ed%a0%80",
    "/health?a=%ff",
    "/health?" + "&".join("a=1" for _ in range(51)),
]


@pytest.mark.parametrize("target", ATTACKS)
@pytest.mark.parametrize("verb", ["GET", "POST"])
def test_a_target_that_two_readers_could_read_differently_is_refused(verb: str, target: str) -> None:
    if target.startswith("/health?"):
        verb = "GET"
    assert reason(verb, target) is Reason.INVALID_TARGET


@pytest.mark.parametrize(
    "target", [b"/health\x00", b"/t/\xff/agents", "/t/é/agents".encode(), b"/a\tb", b"/health?\xff"]
)
def test_raw_bytes_beyond_ascii_are_refused(target: bytes) -> None:
    assert reason("GET", target) is Reason.INVALID_TARGET


@pytest.mark.parametrize(
    "target",
    [
        "/x",
        "/Health",
        "/health/x",
        "/t",
        "/t/acme",
        "/t/acme/x",
        "/T/acme/agents",
        "/t/a:b/agents",
        "/t/a%20b/agents",
        "/t/acme/agents/a:b",
        "/t/acme/agents/zaf/mailbox",
        "/t/acme/agents/zaf/mailbox:pause/x",
        "/t/acme/agents/a:b/mailbox:pause",
        "/t/acme/letters:x",
        "/t/acme/letters:purge/x",
        "/t/acme/letters/rly-1/x",
        "/t/acme/letters/rly-1/events/x",
        "/t/acme/mailboxes/x",
        "/t/acme/tasks",
        "/t/acme/a2a",
        "/t/acme/a2a/a:b/message:send",
        f"{BASE}/x",
        f"{BASE}/.well-known/x",
        f"{BASE}/.well-known",
        f"{BASE}/.well-known/message:send",
        "/health#x",
        "/health;x",
    ],
)
def test_the_rest_is_not_found(target: str) -> None:
    assert reason("GET", target) is Reason.NOT_FOUND
    assert reason("POST", target) is Reason.NOT_FOUND


def attempt(verb: str, target: bytes) -> Route | Refused:
    try:
        return read_target(verb, target)
    except Refused as refused:
        return refused


@settings(max_examples=200, deadline=None)
@given(st.text(min_size=1, max_size=12))
@example("a/b")
@example("a%2Fb")
@example("%41")
@example("..")
@example("ключ 1+1=2&x?#;")
@example("v1")
@example("tasks")
@example("100%")
@example("a:b:")
def test_an_id_that_is_percent_encoded_is_read_back_exactly(id: str) -> None:
    try:
        encoded = quote(id, safe="")
    except UnicodeEncodeError:  # a lone surrogate is no UTF-8
        return
    holds_an_escape = any(
        id[at : at + 1] == "%" and all(char in "0123456789abcdefABCDEF" for char in id[at + 1 : at + 3])
        for at in range(len(id) - 2)
    )
    route = attempt("GET", f"{BASE}/tasks/{encoded}".encode())
    if isinstance(route, Refused) and route.reason is Reason.METHOD_NOT_ALLOWED:
        assert id.endswith(":cancel")
        return
    if isinstance(route, Refused):
        assert route.reason is Reason.INVALID_TARGET
        assert holds_an_escape or "/" in id or "\\" in id or not id.isprintable() or id in (".", "..")
        return
    assert route.rest is not None
    if route.rest.operation is Operation.SUBSCRIBE:
        id = id.removesuffix(":subscribe")
    assert route.rest.ids == {"id": id}


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=30), st.sampled_from(["GET", "POST", "HEAD", "DELETE", "BREW"]))
@example(b"/t/a/a2a/b/%", "GET")
@example(b"/%%%?%%%=&&=&;", "GET")
def test_any_bytes_are_routed_or_refused(target: bytes, verb: str) -> None:
    for candidate in (target, b"/" + target, f"{BASE}/tasks/".encode() + target):
        found = attempt(verb, candidate)
        assert isinstance(found, Route) or found.ruling.http_status in (400, 404, 405)


def test_the_extra_tenant_segment_is_handed_on() -> None:
    route = read_target("GET", f"{BASE}/org%20x/tasks/t".encode())
    assert route.rest is not None
    assert route.rest.ids == {"id": "t", "tenant": "org x"}
    assert route.rest.dialect is Dialect.V10


def test_the_query_is_read_in_order_and_kept_raw() -> None:
    route = read_target("GET", f"{BASE}/tasks?b=1&a=%C3%A9+x&b=2&c".encode())
    assert route.query == [("b", "1"), ("a", "é x"), ("b", "2"), ("c", "")]
    assert route.raw_query == "b=1&a=%C3%A9+x&b=2&c"


def test_segments_are_kept_decoded() -> None:
    assert read_target("GET", f"{BASE}/v1/tasks/a%20b".encode()).segments == ("v1", "tasks", "a b")


class TestRelayElixirsPaths:
    @pytest.mark.parametrize(
        "verb, target, surface",
        [
            ("GET", "/ws/agent", Surface.RELAY_ELIXIR_LINK),
            ("POST", "/acme/zaf/", Surface.RPC),
            ("POST", "/acme/zaf", Surface.RPC),
            ("POST", "/acme/zaf/message/stream", Surface.RPC),
            ("GET", "/acme/zaf/.well-known/agent.json", Surface.CARD),
            ("POST", "/a2a/t/", Surface.RPC),
        ],
    )
    def test_are_served_where_they_are_switched_on_and_nowhere_else(
        self, verb: str, target: str, surface: Surface
    ) -> None:
        assert read_target(verb, target.encode(), relay_elixir=True).surface is surface
        assert reason(verb, target) is Reason.NOT_FOUND

    def test_name_the_agent(self) -> None:
        for verb, below in (("POST", ""), ("POST", "/message/stream"), ("GET", "/.well-known/agent.json")):
            assert read_target(verb, f"/acme/zaf{below}".encode(), relay_elixir=True).agent == ZAF

    @pytest.mark.parametrize(
        "first", ["t", ".well-known", "admin", "health", "ws", "metrics", "livez", "readyz", "agent"]
    )
    @pytest.mark.parametrize("below", ["", "/message/stream", "/.well-known/agent.json"])
    def test_have_no_tenants_by_names_that_are_the_relays_own(self, first: str, below: str) -> None:
        for verb in ("GET", "POST"):
            with pytest.raises(Refused) as refused:
                read_target(verb, f"/{first}/zaf{below}".encode(), relay_elixir=True)
            assert refused.value.reason is Reason.NOT_FOUND

    @pytest.mark.parametrize(
        "target",
        ["/acme", "/acme/zaf/x", "/acme/zaf/message", "/acme/zaf/message/send", "/acme/zaf/message:send", "/a:b/zaf"],
    )
    def test_are_no_others(self, target: str) -> None:
        with pytest.raises(Refused) as refused:
            read_target("POST", target.encode(), relay_elixir=True)
        assert refused.value.reason is Reason.NOT_FOUND

    @settings(max_examples=200, deadline=None)
    @given(st.sampled_from(["", "x", "tasks/t", "message:send", "v1/card"]), st.sampled_from(["GET", "POST", "PUT"]))
    def test_change_nothing_about_the_relays_own(self, below: str, verb: str) -> None:
        for target in (f"{BASE}/{below}", f"/{below}", "/", "/health", "/agent", "/t/acme/agents"):
            found: list[object] = []
            for switch in (False, True):
                try:
                    found.append(read_target(verb, target.encode(), relay_elixir=switch))
                except Refused as refused:
                    found.append((refused.reason, refused.metadata))
            assert found[0] == found[1] or (len(target.strip("/").split("/")) >= 2 and not target.startswith("/t/"))
