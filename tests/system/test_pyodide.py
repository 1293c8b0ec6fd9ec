"""The node needs neither threads nor sockets nor any package: it relays under Pyodide, on Python's own JSON."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest
from installed import NotInstallable, node_modules
from programs import ROOT, clean_environment

HERE = Path(__file__).parent / "pyodide"
LIMIT_SECONDS = 100
OF_PYODIDE = {"a2a_relay", "pyodide", "pyodide_js", "_pyodide", "_pyodide_core", "__main__"}
NEWER_STANDARD_MODULES = {"annotationlib", "compression"}
"""Of the standard library of Pyodide's Python, which may be newer than this one's."""

pytestmark = pytest.mark.timeout(400)  # the first time it installs Pyodide


@pytest.fixture(scope="module")
def witnessed(unavailable: Callable[[str], NoReturn]) -> Any:
    """What happened when the node ran under Pyodide."""
    try:
        node = node_modules(HERE)
    except NotInstallable as why:
        unavailable(f"Pyodide cannot be installed: {why}")
    done = subprocess.run(
        [node, HERE / "run.mjs", ROOT / "src", HERE / "relay_one_call.py"],
        env=clean_environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LIMIT_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def test_it_is_a_python_without_threads(witnessed: Any) -> None:
    assert witnessed["platform"] == "emscripten"
    assert not witnessed["has_threads"]


def test_every_module_of_the_portable_rooms_imports(witnessed: Any) -> None:
    rooms = {name.split(".")[1] for name in witnessed["modules"]}

    assert rooms == {"a2a", "wire", "core", "ports", "node", "stores"}


def test_nothing_but_the_standard_library_is_needed(witnessed: Any) -> None:
    foreign = set(witnessed["packages"]) - sys.stdlib_module_names - OF_PYODIDE

    assert {name for name in foreign if not name.startswith("_")} <= NEWER_STANDARD_MODULES


def test_the_agent_is_welcomed(witnessed: Any) -> None:
    assert witnessed["welcome"]["type"] == "auth_ok"
    assert witnessed["welcome"]["agent_id"] == "echo"
    assert witnessed["witnessed"] == ["attached acme/echo", "streamed 3", "closed acme/echo"]
    assert witnessed["close_code"] == 1001, "it left in order"


def test_a_call_crosses_byte_for_byte(witnessed: Any) -> None:
    assert witnessed["params_arrived_as_sent"]
    assert witnessed["answer"] == (
        '{"jsonrpc":"2.0","id":9007199254740993,"result":{"b":1, "a":12345678901234567890, "text":"\\udc00"}}'
    )


def test_a_stream_arrives_in_order_and_ends(witnessed: Any) -> None:
    events = "".join(
        f'data: {{"jsonrpc":"2.0","id":9007199254740993,"result":{{"n":{number}}}}}\n\n' for number in (1, 2, 3)
    )

    assert witnessed["stream"] == events
    assert witnessed["stream_failure"] is None
