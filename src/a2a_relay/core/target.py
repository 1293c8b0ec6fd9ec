"""The request target is read once, by this pure function, for every lane and server.

It works on the raw bytes of the request line, because decoded paths are where two
HTTP implementations begin to disagree: an encoded slash, a dot segment, a NUL or
a second layer of encoding is refused here instead of being guessed at (S9).
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple
from urllib.parse import parse_qsl, unquote_to_bytes

from a2a_relay.a2a import rest
from a2a_relay.core.address import Address, is_legacy_name
from a2a_relay.errors import Reason, Refused

CARD_NAMES = ("agent-card.json", "agent.json")


class Surface(StrEnum):
    """What is served at a target."""

    INFO = "info"
    HEALTH = "health"
    LIVEZ = "livez"
    READYZ = "readyz"
    AGENT_LINK = "agent_link"
    RELAY_ELIXIR_LINK = "relay_elixir_link"
    JWKS = "jwks"
    DIRECTORY = "directory"
    TENANT_DIRECTORY = "tenant_directory"
    DIRECTORY_ENTRY = "directory_entry"
    LETTER = "letter"
    """relay-go's poll."""
    LETTERS = "letters"
    LETTER_RECEIPT = "letter_receipt"
    LETTER_FEED = "letter_feed"
    LETTERS_FEED = "letters_feed"
    REDRIVE = "redrive"
    PURGE = "purge"
    AUDIT = "audit"
    MAILBOXES = "mailboxes"
    PAUSE = "pause"
    RESUME = "resume"
    ROOT_CARD = "root_card"
    ROOT_RPC = "root_rpc"
    CARD = "card"
    ORIGINAL_CARD = "original_card"
    RPC = "rpc"
    REST = "rest"
    STREAM = "stream"
    ADMIN = "admin"
    """The admin API; `segments` stand below its base, and its verbs are its own."""


class Route(NamedTuple):
    """A request target, read. `query` holds decoded pairs in their order."""

    surface: Surface
    verbs: tuple[str, ...] = ("GET",)
    address: Address | None = None
    rest: rest.RestPath | None = None
    segments: tuple[str, ...] = ()
    query: Sequence[tuple[str, str]] = ()
    raw_query: str = ""

    @property
    def agent(self) -> Address:
        """The address of a route that has one."""
        if self.address is None:
            raise Refused(Reason.AGENT_NOT_FOUND)
        return self.address


_FIXED = {
    (): Route(Surface.INFO),
    ("health",): Route(Surface.HEALTH),
    ("livez",): Route(Surface.LIVEZ),
    ("readyz",): Route(Surface.READYZ),
    ("agent",): Route(Surface.AGENT_LINK),
    (".well-known", "jwks.json"): Route(Surface.JWKS),
    (".well-known", "agents"): Route(Surface.DIRECTORY),
    (".well-known", "agent-card.json"): Route(Surface.ROOT_CARD),
    (".well-known", "agent.json"): Route(Surface.ROOT_CARD),
}


_ADMIN = ("admin", "api", "v1")
_RELAY_ELIXIR_LINK = Route(Surface.RELAY_ELIXIR_LINK)
_NEVER_TENANTS = frozenset({"t", ".well-known", "admin", "health", "ws", "metrics", "livez", "readyz", "agent"})
"""First segments that are the relay's own where tenants stand at the root."""


def read_target(verb: str, target: bytes, *, relay_elixir: bool = False) -> Route:
    """Route one request target (path and query as sent). Raises `Refused`.

    `relay_elixir`: whether that relay's paths are served too. HEAD is routed as GET.
    A path that is known under another verb is refused with METHOD_NOT_ALLOWED,
    anything unknown with NOT_FOUND.
    """
    path, _, query = target.partition(b"?")
    segments = _segments(path)
    verb = "GET" if verb == "HEAD" else verb
    route = _FIXED.get(segments)
    if segments[:3] == _ADMIN:
        route = Route(Surface.ADMIN, (verb,), segments=segments[3:])
    if route is None and relay_elixir:
        route = _relay_elixir_route(segments)
    if route is None:
        route = _tenant_route(segments, verb)
    elif not segments and verb == "POST":
        route = Route(Surface.ROOT_RPC, ("POST",))
    if verb not in route.verbs:
        allowed = route.verbs if segments else ("GET", "POST")
        raise Refused(Reason.METHOD_NOT_ALLOWED, metadata={"allow": ", ".join(allowed)})
    if not query:
        return route
    return route._replace(query=_pairs(query), raw_query=query.decode("latin-1"))


def _segments(path: bytes) -> tuple[str, ...]:
    """The decoded segments of an absolute path; one trailing slash does not count."""
    if path[:1] != b"/":
        raise Refused(Reason.INVALID_TARGET)
    if path == b"/":
        return ()
    raw = path[1:].split(b"/")
    if raw[-1] == b"":
        raw.pop()
    return tuple(_segment(item) for item in raw)


