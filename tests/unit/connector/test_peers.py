"""The peers door: who may come in, where it leads, and what it takes along."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from a2a_relay.connector import peers_card, relay_url
from a2a_relay.connector.peers import PeersDoor
from a2a_relay.connector.refused import ConnectorRefused
from a2a_relay.connector.tokens import StaticToken
from a2a_relay.wire.agent_side import AuthOk

OK = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nset-cookie: a=b\r\ncontent-length: 2\r\n\r\n{}"
CARD = {
    "name": "peer",
    "url": "https://elsewhere.example/",
    "signatures": [{"protected": "x"}],
    "supportedInterfaces": [
        {"url": "http://relay.example/t/acme/a2a/peer/", "protocolBinding": "JSONRPC"},
        {"url": "http://elsewhere.example/t/acme/a2a/peer/", "protocolBinding": "JSONRPC"},
    ],
}


class FarSide:
    """A relay that answers every request with the same bytes and writes down what it heard."""

    def __init__(self, answer: bytes = OK) -> None:
        self.answer = answer
        self.heard: list[bytes] = []

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = [
            int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")
        ]
        self.heard.append(head + await reader.readexactly(length[0] if length else 0))
        writer.write(self.answer)
        await writer.drain()
        writer.close()


@asynccontextmanager
async def door(far: FarSide, token: str | None = None, *, attached: bool = True) -> AsyncIterator[PeersDoor]:
    async with await asyncio.start_server(far, "127.0.0.1", 0) as server:
        relay = relay_url.read(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        found = PeersDoor("127.0.0.1:0", token, relay, None, StaticToken("the-connectors-token"))
        await found.open()
        if attached:
            found.follow(
                AuthOk("me", "acme", True, "s", 30, 1 << 20, {"JSONRPC": "http://relay.example/t/acme/a2a/me/"})
            )
        try:
            yield found
        finally:
            await found.aclose()


async def ask(
    opened: PeersDoor, target: str = "/peer/", *headers: str, verb: str = "POST", host: str = "", body: str = "{}"
) -> str:
    """One raw request; the whole answer until the door closes the connection."""
    authority = opened.url.removeprefix("http://")
    lines = [
        f"{verb} {target} HTTP/1.1",
        f"Host: {host or authority}",
        "Connection: close",
        f"Content-Length: {len(body)}",
    ]
    name, _, port = authority.rpartition(":")
    reader, writer = await asyncio.open_connection(name, int(port))
    writer.write("\r\n".join([*lines, *headers, "", body]).encode("latin-1"))
    async with asyncio.timeout(10):
        answer = (await reader.read()).decode("latin-1")
    writer.close()
    return answer


async def test_a_call_goes_to_the_same_agent_of_the_tenant_with_the_connectors_token() -> None:
    far = FarSide()
    async with door(far) as opened:
        answer = await ask(
            opened,
            "/peer/message:send?a=1",
            "A2A-Version: 1.0",
            "A2A-Relay-Sender: mallory",
            "Cookie: c=1",
            "X-Other: 1",
        )
    head, _, body = far.heard[0].decode().partition("\r\n\r\n")
    assert head.startswith("POST /t/acme/a2a/peer/message:send?a=1 HTTP/1.1\r\n")
    assert "authorization: bearer the-connectors-token" in head.lower()
    assert "a2a-version: 1.0" in head.lower()
    assert body == "{}"
    for kept_back in ("mallory", "cookie", "x-other"):
        assert kept_back not in head.lower()
    assert answer.startswith("HTTP/1.1 200")
    assert "set-cookie" not in answer.lower()


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80", "127.0.0.1", "127.0.0.1:1", "localhost.evil.example:80", "x"]
)
async def test_another_name_for_the_door_is_refused(host: str) -> None:
    far = FarSide()
    async with door(far) as opened:
        assert (await ask(opened, host=host)).startswith("HTTP/1.1 403")
        port = opened.url.rpartition(":")[2]
        assert (await ask(opened, host=f"localhost:{port}")).startswith("HTTP/1.1 200")
    assert len(far.heard) == 1


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:7777"])
async def test_web_pages_are_refused(origin: str) -> None:
    far = FarSide()
    async with door(far) as opened:
        assert (await ask(opened, "/peer/", f"Origin: {origin}")).startswith("HTTP/1.1 403")
    assert far.heard == []


async def test_a_token_of_its_own_locks_the_door() -> None:
    far = FarSide()
    async with door(far, "door-token") as opened:
        for wrong in ((), ("Authorization: Bearer wrong",), ("Authorization: door-token2",)):
            assert (await ask(opened, "/peer/", *wrong)).startswith("HTTP/1.1 401")
        assert (await ask(opened, "/peer/", "Authorization: Bearer door-token")).startswith("HTTP/1.1 200")
    assert len(far.heard) == 1
    assert b"door-token" not in far.heard[0]


@pytest.mark.parametrize(
    "target",
    [
        "/",
        "/../x",
        "/peer/../../agents",
        "/peer/%2e%2e/x",
        "/peer/a%2Fb",
        "/peer//x",
        "http://evil/x",
        "*",
        "/pe%65r/",
        "/..",
        "/a\\b",
    ],
)
async def test_no_target_leads_out_of_the_tenants_agents(target: str) -> None:
    far = FarSide()
    async with door(far) as opened:
        assert (await ask(opened, target)).startswith("HTTP/1.1 400")
    assert far.heard == []


async def test_other_verbs_and_large_bodies_and_garbage_are_refused() -> None:
    far = FarSide()
    async with door(far) as opened:
        assert (await ask(opened, verb="PUT")).startswith("HTTP/1.1 405")
        assert (await ask(opened, "/peer/", "Bad Header")).startswith("HTTP/1.1 400")
        assert (await ask(opened, "/peer/", "Host: again")).startswith("HTTP/1.1 400")
        assert (await ask(opened, body="x" * (4 * 1024 * 1024 + 1))).startswith("HTTP/1.1 413")
        assert (await ask(opened)).startswith("HTTP/1.1 200")


async def test_without_a_link_there_is_nobody_to_call() -> None:
    async with door(FarSide(), attached=False) as opened:
        answer = await ask(opened)
    assert answer.startswith("HTTP/1.1 503")
    assert "retry-after: 1" in answer.lower()


async def test_a_card_points_at_the_door_and_nowhere_else() -> None:
    data = json.dumps(CARD).encode()
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(data)
    async with door(FarSide(head + data)) as opened:
        answer = await ask(opened, "/peer/.well-known/agent-card.json", verb="GET", body="")
        served = json.loads(answer.partition("\r\n\r\n")[2])
        url = f"{opened.url}/peer/"
    assert served == {"name": "peer", "supportedInterfaces": [{"url": url, "protocolBinding": "JSONRPC"}]}


async def test_a_stream_passes_as_it_comes_and_its_cut_is_seen() -> None:
    far = FarSide(
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n5\r\ndata:\r\n"
    )
    async with door(far) as opened:
        answer = await ask(opened, "/peer/message:stream")
    assert "data:" in answer
    assert not answer.endswith("0\r\n\r\n"), "a stream that was cut off must not look whole"


async def test_a_relay_that_is_away_is_said_to_be() -> None:
    async with door(FarSide(b"")) as opened:
        assert (await ask(opened)).startswith("HTTP/1.1 502")


@pytest.mark.parametrize(
    "bind", ["0.0.0.0:7777", "192.168.1.5:1", "example.com:80", "127.0.0.1", "127.0.0.1:x", "127.0.0.1:99999"]
)
def test_the_door_opens_on_this_machine_only(bind: str) -> None:
    with pytest.raises(ConnectorRefused):
        PeersDoor(bind, None, relay_url.read("http://127.0.0.1:1"), None, StaticToken("t"))


async def test_a_taken_address_is_said_in_one_line() -> None:
    async with door(FarSide()) as opened:
        other = PeersDoor(
            opened.url.removeprefix("http://"), None, relay_url.read("http://127.0.0.1:1"), None, StaticToken("t")
        )
        with pytest.raises(ConnectorRefused, match="cannot open"):
            await other.open()
        await other.aclose()


@given(
    st.dictionaries(
        st.sampled_from(["url", "supportedInterfaces", "additionalInterfaces", "x"]),
        st.recursive(
            st.none()
            | st.text(max_size=20)
            | st.integers()
            | st.sampled_from(["http://relay.example/t/acme/a2a/p/", "http://[x"]),
            lambda inner: (
                st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["url", "y"]), inner, max_size=2)
            ),
            max_leaves=8,
        ),
    )
)
def test_no_card_leads_past_the_door(card: dict[str, object]) -> None:
    moved = json.loads(
        peers_card.rewrite(
            json.dumps(card).encode(), frozenset({"http://relay.example"}), "/t/acme/a2a/", "http://door:1"
        )
    )
    urls = [moved.get("url", "http://door:1/")]
    for name in ("supportedInterfaces", "additionalInterfaces"):
        entries = moved.get(name)
        urls += [entry["url"] for entry in entries] if isinstance(entries, list) else []
    assert all(url.startswith("http://door:1/") for url in urls)
