"""What letters cost: accepted durably, beside a bare loop of commits; found again after a kill; and calls beside them.

A bar of time is relative: where a sync is cheap, all the rest of a send shows; where it is dear, as on most disks, it
hides. So both are measured, the second with syncs that are made slower.

`fill` puts a backlog into a store as a relay would have: by its own code, 512 at a time.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sqlite3
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import stage
from echo_agents import tenant_of, token
from rows import Row

from a2a_relay.core.address import Address
from a2a_relay.core.letter import Draft, Room
from a2a_relay.stores.sqlite.database import Database
from a2a_relay.stores.sqlite.mailbox import SqliteMailbox

BACKLOG = 100_000
BOXES = 1_000
SECONDS = 4
SLOW_SYNC_US = 5_000
HERE = Path(__file__).parent
BODY = b'{"message":{"messageId":"m","role":"ROLE_USER","parts":[{"text":"%b"}]}}' % (b"x" * 200)
ROOM = ("--mailbox-letters", "100000000", "--mailbox-bytes", "100GiB", "--sync-wait", "0")


def letters(folder: Path, backlog: int = BACKLOG, boxes: int = BOXES) -> Iterator[Row]:
    """Durable sends to agents that are away, by one client and by 64; then a kill with a backlog."""
    yield from _sends(folder / "here", "", {})
    slow = _slow_disk(folder)
    if slow:
        yield from _sends(folder / "slow", f", syncs {SLOW_SYNC_US // 1000} ms slower", slow)
    yield from _killed(folder, backlog, boxes)


def _sends(folder: Path, where: str, environ: dict[str, str]) -> Iterator[Row]:
    """Durable sends on one kind of disk, beside a bare loop of commits on the same."""
    folder.mkdir()
    command = [sys.executable, str(HERE / "letters.py"), str(folder)]
    output = subprocess.run(command, env=os.environ | environ, capture_output=True, text=True, check=True).stdout
    sync_us, bare = map(float, output.split())
    yield Row("letters", f"time of one fdatasync{where}", sync_us, "us")
    yield Row("letters", f"bare loop of one-row commits{where}", bare, "/s")
    watch = folder / "relay.commits"
    with stage.relay(folder / "relay", *ROOM, watch=watch, environ=environ) as relay:
        file = _expected(relay, folder, 8)
        for clients, bar in ((1, 2.0), (64, 1 / 3)):
            stage.closed_loop(relay, file, 1, clients)
            time.sleep(1.2)
            before = _commits(watch)
            run = stage.closed_loop(relay, file, SECONDS, clients)
            time.sleep(1.2)
            per_second, sends = run["per_second"], run["requests"]
            who = f"{clients} client{'s' if clients > 1 else ''}{where}"
            yield Row("letters", f"durable sends per second, {who}", per_second, "/s")
            yield Row("letters", f"time of each / of a bare commit, {who}", bare / per_second, "x", bar)
            if not where:
                yield Row("letters", f"commits (fsyncs) per send, {who}", (_commits(watch) - before) / sends, "")
                yield Row("letters", f"p99 of a durable send, {who}", run["p99_ms"], "ms")
                yield Row("letters", f"CPU per durable send, {who}", run["cpu_us"], "us")


def _slow_disk(folder: Path) -> dict[str, str]:
    """What makes the syncs of a program slower, as on a laptop's disk; nothing where there is no C compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        return {}
    library = folder / "slow_sync.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, HERE / "slow_sync.c", "-ldl"], check=True)
    return {"LD_PRELOAD": str(library), "SLOW_SYNC_US": str(SLOW_SYNC_US)}


def calls_beside(folder: Path) -> Iterator[Row]:
    """CPU per call that goes to its agent at once: answered with messages, and with Tasks that have owners."""
    plain, owned = [], []
    folder.joinpath("senders").mkdir()
    file, senders = stage.targets(folder, 8), stage.targets(folder / "senders", 8, role="client")
    with (
        stage.relay(folder / "relay") as first,
        stage.agents(first, 8),
        stage.relay(folder / "other") as second,
        stage.agents(second, 8, answers_tasks=True),
    ):
        for server, targets in ((first, file), (second, senders)):
            stage.closed_loop(server, targets, 1)
        for _ in range(4):
            plain.append(stage.closed_loop(first, file, 3)["cpu_us"])
            owned.append(stage.closed_loop(second, senders, 3)["cpu_us"])
    ratio = statistics.median(owned) / statistics.median(plain)
    yield Row("letters", "CPU per call of a sender, answered with a Task", statistics.median(owned), "us")
    yield Row("letters", "the same / an admin's, answered with a message", ratio, "x", 1.05)


