"""Streams through nginx as Debian configures it, with nothing but a `proxy_pass`: it buffers, and speaks HTTP/1.0."""

from __future__ import annotations

import os
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import httpx
import pytest
from a2a.client import ClientConfig, ClientFactory
from a2a.helpers.proto_helpers import new_text_message
from a2a.types.a2a_pb2 import SendMessageRequest, TaskState
from native_agents import Stream, attached
from programs import RELAY, SECRET, Relay, answers, clean_environment, running, running_behind
from readers import Lost, message, reading

NGINX = """
daemon off;
master_process off;
pid {directory}/nginx.pid;
error_log stderr;
events {{ worker_connections 768; }}
http {{
    sendfile on;
    tcp_nopush on;
    types_hash_max_size 2048;
    default_type application/octet-stream;
    access_log off;
    gzip on;
    {places}
    server {{
        listen 127.0.0.1:{port};
        location / {{ proxy_pass {relay}; }}
    }}
}}
"""
"""Debian's /etc/nginx/nginx.conf, but for its files: no word about buffering, versions or times."""
PLACES = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
EVENTS = 8
THOUGHT_SECONDS = 30
FIRST_COMMENT_SECONDS = 3.0

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


@dataclass(frozen=True)
class Behind:
    """A relay, and the same behind nginx."""

    relay: Relay
    url: str

    def base(self, agent: str) -> str:
        return self.relay.base(agent).replace(self.relay.url, self.url)


@pytest.fixture(scope="module")
def behind(tmp_path_factory: pytest.TempPathFactory, unavailable: Callable[[str], NoReturn]) -> Iterator[Behind]:
    """A relay behind nginx for all tests but one."""
    with nginx_before_a_relay(tmp_path_factory.mktemp("nginx"), unavailable) as found:
        yield found


@contextmanager
def nginx_before_a_relay(directory: Path, unavailable: Callable[[str], NoReturn]) -> Iterator[Behind]:
    """Both running; cards name nginx."""
    nginx = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    if nginx is None:
        unavailable("nginx is not installed")
    port, relay_port = free_port(), free_port()
    url, relay_url = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{relay_port}"
    places = "".join(f"{kind}_temp_path {directory}/{kind};" for kind in PLACES)
    path = directory / "nginx.conf"
    path.write_text(NGINX.format(directory=directory, port=port, relay=relay_url, places=places))
    serve = [str(RELAY), "serve", "--port", str(relay_port), "--store", "memory:", "--public-url", url]
    with (
        running([*serve, "--data-dir", str(directory)], directory / "relay.log", with_secret()) as program,
        running([nginx, "-p", str(directory), "-c", str(path)], directory / "nginx.log") as proxy,
    ):
        program.wait_until(answers(f"{relay_url}/readyz"))
        proxy.wait_until(answers(f"{url}/readyz"))
        yield Behind(Relay(relay_url, SECRET, program), url)


def with_secret() -> dict[str, str]:
    return clean_environment(RELAY_JWT_SECRET=SECRET)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


async def test_events_pass_one_by_one_as_they_are_sent(behind: Behind) -> None:
    """The agent says an event only when the one before it has been read: nothing is held back anywhere."""
    said: list[float] = []
    streams: list[Stream] = []

    async def wait_to_be_told(stream: Stream) -> None:
        streams.append(stream)
        await say()

    async def say() -> None:
        said.append(time.monotonic())
        await streams[0].say(b'{"statusUpdate":{"taskId":"t","metadata":{"n":%d}}}' % len(said))

    delays: list[float] = []
    async with (
        attached(behind.relay, "stepwise", wait_to_be_told),
        reading(f"{behind.base('stepwise')}message:stream", behind.relay.token(), message("go")) as reader,
    ):
        async for event in reader.events():
            if event.name == "comment":
                continue
            delays.append(event.at - said[-1])
            assert event.json["statusUpdate"]["metadata"]["n"] == len(delays)
            await (say() if len(delays) < EVENTS else streams[0].end())
    print("seconds from agent to client:", [round(delay, 4) for delay in delays])
    assert len(delays) == EVENTS


async def test_the_first_comment_is_there_within_three_seconds(behind: Behind) -> None:
    """A client that gives up after five silent seconds has heard something by then, though the agent says nothing."""

    async def say_nothing(stream: Stream) -> None:
        """Think, for longer than this test lasts."""

    began = time.monotonic()
    async with (
        attached(behind.relay, "silent", say_nothing),
        reading(f"{behind.base('silent')}message:stream", behind.relay.token(), message("go")) as reader,
    ):
        first = await anext(reader.events())
    print(f"first comment after {first.at - began:.2f} s")
    assert first.name == "comment"
    assert first.at - began < FIRST_COMMENT_SECONDS


@pytest.mark.parametrize("binding", ["JSONRPC", "HTTP+JSON"])
async def test_the_stock_python_client_waits_for_an_agent_that_thinks_for_half_a_minute(
    behind: Behind, binding: str, tmp_path: Path
) -> None:
    """Its read timeout is five seconds; the comments keep it, and nginx, waiting."""
    name = f"thinker-{binding.lower()[:4]}"
    with running_behind(tmp_path, behind.relay, name, "--chunk", "0.01", "--think", str(THOUGHT_SECONDS)):
        headers = {"Authorization": f"Bearer {behind.relay.token()}"}
        began = time.monotonic()
        async with httpx.AsyncClient(headers=headers, trust_env=False) as http:
            config = ClientConfig(httpx_client=http, supported_protocol_bindings=[binding], streaming=True)
            client = await ClientFactory(config).create_from_url(behind.base(name))
            request = SendMessageRequest(message=new_text_message("one two three", role=1))
            events = [event async for event in client.send_message(request)]
    assert time.monotonic() - began > THOUGHT_SECONDS
    words = "".join(p.text for e in events for p in e.artifact_update.artifact.parts)
    assert words == "one two three"
    assert events[-1].status_update.status.state == TaskState.TASK_STATE_COMPLETED


async def test_a_stream_is_read_on_through_nginx(behind: Behind) -> None:
    """`Last-Event-ID` and the stream's URL pass it in both directions."""

    async def count(stream: Stream) -> None:
        for number in range(1, 51):
            await stream.say(b'{"n":%d}' % number)
        await stream.end()

    token = behind.relay.token()
    async with attached(behind.relay, "counter", count):
        async with reading(f"{behind.base('counter')}message:stream", token, message("go")) as reader:
            events = reader.events()
            first = [(await anext(events)).json["n"] for _ in range(10)]
            path = reader.headers["a2a-relay-stream"]
        async with reading(behind.url + path, token, Last_Event_ID=reader.last_id) as again:
            rest = [event.json["n"] async for event in again.events() if event.name != "comment"]
    assert first + rest == list(range(1, 51))


async def test_a_killed_relay_is_no_clean_end_behind_nginx(
    tmp_path: Path, unavailable: Callable[[str], NoReturn]
) -> None:
    """Also in mid-stream, where no error can be said any more, nginx hands on that the answer has broken off."""

    async def say_one(stream: Stream) -> None:
        await stream.say(b'{"n":1}')

    with nginx_before_a_relay(tmp_path, unavailable) as own:
        async with (
            attached(own.relay, "doomed", say_one),
            reading(f"{own.base('doomed')}message:stream", own.relay.token(), message("go")) as reader,
        ):
            events = reader.events()
            assert (await anext(events)).json == {"n": 1}
            own.relay.program.process.kill()
            with pytest.raises(Lost):
                await anext(events)
