"""What our server adds to uvicorn: limits on the head of a request, answers in order, TLS, liveness by bytes."""

from __future__ import annotations

import asyncio
import json
import ssl
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from programs import RELAY, SECRET, Relay, answers, clean_environment, running, running_relay
from websockets.asyncio.client import connect


async def exchange(relay: Relay, request: bytes) -> bytes:
    """Send raw bytes; everything that comes back until the relay closes, or nothing more comes for a second."""
    host, port = relay.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(request)
    received = b""
    try:
        while data := await asyncio.wait_for(reader.read(65536), 1):
            received += data
    except (TimeoutError, ConnectionResetError):
        pass
    writer.close()
    return received


@pytest.mark.parametrize(
    ("request_bytes", "status", "reason"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\nX-Big: " + b"a" * 40_000 + b"\r\n\r\n", 431, "HEADERS_TOO_LARGE"),
        (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 200 + b"\r\n", 431, "HEADERS_TOO_LARGE"),
        (b"GET /" + b"a" * 9_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414, "TARGET_TOO_LONG"),
        (b"GET http://evil.example/health HTTP/1.1\r\nHost: x\r\n\r\n", 400, "INVALID_TARGET"),
        (b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", 400, "INVALID_TARGET"),
        (b"nonsense\r\n\r\n", 400, "INVALID_HTTP"),
        (b"GET / HTTP/9.9\r\nHost: x\r\n\r\n", 400, "INVALID_HTTP"),
    ],
)
async def test_an_unacceptable_head_is_refused_with_its_reason(
    relay: Relay, request_bytes: bytes, status: int, reason: str
) -> None:
    answer = await exchange(relay, request_bytes)
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert reason.encode() in answer.partition(b"\r\n\r\n")[2]


async def test_a_head_that_dribbles_is_given_up(tmp_path: Path) -> None:
    with running_relay(tmp_path, "--header-timeout", "0.3") as relay:
        answer = await exchange(relay, b"GET / HTTP/1.1\r\nHost:")
        assert answer.startswith(b"HTTP/1.1 408 ")


async def test_a_body_that_dribbles_is_given_up(tmp_path: Path) -> None:
    with running_relay(tmp_path, "--body-timeout", "0.3") as relay:
        head = f"POST /t/acme/a2a/zaf/ HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {relay.token()}\r\n"
        answer = await exchange(relay, head.encode() + b"Content-Length: 100\r\n\r\n{")
        assert answer.startswith(b"HTTP/1.1 408 ")


async def test_pipelined_requests_are_answered_in_order(relay: Relay) -> None:
    paths = [b"/livez", b"/health", b"/readyz", b"/nothing"]
    request = b"".join(b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n" % path for path in paths)
    answer = await exchange(relay, request)
    statuses = [part[:3] for part in answer.split(b"HTTP/1.1 ")[1:]]
    assert statuses == [b"200", b"200", b"200", b"404"]
    assert answer.index(b'"agents_connected"') > answer.index(b'"status"')


async def big_answers(relay: Relay) -> None:
    """An agent whose every answer is 1 MiB."""
    async with connect(f"ws{relay.url.removeprefix('http')}/agent", proxy=None, max_size=None) as link:
        auth = {"type": "auth", "token": relay.token(role="agent", agent="zaf"), "protocol": "a2a-relay/1"}
        await link.send(json.dumps(auth))
        async for text in link:
            frame = json.loads(text)
            if frame["type"] == "a2a.request":
                number = frame["payload"]["params"]["message"]["messageId"]
                payload = {"id": frame["payload"]["id"], "result": {"number": number, "text": "x" * 2**20}}
                await link.send(json.dumps({"type": "a2a.response", "payload": payload}))


def pipelined_calls(relay: Relay, count: int) -> bytes:
    head = f"POST /t/acme/a2a/zaf/ HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {relay.token()}\r\nContent-Length: "
    bodies = [
        json.dumps({"jsonrpc": "2.0", "id": n, "method": "SendMessage", "params": {"message": {"messageId": f"{n}"}}})
        for n in range(count)
    ]
    return "".join(f"{head}{len(body)}\r\n\r\n{body}" for body in bodies).encode()


def resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096


@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells the memory of a process")
@pytest.mark.parametrize("lane", ["fast", "plain"])
async def test_a_client_that_does_not_read_holds_one_answer_and_gets_the_others_later(
    tmp_path: Path, lane: str
) -> None:
    with running_relay(tmp_path, "--lane", lane) as relay:
        agent = asyncio.ensure_future(big_answers(relay))
        await wait_until_attached(relay)
        host, port = relay.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port), limit=4096)
        before = resident_bytes(relay.program.process.pid)
        writer.write(pipelined_calls(relay, 60))
        await asyncio.sleep(2)
        assert resident_bytes(relay.program.process.pid) - before < 25 * 2**20
        for number in range(60):
            head = await reader.readuntil(b"\r\n\r\n")
            size = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            assert json.loads(await reader.readexactly(size))["id"] == number
        writer.close()
        agent.cancel()


