"""`relay serve` with a watch on its event loop: how late a timer of one millisecond comes at worst.

    python benchmarks/watched_relay.py REPORT serve --port 8080 ...

Writes the worst lateness since it was last written, in milliseconds, to REPORT once a second. Where REPORT ends with
`.commits` it writes how many groups its store has committed instead, and looks at nothing else.
"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

from a2a_relay.cli import main
from a2a_relay.fronts.http.server import RelayServer
from a2a_relay.stores.sqlite.database import Database

TICK_SECONDS = 0.001
DATABASES: list[Database] = []


async def watch(report: Path) -> None:
    while report.suffix == ".commits":
        await asyncio.sleep(1)
        _write(report, sum(database.commits for database in DATABASES))
    while True:
        worst, ends = 0.0, time.monotonic() + 1
        while (before := time.monotonic()) < ends:
            await asyncio.sleep(TICK_SECONDS)
            worst = max(worst, time.monotonic() - before - TICK_SECONDS)
        with report.open("a") as file:
            file.write(f"{worst * 1000:.2f}\n")


def _write(report: Path, commits: int) -> None:
    report.write_text(str(commits))


def start_with_watch(report: Path) -> None:
    """Have the server start the watch when it starts."""
    start = RelayServer.startup

    async def startup(self: RelayServer, *args: object, **kwargs: object) -> None:
        await start(self, *args, **kwargs)  # type: ignore[arg-type]
        self.watch = asyncio.ensure_future(watch(report))  # type: ignore[attr-defined]

    RelayServer.startup = startup  # type: ignore[method-assign]


def keep_databases() -> None:
    """Know the store that the relay opens."""
    begin = Database.__init__

    def init(self: Database, *args: object, **kwargs: object) -> None:
        begin(self, *args, **kwargs)  # type: ignore[arg-type]
        DATABASES.append(self)

    Database.__init__ = init  # type: ignore[method-assign]


if __name__ == "__main__":
    keep_databases()
    start_with_watch(Path(sys.argv[1]))
    main(sys.argv[2:])
