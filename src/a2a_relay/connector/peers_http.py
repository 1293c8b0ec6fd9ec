"""The HTTP/1.1 server side of the peers door: h11 reads and writes, asyncio streams carry."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass

import h11

from a2a_relay.errors import Reason, Refused

MAX_BODY_BYTES = 4 * 1024 * 1024
_MAX_HEAD_BYTES = 16 * 1024
_READ_BYTES = 64 * 1024
_IDLE_SECONDS = 75.0
_REQUEST_SECONDS = 30.0

Header = tuple[bytes, bytes]


@dataclass(frozen=True, slots=True)
class PeerRequest:
    """One request, whole. Header names are lower-case."""

    verb: str
    target: bytes
    headers: tuple[Header, ...]
    body: bytes

    def header(self, name: str) -> str | None:
        """The only header of this name. Raises `Refused` when there are several."""
        found = [value for key, value in self.headers if key == name.encode()]
        if len(found) > 1:
            raise Refused(Reason.INVALID_HTTP, f"the header {name} is given twice")
        return found[0].decode("latin-1") if found else None


class PeerConnection:
    """One connection of a local client."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=_MAX_HEAD_BYTES)

    @property
    def may_answer(self) -> bool:
        """Whether no part of an answer to the current request has been written."""
        return self._http.our_state in (h11.IDLE, h11.SEND_RESPONSE)

    async def next_request(self) -> PeerRequest | None:
        """The next request, or None when the client is done. Raises `Refused` for one that cannot be taken."""
        if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
            self._http.start_next_cycle()
        if self._http.our_state is not h11.IDLE:
            return None
        try:
            head = await self._next_event(_IDLE_SECONDS)
            if not isinstance(head, h11.Request):
                return None
            body = await self._read_body()
        except h11.RemoteProtocolError as error:
            raise Refused(Reason.INVALID_HTTP) from error
        headers = tuple((bytes(name), bytes(value)) for name, value in head.headers)
        return PeerRequest(head.method.decode("ascii"), bytes(head.target), headers, body)

    async def _read_body(self) -> bytes:
        if self._http.they_are_waiting_for_100_continue:
            await self._write(h11.InformationalResponse(status_code=100, headers=[]))
        parts: list[bytes] = []
        held = 0
        while True:
            event = await self._next_event(_REQUEST_SECONDS)
            if not isinstance(event, h11.Data):
                return b"".join(parts)
            held += len(event.data)
            if held > MAX_BODY_BYTES:
                raise Refused(Reason.TOO_LARGE)
            parts.append(bytes(event.data))

    async def _next_event(self, seconds: float) -> object:
        while True:
            event = self._http.next_event()
            if event is not h11.NEED_DATA:
                return event
            try:
                async with asyncio.timeout(seconds):
                    data = await self._reader.read(_READ_BYTES)
            except TimeoutError:
                raise ConnectionResetError("the client sends nothing") from None
            self._http.receive_data(data)

    async def answer(self, status: int, headers: Iterable[Header], body: bytes, *, is_last: bool = False) -> None:
        """A whole answer."""
        all_headers = [*headers, (b"content-length", str(len(body)).encode())]
        if is_last:
            all_headers.append((b"connection", b"close"))
        await self._write(h11.Response(status_code=status, headers=all_headers))
        await self._write(h11.Data(data=body))
        await self._write(h11.EndOfMessage())

    async def stream(self, status: int, headers: Iterable[Header], parts: AsyncIterator[bytes]) -> None:
        """An answer whose parts are written as they come."""
        await self._write(h11.Response(status_code=status, headers=list(headers)))
        async for part in parts:
            await self._write(h11.Data(data=part))
        await self._write(h11.EndOfMessage())

    async def _write(self, event: h11.Event) -> None:
        data = self._http.send(event)
        if data:
            self._writer.write(data)
            await self._writer.drain()

    async def aclose(self) -> None:
        """End the connection; what was not written whole is seen as cut off."""
        self._writer.close()
        try:
            await self._writer.wait_closed()
        except OSError:
            return
