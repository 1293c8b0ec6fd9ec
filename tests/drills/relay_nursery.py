"""Forks relays: has everything imported, so that a relay lives within tens of milliseconds of being asked for.

Each is a process of its own that runs `relay serve` and nothing else. One line of JSON on standard input is one life:
`{"words", "environment", "log", "loss", "directory", "is_mutant", "clock", "max_file_bytes"}`; two lines come back,
`{"pid"}` at once and `{"status"}` (as of `os.waitstatus_to_exitcode`) at its end.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import pkgutil
import re
import resource
import signal
import sqlite3
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import uvicorn.lifespan.on
import uvloop
from powerloss import Loss, Mode, arm

import a2a_relay.assembly
import a2a_relay.fronts.http.server
import a2a_relay.stores.sqlite
from a2a_relay.cli.serve import command
from a2a_relay.node.clock import LoopClock

PRELOADED = (uvicorn.lifespan.on, uvloop, a2a_relay.assembly, a2a_relay.fronts.http.server)
CLOCK_SECONDS = 0.05
"""How long a jump of the clock may go unnoticed."""
_SYNCHRONOUS = re.compile(r"(PRAGMA synchronous\s*=\s*)\w+")


class _Careless(sqlite3.Connection):
    """The mutant: never syncs, whatever it is told."""

    def execute(self, sql: str, *rest: Any) -> sqlite3.Cursor:
        return super().execute(_SYNCHRONOUS.sub(r"\1OFF", sql), *rest)

    def executescript(self, sql: str, /) -> sqlite3.Cursor:
        return super().executescript(_SYNCHRONOUS.sub(r"\1OFF", sql))


def make_mutant() -> None:
    """From now on every connection is careless."""
    connect = sqlite3.connect

    def careless(*words: Any, **more: Any) -> sqlite3.Connection:
        connection = connect(*words, **more | {"factory": _Careless})
        connection.execute("PRAGMA synchronous=OFF")
        return connection

    sqlite3.connect = careless


def shift_clock(offset: Path) -> None:
    """From now on wall time is off by the seconds in a file, which is looked at every few moments."""
    real, monotonic = time.time, time.monotonic
    seconds, look_at = 0.0, 0.0

    def shifted() -> float:
        nonlocal seconds, look_at
        if monotonic() >= look_at:
            seconds, look_at = float(offset.read_text() or 0), monotonic() + CLOCK_SECONDS
        return real() + seconds

    time.time = shifted
    LoopClock.now = staticmethod(shifted)  # it has taken the real one already


def live(life: dict[str, Any]) -> int:
    """Be a relay."""
    is_log_limited = bool(
        life.get("max_file_bytes")
    )  # what it says must not fail for the limit that is meant for its store
    log = os.open(os.devnull if is_log_limited else life["log"], os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
    for descriptor in (1, 2):
        os.dup2(log, descriptor)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.environ.update(life["environment"])
    if life.get("max_file_bytes"):
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (life["max_file_bytes"],) * 2)
    if life.get("is_mutant"):
        make_mutant()
    if life.get("clock"):
        shift_clock(Path(life["clock"]))
    if life.get("loss"):
        mode, *rest = life["loss"]
        arm(Path(life["directory"]), Loss(Mode(mode), *rest))
    return int(command.main(life["words"], prog_name="relay serve", standalone_mode=False) or 0)


def main() -> None:
    """One life after the other, until standard input ends."""
    for module in pkgutil.iter_modules(a2a_relay.stores.sqlite.__path__):
        importlib.import_module(f"{a2a_relay.stores.sqlite.__name__}.{module.name}")
    gc.collect()
    gc.freeze()  # what is here already is nothing for a relay's collector to walk through
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            code = 70
            try:
                code = live(json.loads(line))
            finally:
                sys.stderr.flush()
                os._exit(code)
        print(json.dumps({"pid": pid}), flush=True)
        _, status = os.waitpid(pid, 0)
        print(json.dumps({"status": os.waitstatus_to_exitcode(status)}), flush=True)


if __name__ == "__main__":
    main()
