"""`make demo` does what the README promises, on a machine where the port it would like is free or taken."""

import os
import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

ROOT = Path(__file__).resolve().parents[2]
CALL_TEXT = "Hello from the other side of the relay"
STREAM_TEXT = "These words arrive one after the other"
LIMIT_SECONDS = 110


@pytest.fixture
def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@contextmanager
def make_demo(*assignments: str) -> Iterator[subprocess.Popen[str]]:
    """Run `make demo` in a process group of its own, and leave none of the group behind."""
    inherited = {name: value for name, value in os.environ.items() if name not in {"MAKEFLAGS", "MFLAGS", "MAKELEVEL"}}
    with subprocess.Popen(
        ["make", "--no-print-directory", "demo", *assignments],
        cwd=ROOT,
        env=inherited,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)  # the demo ends its three programs on this
                process.communicate(timeout=LIMIT_SECONDS)


def is_listening(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(5)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def read_until(process: subprocess.Popen[str], words: str) -> str:
    """Read the demo's output up to and with the line that holds the words."""
    assert process.stdout is not None
    seen = ""
    for line in process.stdout:
        seen += line
        if words in line:
            return seen
    pytest.fail(f"the demo ended without saying {words!r}:\n{seen}")


@pytest.mark.timeout(120)
def test_make_demo_once_shows_a_call_and_a_stream_and_ends_well(free_port: int) -> None:
    with make_demo("ONCE=1", f"DEMO_PORT={free_port}") as demo:
        output, _ = demo.communicate(timeout=LIMIT_SECONDS)

    assert demo.returncode == 0, output
    assert f"http://127.0.0.1:{free_port}" in output

    _, _, after_call = output.partition("A call through the relay:")
    call, _, after_stream = after_call.partition("A stream through the relay:")
    stream, _, _ = after_stream.partition("Try it")
    # Each text stands in the shown command and once more in the answer.
    assert call.count(CALL_TEXT) >= 2, output
    answered = stream.split("\n", 2)[2]
    assert re.sub(r"\W+", " ", STREAM_TEXT).split()[-1] in answered, output
    assert not is_listening(free_port), "the relay outlived the demo"
    assert not (ROOT / ".demo" / str(free_port)).exists(), "the demo left its data behind"


@pytest.mark.timeout(120)
def test_make_demo_takes_the_next_port_and_prints_commands_that_work_until_it_is_ended(free_port: int) -> None:
    with socket.create_server(("127.0.0.1", free_port)), make_demo(f"DEMO_PORT={free_port}") as demo:
        output = read_until(demo, "Ctrl-C stops everything.")
        url = re.search(r"relay +http://127\.0\.0\.1:(\d+)", output)
        assert url, output
        port = int(url[1])
        assert port != free_port

        _, _, to_paste = output.partition("Try it from another terminal, in this directory:")
        commands = to_paste.partition("Ctrl-C")[0]
        pasted = subprocess.run(
            ["/bin/sh", "-eu"], input=commands, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
        )
        assert pasted.returncode == 0, pasted.stdout + pasted.stderr
        assert "three" in pasted.stdout
        assert '"supportedInterfaces"' in pasted.stdout
        assert '"TASK_STATE_COMPLETED"' in pasted.stdout

        card_url = re.search(r"curl (http://\S+agent-card\.json)", commands)
        assert card_url, commands
        assert httpx.get(card_url[1], trust_env=False).json()["name"] == "echo"

        os.killpg(demo.pid, signal.SIGTERM)
        demo.communicate(timeout=LIMIT_SECONDS)
        assert not is_listening(port), "the relay outlived the demo"


@pytest.mark.timeout(120)
def test_a_demo_whose_agent_dies_says_so_stops_the_rest_and_fails(free_port: int) -> None:
    with make_demo(f"DEMO_PORT={free_port}") as demo:
        read_until(demo, "Ctrl-C stops everything.")
        os.kill(int((ROOT / ".demo" / str(free_port) / "agent.pid").read_text()), signal.SIGKILL)
        output, _ = demo.communicate(timeout=LIMIT_SECONDS)

    assert demo.returncode != 0
    assert "The agent ended with exit code -9" in output
    assert not is_listening(free_port), "the relay outlived the demo"
