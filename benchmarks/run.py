"""The benchmark: what a relayed call costs, beside nginx as a bare reverse proxy and the same agent called directly.

    make bench                                   the whole table, in under six minutes
    python benchmarks/run.py --json              the same as one JSON object
    python benchmarks/run.py --save FILE.jsonl   and a line for benchmarks/history.py
    python benchmarks/run.py --only calls,flat   some of it: calls, open, memory, flat, bodies, streams, letters, owners

Linux only. Needs wrk, nginx and openssl (Debian: apt-get install wrk nginx-light openssl).
Starts all it needs on loopback, on free ports, and ends by itself.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path

import httpx
import letters
import stage
import streams
from rows import Row, table

MANY = 5_000
TLS_AGENTS = 1_000
BODY_BYTES = 1 << 20


def calls(folder: Path) -> Iterator[Row]:
    """A closed loop of 32 clients over 8 agents, nginx and the relay in turns."""
    file = stage.targets(folder, 8)
    relayed, proxied = [], []
    with (
        stage.nginx(folder / "upstream", stage.NGINX_ANSWERS) as upstream,
        stage.nginx(folder / "proxy", stage.NGINX_PROXIES, upstream.port) as proxy,
        stage.relay(folder / "relay") as relay,
        stage.agents(relay, 8),
    ):
        for server in (relay, proxy):
            stage.closed_loop(server, file, 1)
        for _ in range(3):
            proxied.append(stage.closed_loop(proxy, file, 3))
            relayed.append(stage.closed_loop(relay, file, 4))
    ours = {name: statistics.median(run[name] for run in relayed) for name in relayed[0]}
    theirs = {name: statistics.median(run[name] for run in proxied) for name in proxied[0]}
    yield Row("calls", "CPU per relayed call", ours["cpu_us"], "us")
    yield Row("calls", "CPU per call, nginx bare proxy", theirs["cpu_us"], "us")
    yield Row("calls", "CPU per relayed call / nginx", ours["cpu_us"] / theirs["cpu_us"], "x", 2.0)
    yield Row("calls", "calls per second, 32 clients", ours["per_second"], "/s")
    yield Row("calls", "calls per second, nginx", theirs["per_second"], "/s")
    yield Row("calls", "p50, 32 clients", ours["p50_ms"], "ms")
    yield Row("calls", "p99, 32 clients", ours["p99_ms"], "ms")
    yield Row("calls", "p99 / nginx's p99", ours["p99_ms"] / theirs["p99_ms"], "x", 2.5)


def many(folder: Path) -> Iterator[Row]:
    """With 5,000 agents attached: memory of each, latency at half of capacity, the longest stall."""
    file, watch, direct = stage.targets(folder, MANY), folder / "stalls", stage.free_port()
    with stage.relay(folder / "relay", watch=watch) as relay:
        with stage.agents(relay, 100):
            before = stage.memory(relay.pid)
        with stage.agents(relay, MANY, http=direct):
            time.sleep(2)
            yield Row(
                "open", f"memory per idle agent ({MANY})", (stage.memory(relay.pid) - before) / MANY / 1024, "KiB", 16
            )
            rate = stage.closed_loop(relay, file, 4)["per_second"] / 2
            alone, through = [], []
            stalls: list[float] = []
            for _ in range(4):
                alone.append(stage.open_loop(f"http://127.0.0.1:{direct}", file, rate, 4))
                watch.unlink(missing_ok=True)
                through.append(stage.open_loop(relay.url, file, rate, 8))
                stalls += map(float, watch.read_text().split())
    yield Row("open", "open loop: calls per second (half of capacity)", rate, "/s")
    for name, label, bar in (("p50_ms", "p50", 0.6), ("p99_ms", "p99", 2.0), ("p999_ms", "p99.9", 10.0)):
        theirs, ours = (statistics.median(run[name] for run in runs) for runs in (alone, through))
        yield Row("open", f"open loop: {label} of the agent called directly", theirs, "ms")
        yield Row("open", f"open loop: {label} that the relay adds", ours - theirs, "ms", bar)
    yield Row("open", "longest stall of the event loop", max(stalls), "ms", 20)
    yield Row("open", "longest stall in a second, median", statistics.median(stalls), "ms")


def tls(folder: Path) -> Iterator[Row]:
    """Memory of an idle agent on TLS."""
    cert, key = stage.certificate(folder)
    with stage.relay(folder / "relay", "--tls-cert", str(cert), "--tls-key", str(key)) as relay:
        with stage.agents(relay, 50):
            before = stage.memory(relay.pid)
        with stage.agents(relay, TLS_AGENTS):
            time.sleep(1)
            each = (stage.memory(relay.pid) - before) / TLS_AGENTS / 1024
    yield Row("memory", f"memory per idle agent on TLS ({TLS_AGENTS})", each, "KiB", 40)


def flat(folder: Path) -> Iterator[Row]:
    """CPU per call as agents and tenants grow, in turns, against the smallest."""
    for what, sizes in (("agents", ((10, 1), (1_000, 1), (MANY, 1))), ("tenants", ((1_000, 10), (1_000, 1_000)))):
        costs: dict[int, float] = {}
        for number, (count, tenants) in enumerate(sizes):
            below = folder / f"{what}{number}"
            below.mkdir()
            file = stage.targets(below, count, tenants)
            with stage.relay(below / "relay") as relay, stage.agents(relay, count, tenants):
                stage.closed_loop(relay, file, 1)
                runs = [stage.closed_loop(relay, file, 3)["cpu_us"] for _ in range(2)]
            costs[tenants if what == "tenants" else count] = min(runs)
        least = min(costs)
        for size, cost in costs.items():
            if size != least:
                yield Row("flat", f"CPU per call with {size:,} {what} / with {least}", cost / costs[least], "x", 1.15)


def bodies(folder: Path) -> Iterator[Row]:
    """How often a body of 1 MiB is held at once while it crosses."""
    file = stage.targets(folder, 1)
    path, token = file.read_text().split()
    message = {"messageId": "m", "role": "ROLE_USER", "parts": [{"text": "x" * BODY_BYTES}]}
    call = {"jsonrpc": "2.0", "id": 1, "method": "SendMessage", "params": {"message": message}}
    with stage.relay(folder / "relay") as relay, stage.agents(relay, 1), httpx.Client(base_url=relay.url) as client:
        peaks, times = [], []
        for _ in range(8):
            stage.forget_peak(relay.pid)
            before, begun = stage.memory(relay.pid), time.monotonic()
            client.post(path, json=call, headers={"Authorization": f"Bearer {token}"}, timeout=30).raise_for_status()
            times.append(time.monotonic() - begun)
            peaks.append(stage.memory(relay.pid, "VmHWM") - before)
    yield Row("bodies", "peak memory of a 1 MiB body", max(0, *peaks) / BODY_BYTES, "copies", 4)
    yield Row("bodies", "time of a call with a 1 MiB body", statistics.median(times) * 1000, "ms")


PARTS: dict[str, Callable[[Path], Iterator[Row]]] = {
    "calls": calls,
    "open": many,
    "memory": tls,
    "flat": flat,
    "bodies": bodies,
    "streams": streams.streams,
    "letters": letters.letters,
    "owners": letters.calls_beside,
}


def about() -> dict[str, str]:
    """The machine and the versions."""
    cpu = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        "",
    )
    flags = str(sysconfig.get_config_var("CONFIG_ARGS") or "")
    built = "optimised" if "--enable-optimizations" in flags else "not profile-guided"
    packages = ", ".join(
        f"{name} {version(name)}" for name in ("a2a-relay", "uvicorn", "httptools", "uvloop", "msgspec", "websockets")
    )
    return {
        "machine": f"{os.cpu_count()} cores, {cpu}, {platform.system()} {platform.release()}",
        "python": f"{platform.python_version()} ({built} build)",
        "packages": packages,
        "date": time.strftime("%Y-%m-%d %H:%M", time.gmtime()),
    }


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--only", default=",".join(PARTS), help="parts to run, with commas between")
    arguments.add_argument("--json", action="store_true")
    arguments.add_argument("--save", type=Path, help="append the run to a file of JSON lines")
    chosen = arguments.parse_args()
    parts = chosen.only.split(",")
    for name in stage.TOOLS if parts != ["bodies"] else ():
        stage.program(name)
    rows = []
    for part in parts:
        with tempfile.TemporaryDirectory() as folder:
            rows += list(PARTS[part](Path(folder)))
    facts = about()
    record = {
        **facts,
        "rows": [
            {**row._asdict(), "value": None if row.value is None else round(row.value, 3), "verdict": row.verdict}
            for row in rows
        ],
    }
    if chosen.save:
        with chosen.save.open("a") as file:
            file.write(json.dumps(record) + "\n")
    print(json.dumps(record, indent=2) if chosen.json else table(facts, rows))


if __name__ == "__main__":
    main()
