"""An agent's machine stays light."""

from __future__ import annotations

import subprocess
import sys

ABSENT = ["uvicorn", "starlette", "httptools", "uvloop", "msgspec", "fcntl", "pwd", "grp", "termios", "resource"]


def test_the_connector_imports_without_the_server_and_without_what_only_unix_has() -> None:
    code = f"import sys; sys.modules.update(dict.fromkeys({ABSENT!r})); import a2a_relay.connector; print('ok')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "ok\n", done.stderr
