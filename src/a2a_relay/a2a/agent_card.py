"""Agent cards as documents: only what must point at the relay changes, every other byte stays.

Source: A2A 1.0.1 section 4.4 and 8, A2A 0.3.0 section 5. A card is served as the
agent wrote it when every URL in it is the agent's own public one already;
otherwise its interfaces, its security and its signatures are replaced, because a
client takes the relay's credential to whatever place a card names (rule S2).
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from a2a_relay.a2a import jsonbytes, rest
from a2a_relay.a2a.versions import V03, V10, is_v03, major_minor
from a2a_relay.errors import Reason

RELAY_EXTENSION = "https://a2a-relay.dev/ext/relay/v1"
"""URI of the relay's own extension: what it says about itself on a card."""
ADOPTS_IDS = "adoptsIds"
"""Param of it on an agent's card: the agent takes the ids that the relay suggests for letters."""

_HTTP_BINDINGS = ("JSONRPC", "HTTP+JSON")
_VERSION = re.compile(r"[0-9]{1,4}(\.[0-9]{1,4}){1,2}")
# A2A's own tenant travels as a path segment, which not every client escapes.
_TENANT = re.compile(r"[A-Za-z0-9._~-]{1,128}")
# 1.0 and 0.3 name the same scheme with different members; each ignores the other's.
_RELAY_SCHEME = {
    "relay": {
        "httpAuthSecurityScheme": {"scheme": "bearer", "description": "a token of the relay"},
        "type": "http",
        "scheme": "bearer",
    }
}

_AGENT_SECURITY = "agentSecurity"
_OWN_EXTENSION = {
    "uri": jsonbytes.dump(RELAY_EXTENSION),
    "description": b'"Reached through a2a-relay; authenticate with a token of the relay."',
    "required": b"false",
}


class Served(NamedTuple):
    """A card as clients get it. `is_verbatim` when it is the agent's own bytes."""

    body: bytes
    is_verbatim: bool


class Rewrite(NamedTuple):
    """The rewriting of one agent's cards, ready to be applied."""

    urls: dict[str, str]
    legacy_version: str = V10
    rest_v03: bool = False

    def __call__(self, card: bytes) -> Served:
        """The card to serve."""
        return served(card, self.urls, legacy_version=self.legacy_version, rest_v03=self.rest_v03)


def require_servable(card: bytes) -> None:
    """Refuse a card that could not be served later. Raises `Refused`."""
    jsonbytes.check(card)
    served(card, dict.fromkeys(_HTTP_BINDINGS, "http://relay.invalid"))


def relay_params(card: bytes | None) -> dict[str, Any]:
    """The params of the relay's extension on a card: what an agent asks of the relay. Empty when there are none."""
    if card is None or RELAY_EXTENSION.encode() not in card:
        return {}
    document = jsonbytes.value(card)
    capabilities = document.get("capabilities") if isinstance(document, dict) else None
    listed = capabilities.get("extensions") if isinstance(capabilities, dict) else None
    for extension in listed if isinstance(listed, list) else ():
        if isinstance(extension, dict) and extension.get("uri") == RELAY_EXTENSION:
            params = extension.get("params")
            return params if isinstance(params, dict) else {}
    return {}


def says_streaming(card: bytes | None) -> bool:
    """Whether a card says that its agent streams."""
    if card is None:
        return False
    capabilities = jsonbytes.members(card).get("capabilities", b"")
    return capabilities[:1] == b"{" and jsonbytes.members(capabilities).get("streaming") == b"true"


def served(card: bytes, urls: dict[str, str], *, legacy_version: str = V10, rest_v03: bool = False) -> Served:
    """The card to serve at the relay.

    `urls` are the agent's public URLs by binding; `legacy_version` is the version
    that a card without any is taken for (decision 16); `rest_v03` says whether the
    agent serves HTTP+JSON 0.3 through the relay.
    """
    fields = jsonbytes.members(card)
    if _is_own(fields, urls):
        return Served(card, is_verbatim=True)
    versions = _versions(fields, legacy_version)
    kept = {name: raw for name, raw in fields.items() if _folded(name) not in _REPLACED}
    for name, document in _replacements(fields, urls, versions, rest_v03).items():
        kept[name] = jsonbytes.dump(document)
    kept["capabilities"] = _capabilities(fields)
    return Served(rest.join_members(kept), is_verbatim=False)


