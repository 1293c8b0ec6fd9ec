"""Which webhook URLs a client may have an agent call (S11d).

The agent inside the NAT makes the call, so that a URL which a stranger chose
would reach into a network that he cannot reach himself.
"""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

from a2a_relay.errors import Reason, Refused

ANY = "any"
PUBLIC = "public"

# What WHATWG readers (every JavaScript agent) and others split in different places.
_TRICKS = re.compile(r"[\\\s\x00-\x20\x7f]")
_NUMBER = re.compile(r"0[xX][0-9a-fA-F]*|[0-9]+")
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
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
        is_plain = not _TRICKS.search(url) and parts.scheme in ("http", "https")
        if not is_plain or not host or not allowed:
            raise Refused(Reason.PUSH_TARGET_REFUSED)


def is_public_host(host: str) -> bool:
    """Whether a host name or address literal is not plainly a private one. Names are not resolved here."""
    try:
        return _is_public_address(ipaddress.ip_address(host))
    except ValueError:
        pass
    if host == "localhost" or host.endswith(_LOCAL_SUFFIXES) or "." not in host:
        return False
    # Number forms that resolvers read as an IPv4 address: 127.1, 0x7f.0.0.1, 127.0.0.0xab
    return not _NUMBER.fullmatch(host.rpartition(".")[2])


def _is_public_address(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Also looks into IPv6 addresses that carry an IPv4 one: mapped, 6to4, Teredo, NAT64."""
    if isinstance(address, ipaddress.IPv4Address):
        return address.is_global and not address.is_multicast
    inner = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
    if address in _NAT64:
        inner.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    carried = [item for item in inner if item is not None]
    return (bool(carried) or address.is_global) and all(_is_public_address(item) for item in carried)
