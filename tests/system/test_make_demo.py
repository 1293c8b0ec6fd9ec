"""`make demo` does what the README promises, on a machine where the port it would like is free or taken."""

import os
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from shown import missing_line

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
CALL_TEXT = "Hello, agent"
STREAM_TEXT = "One word after the other"
SURVIVING_TEXT = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"
SURVIVAL = "A stream that outlives the relay."
LETTER = "A message to an agent that is away."
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


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def shown_in_the_readme() -> str:
    """The block of the README that shows what `make demo` says."""
    block = re.search(r"^```console demo\n(.*?)^```$", README.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    assert block
    return block[1]


def read_until(process: subprocess.Popen[str], words: str) -> str:
    """Read the demo's output up to and with the line that holds the words."""
    assert process.stdout is not None
    seen = ""
    for line in process.stdout:
        seen += line
        if words in line:
            return seen
    pytest.fail(f"the demo ended without saying {words!r}:\n{seen}")


def second_act(output: str) -> list[str]:
    """What follows the command of the stream in which the relay is killed."""
    act = output.partition(SURVIVAL)[2].partition(LETTER)[0].splitlines()
    command = next(number for number, line in enumerate(act) if line.startswith("  $ "))
    return [line for line in act[command + 1 :] if line]


def third_act(output: str) -> list[str]:
    """What follows the end of the second act: a message to an agent that is away."""
    act = output.partition(LETTER)[2].partition("Try it")[0]
    return [line for line in act.splitlines()[1:] if line]


def killed_and_started(act: list[str]) -> tuple[int, int]:
    """The process ids of the relay that was killed and of the one that took its place."""
    found = re.search(r"\[kill -9 (\d+): .*\[the relay is back as process (\d+),", "\n".join(act), re.DOTALL)
    assert found, act
    return int(found[1]), int(found[2])


def is_note(line: str) -> bool:
    """Whether a line of the second act is told by the demo, or by `relay send` of its connection: not an answer."""
    return line.lstrip().startswith(("[", "relay: ", "Killed "))


@pytest.mark.timeout(120)
def test_make_demo_once_shows_what_the_readme_shows_and_ends_well(free_port: int) -> None:
    with make_demo("ONCE=1", f"DEMO_PORT={free_port}") as demo:
        output, _ = demo.communicate(timeout=LIMIT_SECONDS)

    assert demo.returncode == 0, output
    assert f"http://127.0.0.1:{free_port}" in output

    _, _, after_call = output.partition("A call through the relay:")
    call, _, after_stream = after_call.partition("A stream through the relay:")
    stream, _, _ = after_stream.partition(SURVIVAL)
    # Each text stands in the shown command and once more in the answer.
    assert call.count(CALL_TEXT) >= 2, output
    answered = stream.split("\n", 2)[2]
    assert re.sub(r"\W+", " ", STREAM_TEXT).split()[-1] in answered, output

    act = second_act(output)
    words = " ".join(line for line in act if not is_note(line)).split()
    assert words == SURVIVING_TEXT.split(), output
    killed, started = killed_and_started(act)
    assert killed != started
    assert re.fullmatch(r"Killed after \d+ words, .* All 16 words came, each once\.", act[-1]), output
    notes_of_the_readme = [
        re.sub(r"lost \(.*\)", "lost (…)", line)  # in which words is the network's to say
        for line in second_act(shown_in_the_readme())
        if is_note(line)
    ]
    assert missing_line(notes_of_the_readme, output) is None, output

    states = re.findall(r"^  (SUBMITTED|WORKING|COMPLETED)  (rly-\S+)$", "\n".join(third_act(output)), re.MULTILINE)
    assert [state for state, _ in states if state != "WORKING"] == ["SUBMITTED", "COMPLETED"], output
    assert len({task for _, task in states}) == 1
    shown_third = [
        line for line in third_act(shown_in_the_readme()) if "WORKING" not in line
    ]  # it may be over too soon
    shown_third = [re.sub(r"rly-[0-9a-f]+", "rly-…", line).replace(".venv/bin/python", "…") for line in shown_third]
    assert missing_line(shown_third, output) is None, output

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

        killed, started = killed_and_started(second_act(output))
        directory = ROOT / ".demo" / str(port)
        assert int((directory / "relay.pid").read_text()) == started
        assert not is_running(killed), "the relay was not killed"
        assert is_running(started)
        assert (directory / "connector.log").read_text().count("is attached") == 3, "before and after each act"

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
@pytest.mark.parametrize(
    "moment",
    ["echo 'one two", "[kill -9", "SUBMITTED"],
    ids=["in the stream", "without a relay", "without an agent"],
)
def test_a_demo_that_is_ended_in_the_middle_leaves_nothing_behind(free_port: int, moment: str) -> None:
    with make_demo(f"DEMO_PORT={free_port}") as demo:
        read_until(demo, moment)
        pids = [int(path.read_text()) for path in (ROOT / ".demo" / str(free_port)).glob("*.pid")]
        os.killpg(demo.pid, signal.SIGINT)
        output, _ = demo.communicate(timeout=LIMIT_SECONDS)

    assert len(pids) == 3
    assert "Stopping" in output
    assert "Traceback" not in output
    assert not [pid for pid in pids if is_running(pid)], "a program outlived the demo"
    assert not is_listening(free_port), "the relay outlived the demo"
    assert not (ROOT / ".demo" / str(free_port)).exists(), "the demo left its data behind"


@pytest.mark.timeout(120)
def test_a_demo_whose_agent_dies_says_so_stops_the_rest_and_fails(free_port: int) -> None:
    with make_demo(f"DEMO_PORT={free_port}") as demo:
        read_until(demo, "Ctrl-C stops everything.")
        os.kill(int((ROOT / ".demo" / str(free_port) / "agent.pid").read_text()), signal.SIGKILL)
        output, _ = demo.communicate(timeout=LIMIT_SECONDS)

    assert demo.returncode != 0
    assert "The agent ended with exit code -9" in output
    logs = ROOT / ".demo" / str(free_port)
    assert f"The programs' logs are in .demo/{free_port}/." in output
    assert {path.name for path in logs.iterdir()} == {"relay.log", "agent.log", "connector.log"}
    shutil.rmtree(logs)
    assert not is_listening(free_port), "the relay outlived the demo"