_CALLED = ("supportedInterfaces", "additionalInterfaces", "url")
_SECURITY = ("securitySchemes", "securityRequirements", "security")
_OWNED = (*_CALLED, *_SECURITY, "preferredTransport", "protocolVersion", "signatures", "capabilities")


def _folded(name: str) -> str:
    """A key as the most lenient reader sees it: protobuf's JSON takes `supported_interfaces` too."""
    return name.casefold().replace("_", "")


_REPLACED = frozenset(_folded(name) for name in _OWNED if name != "capabilities")
_CANONICAL = {_folded(name): name for name in _OWNED}


def _is_own(fields: dict[str, bytes], urls: dict[str, str]) -> bool:
    """Whether every URL that a client would call is this agent's own at the relay.

    A card that says anything in a second spelling, or that asks for more than a
    bearer token (a foreign token endpoint, say), is not.
    """
    if any(_CANONICAL.get(_folded(name), name) != name for name in fields):
        return False
    own = {_normal(url) for url in urls.values()}
    try:
        found = [jsonbytes.text(url) for url in _called_urls(fields)]
    except jsonbytes.Malformed:
        return False
    if not found or any(url is None or _normal(url) not in own for url in found):
        return False
    try:
        if any(mark in fields.get(name, b"") for name in _SECURITY[1:] for mark in (b"//", b"\\")):
            return False  # what a client must hold is a list of names and scopes, never a place
        schemes = jsonbytes.members(fields.get("securitySchemes", b"{}"))
        return all(_is_bearer(jsonbytes.members(scheme)) for scheme in schemes.values())
    except jsonbytes.Malformed:
        return False


def _called_urls(fields: dict[str, bytes]) -> list[bytes]:
    """Every URL that a client would call. Raises `Malformed` for an interface that can be read in two ways."""
    found = [fields["url"]] if "url" in fields else []
    for name in ("supportedInterfaces", "additionalInterfaces"):
        for item in jsonbytes.elements(fields.get(name, b"[]")):
            interface = jsonbytes.members(item)
            if any(_folded(key) == "url" and key != "url" for key in interface):
                raise jsonbytes.Malformed(Reason.AMBIGUOUS_FIELD)
            found.append(interface.get("url", b"null"))
    return found


_BEARER_MEMBERS = frozenset({"httpAuthSecurityScheme", "type", "scheme", "description", "bearerFormat"})


def _is_bearer(scheme: dict[str, bytes]) -> bool:
    """Whether a scheme asks for a bearer token and for nothing else, in either version."""
    v10 = jsonbytes.members(scheme.get("httpAuthSecurityScheme", b"{}"))
    if not (set(scheme) | set(v10)) <= _BEARER_MEMBERS:
        return False
    named = [jsonbytes.text(where["scheme"]) for where in (scheme, v10) if "scheme" in where]
    is_http = jsonbytes.text(scheme.get("type", b'"http"')) == "http"
    return is_http and bool(named) and all((name or "").lower() == "bearer" for name in named)