def _bare(folder: Path) -> tuple[float, float]:
    """Microseconds of one fdatasync of a small write, and one-row commits per second with the relay's own pragmas."""
    with (folder / "sync").open("wb") as file:
        times = []
        for _ in range(50):
            os.write(file.fileno(), b"x" * 512)
            begun = time.perf_counter()
            os.fdatasync(file.fileno())
            times.append(time.perf_counter() - begun)
    connection = sqlite3.connect(folder / "bare.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("CREATE TABLE rows (id INTEGER PRIMARY KEY, body BLOB)")
    count, ends = 0, time.monotonic() + 2
    while time.monotonic() < ends:
        connection.execute("INSERT INTO rows (body) VALUES (?)", (BODY,))
        count += 1
    connection.close()
    return statistics.median(times) * 1e6, count / 2


def _expected(relay: stage.Server, folder: Path, count: int) -> Path:
    """Agents that the relay knows and that are away; the file of targets for them."""
    for number in range(count):
        tenant = tenant_of(number, 1)
        headers = {"Authorization": f"Bearer {token(stage.SECRET, tenant)}"}
        httpx.put(f"{relay.url}/t/{tenant}/agents/agent-{number}", headers=headers, json={}).raise_for_status()
    return stage.targets(folder, count)


def _commits(watch: Path) -> int:
    """How many groups the relay has committed until a second ago."""
    return int(watch.read_text() or 0)


def _killed(folder: Path, backlog: int, boxes: int) -> Iterator[Row]:
    """A relay is killed with a backlog: when it is ready again, and what it then needs."""
    below = folder / "backlog"
    below.mkdir()
    fill(below / "relay.db", backlog, boxes)
    with stage.relay(below, *ROOM) as relay:
        os.kill(relay.pid, signal.SIGKILL)
    began = time.monotonic()
    with stage.relay(below, *ROOM) as relay:
        ready = time.monotonic() - began
        yield Row("letters", f"ready after a kill with {backlog:,} letters", ready, "s", None)
        with stage.relay(folder / "empty", *ROOM):
            pass
        began = time.monotonic()
        with stage.relay(folder / "empty", *ROOM):
            yield Row("letters", "the same / with none", ready / (time.monotonic() - began), "x", 1.5)
        began = time.monotonic()
        with stage.agents(relay, 1):
            url, headers = f"{relay.url}/health", {"Authorization": f"Bearer {token(stage.SECRET, tenant_of(0, 1))}"}
            while httpx.get(url, headers=headers).json()["completed_tasks"] < backlog // boxes:
                time.sleep(0.01)
        yield Row(
            "letters", f"{backlog // boxes} letters answered after their agent dialled", time.monotonic() - began, "s"
        )
        yield Row("letters", "memory of the relay with this backlog", stage.memory(relay.pid) / 2**20, "MiB", 200)


def fill(path: Path, backlog: int, boxes: int) -> None:
    """A store with letters for agents `agent-0`, `agent-1`, ... of the first tenant."""
    asyncio.run(_fill(path, backlog, boxes))


async def _fill(path: Path, backlog: int, boxes: int) -> None:
    database = Database(path)
    mailbox = SqliteMailbox(database, time.time)
    envelope = b'{"method":"SendMessage","form":"rpc","sender":{"role":"admin","identity":"admin:anonymous"}}'
    room = Room(backlog, 2**60)
    for first in range(0, backlog, 512):
        drafts = (
            Draft(
                id=f"rly-{number:032x}",
                address=Address(tenant_of(0, 1), f"agent-{number % boxes}"),
                owner="admin:anonymous",
                task_id=f"rly-{number:032x}",
                context=f"rly-c{number:031x}",
                context_id=f"rly-c{number:031x}",
                envelope=envelope,
                params=BODY,
                ttl_seconds=86_400,
            )
            for number in range(first, min(first + 512, backlog))
        )
        await asyncio.gather(*(mailbox.accept(draft, room) for draft in drafts))
    database.close()


if __name__ == "__main__":
    print(*_bare(Path(sys.argv[1])))
