"""The door of a running relay: who comes from where, how many at a time, from which pages, and how slowly."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import subprocess
import threading
from collections.abc import Callable
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NoReturn

import httpx
import pytest
from programs import Relay, running_relay
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

lanes = pytest.mark.parametrize("lane", ["fast", "plain"])
Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]
CALL = {"jsonrpc": "2.0", "id": 1, "method": "SendMessage", "params": {"message": {"messageId": "m"}}}
BEHIND_A_PROXY = ("--trusted-proxies", "127.0.0.1", "--exempt-addresses", "10.0.0.0/8")


def link_url(relay: Relay) -> str:
    return f"ws{relay.url.removeprefix('http')}/agent"


async def close_code(relay: Relay, token: str, **headers: str) -> int | None:
    async with connect(link_url(relay), proxy=None, additional_headers=headers) as link:
        with contextlib.suppress(ConnectionClosed):
            await link.send(json.dumps({"type": "auth", "token": token}))
            while True:
                await link.recv()
    return link.close_code


@lanes
async def test_failed_logins_are_slowed_where_they_come_from_and_nowhere_else(tmp_path: Path, lane: str) -> None:
    with running_relay(tmp_path, "--lane", lane, "--login-failures", "3", *BEHIND_A_PROXY) as relay:
        url, here, there = relay.base("nobody"), "203.0.113.7", "203.0.113.8"
        good, bad = relay.token(), relay.token()[:-6] + "AAAAAA"

        async def status(client: httpx.AsyncClient, token: str, host: str) -> int:
            headers = {"Authorization": f"Bearer {token}", "X-Forwarded-For": f"1.2.3.4, {host}"}
            answer = await client.post(url, json=CALL, headers=headers)
            assert ("retry-after" in answer.headers) is (answer.status_code == 429)
            return answer.status_code

        async with httpx.AsyncClient(trust_env=False) as client:
            assert await status(client, good, here) == 404
            assert [await status(client, bad, here) for _ in range(5)] == [401, 401, 401, 429, 429]
            assert await status(client, good, here) == 404
            assert await status(client, bad, there) == 401
            headers = {"Authorization": f"Bearer {bad}", "X-Forwarded-For": here}
            assert (await client.get(f"{relay.url}/.well-known/agents", headers=headers)).status_code == 429
            assert [await status(client, bad, "10.1.1.1") for _ in range(5)] == [401] * 5
        agent = relay.token(role="agent", agent="zaf")[:-6] + "AAAAAA"
        forwarded = {"X-Forwarded-For": there}
        assert [await close_code(relay, agent, **forwarded) for _ in range(4)] == [4001, 4001, 4001, 4005]


@lanes
async def test_an_address_holds_only_so_many_connections(tmp_path: Path, lane: str) -> None:
    options = ("--connections-per-address", "3", "--exempt-addresses", "none")
    with running_relay(tmp_path, "--lane", lane, *options) as relay:
        host, port = relay.url.removeprefix("http://").split(":")
        opened: list[asyncio.StreamWriter] = []

        async def dial() -> Ends:
            ends = await asyncio.open_connection(host, int(port))
            opened.append(ends[1])
            return ends

        async def answers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
            writer.write(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
            try:
                return (await asyncio.wait_for(reader.readline(), 20)).startswith(b"HTTP/1.1 200")
            except ConnectionError:
                return False

        async def settled() -> None:
            while True:  # the relay hears of connections that are gone, in its own time
                ends = await dial()
                is_free = await answers(*ends)
                ends[1].close()
                if is_free:
                    return
                await asyncio.sleep(0.05)

        await asyncio.wait_for(settled(), 20)
        async with contextlib.AsyncExitStack() as links:
            for _ in range(6):  # links are no connections of HTTP's, once they are links
                await links.enter_async_context(connect(link_url(relay), proxy=None))
            held = []
            while len(held) < 3:
                ends = await dial()
                if await answers(*ends):
                    held.append(ends)
            assert not await answers(*await dial())
            held.pop()[1].close()
            await asyncio.wait_for(settled(), 20)
        for writer in opened:
            writer.close()


@lanes
async def test_links_of_pages_that_are_not_named_are_refused(tmp_path: Path, lane: str) -> None:
    with running_relay(tmp_path, "--lane", lane, "--allowed-origins", "https://app.example") as relay:
        for origin in (None, "https://app.example"):
            async with connect(link_url(relay), proxy=None, origin=origin):
                pass
        with pytest.raises(InvalidStatus) as refused:
            await connect(link_url(relay), proxy=None, origin="https://evil.example")
        assert refused.value.response.status_code == 403


@lanes
async def test_a_body_that_dribbles_for_ever_is_given_up(tmp_path: Path, lane: str) -> None:
    """Each byte is in time, and all of them together are not."""
    with running_relay(tmp_path, "--lane", lane, "--body-timeout", "0.3") as relay:
        host, port = relay.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        head = f"POST /t/acme/a2a/zaf/ HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {relay.token()}\r\n"
        writer.write(head.encode() + b"Content-Length: 1000\r\n\r\n")
        reading = asyncio.ensure_future(reader.readline())
        for _ in range(300):
            writer.write(b" ")
            await asyncio.sleep(0.1)
            if reading.done():
                break
        assert (await reading).startswith(b"HTTP/1.1 408 ")
        writer.close()


@lanes
async def test_half_a_frame_of_a_stranger_is_given_up(tmp_path: Path, lane: str) -> None:
    """Its bytes come one by one, and the time for the first frame does not begin again."""
    with running_relay(tmp_path, "--lane", lane, "--auth-timeout", "1") as relay:
        host, port = relay.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        upgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        writer.write(f"GET /agent HTTP/1.1\r\nHost: x\r\n{upgrade}{key}\r\n".encode())
        assert b" 101 " in await reader.readuntil(b"\r\n\r\n")
        writer.write(b"\x81\xfe\x10\x00\x00\x00\x00\x00")
        reading = asyncio.ensure_future(reader.readuntil((4003).to_bytes(2, "big")))
        with contextlib.suppress(ConnectionError):
            for _ in range(200):
                if reading.done():
                    break
                writer.write(b"{")
                await asyncio.sleep(0.1)
        await asyncio.wait_for(reading, 20)
        writer.close()


async def test_pages_and_plain_answers_say_what_browsers_may_do(tmp_path: Path) -> None:
    with running_relay(tmp_path) as relay:
        async with httpx.AsyncClient(trust_env=False) as client:
            for path in ("/", "/health", "/livez"):
                headers = (await client.get(relay.url + path)).headers
                assert headers.get_list("x-content-type-options") == ["nosniff"]
                assert headers["referrer-policy"] == "no-referrer"
                assert "frame-ancestors 'none'" in headers["content-security-policy"]
                assert "strict-transport-security" not in headers
            refused = await client.post(relay.base("zaf"), json=CALL)
            assert refused.headers.get_list("x-content-type-options") == ["nosniff"]
            assert not any(name.startswith("access-control") for name in refused.headers)


@lanes
async def test_a_page_that_is_named_may_call_and_any_other_may_not(tmp_path: Path, lane: str) -> None:
    with running_relay(tmp_path, "--lane", lane, "--cors-origins", "https://app.example") as relay:
        async with httpx.AsyncClient(trust_env=False) as client:
            for origin, is_named in (("https://app.example", True), ("https://evil.example", False)):
                asks = {"Origin": origin, "Access-Control-Request-Method": "POST"}
                for answer in (
                    await client.options(relay.base("zaf"), headers=asks),
                    await client.post(relay.base("zaf"), json=CALL, headers={"Origin": origin}),
                    await client.get(relay.url, headers={"Origin": origin}),
                ):
                    allowed = answer.headers.get("access-control-allow-origin")
                    assert allowed == (origin if is_named else None)
                    assert "Origin" in answer.headers["vary"]


PAGE = """<!doctype html><title>waiting</title><script>
(async () => {
  const said = [];
  const call = async (init) => {
    try {
      const answer = await fetch(URL_, {method: "POST", body: BODY, ...init});
      said.push(answer.status, answer.headers.get("x-request-id") !== null);
    } catch (error) { said.push("blocked"); }
  };
  const headers = {"Content-Type": "application/json", "A2A-Version": "1.0"};
  await call({headers: {...headers, Authorization: "Bearer TOKEN"}});
  await call({headers});
  document.title = said.join(" ");
  document.body.textContent = "said: " + said.join(" ");
})();
</script><body></body>"""


def test_a_real_browser_calls_from_a_named_page_and_is_stopped_elsewhere(
    tmp_path: Path, unavailable: Callable[[str], NoReturn]
) -> None:
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        unavailable("no chromium")
    pages = tmp_path / "pages"
    pages.mkdir()
    serve = partial(SimpleHTTPRequestHandler, directory=str(pages))
    serve.func.log_message = lambda *_: None  # type: ignore[method-assign]
    with ThreadingHTTPServer(("127.0.0.1", 0), serve) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        port = server.server_address[1]
        with running_relay(tmp_path, "--cors-origins", f"http://127.0.0.1:{port}") as relay:
            text = PAGE.replace("URL_", json.dumps(relay.base("zaf"))).replace("TOKEN", relay.token())
            (pages / "index.html").write_text(text.replace("BODY", json.dumps(json.dumps(CALL))))
            said = [
                subprocess.run(
                    [
                        *(browser, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
                        *(f"--user-data-dir={tmp_path / host}", "--no-first-run", "--no-proxy-server"),
                        *("--timeout=15000", "--virtual-time-budget=10000", "--dump-dom", f"http://{host}:{port}/"),
                    ],
                    capture_output=True,
                    text=True,
                    timeout=50,
                    check=False,
                ).stdout
                for host in ("127.0.0.1", "localhost")
            ]
        server.shutdown()
    assert "said: 404 true 401 true" in said[0]
    assert "said: blocked blocked" in said[1]
