"""What depends on how the relay is reached: its own public URL, who asks from where, and whom to trust about it."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from functools import lru_cache

from a2a_relay.core import public_url
from a2a_relay.errors import Reason, Refused

_MAX_HOPS = 20
"""Longer chains of proxies are not followed: whoever needs one is making it up."""


class Exposure:
    """Settings of exposure, asked once per request (decision 27)."""

    def __init__(
        self,
        configured_url: str,
        trusted_proxies: Iterable[str],
        *,
        bound_url: str = "",
        allowed_origins: Iterable[str] = (),
    ) -> None:
        """`bound_url` is the address of a relay that listens on loopback only, and empty for any other.

        `allowed_origins` are those of pages that may open links; none: any, for an agent in a page authenticates by
        itself, in its first frame.
        """
        self._allowed_origins = frozenset(allowed_origins)
        self._configured_url = configured_url.rstrip("/")
        self._bound_url = bound_url
        self._trusted = [ipaddress.ip_network(item, strict=False) for item in trusted_proxies]

    @property
    def is_configured(self) -> bool:
        """Whether the public URL does not depend on what a client says."""
        return bool(self._configured_url)

    def require_origin(self, headers: Mapping[str, str]) -> None:
        """Refuse a link from a page that may have none. Raises PERMISSION_DENIED; what is no browser has no origin."""
        origin = headers.get("origin")
        if origin is not None and self._allowed_origins.isdisjoint((origin, "*")) and self._allowed_origins:
            raise Refused(Reason.PERMISSION_DENIED, "not from this origin")

    @property
    def has_proxies(self) -> bool:
        """Whether a peer may be asking for somebody else."""
        return bool(self._trusted)

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
        return bool(self._trusted) and self._is_trusted(peer.rpartition(":")[0])

    def client_host(self, headers: Mapping[str, str], peer: str) -> str:
        """The numeric address of whoever asks, for a peer `address:port`.

        A trusted proxy says for whom it asks: in X-Forwarded-For, or else in Forwarded (RFC 7239). The list is read
        from its end, where the nearest proxy has written, up to the first that is no trusted proxy: what stands
        before that anybody may have made up. What cannot be read leaves the peer.
        """
        host = peer.rpartition(":")[0]
        if not self._trusted or not self._is_trusted(host):
            return host
        hops = headers.get("x-forwarded-for")
        read = _bare_host if hops is not None else _forwarded_host
        hops = hops if hops is not None else headers.get("forwarded", "")
        found = host
        for hop in reversed(hops.rsplit(",", _MAX_HOPS)[-_MAX_HOPS:]):
            address = _address(read(hop.strip()))
            if address is None:
                return host
            found = str(address)
            if not any(address in network for network in self._trusted):
                break
        return found

    def client_peer(self, headers: Mapping[str, str], peer: str) -> str:
        """`client_host` in the form of a peer; the port of whoever is behind a proxy is not known."""
        host = self.client_host(headers, peer)
        return peer if host == peer.rpartition(":")[0] else f"{host}:0"

    def _is_trusted(self, host: str) -> bool:
        address = _address(host.strip("[]"))
        return address is not None and any(address in network for network in self._trusted)


@lru_cache(4096)
def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """An address; an IPv4 one in IPv6's clothes is what it is. None for what is none."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _bare_host(hop: str) -> str:
    """`192.0.2.7`, `192.0.2.7:80`, `2001:db8::7` and `[2001:db8::7]:80` without brackets and port."""
    if hop.startswith("["):
        return hop[1:].partition("]")[0]
    return hop.partition(":")[0] if hop.count(":") == 1 else hop


def _forwarded_host(element: str) -> str:
    """The `for` of one element of Forwarded; empty when there is none."""
    for pair in element.split(";"):
        name, _, text = pair.partition("=")
        if name.strip().lower() == "for":
            return _bare_host(text.strip().strip('"'))
    return ""
