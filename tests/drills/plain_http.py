"""HTTP as small as a drill needs it: one connection, one request at a time, answers whole or line by line."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any, NamedTuple

ANSWER_SECONDS = 20.0
MAX_ANSWER = 16 * 1024 * 1024


class NoAnswer(Exception):
    """The connection ended, or nothing came for too long: what became of the request is unknown."""


class Answer(NamedTuple):
    """One answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Connection:
    """One connection to a relay, opened when it is needed and again when it was lost."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, verb: str, path: str, headers: Mapping[str, str], body: bytes = b"") -> Answer:
        """One request and its answer. Raises NoAnswer."""
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                reader = await self._send(verb, path, headers, body)
                status, found = await self._head(reader)
                if found.get("transfer-encoding") == "chunked":
                    return Answer(status, found, b"".join([piece async for piece in _chunks(reader)]))
                return Answer(status, found, await reader.readexactly(int(found.get("content-length", "0"))))
        except (OSError, EOFError, TimeoutError, ValueError) as error:
            self.close()
            raise NoAnswer(repr(error)) from error

    async def events(self, path: str, headers: Mapping[str, str], body: bytes) -> AsyncIterator[Any]:
        """The data of the events of a stream, until it ends or the connection does."""
        try:
            reader = await self._send("POST", path, headers, body)
            _, found = await self._head(reader)
            if not found.get("content-type", "").startswith("text/event-stream"):
                return
            rest = b""
            async for piece in _chunks(reader):
                *lines, rest = (rest + piece).split(b"\n")
                for line in lines:
                    if line.startswith(b"data:"):
                        yield json.loads(line.removeprefix(b"data:"))
        except (OSError, EOFError, ValueError):
            return
        finally:
            self.close()

    async def _send(self, verb: str, path: str, headers: Mapping[str, str], body: bytes) -> asyncio.StreamReader:
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port, limit=MAX_ANSWER)
        reader, writer = self._streams
        lines = [f"{verb} {path} HTTP/1.1", "Host: 127.0.0.1", f"Content-Length: {len(body)}"]
        lines += [f"{name}: {text}" for name, text in headers.items()]
        writer.write("\r\n".join([*lines, "", ""]).encode() + body)
        await writer.drain()
        return reader

    async def _head(self, reader: asyncio.StreamReader) -> tuple[int, dict[str, str]]:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        pairs = (line.split(":", 1) for line in head[1:] if line)
        headers = {name.lower(): text.strip() for name, text in pairs}
        return int(head[0].split()[1]), headers

    def close(self) -> None:
        """Drop the connection; the next request opens another."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


async def _chunks(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
        yield await reader.readexactly(size)
        await reader.readexactly(2)
    await reader.readexactly(2)