@pytest.mark.parametrize("lane", ["fast", "plain"])
async def test_calls_behind_many_refusals_are_answered_in_order_however_slowly_they_are_read(
    tmp_path: Path, lane: str
) -> None:
    refused = b"POST /t/acme/a2a/zaf/ HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"
    with running_relay(tmp_path, "--lane", lane) as relay:
        agent = asyncio.ensure_future(big_answers(relay))
        await wait_until_attached(relay)
        host, port = relay.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port), limit=4096)
        writer.write(refused * 3000 + pipelined_calls(relay, 2) + refused)
        await asyncio.sleep(1)
        statuses = []
        for _ in range(3003):
            head = await reader.readuntil(b"\r\n\r\n")
            size = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            body = json.loads(await reader.readexactly(size))
            statuses.append((int(head.split()[1]), body["id"]))
        assert statuses == [(401, None)] * 3000 + [(200, 0), (200, 1), (401, None)]
        writer.close()
        agent.cancel()


async def test_a_request_behind_a_call_that_is_no_http_costs_neither_the_call_nor_anybody_else(relay: Relay) -> None:
    async with connect(f"ws{relay.url.removeprefix('http')}/agent", proxy=None) as link:
        await link.send(json.dumps({"type": "auth", "token": relay.token(role="agent", agent="zaf")}))
        assert json.loads(await link.recv())["type"] == "auth_ok"
        host, port = relay.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        broken = b"POST /t/acme/a2a/zaf/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"
        writer.write(pipelined_calls(relay, 1) + broken)
        payload = json.loads(await link.recv())["payload"]
        result = {"text": "y" * 200_000}
        await link.send(json.dumps({"type": "a2a.response", "payload": {"id": payload["id"], "result": result}}))
        answer = await reader.read(-1)
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert answer.count(b"HTTP/1.1 ") == 1
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["result"] == result
        writer.close()
        await link.send(json.dumps({"type": "ping"}))
        assert json.loads(await link.recv()) == {"type": "pong"}


async def test_a_client_that_reads_no_more_is_let_go(tmp_path: Path) -> None:
    with running_relay(tmp_path, "--body-timeout", "1") as relay:
        agent = asyncio.ensure_future(big_answers(relay))
        await wait_until_attached(relay)
        host, port = relay.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port), limit=4096)
        writer.write(pipelined_calls(relay, 20))
        await asyncio.sleep(4)
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await reader.readexactly(20 * 2**20)
        writer.close()
        agent.cancel()


async def wait_until_attached(relay: Relay) -> None:
    async with httpx.AsyncClient(trust_env=False) as client:
        for _ in range(100):
            if (await client.get(f"{relay.url}/health")).json()["agents_connected"]:
                return
            await asyncio.sleep(0.05)
    raise AssertionError("the agent has not attached")


async def test_a_bad_request_behind_a_good_one_does_not_break_the_good_ones_answer(relay: Relay) -> None:
    answer = await exchange(relay, b"GET /health HTTP/1.1\r\nHost: x\r\n\r\nnonsense\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 ")
    head, _, body = answer.partition(b"\r\n\r\n")
    size = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    assert json.loads(body[:size])["status"] == "ok"


