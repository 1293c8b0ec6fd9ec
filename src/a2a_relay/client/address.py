"""How a person names an agent, and the base URL that it means.

echo                                   an agent of the caller's tenant at the relay in use
acme/echo                              an agent of another tenant
a2a-relay://host[:port]/t/acme/echo    an agent at another relay; https, and http on loopback
https://host/t/acme/a2a/echo           a base URL, here or anywhere
"""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import SplitResult, urlsplit

from a2a_relay.client.failures import ClientError
from a2a_relay.settings import is_loopback

_NAME = r"(?!\.{1,2}(?:/|\Z))[A-Za-z0-9._~-]{1,128}"
"""What may be a tenant or an agent in a URL, and no dot segment."""

_PLAIN = re.compile(rf"(?:({_NAME})/)?({_NAME})", re.ASCII)
_RELAY_PATH = re.compile(rf"/t/({_NAME})/(?:a2a/)?({_NAME})/?", re.ASCII)


class Target(NamedTuple):
    """One agent's base URL, without a trailing slash, and its names where the URL is a relay's."""

    base: str
    relay: str
    tenant: str | None = None
    agent: str | None = None


def read_agent(text: str, relay: str | None, tenant: str | None) -> Target:
    """What a person means by `text`, with the relay and tenant in use. Raises ClientError."""
    if "://" in text:
        return _read_url(text)
    plain = _PLAIN.fullmatch(text)
    if plain is None:
        raise ClientError(f"{text!r} names no agent: use NAME, TENANT/NAME or a URL")
    if relay is None:
        raise ClientError("which relay? Give --relay URL, set RELAY_URL, or start one here with `relay serve`")
    owner = plain[1] or tenant
    if owner is None:
        raise ClientError(f"of which tenant is {text!r}? Write TENANT/{text}, or give --tenant")
    return Target(f"{relay}/t/{owner}/a2a/{plain[2]}", relay, owner, plain[2])


def _read_url(text: str) -> Target:
    parts = split_url(text, ("http", "https", "a2a-relay"))
    named = _RELAY_PATH.fullmatch(parts.path)
    if parts.scheme == "a2a-relay":
        if named is None:
            raise ClientError("an a2a-relay:// address looks like a2a-relay://host/t/TENANT/AGENT")
        relay = f"{'http' if is_loopback(parts.hostname or '') else 'https'}://{parts.netloc}"
        return Target(f"{relay}/t/{named[1]}/a2a/{named[2]}", relay, named[1], named[2])
    base = text.rstrip("/")
    prefix, marker, below = base.partition("/t/")
    named = re.fullmatch(rf"/t/({_NAME})/a2a/({_NAME})", marker + below, re.ASCII)
    if named is None:
        return Target(base, f"{parts.scheme}://{parts.netloc}")
    return Target(base, prefix, named[1], named[2])


def split_url(text: str, schemes: tuple[str, ...] = ("http", "https")) -> SplitResult:
    """A URL's parts. Raises ClientError when it is not a plain absolute URL of one of these schemes."""
    try:
        parts = urlsplit(text)
        is_whole = parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
    except ValueError as error:
        raise ClientError(f"{text!r} is not a URL") from error
    if not is_whole or not text.isprintable() or " " in text:
        raise ClientError(f"{text!r} is not a URL such as {schemes[-1]}://host")
    if parts.username is not None or parts.query or parts.fragment:
        raise ClientError("a relay's URL has no credentials, query or fragment")
    return parts


def is_same_origin(one: str, other: str) -> bool:
    """Whether two URLs have the same scheme, host and port. All names of loopback count as one host."""
    return _origin(one) == _origin(other)


def _origin(url: str) -> tuple[str, str, int]:
    parts = split_url(url)
    host = (parts.hostname or "").lower()
    return parts.scheme, "loopback" if is_loopback(host) else host, parts.port or {"http": 80}.get(parts.scheme, 443)
