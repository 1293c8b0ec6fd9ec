"""What a relayed event costs, and how late it comes: many streams, an agent of a2a-sdk beside it, readers that stop."""

from __future__ import annotations

import resource
import statistics
from collections.abc import Iterator
from pathlib import Path

import stage
from rows import Row

BUSY_STREAMS, BUSY_AGENTS = 64, 8
STEADY_RATE = 150.0
"""Events per second of each stream where they come one by one."""
MANY_STREAMS, MANY_AGENTS = 1_000, 100
RATE = 10.0
SDK_STREAMS = 25
"""So many as a server of a2a-sdk carries at this rate with half of a core."""
SDK_SECONDS = 6.0
"""Its streams end soon after they have been measured."""
CROWD = 200
CROWD_BYTES = 2_000
DURABLE_BYTES = 1 << 20
"""A directory that has not grown by this does not hold the windows of the busy streams."""
FILES = 8_192

Runs = list[dict[str, float]]


def streams(folder: Path) -> Iterator[Row]:
    """All that follows, one after the other."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most if 0 < most < FILES else FILES, most))
    for number, part in enumerate((cost, many, beside_sdk, slow_reader, long_stream)):
        below = folder / str(number)
        below.mkdir()
        yield from part(below)


def cost(folder: Path) -> Iterator[Row]:
    """CPU of the relay per event, with the window in memory and on disk."""
    file = stage.targets(folder, BUSY_AGENTS)

    def read(relay: stage.Server, rate: float, rounds: int) -> Runs:
        with stage.stream_agents(relay, BUSY_AGENTS, rate):
            return stage.read_streams(relay, file, relay.pid, BUSY_STREAMS, rounds=rounds, seconds=1.2, settle=0.5)

    for window, name, bar in (("memory", "memory", 20), ("durable", "SQLite", 40)):
        home = folder / window
        with stage.relay(home, "--stream-window", window) as relay:
            if window == "memory":
                steady = read(relay, STEADY_RATE, rounds=2)
                what = f"CPU per event that comes alone, {BUSY_STREAMS * STEADY_RATE:,.0f}/s"
                yield Row("streams", what, _middle(steady, "cpu_us"), "us")
            busy = read(relay, rate=0, rounds=3)
            is_built = window == "memory" or sum(path.stat().st_size for path in home.iterdir()) > DURABLE_BYTES
        what = f"{BUSY_STREAMS} busy streams, window in {name}"
        yield Row("streams", f"{what}: CPU per event", _middle(busy, "cpu_us") if is_built else None, "us", bar)
        yield Row("streams", f"{what}: events", _middle(busy, "per_second") if is_built else None, "/s")


def many(folder: Path) -> Iterator[Row]:
    """Many streams at a rate at which people read."""
    file, what = stage.targets(folder, MANY_AGENTS), f"{MANY_STREAMS:,} streams at {RATE:g}/s"
    with stage.relay(folder / "relay") as relay, stage.stream_agents(relay, MANY_AGENTS, RATE):
        before = stage.memory(relay.pid)
        runs = stage.read_streams(
            relay, file, relay.pid, MANY_STREAMS, rounds=2, seconds=4, settle=1, delays=True, lateness=True
        )
    yield from _delays(what, runs, bar=100)
    yield Row("streams", f"{what}: a timer of the readers, p99", _middle(runs, "late_p99_ms"), "ms")
    yield Row("streams", f"{what}: CPU of the relay", _middle(runs, "cpu_percent"), "%")
    yield Row("streams", f"{what}: RSS before", before / 2**20, "MiB")
    yield Row("streams", f"{what}: RSS after", runs[-1]["rss_after"] / 2**20, "MiB")
    grown = runs[-1]["rss_after"] - runs[0]["rss_before"]
    yield Row("streams", f"{what}: RSS growth per 100,000 events", _per_lakh(grown, runs, settle=1), "MiB")


def beside_sdk(folder: Path) -> Iterator[Row]:
    """An agent of a2a-sdk read directly, through nginx, and through connector and relay."""
    file, root = stage.targets(folder, 1), folder / "root"
    root.write_text(f"/ {file.read_text().split()[1]}\n")
    what = f"a2a-sdk server, {SDK_STREAMS} streams"

    def read(server: stage.Server, path: Path) -> Runs:
        return stage.read_streams(server, path, server.pid, SDK_STREAMS, rounds=1, seconds=3, settle=1, delays=True)

    with stage.sdk_agent(RATE, SDK_SECONDS) as agent:
        yield from _delays(f"{what}, directly", read(agent, root))
        with stage.nginx(folder / "proxy", stage.NGINX_PROXIES, agent.port) as proxy:
            yield from _delays(f"{what}, through nginx", read(proxy, root))
        with stage.relay(folder / "relay") as relay, stage.connector(relay, agent):
            yield from _delays(f"{what}, through the relay", read(relay, file))


def slow_reader(folder: Path) -> Iterator[Row]:
    """One reader of a link stops reading, goes on, and stops again: what the others notice."""
    file, others = stage.targets(folder, 1), CROWD - 1
    with stage.relay(folder / "relay") as relay, stage.stream_agents(relay, 1, rate=0, size=CROWD_BYTES):
        runs = stage.read_streams(relay, file, relay.pid, CROWD, rounds=5, seconds=1, settle=1, stops=True)
    usual = statistics.mean(run["events"] - run["of_first"] for run in runs[2::2])
    beside = statistics.mean(run["events"] for run in runs[1::2])
    yield Row("streams", f"rate of {others} streams of a link / beside a stopped one", usual / beside, "x")
    grown = max(run["rss_after"] - run["rss_before"] for run in runs[1::2]) / 1024
    yield Row("streams", "RSS growth in a second with a stopped reader", grown, "KiB")


def long_stream(folder: Path) -> Iterator[Row]:
    """One stream for a while."""
    file = stage.targets(folder, 1)
    with stage.relay(folder / "relay") as relay, stage.stream_agents(relay, 1, rate=0):
        runs = stage.read_streams(relay, file, relay.pid, 1, rounds=3, seconds=2, settle=0.2)
    yield Row("streams", "one stream: events", _middle(runs, "per_second"), "/s")
    yield Row("streams", "one stream: events relayed", sum(run["events"] for run in runs), "")
    grown = runs[-1]["rss_after"] - runs[0]["rss_before"]
    yield Row("streams", "one stream: RSS growth per 100,000 events", _per_lakh(grown, runs, settle=0.2), "MiB")


def _middle(runs: Runs, name: str) -> float:
    return statistics.median(run[name] for run in runs)


def _per_lakh(grown: float, runs: Runs, settle: float) -> float:
    """MiB per 100,000 events, those between the rounds too."""
    events = sum(run["events"] for run in runs) + sum(run["per_second"] * settle for run in runs[1:])
    return grown / 2**20 / events * 100_000


def _delays(what: str, runs: Runs, bar: float | None = None) -> Iterator[Row]:
    yield Row("streams", f"{what}: p50 delay", _middle(runs, "p50_ms"), "ms")
    yield Row("streams", f"{what}: p99 delay", _middle(runs, "p99_ms"), "ms", bar)
    yield Row("streams", f"{what}: longest delay", max(run["max_ms"] for run in runs), "ms")
