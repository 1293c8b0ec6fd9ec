"""Which webhook URLs a client may have an agent call (S11d).

The agent inside the NAT makes the call, so that a URL which a stranger chose
would reach into a network that he cannot reach himself.
"""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from a2a_relay.errors import Reason, Refused

ANY = "any"
PUBLIC = "public"

_LOCAL_SUFFIXES = (".localhost", ".local", ".internal", ".lan", ".home.arpa")


class PushTargets:
    """`any`, `public`, or a comma-separated list of hosts that are allowed."""

    def __init__(self, rule: str) -> None:
        self._rule = rule
        self._hosts = frozenset(host.strip().lower() for host in rule.split(",") if host.strip())

    def require_allowed(self, url: str | None) -> None:
        """Refuse a push notification target that the rule does not allow. Raises PUSH_TARGET_REFUSED."""
        if url is None or self._rule == ANY:
            return
        try:
            parts = urlsplit(url)
            host = (parts.hostname or "").rstrip(".").lower()
        except ValueError as error:
            raise Refused(Reason.PUSH_TARGET_REFUSED) from error
        allowed = is_public_host(host) if self._rule == PUBLIC else host in self._hosts
        if parts.scheme not in ("http", "https") or not host or not allowed:
            raise Refused(Reason.PUSH_TARGET_REFUSED)


def is_public_host(host: str) -> bool:
    """Whether a host name or address literal is not plainly a private one. Names are not resolved here."""
    try:
        return ipaddress.ip_address(host).is_global
    except ValueError:
        pass
    if host == "localhost" or host.endswith(_LOCAL_SUFFIXES) or "." not in host:
        return False
    # Number forms that resolvers read as an IPv4 address: 127.1, 0x7f.0.0.1, 2130706433
    return not host.rpartition(".")[2].removeprefix("0x").isdigit()
