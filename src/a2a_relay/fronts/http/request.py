"""An HTTP request as the front needs it, from an ASGI scope."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from a2a_relay.errors import Reason, Refused
from a2a_relay.wire.codec import is_service_header

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_LENGTH = re.compile(r"[0-9]+")
_SINGLE = frozenset({"authorization", "content-type", "content-length", "host"})


class HttpRequest:
    """Method, raw target, headers (lower-case names; repeated lines joined by a comma) and the body to come."""

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self._receive = receive
        self.verb: str = scope["method"]
        self.target: bytes = raw_target(scope)
        self.headers = read_headers(scope)
        self.scheme: str = scope.get("scheme", "http")
        client = scope.get("client")
        self.client = f"{client[0]}:{client[1]}" if client else ""
        self.id = _request_id(self.headers.get("x-request-id"))
        self.is_read = False

    @property
    def credential(self) -> str:
        """The bearer token, or the whole header as relay-go takes it. Raises UNAUTHENTICATED when there is none."""
        return bearer(self.headers)

    def service_headers(self) -> dict[str, str]:
        """A2A's own headers, which pass through; names that the relay stamps are not among them."""
        return {name: text for name, text in self.headers.items() if is_service_header(name)}

    def require_json(self) -> None:
        """Refuse multipart; any other content type is taken when the body is JSON (decision 27)."""
        if self.headers.get("content-type", "").strip().lower().startswith("multipart/"):
            raise Refused(Reason.CONTENT_TYPE_NOT_SUPPORTED)
        if self.headers.get("content-encoding", "identity").lower() != "identity":
            raise Refused(Reason.CONTENT_TYPE_NOT_SUPPORTED, "a compressed body is not supported")

    async def body(self, limit: int, timeout_seconds: float) -> bytes:
        """The whole body, whose pieces may each take `timeout_seconds`, and all of them ten times that.

        Raises TOO_LARGE before it costs, REQUEST_TIMEOUT when it dribbles, CLIENT_GONE.
        """
        length = self.headers.get("content-length", "0")
        if _LENGTH.fullmatch(length) and (len(length) > 18 or int(length) > limit):
            raise Refused(Reason.TOO_LARGE, metadata={"limit": str(limit)})
        parts: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(timeout_seconds * 10):
                while not self.is_read:
                    async with asyncio.timeout(timeout_seconds):
                        message = await self._receive()
                    if message["type"] == "http.disconnect":
                        raise Refused(Reason.CLIENT_GONE)
                    parts.append(message.get("body", b""))
                    size += len(parts[-1])
                    if size > limit:
                        raise Refused(Reason.TOO_LARGE, metadata={"limit": str(limit)})
                    self.is_read = not message.get("more_body", False)
        except TimeoutError as error:
            raise Refused(Reason.REQUEST_TIMEOUT) from error
        return b"".join(parts)

    async def gone(self) -> None:
        """Return when the client has gone away (only after the body was read)."""
        while (await self._receive())["type"] != "http.disconnect":
            pass


def raw_target(scope: Scope) -> bytes:
    """The request target as it was sent; a server that keeps no raw path gives the decoded one, re-encoded."""
    path: bytes | None = scope.get("raw_path")
    if path is None:
        from urllib.parse import quote

        path = quote(scope["path"], safe="/:@!$&'()*+,;=-._~").encode("ascii")
    query: bytes = scope.get("query_string", b"")
    return path + b"?" + query if query else path


def read_headers(scope: Scope) -> dict[str, str]:
    """Headers by lower-case name. One that must be single and is not makes the request ambiguous."""
    found: dict[str, str] = {}
    for raw_name, raw_value in scope["headers"]:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1").strip()
        if name not in found:
            found[name] = value
        elif name in _SINGLE:
            if found[name] != value:
                raise Refused(Reason.INVALID_HTTP, f"the header {name} is given twice")
        else:
            found[name] = f"{found[name]}, {value}"
    return found


def bearer(headers: dict[str, str]) -> str:
    """The credential of a request. Raises UNAUTHENTICATED."""
    text = headers.get("authorization", "")
    scheme, _, rest = text.partition(" ")
    token = rest.strip() if scheme.lower() == "bearer" else text
    if not token:
        raise Refused(Reason.UNAUTHENTICATED)
    return token


def _request_id(given: str | None) -> str:
    """The client's X-Request-ID when it is harmless, else a new one."""
    if given and len(given) <= 64 and given.isascii() and given.replace("-", "").replace("_", "").isalnum():
        return given
    return secrets.token_hex(8)
