"""The relay's own public URL: from settings, or from a checked Host header (decision 27)."""

from __future__ import annotations

import ipaddress
import re

_HOST = re.compile(r"(?:[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")


def is_loopback(host: str) -> bool:
    """Whether an address literal is of this machine."""
    try:
        address = ipaddress.ip_address(host.strip("[]"))
        return bool((getattr(address, "ipv4_mapped", None) or address).is_loopback)
    except ValueError:
        return False


def is_loopback_authority(authority: str) -> bool:
    """Whether a Host header (`host[:port]`) names this machine to itself."""
    host = authority if authority.endswith("]") else authority.rpartition(":")[0] or authority
    return host.lower() == "localhost" or is_loopback(host)


def from_host(host: str, scheme: str) -> str | None:
    """The URL that a Host header speaks of, or None when it is not a plain authority."""
    if not _HOST.fullmatch(host):
        return None
    secure = scheme in ("https", "wss")
    return f"{'https' if secure else 'http'}://{host}"
