"""One fetch of an issuer's keys: as little as possible is left to whoever has chosen the URL (S19)."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from functools import cache
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from a2a_relay.auth.jwks import MAX_BYTES
from a2a_relay.core.push_targets import is_public_host

if TYPE_CHECKING:
    import ssl

FETCH_SECONDS = 3.0


class FetchFailed(Exception):
    """A key set could not be fetched; the message says why."""


async def fetch(url: str, *, allows_loopback: bool = False) -> bytes:
    """What is at a URL, over https and from a public address. Raises FetchFailed.

    The address is asked for once, checked, and connected to: a name that changes its mind gains nothing. Redirects
    are not followed, proxies not asked. `allows_loopback`: also this machine, over http too, as for a relay at home.
    At most MAX_BYTES are read, for at most FETCH_SECONDS.
    """
    import httpx

    try:
        async with asyncio.timeout(FETCH_SECONDS):
            return await _fetch(url, allows_loopback=allows_loopback)
    except TimeoutError as error:
        raise FetchFailed(f"no answer within {FETCH_SECONDS:g} s") from error
    except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
        raise FetchFailed(f"{type(error).__name__}: {error}") from error


async def _fetch(url: str, *, allows_loopback: bool) -> bytes:
    import httpx

    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme not in ("https", "http") or not host or parts.username is not None:
        raise FetchFailed("not a URL with https")
    port = parts.port or (443 if parts.scheme == "https" else 80)
    address = await _resolve(host, port, allows_loopback=allows_loopback)
    if parts.scheme == "http" and not address.is_loopback:
        raise FetchFailed("not a URL with https")
    literal = f"[{address}]" if address.version == 6 else str(address)
    target = httpx.URL(
        scheme=parts.scheme, host=literal.strip("[]"), port=port, raw_path=_path(parts.path, parts.query)
    )
    request = httpx.Request(
        "GET",
        target,
        headers={"host": parts.netloc, "accept": "application/json", "accept-encoding": "identity"},
        extensions={
            "sni_hostname": host,
            "timeout": dict.fromkeys(("connect", "read", "write", "pool"), FETCH_SECONDS),
        },
    )
    async with httpx.AsyncClient(trust_env=False, verify=_trust()) as client:
        answer = await client.send(request, stream=True)
        try:
            if answer.status_code != httpx.codes.OK:
                raise FetchFailed(f"HTTP status {answer.status_code}")
            body = b""
            async for piece in answer.aiter_raw():
                body += piece
                if len(body) > MAX_BYTES:
                    raise FetchFailed(f"more than {MAX_BYTES} bytes")
            return body
        finally:
            await answer.aclose()


async def _resolve(host: str, port: int, *, allows_loopback: bool) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """The address to connect to. Raises FetchFailed when any that the name has is not to be called from here."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = [ipaddress.ip_address(str(item[4][0]).partition("%")[0]) for item in found]
    for address in addresses:
        if not is_public_host(str(address)) and not (allows_loopback and address.is_loopback):
            raise FetchFailed("not a public address")
    if not addresses:
        raise FetchFailed("the name has no address")
    return addresses[0]


def _path(path: str, query: str) -> bytes:
    return f"{path or '/'}?{query}".encode() if query else (path or "/").encode()


@cache
def _trust() -> ssl.SSLContext:
    import httpx

    return httpx.create_ssl_context()
