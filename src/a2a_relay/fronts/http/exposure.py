"""What depends on how the relay is reached: its own public URL, and whom to trust about it."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping

from a2a_relay.core import public_url
from a2a_relay.errors import Reason, Refused


class Exposure:
    """Settings of exposure, asked once per request (decision 27)."""

    def __init__(self, configured_url: str, trusted_proxies: Iterable[str], *, bound_url: str = "") -> None:
        """`bound_url` is the address of a relay that listens on loopback only, and empty for any other."""
        self._configured_url = configured_url.rstrip("/")
        self._bound_url = bound_url
        self._trusted = [ipaddress.ip_network(item, strict=False) for item in trusted_proxies]

    @property
    def is_configured(self) -> bool:
        """Whether the public URL does not depend on what a client says."""
        return bool(self._configured_url)

    def base_url(self, headers: Mapping[str, str], scheme: str, peer: str) -> str:
        """The relay's public URL for this request. Raises INVALID_HTTP for a Host that is none."""
        if self._configured_url:
            return self._configured_url
        host = headers.get("host", "")
        if self.trusts(peer):
            scheme = headers.get("x-forwarded-proto", scheme).split(",")[0].strip()
            host = headers.get("x-forwarded-host", host).split(",")[0].strip()
        elif self._bound_url and not public_url.is_loopback_authority(host):
            return self._bound_url
        found = public_url.from_host(host, scheme)
        if found is None:
            raise Refused(Reason.INVALID_HTTP, "the Host header is not acceptable")
        return found

    def trusts(self, peer: str) -> bool:
        """Whether a peer (`address:port`) is a proxy whose X-Forwarded headers count."""
        if not self._trusted:
            return False
        try:
            address = ipaddress.ip_address(peer.rpartition(":")[0].strip("[]"))
        except ValueError:
            return False
        address = getattr(address, "ipv4_mapped", None) or address
        return any(address in network for network in self._trusted)
