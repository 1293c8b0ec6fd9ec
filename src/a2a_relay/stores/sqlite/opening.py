"""How a file is opened, and brought to this release's schema."""

from __future__ import annotations

import os
import sqlite3
from importlib import resources
from pathlib import Path

from a2a_relay.errors import StoreError

BUSY_SECONDS = 5.0


def open_file(path: Path) -> sqlite3.Connection:
    """A connection with the durability that the relay promises. Raises StoreError.

    -wal and -shm take the mode of the file itself, which its owner alone may read.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not path.exists():
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA fullfsync=1")  # macOS: fsync alone does not reach the disk there
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute("PRAGMA wal_autocheckpoint=4000")  # 16 MiB: a checkpoint has syncs of its own
        connection.execute("PRAGMA temp_store=MEMORY")
        connection.execute("PRAGMA secure_delete=ON")  # what is removed is overwritten: bodies are other people's
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    except (sqlite3.Error, OSError) as error:
        raise StoreError(f"cannot open the store {path}: {error}") from error
    return connection


def migrations() -> list[tuple[int, str]]:
    """Every step of the schema, by its number."""
    folder = resources.files(__package__).joinpath("migrations")
    found = [(int(item.name[:4]), item.read_text("utf-8")) for item in folder.iterdir() if item.name.endswith(".sql")]
    return sorted(found)


def migrate(connection: sqlite3.Connection, path: Path) -> None:
    """Bring the file to this release's schema, one numbered step at a time. Raises StoreError."""
    steps = migrations()
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > steps[-1][0]:
        raise StoreError(f"the store {path} was written by a newer release (schema {version})")
    for number, script in steps:
        if number > version:
            try:
                connection.executescript(f"BEGIN IMMEDIATE;\n{script}\nPRAGMA user_version={number};\nCOMMIT;")
            except sqlite3.Error as error:
                raise StoreError(f"cannot bring the store {path} to schema {number}: {error}") from error