def _segment(raw: bytes) -> str:
    if not raw:
        raise Refused(Reason.INVALID_TARGET, "an empty path segment")
    if b"%" not in raw:
        try:
            text = raw.decode("ascii")
        except UnicodeDecodeError as error:
            raise Refused(Reason.INVALID_TARGET, "a path must be ASCII") from error
    else:
        text = _decoded(raw)
    if text in (".", "..") or "\\" in text or not text.isprintable():
        raise Refused(Reason.INVALID_TARGET)
    return text


def _decoded(raw: bytes) -> str:
    decoded = unquote_to_bytes(raw)
    try:
        text = decoded.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Refused(Reason.INVALID_TARGET, "a path segment is not UTF-8") from error
    if "/" in text or unquote_to_bytes(decoded) != decoded:
        raise Refused(Reason.INVALID_TARGET, "a path segment is encoded twice or holds a slash")
    return text


def _tenant_route(segments: tuple[str, ...], verb: str) -> Route:
    """Routes below `/t/{tenant}`."""
    if len(segments) < 3 or segments[0] != "t" or not is_legacy_name(segments[1]):
        raise Refused(Reason.NOT_FOUND)
    tenant, kind, below = segments[1], segments[2], segments[3:]
    if kind == "agents":
        return _directory_route(tenant, below)
    if kind == "tasks" and len(below) == 1:
        return Route(Surface.LETTER, address=Address(tenant, ""), segments=below)
    if kind == "letters" and below:
        return _letter_route(tenant, below)
    if kind in _TENANTS_OWN and not below:
        surface, verb = _TENANTS_OWN[kind]
        return Route(surface, (verb,), Address(tenant, ""))
    if kind != "a2a" or not below or not is_legacy_name(below[0]):
        raise Refused(Reason.NOT_FOUND)
    return _agent_route(Address(tenant, below[0]), below[1:], verb)


_TENANTS_OWN = {
    "letters": (Surface.LETTERS, "GET"),
    "letters:redrive": (Surface.REDRIVE, "POST"),
    "letters:purge": (Surface.PURGE, "POST"),
    "letters:audit": (Surface.AUDIT, "GET"),
    "mailboxes": (Surface.MAILBOXES, "GET"),
}
_OF_ONE_MAILBOX = {"mailbox:pause": Surface.PAUSE, "mailbox:resume": Surface.RESUME}


def _directory_route(tenant: str, below: tuple[str, ...]) -> Route:
    """Routes at and below `/t/{tenant}/agents`."""
    if not below:
        return Route(Surface.TENANT_DIRECTORY, address=Address(tenant, ""))
    if is_legacy_name(below[0]):
        address = Address(tenant, below[0])
        if len(below) == 1:
            return Route(Surface.DIRECTORY_ENTRY, ("PUT", "DELETE"), address)
        if len(below) == 2 and below[1] in _OF_ONE_MAILBOX:
            return Route(_OF_ONE_MAILBOX[below[1]], ("POST",), address)
    raise Refused(Reason.NOT_FOUND)


def _letter_route(tenant: str, below: tuple[str, ...]) -> Route:
    """Routes below `/t/{tenant}/letters`: ids of letters all begin alike, so that none is `events`."""
    address = Address(tenant, "")
    if below == ("events",):
        return Route(Surface.LETTERS_FEED, address=address)
    if len(below) == 1:
        return Route(Surface.LETTER_RECEIPT, address=address, segments=below)
    if len(below) == 2 and below[1] == "events":
        return Route(Surface.LETTER_FEED, address=address, segments=below[:1])
    raise Refused(Reason.NOT_FOUND)


def _relay_elixir_route(segments: tuple[str, ...]) -> Route | None:
    """Routes of relay-elixir: `/ws/agent`, and `/{tenant}/{agent}` with what stands below; None for any other.

    A POST to its `message/stream` is a JSON-RPC request like one to the base: the method says whether it streams.
    """
    if segments == ("ws", "agent"):
        return _RELAY_ELIXIR_LINK
    if len(segments) < 2 or segments[0] in _NEVER_TENANTS or not all(map(is_legacy_name, segments[:2])):
        return None
    address, below = Address(*segments[:2]), segments[2:]
    if below in ((), ("message", "stream")):
        return Route(Surface.RPC, ("POST",), address)
    if below == (".well-known", "agent.json"):
        return Route(Surface.CARD, address=address)
    return None


def _agent_route(address: Address, below: tuple[str, ...], verb: str) -> Route:
    """Routes below an agent's base."""
    if not below:
        return Route(Surface.RPC, ("POST",), address)
    if below[0] == ".well-known" and len(below) == 2:
        if below[1] in CARD_NAMES:
            return Route(Surface.CARD, address=address)
        if below[1] == "agent-card.original.json":
            return Route(Surface.ORIGINAL_CARD, address=address)
    if below[0] == "streams" and len(below) == 2:
        return Route(Surface.STREAM, address=address, segments=below[1:])
    found = rest.read_path(below, verb)
    if found is None:
        raise Refused(Reason.NOT_FOUND)
    return Route(Surface.REST, found.verbs, address, found, below)


def _pairs(query: bytes) -> list[tuple[str, str]]:
    try:
        return parse_qsl(query.decode("ascii"), keep_blank_values=True, max_num_fields=50, errors="strict")
    except ValueError as error:
        raise Refused(Reason.INVALID_TARGET, "the query cannot be read") from error
