"""Many agents in one process, and all of them coming back at once.

    python benchmarks/storm.py [--agents 10000]

Attaches agents, has calls flow to eight others all the time, ends all links at
once and attaches the agents again. Prints what it took. Linux only; needs wrk.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import threading
import time
from pathlib import Path

import stage

STEADY = 8


def told(what: str, seconds: float, agents: int, server: stage.Server, cpu: float) -> None:
    """One line: how long it took, what it cost."""
    used = stage.cpu_seconds(server.pid) - cpu
    memory = stage.memory(server.pid) / 2**20
    print(
        f"{what}: {seconds:.1f} s, {agents / seconds:,.0f} agents/s, {used:.1f} s of CPU, RSS {memory:.0f} MiB",
        flush=True,
    )


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--agents", type=int, default=10_000)
    count: int = arguments.parse_args().agents
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most < count + 500:
        raise SystemExit(f"{count} agents need as many open files; this user may have {most}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with tempfile.TemporaryDirectory() as name:
        folder, watch = Path(name), Path(name) / "stalls"
        file = stage.targets(folder, STEADY)
        with stage.relay(folder / "relay", watch=watch) as relay, stage.agents(relay, STEADY):
            alone = stage.closed_loop(relay, file, 4)
            print(f"calls, nobody else attached: {alone['cpu_us']:.0f} us of CPU each, p99 {alone['p99_ms']:.1f} ms")
            begun, cpu = time.monotonic(), stage.cpu_seconds(relay.pid)
            with stage.agents(relay, count, first=STEADY):
                told("attached for the first time", time.monotonic() - begun, count, relay, cpu)
                idle = stage.closed_loop(relay, file, 4)
                print(f"calls, {count} idle agents attached: {idle['cpu_us']:.0f} us, p99 {idle['p99_ms']:.1f} ms")
            found: list[dict[str, float]] = []
            flowing = threading.Thread(target=lambda: found.append(stage.closed_loop(relay, file, 20)))
            watch.unlink()
            flowing.start()
            begun, cpu = time.monotonic(), stage.cpu_seconds(relay.pid)
            with stage.agents(relay, count, first=STEADY):
                told("all back, calls flowing (their CPU included)", time.monotonic() - begun, count, relay, cpu)
                flowing.join()
            stall = max(map(float, watch.read_text().split()))
            print(f"calls meanwhile: {found[0]['per_second']:.0f}/s, p99 {found[0]['p99_ms']:.1f} ms, none failed")
            print(f"longest stall of the event loop: {stall:.0f} ms")


if __name__ == "__main__":
    main()
