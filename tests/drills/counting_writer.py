"""Counts in an SQLite file, and says each number when it is committed: what a power loss must not take back.

`counting_writer.py DIRECTORY SYNCHRONOUS MODE SEED AT_STEP AT_MICROSECONDS`, with `powerloss.so` preloaded.
"""

from __future__ import annotations

import os
import sqlite3
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from powerloss import Loss, Mode, arm


def count(directory: Path, synchronous: str, loss: Loss) -> None:
    """Commit one number after the other until the power is gone."""
    connection = sqlite3.connect(directory / "numbers.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute(f"PRAGMA synchronous={synchronous}")
    connection.execute("PRAGMA wal_autocheckpoint=20")
    connection.execute("CREATE TABLE IF NOT EXISTS numbers (number INTEGER PRIMARY KEY, filling BLOB)")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    os.sync()
    arm(directory, loss)
    for number in range(100_000):
        connection.execute("INSERT INTO numbers VALUES (?, ?)", (number, b"x" * 2000))
        os.write(1, b"%d\n" % number)


if __name__ == "__main__":
    directory, synchronous, mode, seed, at_step, at_microseconds = sys.argv[1:]
    count(Path(directory), synchronous, Loss(Mode(int(mode)), int(seed), int(at_step), int(at_microseconds)))
