"""Which webhooks a client may have an agent call (security rule S11d)."""

from __future__ import annotations

import pytest

from a2a_relay.core.push_targets import PushTargets, is_public_host
from a2a_relay.errors import Reason, Refused

PRIVATE = [
    "http://127.0.0.1/",
    "http://localhost/",
    "http://LOCALHOST:80/",
    "http://localhost./",
    "http://app.localhost/",
    "http://10.1.2.3/",
    "http://172.16.0.1/",
    "http://192.168.1.1/reboot",
    "http://169.254.169.254/latest/meta-data",
    "http://100.64.0.1/",
    "http://0.0.0.0/",
    "http://0/",
    "http://127.1/",
    "http://2130706433/",
    "http://0x7f000001/",
    "http://0x7f.0.0.1/",
    "http://0x7F.0.0.0x1/",
    "http://0177.0.0.1/",
    "http://127.0.0.0x1/",
    "http://127.0.0.0xab/",
    "http://[::1]/",
    "http://[::]/",
    "http://[::ffff:127.0.0.1]/",
    "http://[::ffff:10.0.0.1]/",
    "http://[::ffff:7f00:1]/",
    "http://[64:ff9b::7f00:1]/",
    "http://[2002:7f00:1::]/",
    "http://[fe80::1]/",
    "http://[fe80::1%25eth0]/",
    "http://[fc00::1]/",
    "http://printer/",
    "http://router.lan/",
    "http://nas.local/",
    "http://nas.local./",
    "http://metadata.google.internal/",
    "http://x.home.arpa/",
    "http://user@127.0.0.1/",
    "http://public.example@127.0.0.1/",
    "http://127.0.0.1\\@public.example/",
    "http://127.0.0.1\\.public.example/",
    "http://１２７.0.0.1/",
    "http://127。0。0。1/",
    "http://ⓛocalhost/",
    "http:///x",
    "http://",
    "//127.0.0.1/",
    "127.0.0.1",
    "",
    "http://[::1",
    "http:// 127.0.0.1/",
    "file:///etc/passwd",
    "gopher://public.example/",
    "javascript:alert(1)",
    "ftp://public.example/",
]


@pytest.mark.parametrize("url", PRIVATE)
def test_public_refuses(url: str) -> None:
    with pytest.raises(Refused) as refused:
        PushTargets("public").require_allowed(url)
    assert refused.value.reason is Reason.PUSH_TARGET_REFUSED


@pytest.mark.parametrize(
    "url",
    [
        "https://hooks.example/x?y=1",
        "http://hooks.example:8080/",
        "https://8.8.8.8/",
        "https://[2606:4700::1111]/",
        "https://xn--mnchen-3ya.example/",
        "https://3com.example/",
        "https://hooks.example./",
    ],
)
def test_public_allows(url: str) -> None:
    PushTargets("public").require_allowed(url)


@pytest.mark.parametrize("url", [*PRIVATE, None])
def test_any_allows_everything(url: str | None) -> None:
    PushTargets("any").require_allowed(url)


@pytest.mark.parametrize("rule", ["public", "any", "hooks.example", ""])
def test_no_target_needs_no_permission(rule: str) -> None:
    PushTargets(rule).require_allowed(None)


def test_a_list_allows_its_hosts_alone() -> None:
    targets = PushTargets("Hooks.example, 192.168.1.7")
    targets.require_allowed("https://hooks.EXAMPLE/x")
    targets.require_allowed("http://192.168.1.7:9000/")
    for url in ("https://other.example/", "https://x.hooks.example/", "ftp://hooks.example/", "", "https://"):
        with pytest.raises(Refused):
            targets.require_allowed(url)


@pytest.mark.parametrize("host, is_public", [("a.example", True), ("", False), ("a", False), ("1.2", False)])
def test_hosts(host: str, is_public: bool) -> None:
    assert is_public_host(host) == is_public
