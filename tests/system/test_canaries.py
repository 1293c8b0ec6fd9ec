"""Secrets are planted everywhere one can stand, a relay is provoked, and nothing that leaves it shows them again."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from pathlib import Path

import httpx
import pytest
from programs import RELAY, clean_environment, running
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from a2a_relay.client.tokens import mint

MARK = "canary"
SECRET = f"{MARK}-of-the-shared-secret-0123456789abcdef"
KEY = f"rly_sender_{MARK}7C4n4ryC4n4ryC4n4ryC4n4ryC4n4ryC4n4ryC4n4"
BODY = f"{MARK}-in-a-body"
QUERY = f"{MARK}-in-a-query"

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="/proc shows what others see of a process")


def command_of(log: Path) -> list[str]:
    """The relay, with a stack of all its threads at a signal, as an operator would look for what hangs."""
    start = "import faulthandler, signal, sys; faulthandler.register(signal.SIGUSR2, all_threads=True);"
    run = f"from a2a_relay.cli import main; sys.argv[0] = {str(RELAY)!r}; main()"
    options = ("--port", "0", "--log-format", "json", "--log-level", "debug", "--access-log", "all")
    return [sys.executable, "-c", start + run, "serve", *options, "--data-dir", str(log.parent / "data")]


async def provoked(url: str, token: str) -> list[str]:
    """Everything that a relay says to clients who hold secrets and misbehave."""
    base, said = f"{url}/t/acme/a2a/zaf/", []
    call = {"jsonrpc": "2.0", "id": 1, "method": "SendMessage", "params": {"message": {"messageId": BODY}}}
    async with httpx.AsyncClient(trust_env=False) as client:
        for credential in (KEY, f"{token}{MARK}", token, f"{MARK} {token}"):
            headers = {"Authorization": f"Bearer {credential}"}
            for path in ("/", "/health", "/.well-known/agents", "/t/other/agents", "/t/acme/letters", "/nothing"):
                answer = await client.get(f"{url}{path}?token={QUERY}", headers=headers)
                said.append(answer.text)
            for content in (json.dumps(call), json.dumps(call)[:-3], f"[{BODY}", b'{"\xff' + BODY.encode()):
                answer = await client.post(f"{base}?key={QUERY}", content=content, headers=headers)
                said.append(f"{answer.headers} {answer.text}")
            said.append((await client.put(f"{url}/t/acme/agents/zaf", content=f"{{{BODY}", headers=headers)).text)
    host, port = url.removeprefix("http://").split(":")
    for head in (f"GET / HTTP/1.1\r\nAuthorization: Bearer {KEY}\0\r\n\r\n", f"{KEY}\r\n\r\n"):
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(head.encode())
        with contextlib.suppress(ConnectionError):
            said.append((await reader.read()).decode())
        writer.close()
    for frame in (
        json.dumps({"type": "auth", "token": KEY}),
        json.dumps({"type": "auth", "token": token + "x", "agent_card": BODY}),
        f'{{"type": "auth", "token": "{KEY}',
    ):
        async with connect(f"ws{url.removeprefix('http')}/agent", proxy=None) as link:
            await link.send(frame)
            with contextlib.suppress(ConnectionClosed):
                while True:
                    said.append(str(await link.recv()))
            said.append(str(link.close_reason))
    return said


@pytest.mark.parametrize("way", ["environment", "file"])
async def test_no_secret_comes_out_again(tmp_path: Path, way: str) -> None:
    secret_file = tmp_path / "the-secret"
    secret_file.write_text(SECRET)
    how = {"RELAY_JWT_SECRET": SECRET} if way == "environment" else {"RELAY_JWT_SECRET_FILE": str(secret_file)}
    log = tmp_path / "log"
    with running(command_of(log), log, clean_environment(**how)) as program:
        url = program.wait_for(r'"url": "(http://[^"]+)"')
        program.wait_until(lambda: url if is_up(url) else None)
        token = mint(SECRET, time.time(), 3600, tenant="acme", role="agent", agent="zaf")
        said = await provoked(url, token)
        seen = Path(f"/proc/{program.process.pid}/cmdline").read_bytes().decode()
        os.kill(program.process.pid, signal.SIGUSR2)
        program.wait_until(lambda: url if "most recent call first" in program.output() else None)
        printed = program.output()
    signature = token.rpartition(".")[2]
    for where, text in {"answers": "\n".join(said), "the log": printed, "ps": seen}.items():
        for secret in (MARK, signature):
            assert secret not in text, f"{secret} in {where}: {text[max(0, text.find(secret) - 200) :][:400]}"
    assert len(said) > 40
    assert "link_refused" in printed


def is_up(url: str) -> bool:
    try:
        return httpx.get(f"{url}/livez", trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


def test_settings_and_their_complaints_do_not_show_secrets(tmp_path: Path) -> None:
    from a2a_relay.errors import SettingsError
    from a2a_relay.settings import Settings, resolve_secret

    settings = Settings.load({"data_dir": str(tmp_path)}, {"RELAY_JWT_SECRET": SECRET})
    assert MARK not in repr(settings)
    for environ in ({"RELAY_JWT_SECRET": f"{MARK}\x01"}, {"RELAY_JWT_SECRET": MARK, "RELAY_HOST": "0.0.0.0"}):
        with pytest.raises(SettingsError) as refused:
            resolve_secret(Settings.load({"data_dir": str(tmp_path)}, environ))
        assert MARK not in str(refused.value)