@pytest.mark.parametrize("lane", ["fast", "plain"])
async def test_a_body_that_turns_out_to_be_no_http_ends_its_request_and_nothing_else(tmp_path: Path, lane: str) -> None:
    with running_relay(tmp_path, "--lane", lane) as relay:
        head = f"POST /t/acme/a2a/zaf/ HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {relay.token()}\r\n"
        answer = await exchange(relay, head.encode() + b"Transfer-Encoding: chunked\r\n\r\nnot a size\r\n")
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert answer.count(b"HTTP/1.1 ") == 1
        assert "internal_error" not in relay.program.output()


async def test_an_upload_that_is_refused_closes_the_connection_instead_of_being_read(relay: Relay) -> None:
    head = b"POST /t/acme/a2a/zaf/ HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\nExpect: 100-continue\r\n\r\n"
    answer = await exchange(relay, head)
    assert answer.startswith(b"HTTP/1.1 401 ")
    assert b"100 Continue" not in answer
    assert b"connection: close" in answer.lower()


async def test_tls_by_certificate_files_serves_clients_and_agents(tmp_path: Path) -> None:
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"),
            *("-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    command = [str(RELAY), "serve", "--port", "0", "--store", "memory:", "--data-dir", str(tmp_path / "data")]
    command += ["--log-format", "json", "--tls-cert", str(certificate), "--tls-key", str(key)]
    with running(command, tmp_path / "log", clean_environment(RELAY_JWT_SECRET=SECRET)) as program:
        url = program.wait_for(r'"url": "(https://[^"]+)"')
        context = ssl.create_default_context(cafile=str(certificate))
        async with httpx.AsyncClient(verify=context, trust_env=False) as client:
            for _ in range(50):
                try:
                    assert (await client.get(f"{url}/health")).json()["status"] == "ok"
                    break
                except httpx.ConnectError:
                    await asyncio.sleep(0.1)
            relay = Relay(url, SECRET, program)
            async with connect(f"ws{url.removeprefix('http')}/agent", ssl=context, proxy=None) as link:
                auth = {"type": "auth", "token": relay.token(role="agent", agent="zaf"), "agent_card": {"name": "Z"}}
                await link.send(json.dumps(auth))
                assert json.loads(await link.recv())["type"] == "auth_ok"
                card = (await client.get(f"{relay.base('zaf')}.well-known/agent-card.json")).json()
                assert card["supportedInterfaces"][0]["url"].startswith(url)


@pytest.mark.parametrize("size", [4 * 2**20 + 1, 20 * 2**20])
async def test_whoever_uploads_too_much_gets_to_see_why(relay: Relay, size: int) -> None:
    headers = {"Authorization": f"Bearer {relay.token()}"}
    async with httpx.AsyncClient(trust_env=False, headers=headers) as client:
        for _ in range(3):
            answer = await client.post(relay.base("zaf"), content=b" " * size)
            assert answer.status_code == 413
            assert answer.json()["error"]["data"][0]["reason"] == "TOO_LARGE"
        assert (await client.get(f"{relay.url}/livez")).status_code == 200


async def test_what_strangers_send_is_told_in_lines_of_json(tmp_path: Path) -> None:
    with running_relay(tmp_path) as relay:
        await exchange(relay, b"nonsense\r\n\r\n")
        await exchange(relay, b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n")
        await exchange(
            relay,
            b"GET /agent HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13"
            b"\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n\x81\x81\x00\x00\x00\x00\xff",
        )
        lines = [json.loads(line) for line in relay.program.output().splitlines()]
        refused = next(line for line in lines if line.get("peer") == "127.0.0.1")
        assert (refused["status"], refused["reason"]) == (400, "INVALID_HTTP")
        assert "Traceback" not in relay.program.output()


async def test_a_relay_on_loopback_is_not_talked_into_another_name(relay: Relay) -> None:
    async with httpx.AsyncClient(trust_env=False) as client:
        headers = {"Host": "evil.example", "Authorization": f"Bearer {relay.token()}"}
        answer = await client.get(f"{relay.url}/", headers=headers)
        assert "evil.example" not in answer.text


def test_a_plain_probe_answers_before_anything_is_attached(relay: Relay) -> None:
    assert answers(f"{relay.url}/livez")() is not None
