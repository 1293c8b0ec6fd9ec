"""Lists of addresses and CIDR ranges, and whether an address is in one."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from a2a_relay.errors import Reason, Refused

_SUBSCRIBER_BITS = 64
"""What one subscriber has of IPv6 begins alike in so many bits."""

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Networks = tuple[Network, ...]


def read_networks(texts: Iterable[str]) -> Networks:
    """Addresses and CIDR ranges. Raises ValueError for what is none."""
    return tuple(ipaddress.ip_network(text, strict=False) for text in texts)


def contains(networks: Networks, host: str) -> bool:
    """Whether a numeric address is in one of these; an IPv4 address in IPv6's clothes is what it is."""
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    address = getattr(address, "ipv4_mapped", None) or address
    return any(address in network for network in networks)


def network_of(host: str) -> str:
    """The network that stands for whoever has an address: itself, or the /64 of an IPv6 one. Empty for none."""
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return ""
    address = getattr(address, "ipv4_mapped", None) or address
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    return str(ipaddress.ip_network((address, _SUBSCRIBER_BITS), strict=False))


def require_from(networks: Iterable[Networks], host: str) -> None:
    """Refuse an address that is missing in one of these lists. Raises ADDRESS_REFUSED."""
    if not all(contains(allowed, host) for allowed in networks):
        raise Refused(Reason.ADDRESS_REFUSED)
