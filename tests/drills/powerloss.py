"""Builds `powerloss.c`, and arms it in a process that was started with it."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from enum import IntEnum
from pathlib import Path
from typing import NamedTuple

SOURCE = Path(__file__).with_suffix(".c")


class Mode(IntEnum):
    """What of the writes that were not synced is gone."""

    ALL = 0
    SOME = 1
    """A random half of them, whatever their order."""
    TORN = 2
    """Those after a random one, and half of that one."""


class Loss(NamedTuple):
    """One power loss: before the `at_step`th write or sync, or after so long, or when the process kills itself."""

    mode: Mode
    seed: int
    at_step: int = 0
    at_microseconds: int = 0


def can_build() -> bool:
    """Whether this machine has what it takes."""
    return shutil.which("gcc") is not None and Path("/proc/self/fd").is_dir()


def build(directory: Path) -> Path:
    """The library, made into a directory."""
    library = directory / "powerloss.so"
    command = ["gcc", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o", str(library), str(SOURCE)]
    subprocess.run([*command, "-ldl", "-lpthread"], check=True)
    return library


def arm(directory: Path, loss: Loss) -> None:
    """From now on this process is in for it. It must have been started with `LD_PRELOAD=` the library."""
    strike = ctypes.CDLL(None).powerloss_arm
    strike.argtypes = [ctypes.c_char_p, ctypes.c_int, ctypes.c_ulong, ctypes.c_long, ctypes.c_ulong]
    strike.restype = None
    strike(str(directory).encode(), loss.mode, loss.seed, loss.at_step, loss.at_microseconds)
