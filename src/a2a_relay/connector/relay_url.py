"""Where a relay is: one URL from the user becomes the link's and the HTTP side's."""

from __future__ import annotations

from ipaddress import ip_address
from typing import NamedTuple
from urllib.parse import urlsplit

from a2a_relay.connector.refused import ConnectorRefused

_SECURE = {"https": True, "wss": True, "http": False, "ws": False}
_LINK_PATH = "/agent"


class RelayUrl(NamedTuple):
    """`link` is the WebSocket URL that agents attach to, `http` the base of everything else (no slash at its end)."""

    link: str
    http: str
    is_secure: bool
    is_loopback: bool


def read(url: str, *, insecure: bool = False) -> RelayUrl:
    """Read `http(s)://host[:port][/path]` or `ws(s)://host[:port]/agent`.

    Raises `ConnectorRefused` for anything else, and for an unencrypted relay on another machine unless `insecure`
    says that this is meant (security rule S20: the token would cross the network in clear).
    """
    parts = urlsplit(url.strip())
    is_secure = _SECURE.get(parts.scheme)
    try:
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if is_secure is None or not host or parts.username or parts.password or parts.query or parts.fragment:
        raise ConnectorRefused(f"not a relay's URL: {url!r} (expected https://host[:port])")
    is_loopback = is_loopback_host(host)
    if not is_secure and not is_loopback and not insecure:
        raise ConnectorRefused(f"{host} is reached without TLS: use https://, or say that this is meant (--insecure)")
    authority = (f"[{host}]" if ":" in host else host) + (f":{port}" if port is not None else "")
    path = parts.path.rstrip("/")
    base = path.removesuffix(_LINK_PATH)
    link_path = path if parts.scheme in ("ws", "wss") and path else base + _LINK_PATH
    return RelayUrl(
        link=f"{'wss' if is_secure else 'ws'}://{authority}{link_path}",
        http=f"{'https' if is_secure else 'http'}://{authority}{base}",
        is_secure=is_secure,
        is_loopback=is_loopback,
    )


def is_loopback_host(host: str) -> bool:
    """Whether a host name or literal address can only mean this machine."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
