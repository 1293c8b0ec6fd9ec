"""What a benchmark starts and stops on loopback: relays, agents, nginx, loads; and what it reads of them."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from echo_agents import tenant_of, token

HERE = Path(__file__).parent
SECRET = "benchmark-secret-benchmark-secret-0123"
CLIENTS = 32
TICKS = os.sysconf("SC_CLK_TCK")
TOOLS = {"wrk": "wrk", "nginx": "nginx-light", "openssl": "openssl"}
"""Programs, and the Debian package of each."""

NGINX_CONF = """
daemon off; worker_processes 1; pid {dir}/nginx.pid; error_log {dir}/error.log;
events {{ worker_connections 1024; }}
http {{
  access_log off; client_body_temp_path {dir}/b; proxy_temp_path {dir}/p; fastcgi_temp_path {dir}/f;
  uwsgi_temp_path {dir}/u; scgi_temp_path {dir}/s;
  upstream agent {{ server 127.0.0.1:{upstream}; keepalive 64; }}
  server {{ listen 127.0.0.1:{port}; keepalive_requests 10000000;
    location / {{ {location} }} }}
}}
"""
NGINX_ANSWERS = 'default_type application/json; return 200 \'{"jsonrpc":"2.0","id":1,"result":{}}\';'
NGINX_PROXIES = 'proxy_pass http://agent; proxy_http_version 1.1; proxy_set_header Connection "";'


class Server(NamedTuple):
    """A running server."""

    pid: int
    port: int
    scheme: str = "http"

    @property
    def url(self) -> str:
        """Where it is."""
        return f"{self.scheme}://127.0.0.1:{self.port}"


def program(name: str) -> str:
    """The path of a program that must be there."""
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if found is None:
        raise SystemExit(f"{name} is missing: sudo apt-get install {' '.join(TOOLS.values())}")
    return found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def cpu_seconds(pid: int) -> float:
    """User and system time of a process and of its children that live."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    total = 0
    for process in [str(pid), *children]:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICKS


def memory(pid: int, name: str = "VmRSS") -> int:
    """Bytes of memory of a process: `VmRSS` now, `VmHWM` at most."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise KeyError(name)


def forget_peak(pid: int) -> None:
    """Let VmHWM begin again from now."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


@contextlib.contextmanager
def running(*argv: str, **options: Any) -> Iterator[subprocess.Popen[str]]:
    started = subprocess.Popen(argv, text=True, **options)
    try:
        yield started
    finally:
        started.terminate()
        try:
            started.wait(10)
        except subprocess.TimeoutExpired:
            started.kill()
            started.wait()


def wait_for(url: str) -> None:
    import httpx  # what the loads use of this module starts quicker without

    deadline = time.monotonic() + 15
    while time.monotonic() < deadline:
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(url, verify=False).status_code < 500:
                return
        time.sleep(0.05)
    raise SystemExit(f"{url} does not answer")


@contextlib.contextmanager
def nginx(folder: Path, location: str, upstream: int = 9) -> Iterator[Server]:
    folder.mkdir()
    conf, port = folder / "nginx.conf", free_port()
    conf.write_text(NGINX_CONF.format(dir=folder, port=port, upstream=upstream, location=location))
    with running(program("nginx"), "-c", str(conf), "-e", str(folder / "error.log")) as started:
        wait_for(f"http://127.0.0.1:{port}/")
        yield Server(started.pid, port)


@contextlib.contextmanager
def relay(
    folder: Path, *flags: str, watch: Path | None = None, environ: Mapping[str, str] | None = None
) -> Iterator[Server]:
    """A relay as it is served by default, with the access log off."""
    port, scheme = free_port(), "https" if "--tls-cert" in flags else "http"
    command = [str(Path(sys.executable).with_name("relay"))]
    if watch is not None:
        command = [sys.executable, str(HERE / "watched_relay.py"), str(watch)]
    command += ["serve", "--port", str(port), "--data-dir", str(folder), "--access-log", "off", *flags]
    full = {**os.environ, "RELAY_JWT_SECRET": SECRET, **(environ or {})}
    with running(*command, env=full, stderr=subprocess.DEVNULL) as served:
        server = Server(served.pid, port, scheme)
        wait_for(f"{server.url}/readyz")
        yield server


@contextlib.contextmanager
def agents(
    server: Server, count: int, tenants: int = 1, http: int = 0, first: int = 0, *, answers_tasks: bool = False
) -> Iterator[subprocess.Popen[str]]:
    """Agents that answer at once, attached."""
    command = [sys.executable, str(HERE / "echo_agents.py"), "--secret", SECRET, "--agents", str(count)]
    command += [
        "--tenants",
        str(tenants),
        "--http",
        str(http),
        "--first",
        str(first),
        "--url",
        f"ws{server.url.removeprefix('http')}/agent",
        *(["--tasks"] if answers_tasks else []),
    ]
    with running(*command, stdout=subprocess.PIPE) as attached:
        assert attached.stdout is not None
        if attached.stdout.readline().strip() != "ready":
            raise SystemExit("the agents could not attach")
        yield attached