def _normal(url: str) -> tuple[str, str, str] | None:
    """Origin and path of an absolute http(s) URL, as parsed; None for anything with more or less than that."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in ("http", "https") or parts.query or parts.fragment or "@" in parts.netloc:
        return None
    default = 443 if parts.scheme == "https" else 80
    return parts.scheme, f"{parts.hostname}:{port or default}", parts.path.rstrip("/")


def _interfaces(fields: dict[str, bytes]) -> list[dict[str, Any]]:
    return _list(fields, "supportedInterfaces")


def _list(fields: dict[str, bytes], name: str) -> list[dict[str, Any]]:
    found = jsonbytes.value(fields.get(name, b"[]"))
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []


def _versions(fields: dict[str, bytes], legacy_version: str) -> list[str]:
    """The protocol versions that the agent says it speaks, in its own order."""
    found: list[str] = []
    for interface in _interfaces(fields):
        version = interface.get("protocolVersion")
        named = major_minor(version) if isinstance(version, str) and _VERSION.fullmatch(version) else V10
        if named not in found:
            found.append(named)
    top = jsonbytes.text(fields.get("protocolVersion"))
    if top and _VERSION.fullmatch(top):
        named = major_minor(top)
        if named not in found:
            found.append(named)
    return found or [legacy_version]


def _replacements(
    fields: dict[str, bytes], urls: dict[str, str], versions: list[str], rest_v03: bool
) -> dict[str, Any]:
    """The members that are about where and how to call the agent."""
    interfaces: list[dict[str, str]] = []
    tenants = (item.get("tenant") for item in _interfaces(fields))
    tenant = next((name for name in tenants if isinstance(name, str) and _TENANT.fullmatch(name)), None)
    for version in versions:
        for binding in _HTTP_BINDINGS:
            if is_v03(version) and binding == "HTTP+JSON" and not rest_v03:
                continue
            interface = {"url": urls[binding], "protocolBinding": binding, "protocolVersion": version}
            if tenant and not is_v03(version):
                interface["tenant"] = tenant
            interfaces.append(interface)
    document: dict[str, Any] = {"supportedInterfaces": interfaces}
    if V03 in versions:
        document |= _v03_members(fields, urls, rest_v03)
    document["securitySchemes"] = _RELAY_SCHEME
    document["securityRequirements"] = [{"schemes": {"relay": {"list": []}}}]
    document["security"] = [{"relay": []}]
    return document


def _v03_members(fields: dict[str, bytes], urls: dict[str, str], rest_v03: bool) -> dict[str, Any]:
    bindings = _HTTP_BINDINGS if rest_v03 else ("JSONRPC",)
    version = jsonbytes.text(fields.get("protocolVersion"))
    return {
        "url": urls["JSONRPC"],
        "preferredTransport": "JSONRPC",
        "protocolVersion": version if is_v03(version) else "0.3.0",
        "additionalInterfaces": [{"url": urls[binding], "transport": binding} for binding in bindings],
    }


def _capabilities(fields: dict[str, bytes]) -> bytes:
    """The agent's capabilities with the relay's extension, once: what the agent asked of the relay by it stays.

    What the agent said of its security goes there, too.
    """
    raw = fields.get("capabilities", b"{}")
    members = jsonbytes.members(raw) if raw[:1] == b"{" else {}
    listed = members.get("extensions", b"[]")
    items = jsonbytes.elements(listed) if listed[:1] == b"[" else []
    own_items = [item for item in items if _is_relays(item)]
    others = [item for item in items if item not in own_items]
    asked = jsonbytes.members(own_items[0]).get("params", b"") if own_items else b""
    params = jsonbytes.members(asked) if asked[:1] == b"{" else {}
    params.pop(_AGENT_SECURITY, None)
    said = {name: fields[name] for name in _SECURITY if name in fields}
    if said:
        params[_AGENT_SECURITY] = rest.join_members(said)
    own = dict(_OWN_EXTENSION)
    if params:
        own["params"] = rest.join_members(params)
    members["extensions"] = b"[" + b",".join([*others, rest.join_members(own)]) + b"]"
    return rest.join_members(members)


def _is_relays(extension: bytes) -> bool:
    """Whether an entry of a card's extensions is the relay's, as `relay_params` finds it."""
    if extension[:1] != b"{" or RELAY_EXTENSION.encode() not in extension:
        return False
    return jsonbytes.text(jsonbytes.members(extension).get("uri")) == RELAY_EXTENSION
