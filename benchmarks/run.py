"""A first plain benchmark: CPU per relayed call, beside nginx as a bare reverse proxy in the same run.

    python benchmarks/run.py [--seconds 8] [--json]

Needs `wrk` and `nginx` (Debian: apt-get install wrk nginx-light). Starts all it
needs on loopback, on free ports, and ends by itself.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import jwt

HERE = Path(__file__).parent
SECRET = "benchmark-secret-benchmark-secret-0123"
AGENTS = 8
CLIENTS = 32
TICKS = os.sysconf("SC_CLK_TCK")

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


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def cpu_seconds(pid: int) -> float:
    """User and system time of a process and its children that are alive."""
    total = 0.0
    for process in [pid, *_children(pid)]:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        total += (int(fields[11]) + int(fields[12])) / TICKS
    return total


def _children(pid: int) -> list[int]:
    return [int(item) for item in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@contextlib.contextmanager
def process(*argv: str, **options: Any) -> Iterator[subprocess.Popen[str]]:
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


def load(port: int, token: str, seconds: int) -> dict[str, float]:
    """One run of wrk; its figures."""
    output = subprocess.run(
        [
            *("wrk", "-t1", f"-c{CLIENTS}", f"-d{seconds}s", "-s", str(HERE / "call.lua")),
            *(f"http://127.0.0.1:{port}", "--", token, str(AGENTS)),
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    line = next(line for line in output.splitlines() if line.startswith("JSON "))
    return dict(json.loads(line[5:]))


def measure(name: str, port: int, pid: int, token: str, seconds: int) -> dict[str, Any]:
    load(port, token, 2)
    before = cpu_seconds(pid)
    figures = load(port, token, seconds)
    used = cpu_seconds(pid) - before
    return {
        "what": name,
        "cpu_us_per_call": round(used / figures["requests"] * 1e6, 1),
        "calls_per_second": round(figures["requests"] / figures["seconds"]),
        "p50_ms": figures["p50_ms"],
        "p99_ms": figures["p99_ms"],
        "errors": int(figures["errors"]),
    }


def run_nginx(folder: Path, token: str, seconds: int) -> dict[str, Any]:
    port, upstream = free_port(), free_port()
    with (
        nginx(folder / "upstream", upstream, upstream, NGINX_ANSWERS),
        nginx(folder / "proxy", port, upstream, NGINX_PROXIES) as proxy,
    ):
        return measure("nginx, bare reverse proxy", port, proxy.pid, token, seconds)


@contextlib.contextmanager
def nginx(folder: Path, port: int, upstream: int, location: str) -> Iterator[subprocess.Popen[str]]:
    folder.mkdir()
    conf = folder / "nginx.conf"
    conf.write_text(NGINX_CONF.format(dir=folder, port=port, upstream=upstream, location=location))
    binary = shutil.which("nginx") or "/usr/sbin/nginx"
    with process(binary, "-c", str(conf), "-e", str(folder / "error.log")) as started:
        wait_for(f"http://127.0.0.1:{port}/")
        yield started


def run_relay(folder: Path, token: str, seconds: int) -> dict[str, Any]:
    port = free_port()
    environ = {**os.environ, "RELAY_JWT_SECRET": SECRET}
    relay = Path(sys.executable).with_name("relay")
    command = [str(relay), "serve", "--port", str(port), "--data-dir", str(folder), "--access-log", "off"]
    with process(*command, env=environ, stderr=subprocess.DEVNULL) as served:
        wait_for(f"http://127.0.0.1:{port}/readyz")
        agents = [sys.executable, str(HERE / "echo_agents.py"), f"ws://127.0.0.1:{port}/agent", SECRET, str(AGENTS)]
        with process(*agents, stdout=subprocess.PIPE) as attached:
            assert attached.stdout is not None
            assert attached.stdout.readline().strip() == "ready"
            return measure("a2a-relay", port, served.pid, token, seconds)


def wait_for(url: str) -> None:
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline:
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(url).status_code < 500:
                return
        time.sleep(0.05)
    raise SystemExit(f"{url} does not answer")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--seconds", type=int, default=8)
    arguments.add_argument("--json", action="store_true")
    chosen = arguments.parse_args()
    for tool in ("wrk", "nginx"):
        if not shutil.which(tool) and not Path(f"/usr/sbin/{tool}").exists():
            raise SystemExit(f"{tool} is missing: sudo apt-get install wrk nginx-light")
    token = jwt.encode({"tenant": "bench", "exp": int(time.time()) + 3600}, SECRET, algorithm="HS256")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        rows.append(run_nginx(Path(folder), token, chosen.seconds))
    with tempfile.TemporaryDirectory() as folder:
        rows.append(run_relay(Path(folder), token, chosen.seconds))
    if chosen.json:
        print(json.dumps({"machine": platform.platform(), "python": platform.python_version(), "rows": rows}, indent=2))
        return
    print(f"{AGENTS} agents, {CLIENTS} clients, {os.cpu_count()} cores, Python {platform.python_version()}")
    for row in rows:
        print(
            f"{row['what']:<48} {row['cpu_us_per_call']:>7} us/call {row['calls_per_second']:>7}/s"
            f"  p50 {row['p50_ms']:>7} ms  p99 {row['p99_ms']:>7} ms  errors {row['errors']}"
        )


if __name__ == "__main__":
    main()
