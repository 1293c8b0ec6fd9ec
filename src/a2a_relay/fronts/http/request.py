"""An HTTP request from an ASGI scope: its head, and the body to come."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from typing import Any
from urllib.parse import quote

from a2a_relay.errors import Reason, Refused
from a2a_relay.fronts.http.head import HeaderBlock, RequestHead

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_DROPPED_BYTES = 64 * 1024
_SMALL_LENGTH = re.compile(r"[0-9]{1,5}", re.ASCII)
_DROP_SECONDS = 1.0


class HttpRequest(RequestHead):
    """A request whose body is still to be received."""

    def __init__(self, scope: Scope, receive: Receive) -> None:
        client = scope.get("client")
        super().__init__(
            verb=scope["method"],
            target=raw_target(scope),
            block=HeaderBlock(scope["headers"]),
            scheme=scope.get("scheme", "http"),
            client=f"{client[0]}:{client[1]}" if client else "",
        )
        self._receive = receive
        self.is_read = False

    async def body(self, limit: int, timeout_seconds: float) -> bytes:
        """The whole body, whose pieces may each take `timeout_seconds`, and all of them ten times that.

        Raises TOO_LARGE before it costs, REQUEST_TIMEOUT when it dribbles, CLIENT_GONE.
        """
        self.block.require_length(limit)
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

    async def drop_body(self) -> None:
        """Read a small body that nobody needs, so that its refusal does not cost the connection.

        A server closes a connection whose request it has answered before all of it was there, and a client may have
        sent its next request by then. A body that is large, or does not come, is left to the server.
        """
        length = self.block.by_name.get("content-length", "")
        is_small = _SMALL_LENGTH.fullmatch(length) is not None and 0 < int(length) <= _DROPPED_BYTES
        if self.is_read or self.block.ends_connection or not is_small:
            return
        with suppress(Refused, TimeoutError):
            async with asyncio.timeout(_DROP_SECONDS):
                await self.body(_DROPPED_BYTES, _DROP_SECONDS)

    async def gone(self) -> None:
        """Return when the client has gone away (only after the body was read)."""
        while (await self._receive())["type"] != "http.disconnect":
            pass


def raw_target(scope: Scope) -> bytes:
    """The request target as it was sent; a server that keeps no raw path gives the decoded one, re-encoded."""
    path: bytes | None = scope.get("raw_path")
    if path is None:
        path = quote(scope["path"], safe="/:@!$&'()*+,;=-._~").encode("ascii")
    query: bytes = scope.get("query_string", b"")
    return path + b"?" + query if query else path