@contextlib.contextmanager
def stream_agents(server: Server, count: int, rate: float, size: int = 220) -> Iterator[None]:
    """Agents that stream, attached."""
    command = [sys.executable, str(HERE / "stream_agents.py"), "--secret", SECRET, "--agents", str(count)]
    command += ["--rate", str(rate), "--size", str(size), "--url", f"ws{server.url.removeprefix('http')}/agent"]
    with running(*command, stdout=subprocess.PIPE) as attached:
        assert attached.stdout is not None
        if attached.stdout.readline().strip() != "ready":
            raise SystemExit("the agents could not attach")
        yield


@contextlib.contextmanager
def sdk_agent(rate: float, seconds: float) -> Iterator[Server]:
    """An agent that streams as a server built on a2a-sdk; each of its streams ends after so long."""
    port = free_port()
    command = [sys.executable, str(HERE / "sdk_agent.py"), "--port", str(port)]
    command += ["--rate", str(rate), "--seconds", str(seconds)]
    with running(*command, stderr=subprocess.DEVNULL) as started:
        wait_for(f"http://127.0.0.1:{port}/.well-known/agent-card.json")
        yield Server(started.pid, port)


@contextlib.contextmanager
def connector(server: Server, upstream: Server) -> Iterator[None]:
    """A connector between a relay and an agent's own server, attached as the first agent."""
    command = [
        str(Path(sys.executable).with_name("relay")),
        "connect",
        "--upstream",
        upstream.url,
        "--relay",
        server.url,
    ]
    environ = {**os.environ, "RELAY_TOKEN": token(SECRET, tenant_of(0, 1), "agent-0")}
    with running(*command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as attached:
        assert attached.stdout is not None
        if not attached.stdout.readline():
            raise SystemExit("the connector could not attach")
        yield


def read_streams(server: Server, file: Path, pid: int, streams: int, **options: float | bool) -> list[dict[str, float]]:
    """Streams that are read: what each round has brought, and what the process `pid` has spent."""
    command = [sys.executable, str(HERE / "stream_readers.py"), "--url", server.url, "--targets", str(file)]
    command += ["--pid", str(pid), "--streams", str(streams)]
    for name, value in options.items():
        command += [f"--{name.replace('_', '-')}"] + ([] if value is True else [str(value)])
    output = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=90).stdout
    found: list[dict[str, float]] = json.loads(output)
    return found


def targets(folder: Path, count: int, tenants: int = 1, role: str = "") -> Path:
    """A file with a line for each agent: the path under which it is called, and a token that may (an admin's)."""
    tokens = {
        name: token(SECRET, name, role=role) for name in (tenant_of(number, tenants) for number in range(tenants))
    }
    file = folder / "targets"
    names = [tenant_of(number, tenants) for number in range(count)]
    file.write_text("".join(f"/t/{name}/a2a/agent-{n}/ {tokens[name]}\n" for n, name in enumerate(names)))
    return file


def closed_loop(server: Server, file: Path, seconds: int, clients: int = CLIENTS) -> dict[str, float]:
    """One run of wrk: latency, throughput, and the server's CPU per call in microseconds."""
    before = cpu_seconds(server.pid)
    output = subprocess.run(
        [
            *(program("wrk"), "-t1", f"-c{clients}", f"-d{seconds}s", "--timeout", "30s", "-s", str(HERE / "call.lua")),
            *(server.url, "--", str(file)),
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    used = cpu_seconds(server.pid) - before
    line = next(line for line in output.splitlines() if line.startswith("JSON "))
    figures: dict[str, float] = json.loads(line[5:])
    if figures["errors"]:
        raise SystemExit(f"{figures['errors']} calls failed")
    return figures | {
        "cpu_us": used / figures["requests"] * 1e6,
        "per_second": figures["requests"] / figures["seconds"],
    }


def open_loop(url: str, file: Path, rate: float, seconds: float) -> dict[str, float]:
    """Calls at a steady rate; latency from when each was due."""
    command = [sys.executable, str(HERE / "open_loop.py"), "--url", url, "--targets", str(file)]
    command += ["--rate", str(rate), "--seconds", str(seconds)]
    found: dict[str, float] = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    if found["errors"]:
        raise SystemExit(f"{found['errors']} calls failed")
    return found


def certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate of its own for loopback, and its key."""
    cert, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        [
            *(program("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"),
            *("-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"),
            *("-keyout", str(key), "-out", str(cert)),
        ],
        check=True,
        capture_output=True,
    )
    return cert, key
