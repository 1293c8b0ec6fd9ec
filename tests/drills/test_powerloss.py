"""The simulated power loss takes what was not synced, and only that: shown on a writer of a few lines."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from powerloss import Loss, Mode, arm, build, can_build

RUNS = 20
WRITER = Path(__file__).with_name("counting_writer.py")

pytestmark = pytest.mark.skipif(not can_build(), reason="needs gcc and /proc")


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("powerloss"))


def run(command: list[str], library: Path) -> subprocess.CompletedProcess[bytes]:
    environment = os.environ | {"LD_PRELOAD": str(library)}
    return subprocess.run(command, env=environment, capture_output=True, timeout=30, check=False)


def lost_rows(directory: Path, library: Path, synchronous: str, loss: Loss) -> tuple[int, int]:
    """How many numbers were said to be committed, and how many of them are gone."""
    directory.mkdir()
    words = [str(word) for word in (directory, synchronous, int(loss.mode), *loss[1:])]
    done = run([sys.executable, "-S", str(WRITER), *words], library)
    assert done.returncode == -signal.SIGKILL, done.stderr
    said = {int(line) for line in done.stdout.split()}
    with sqlite3.connect(directory / "numbers.db") as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        kept = {number for (number,) in connection.execute("SELECT number FROM numbers")}
    return len(said), len(said - kept)


@pytest.mark.parametrize("mode", list(Mode))
def test_full_synchronization_loses_nothing_that_was_said(mode: Mode, library: Path, tmp_path: Path) -> None:
    """At many different steps, of which some are within checkpoints."""
    chance = random.Random(f"full {mode}")
    said = 0
    for number in range(RUNS):
        loss = Loss(mode, chance.randrange(1 << 30), at_step=chance.randrange(2, 300))
        count, lost = lost_rows(tmp_path / str(number), library, "FULL", loss)
        assert lost == 0, loss
        said += count
    assert said > RUNS


@pytest.mark.parametrize("synchronous", ["OFF", "NORMAL"])
def test_the_mutant_that_does_not_sync_loses_rows_that_it_had_said(
    synchronous: str, library: Path, tmp_path: Path
) -> None:
    """A drill that could not see that would prove nothing. NORMAL has lost nothing right after a checkpoint."""
    chance = random.Random(f"mutant {synchronous}")
    losses = 0
    for number in range(RUNS):
        loss = Loss(Mode.ALL, chance.randrange(1 << 30), at_step=chance.randrange(100, 150))
        losses += lost_rows(tmp_path / str(number), library, synchronous, loss)[1] > 0
    assert losses >= RUNS // 2


def test_a_strike_after_a_time_kills_as_well(library: Path, tmp_path: Path) -> None:
    """For moments at which nothing is written."""
    said, lost = lost_rows(tmp_path / "run", library, "FULL", Loss(Mode.ALL, 1, at_microseconds=50_000))
    assert (said > 0, lost) == (True, 0)


def in_a_child(library: Path, directory: Path, work: Callable[[Path], None]) -> None:
    """Run a function of this module in a process with the library, which ends by killing itself."""
    code = "import sys; sys.path.insert(0, sys.argv[1]); import test_powerloss as module; "
    code += "getattr(module, sys.argv[2])(module.Path(sys.argv[3]))"
    done = run([sys.executable, "-c", code, str(WRITER.parent), work.__name__, str(directory)], library)
    assert done.returncode == -signal.SIGKILL, done.stderr


def change_names(directory: Path) -> None:
    arm(directory, Loss(Mode.ALL, 1))
    for name, wanted in (("rename", "renamed"), ("replace", "replaced")):
        (directory / name).rename(directory / wanted)
    (directory / "unlink").unlink()
    if (directory / "sync").exists():
        os.fsync(os.open(directory, os.O_RDONLY))
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("is_synced", [False, True])
def test_names_last_when_their_directory_was_synced(is_synced: bool, library: Path, tmp_path: Path) -> None:
    """Renaming over a file and unlinking come back otherwise, with what was in the files."""
    for name in ("rename", "replace", "replaced", "unlink"):
        (tmp_path / name).write_text(name)
    before = {path.name: path.read_text() for path in tmp_path.iterdir()}
    if is_synced:
        (tmp_path / "sync").touch()
    in_a_child(library, tmp_path, change_names)
    (tmp_path / "sync").unlink(missing_ok=True)
    after = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert after == ({"renamed": "rename", "replaced": "replace"} if is_synced else before)


def write_and_cut(directory: Path) -> None:
    descriptor = os.open(directory / "file", os.O_RDWR)
    arm(directory, Loss(Mode.ALL, 1))
    os.write(descriptor, b"new")
    os.fsync(descriptor)
    os.pwrite(descriptor, b"beyond the end", 20)
    os.ftruncate(descriptor, 2)
    os.pwrite(descriptor, b"!", 1)
    os.kill(os.getpid(), signal.SIGKILL)


def test_bytes_and_sizes_are_as_they_were_at_the_last_sync(library: Path, tmp_path: Path) -> None:
    """Through writes, a longer file and a shorter one."""
    (tmp_path / "file").write_bytes(b"old and long")
    in_a_child(library, tmp_path, write_and_cut)
    assert (tmp_path / "file").read_bytes() == b"new and long"
