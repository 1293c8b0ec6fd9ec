"""Clients of other languages and versions: installed once from their lock files, then found again at once."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
import sys
import tempfile
import venv
from collections.abc import Callable
from pathlib import Path

INSTALL_SECONDS = 300
OLDEST_NODE = 20
"""What the clients of A2A 1.0 run on."""


class NotInstallable(Exception):
    """It cannot be had on this machine; the text says why."""


def node_modules(directory: Path) -> Path:
    """Node, with the packages of `directory/package-lock.json` beside its scripts. Raises NotInstallable."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        raise NotInstallable("node and npm are not on this machine")
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    if int(version.removeprefix("v").partition(".")[0]) < OLDEST_NODE:
        raise NotInstallable(f"node {version} is here, {OLDEST_NODE} is needed")
    command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    _once(directory / "node_modules", directory / "package-lock.json", lambda: _run(command, directory))
    return Path(node)


def python_with(lock: Path) -> Path:
    """A Python that has the packages of a lock file, in an environment inside this one. Raises NotInstallable."""
    home = Path(sys.prefix) / "test-clients" / lock.stem
    python = home / "bin" / "python"

    def install() -> None:
        venv.create(home, clear=True, with_pip=True)
        pip = [str(python), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
        _run([*pip, "--require-hashes", "--only-binary", ":all:", "-r", str(lock)], lock.parent)

    _once(home, lock, install)
    return python


def _once(home: Path, lock: Path, install: Callable[[], None]) -> None:
    """Install unless this very lock file is installed there; one process at a time."""
    wanted = hashlib.sha256(lock.read_bytes()).hexdigest()
    stamp = home / ".installed-lock"
    place = hashlib.sha256(bytes(home)).hexdigest()[:16]
    with (Path(tempfile.gettempdir()) / f"a2a-relay-install-{place}.lock").open("w") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        if stamp.exists() and stamp.read_text() == wanted:
            return
        install()
        stamp.write_text(wanted)


def _run(command: list[str], directory: Path) -> None:
    try:
        done = subprocess.run(
            command,
            cwd=directory,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=INSTALL_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as expired:
        raise NotInstallable(f"`{' '.join(command)}` did not end within {INSTALL_SECONDS} s") from expired
    if done.returncode != 0:
        raise NotInstallable(f"`{' '.join(command)}` failed: {(done.stderr or done.stdout)[-1000:]}")
