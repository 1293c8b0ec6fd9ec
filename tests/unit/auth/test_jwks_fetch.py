"""A fetch goes where it may go, takes what it may take, and no longer than it may."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest

from a2a_relay.auth import jwks_fetch
from a2a_relay.auth.jwks import MAX_BYTES
from a2a_relay.auth.jwks_fetch import FetchFailed, fetch

ANSWERS = {
    "/jwks": b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{}",
    "/moved": b"HTTP/1.1 302 Found\r\nlocation: /jwks\r\ncontent-length: 0\r\n\r\n",
    "/large": b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n" + b" " * (MAX_BYTES + 1),
    "/broken": b"HTTP/9 what\r\n\r\n",
}


@pytest.fixture
async def server() -> AsyncIterator[tuple[str, list[bytes]]]:
    heads: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        heads.append(head)
        found = ANSWERS.get(head.split()[1].decode())
        if found is None:
            await reader.read()  # it never answers
        writer.write(found or b"")
        writer.close()

    listener = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with listener:
        yield f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}", heads


async def refusal(url: str, *, allows_loopback: bool = True) -> str:
    with pytest.raises(FetchFailed) as failed:
        await fetch(url, allows_loopback=allows_loopback)
    return str(failed.value)


async def test_a_relay_on_loopback_fetches_from_its_own_machine(server: tuple[str, list[bytes]]) -> None:
    url, heads = server
    assert await fetch(f"{url}/jwks", allows_loopback=True) == b"{}"
    assert f"Host: {url[7:]}".lower().encode() in heads[-1].lower()


async def test_any_other_does_not(server: tuple[str, list[bytes]]) -> None:
    url, heads = server
    assert await refusal(f"{url}/jwks", allows_loopback=False) == "not a public address"
    assert not heads


async def test_what_is_not_an_answer_is_not_taken(
    server: tuple[str, list[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, heads = server
    assert await refusal(f"{url}/moved") == "HTTP status 302"
    assert await refusal(f"{url}/large") == f"more than {MAX_BYTES} bytes"
    assert "RemoteProtocolError" in await refusal(f"{url}/broken")
    assert len(heads) == 3
    monkeypatch.setattr(jwks_fetch, "FETCH_SECONDS", 0.2)
    assert await refusal(f"{url}/silent") == "no answer within 0.2 s"


@pytest.mark.parametrize(
    "address",
    ["10.0.0.1", "169.254.169.254", "192.168.1.1", "::1", "fe80::1%1", "::ffff:10.0.0.1", "64:ff9b::a00:1", "0.0.0.0"],
)
async def test_a_name_is_judged_by_what_it_resolves_to(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when one of its addresses is public."""

    async def resolve(*_: object, **__: object) -> list[tuple[object, ...]]:
        return [(socket.AF_INET, 0, 0, "", (found, 443)) for found in ("93.184.215.14", address)]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolve, raising=False)
    assert await refusal("https://issuer.example/jwks", allows_loopback=False) == "not a public address"


@pytest.mark.parametrize(
    "url",
    [
        "ftp://issuer.example",
        "file:///etc/hostname",
        "issuer.example",
        "https://",
        "https://u:p@93.184.215.14/",
        "http://93.184.215.14/",
    ],
)
async def test_only_https_is_called(url: str) -> None:
    assert await refusal(url, allows_loopback=False) == "not a URL with https"


async def test_a_url_that_is_none_is_a_failure() -> None:
    assert "ValueError" in await refusal("https://[::1/")
