"""A client that reads server-sent events from a socket of its own, as slowly as a test likes, and reads on."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

PATIENCE_SECONDS = 30.0
_LINES = 1 << 20


@dataclass(frozen=True)
class Event:
    """One event, and when it came (monotonic). A comment has the name `comment`."""

    name: str
    id: str
    data: str
    at: float

    @property
    def json(self) -> Any:
        return json.loads(self.data)

    @property
    def reason(self) -> str:
        """Of an error event: the relay's reason."""
        error = self.json["error"]
        return str((error.get("details") or error["data"])[0]["reason"])


class Lost(Exception):
    """The connection has ended before the answer did."""


class Reader:
    """One answer. What is not read stays in its socket, and then with the relay."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self.status = 0
        self.headers: dict[str, str] = {}
        self.last_id = ""

    async def read_head(self) -> None:
        """Read the answer's head. Raises Lost."""
        try:
            status_line, *lines = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            raise Lost("no head") from error
        self.status = int(status_line.split(" ")[1])
        self.headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}

    async def body(self) -> bytes:
        """All of an answer that is no stream."""
        if "content-length" in self.headers:
            return await self._reader.readexactly(int(self.headers["content-length"]))
        return b"".join([data async for data in self._pieces()])

    async def _pieces(self) -> AsyncIterator[bytes]:
        """The pieces of a chunked answer. Raises Lost when it does not end as HTTP has it."""
        try:
            while size := int(await self._reader.readuntil(b"\r\n"), 16):
                yield (await self._reader.readexactly(size + 2))[:-2]
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            raise Lost("in the middle") from error

    async def events(self) -> AsyncIterator[Event]:
        """Events and comments to the clean end of the answer. Raises Lost."""
        held = b""
        async for data in self._pieces():
            *blocks, held = (held + data).split(b"\n\n")
            for block in blocks:
                yield self._event(block.decode())
        assert not held, held

    def _event(self, block: str) -> Event:
        fields = {"": "", "event": "", "id": "", "data": ""}
        for line in block.split("\n"):
            name, _, value = line.partition(":")
            fields[name] = value.removeprefix(" ")
        if fields["id"]:
            self.last_id = fields["id"]
        is_comment = block.startswith(":") and not fields["data"]
        name = "comment" if is_comment else fields["event"] or "message"
        return Event(name, fields["id"], fields["data"], time.monotonic())

    def close(self) -> None:
        """Go away at once, also with bytes that were not sent."""
        self._writer.transport.abort()


def request(url: str, token: str, body: bytes | None, **headers: str) -> bytes:
    """The bytes of a request: a POST, or without a body a GET."""
    parts = urlsplit(url)
    fields = {
        "Host": parts.netloc,
        "Authorization": f"Bearer {token}",
        "A2A-Version": "1.0",
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    if body is not None:
        fields |= {"Content-Type": "application/json", "Content-Length": str(len(body))}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    verb = "GET" if body is None else "POST"
    return f"{verb} {parts.path} HTTP/1.1\r\n{head}\r\n".encode() + (body or b"")


@asynccontextmanager
async def reading(
    url: str,
    token: str,
    body: bytes | None = None,
    *,
    receive_buffer: int | None = None,
    patience: float = PATIENCE_SECONDS,
    **headers: str,
) -> AsyncIterator[Reader]:
    """Ask, and read the answer's head. `receive_buffer` bounds what the kernel holds here. Raises Lost, OSError."""
    parts = urlsplit(url)
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        if receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, (parts.hostname, parts.port))
        limit = _LINES if receive_buffer is None else receive_buffer
        streams = await asyncio.open_connection(sock=sock, limit=limit)
        reader = Reader(*streams)
        try:
            streams[1].write(request(url, token, body, **headers))
            async with asyncio.timeout(patience):
                await reader.read_head()
            yield reader
        finally:
            reader.close()


def message(text: str) -> bytes:
    """The body of an HTTP+JSON send."""
    parts = [{"text": text}]
    return json.dumps({"message": {"messageId": "m-1", "role": "ROLE_USER", "parts": parts}}).encode()
