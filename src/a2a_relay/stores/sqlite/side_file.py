"""A small file beside the store that knows how many letters were accepted, and whether the relay has left in order.

SQLite drops a damaged end of its write-ahead log without a word; the number here, which is written behind the commits,
tells that letters are missing. The running relay holds a lock on it, which keeps nobody from the database itself.
"""

from __future__ import annotations

import os
import zlib
from pathlib import Path
from typing import NamedTuple

from a2a_relay.errors import StoreError

try:
    import fcntl
except ImportError:  # Windows: there nothing tells whether a relay is running
    fcntl = None  # type: ignore[assignment]

_SUFFIX = "-accepted"
_SIZE = 64


class Record(NamedTuple):
    """The store's epoch, the number of the last letter that was accepted in it, and whether nobody was writing."""

    epoch: str
    number: int
    is_clean: bool


class SideFile:
    """The open and locked side file of one store."""

    def __init__(self, descriptor: int, path: Path) -> None:
        self.path = path
        self._descriptor = descriptor

    @classmethod
    def open(cls, store: Path) -> SideFile | None:
        """The side file of a store; None while another relay holds it. Raises StoreError."""
        path = store.with_name(store.name + _SUFFIX)
        try:
            descriptor = os.open(path, os.O_CREAT | os.O_RDWR | getattr(os, "O_CLOEXEC", 0), 0o600)
        except OSError as error:
            raise StoreError(f"cannot open {path}: {error}") from error
        if fcntl is not None:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                os.close(descriptor)
                return None
        return cls(descriptor, path)

    def read(self) -> Record | None:
        """What was recorded last; None when nothing was, or it cannot be read."""
        line = os.pread(self._descriptor, _SIZE, 0).decode("ascii", "replace").split()
        if len(line) != 4 or not line[1].isdecimal() or _checked(*line[:3]) != line[3]:
            return None
        return Record(line[0], int(line[1]), line[2] == "clean")

    def write(self, record: Record) -> None:
        """Record this durably. Raises OSError."""
        fields = (record.epoch, str(record.number), "clean" if record.is_clean else "open")
        line = " ".join((*fields, _checked(*fields)))
        os.pwrite(self._descriptor, line.ljust(_SIZE - 1).encode() + b"\n", 0)
        getattr(os, "fdatasync", os.fsync)(self._descriptor)

    def close(self) -> None:
        """Let go of it, and of its lock."""
        os.close(self._descriptor)


def _checked(*fields: str) -> str:
    return f"{zlib.crc32(' '.join(fields).encode()):08x}"
