"""Ask for known vulnerabilities of what is installed in .venv (pip-audit; needs the network). `make security` runs it.

With `--tolerant` a service that cannot be reached is told and is no failure; a vulnerability always is one.
"""

from __future__ import annotations

import subprocess
import sys

SECONDS = 300
UNREACHABLE = ("ConnectionError", "Max retries exceeded", "timed out", "ProxyError", "NameResolution")
"""What pip-audit says when it could not ask."""


def verdict(exit_code: int, said: str, *, is_tolerant: bool) -> int:
    """The exit code for what pip-audit has ended with."""
    could_not_ask = "Found" not in said and any(word in said for word in UNREACHABLE)
    if exit_code and could_not_ask and is_tolerant:
        print("vulnerabilities were not looked up: the service cannot be reached", file=sys.stderr)
        return 0
    return exit_code


def main(arguments: list[str]) -> int:
    """Run pip-audit; the exit code."""
    command = [sys.executable, "-m", "pip_audit", "--skip-editable", "--progress-spinner", "off", "--timeout", "15"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=SECONDS)
        exit_code, said = done.returncode, done.stdout + done.stderr
    except subprocess.TimeoutExpired:
        exit_code, said = 1, f"timed out after {SECONDS} s"
    print(said, end="")
    return verdict(exit_code, said, is_tolerant="--tolerant" in arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
