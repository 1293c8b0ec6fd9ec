"""Where an agent's bindings are, read from its card and held to one origin.

Whatever a card says, only the origin that the user named is ever called
(security rule S11): of an interface's URL only path and query count.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

from a2a_relay.a2a import jsonbytes
from a2a_relay.a2a.versions import is_v03
from a2a_relay.errors import Refused

_PATH_SAFE = "/%:@!$&'()*+,;=~-._"
_QUERY_SAFE = _PATH_SAFE + "?"
_JSONRPC = "JSONRPC"
_REST = "HTTP+JSON"


class Interfaces(NamedTuple):
    """The upstream's bindings as targets (path and query) on its origin; None where it has none.

    REST targets have no slash at their end.
    """

    rpc_v10: str | None = None
    rpc_v03: str | None = None
    rest_v10: str | None = None
    rest_v03: str | None = None

    def rpc_for(self, *, is_v10: bool) -> str | None:
        """The JSON-RPC target for a method of this version: its own, else the other's (many serve both on one URL)."""
        return (self.rpc_v10 or self.rpc_v03) if is_v10 else (self.rpc_v03 or self.rpc_v10)


class _Interface(NamedTuple):
    binding: str
    is_v03: bool
    url: str


def read(card: bytes | None, base_path: str) -> Interfaces:
    """The interfaces of a card. An agent without a readable one is taken for JSON-RPC at the base path."""
    found: dict[str, str] = {}
    for interface in _interfaces(_document(card)):
        name = _field(interface)
        target = _target(interface, base_path)
        if name is not None and target is not None:
            found.setdefault(name, target)
    return Interfaces(**found) if found else Interfaces(rpc_v10=base_path or "/")


def _document(card: bytes | None) -> dict[str, Any]:
    if card is None:
        return {}
    try:
        found = jsonbytes.value(card)
    except Refused:
        return {}
    return found if isinstance(found, dict) else {}


def _interfaces(card: dict[str, Any]) -> Iterator[_Interface]:
    """Every interface that a card of 1.0, of 0.3, or of both at once names, in its order of preference."""
    for entry in _objects(card.get("supportedInterfaces")):
        yield _Interface(
            str(entry.get("protocolBinding", _JSONRPC)),
            is_v03(str(entry.get("protocolVersion", ""))),
            str(entry.get("url", "")),
        )
    if "url" not in card:
        return
    is_old = not str(card.get("protocolVersion", "0.3")).startswith("1")
    yield _Interface(str(card.get("preferredTransport") or _JSONRPC), is_old, str(card["url"]))
    for entry in _objects(card.get("additionalInterfaces")):
        yield _Interface(str(entry.get("transport", _JSONRPC)), is_old, str(entry.get("url", "")))


def _objects(found: object) -> list[dict[str, Any]]:
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []


def _field(interface: _Interface) -> str | None:
    version = "v03" if interface.is_v03 else "v10"
    if interface.binding.upper() == _JSONRPC:
        return f"rpc_{version}"
    if interface.binding.upper() == _REST:
        return f"rest_{version}"
    return None


def _target(interface: _Interface, base_path: str) -> str | None:
    """Path and query of an interface's URL; a relative URL stands below the base."""
    try:
        parts = urlsplit(interface.url)
    except ValueError:
        return None
    if parts.scheme not in ("", "http", "https"):
        return None
    if not parts.scheme and not parts.netloc and not parts.path.startswith("/"):
        path = f"{base_path.rstrip('/')}/{parts.path}"
    else:
        path = parts.path or "/"
    if any(segment in (".", "..") for segment in path.split("/")):
        return None
    path = quote(path, safe=_PATH_SAFE)
    if interface.binding.upper() == _REST:
        return path.rstrip("/")
    return f"{path}?{quote(parts.query, safe=_QUERY_SAFE)}" if parts.query else path
