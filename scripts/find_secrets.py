"""Fail when the tree holds what should be nowhere: a key of a relay, or a private key. `make lint` runs it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from a2a_relay.core import keys

ROOT = Path(__file__).resolve().parents[1]
MAX_BYTES = 8 * 1024 * 1024
PRIVATE_KEY = re.compile(r"-----BEGIN (?:[A-Z0-9]+ ){0,2}PRIVATE KEY-----\s+[A-Za-z0-9+/=]{32}", re.ASCII)


def find_secrets(text: str) -> list[str]:
    """What of a text is a secret, each in a few words that do not repeat it. A made-up key has a wrong checksum."""
    found = [
        f"line {text.count(chr(10), 0, match.start()) + 1}: a key of a relay"
        for match in keys.PATTERN.finditer(text)
        if keys.is_well_formed(match[0])
    ]
    return found + [
        f"line {text.count(chr(10), 0, match.start()) + 1}: a private key" for match in PRIVATE_KEY.finditer(text)
    ]


def tracked_files() -> list[Path]:
    """The files of the repository; of a copy without one, those of its rooms."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        names = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return [path for path in ROOT.rglob("*") if not {".venv", "__pycache__"} & set(path.parts)]
    return [ROOT / name for name in names.decode().split("\0") if name]


def main() -> int:
    """Look through every file; the exit code."""
    found = 0
    for path in tracked_files():
        if not path.is_file() or path.stat().st_size > MAX_BYTES:
            continue
        for what in find_secrets(path.read_text(encoding="utf-8", errors="replace")):
            found += 1
            print(f"{path.relative_to(ROOT)}, {what}", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
