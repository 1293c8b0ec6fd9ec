"""The `relay` command with real processes: a relay, an agent behind a connector, and a person at a terminal."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jwt
import pytest

ROOT = Path(__file__).resolve().parents[2]
RELAY = Path(sys.executable).parent / "relay"
PATIENCE_SECONDS = 30.0
OTHER_SECRET = "not the secret of the relay that is running"

pytestmark = pytest.mark.timeout(120)


def clean_environ(**extra: str) -> dict[str, str]:
    """The environment without anybody's own relay settings."""
    foreign = ("RELAY_", "JWT_SECRET", "PORT", "BIND")
    return {name: value for name, value in os.environ.items() if not name.startswith(foreign)} | extra


@dataclass
class Machine:
    """One user's machine: a data directory, and the programs started on it."""

    data_dir: Path
    environ: dict[str, str] = field(default_factory=dict)

    def run(self, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return subprocess.run(
            [str(RELAY), *words, "--data-dir", str(self.data_dir)],
            env=clean_environ(**self.environ, **environ),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )

    @contextmanager
    def running(self, *words: str, **environ: str) -> Iterator[subprocess.Popen[bytes]]:
        """Run a command in the background; what it prints is in `<name>.log`. It is ended at the end."""
        self.data_dir.mkdir(parents=True, exist_ok=True)
        command = [str(RELAY), *words, "--data-dir", str(self.data_dir)] if words[0] != "agent" else agent_command()
        with self.log(words[0]).open("wb") as log:
            process = subprocess.Popen(
                command, env=clean_environ(**self.environ, **environ), stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
            try:
                yield process
            finally:
                process.terminate()
                process.wait(PATIENCE_SECONDS)

    def log(self, name: str) -> Path:
        return self.data_dir / f"{name}.log"

    def until(self, what: str, probe: Callable[[], Any]) -> Any:
        """Ask until there is an answer."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not (found := probe()):
            if time.monotonic() > deadline:
                logs = {path.name: path.read_text(errors="replace")[-2000:] for path in self.data_dir.glob("*.log")}
                pytest.fail(f"waited for {what}, in vain: {logs}")
            time.sleep(0.05)
        return found

    def until_logged(self, name: str, pattern: str) -> re.Match[str]:
        return self.until(f"{pattern!r} from {name}", lambda: re.search(pattern, self.log(name).read_text("utf-8")))

    @property
    def profile(self) -> dict[str, Any]:
        """What the local relay has left."""
        return json.loads((self.data_dir / "profile.json").read_text(encoding="utf-8"))


def agent_command() -> list[str]:
    return [sys.executable, str(ROOT / "examples" / "demo_agent.py"), "0", "--chunk", "0.01"]


@contextmanager
def relay_on(machine: Machine, *options: str, **environ: str) -> Iterator[str]:
    """A running relay on a free port; its URL."""
    profile = machine.data_dir / "profile.json"
    profile.unlink(missing_ok=True)
    with machine.running("serve", "--port", "0", *options, **environ) as process:

        def ready() -> bool:
            assert process.poll() is None, machine.log("serve").read_text()
            return profile.exists() and machine.run("doctor", "--json").returncode == 0

        machine.until("the relay", ready)
        yield machine.profile["relay"]
        assert process.poll() is None


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A relay with the agent `echo`, which an unmodified SDK server behind `relay connect` serves."""
    machine = Machine(tmp_path_factory.mktemp("machine") / "data")
    with relay_on(machine), machine.running("agent"):
        upstream = machine.until_logged("agent", r"http://\S+")[0]
        with machine.running("connect", "--upstream", upstream):
            machine.until_logged("connect", "local/echo is attached: ")
            yield machine


# --- the local tour: no flags ---


def test_connect_prints_the_agents_public_url(machine: Machine) -> None:
    found = machine.until_logged("connect", r"local/echo is attached: (\S+)")
    assert found[1] == f"{machine.profile['relay']}/t/local/a2a/echo/"


def test_a_message_and_its_answer(machine: Machine) -> None:
    ran = machine.run("send", "echo", "hello there")
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "hello there\n", "")


def test_a_streamed_answer(machine: Machine) -> None:
    ran = machine.run("send", "--stream", "echo", "one two three")
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "one two three\n", "")


def test_an_agent_can_be_named_in_every_way(machine: Machine) -> None:
    relay = machine.profile["relay"]
    for name in ("local/echo", f"{relay}/t/local/a2a/echo/", f"{relay.replace('http', 'a2a-relay')}/t/local/echo"):
        ran = machine.run("send", name, "hi")
        assert (ran.returncode, ran.stdout, ran.stderr) == (0, "hi\n", "")


def test_what_an_agent_says_cannot_command_the_terminal(machine: Machine) -> None:
    for words in (("send", "echo"), ("send", "--stream", "echo")):
        assert machine.run(*words, "a\x1b[2Jb\u202ec\nd").stdout == "a\\x1b[2Jb\\u202ec\nd\n"


def test_answers_as_json(machine: Machine) -> None:
    task = json.loads(machine.run("send", "echo", "hi", "--json").stdout)["task"]
    assert task["status"]["state"] == "TASK_STATE_COMPLETED"
    events = json.loads(machine.run("send", "--stream", "echo", "hi", "--json").stdout)["events"]
    assert any("artifactUpdate" in event for event in events)


def test_an_unknown_agent_is_one_line_with_its_reason(machine: Machine) -> None:
    ran = machine.run("send", "nobody", "hi")
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr.startswith("relay: ")
    assert "(AGENT_NOT_FOUND)\n" in ran.stderr
    assert ran.stderr.count("\n") == 1


def test_agents_are_listed_for_people_and_for_programs(machine: Machine) -> None:
    header, *rows = machine.run("agents").stdout.splitlines()
    assert header.split()[:2] == ["AGENT", "STATE"]
    assert any(row.split()[:2] == ["echo", "attached"] for row in rows)
    listed = json.loads(machine.run("agents", "list", "--json").stdout)
    assert listed["tenant"] == "local"
    assert {entry["id"]: entry["state"] for entry in listed["agents"]}["echo"] == "attached"


def test_the_doctor_finds_a_healthy_relay_healthy(machine: Machine) -> None:
    ran = machine.run("doctor", "echo", "--json")
    found = {finding["check"]: finding for finding in json.loads(ran.stdout)["findings"]}
    for check in ("relay", "encryption", "websocket", "token", "agent", "card", "call"):
        assert found[check]["level"] == "ok", ran.stdout
    # How long these took is the machine's affair; that they could be measured is ours.
    assert "differ by" in found["clock"]["what"]
    assert "the first byte of a stream" in found["stream"]["what"]


def test_the_doctor_finds_what_is_wrong_and_its_mend(machine: Machine) -> None:
    ran = machine.run("doctor", "nobody")
    assert ran.returncode == 1
    assert re.search(r"^fail  there is no nobody \(known: .*echo.*\)  — check the name", ran.stdout, re.MULTILINE)


def test_a_token_of_another_secret_is_refused_with_its_reason(machine: Machine) -> None:
    token = jwt.encode({"tenant": "local", "exp": int(time.time()) + 60}, OTHER_SECRET, algorithm="HS256")
    ran = machine.run("send", "echo", "hi", RELAY_TOKEN=token)
    assert (ran.returncode, "(UNAUTHENTICATED)" in ran.stderr) == (1, True)
    assert machine.run("doctor", RELAY_TOKEN=token).returncode == 1


def test_a_minted_token_lets_an_agent_attach_elsewhere_and_a_client_in(machine: Machine, tmp_path: Path) -> None:
    relay, elsewhere = machine.profile["relay"], Machine(tmp_path / "elsewhere")
    minted = machine.run("token", "--tenant", "acme", "--agent", "far", "--role", "agent")
    (tmp_path / "token").write_text(minted.stdout, encoding="utf-8")
    upstream = machine.until_logged("agent", r"http://\S+")[0]
    options = ("--relay", relay, "--token-file", str(tmp_path / "token"))
    with elsewhere.running("connect", "--upstream", upstream, *options) as connector:
        elsewhere.until_logged("connect", "acme/far is attached: ")
        client = machine.run("token", "--tenant", "acme", "--role", "client", "--user", "ann").stdout.strip()
        ran = elsewhere.run("send", "far", "hi", RELAY_URL=relay, RELAY_TOKEN=client)
        assert (ran.returncode, ran.stdout) == (0, "hi\n"), ran.stderr
        connector.send_signal(signal.SIGTERM)
        assert connector.wait(PATIENCE_SECONDS) == 0
    away = machine.until("acme/far to be away", lambda: states(machine, "acme").get("far") == "away")
    assert away
    queued = machine.run("send", "acme/far", "hi")
    assert (queued.returncode, queued.stderr.count("is submitted")) == (0, 1)
    assert machine.run("agents", "forget", "far", "--tenant", "acme").returncode == 0
    assert states(machine, "acme") == {}


def states(machine: Machine, tenant: str) -> dict[str, str]:
    listed = json.loads(machine.run("agents", "--json", "--tenant", tenant).stdout)
    return {entry["id"]: entry["state"] for entry in listed["agents"]}


# --- the connector's ends ---


def test_a_connector_that_is_refused_says_why_and_ends_with_2(machine: Machine) -> None:
    token = jwt.encode({"tenant": "t", "agent_id": "a", "exp": int(time.time()) + 60}, OTHER_SECRET, algorithm="HS256")
    upstream = machine.until_logged("agent", r"http://\S+")[0]
    ran = machine.run("connect", "--upstream", upstream, RELAY_TOKEN=token)
    assert (ran.returncode, ran.stderr.count("\n")) == (2, 1), ran.stderr
    assert ran.stderr.startswith("relay: ")


def test_a_connector_whose_place_is_taken_ends_with_3(machine: Machine, tmp_path: Path) -> None:
    upstream = machine.until_logged("agent", r"http://\S+")[0]
    first, second = Machine(tmp_path / "first"), Machine(tmp_path / "second")
    secret = Path(machine.profile["secret_file"]).read_text(encoding="utf-8").strip()
    options = ("--upstream", upstream, "--relay", machine.profile["relay"], "--tenant", "twins", "--agent", "twin")
    with first.running("connect", *options, RELAY_JWT_SECRET=secret) as older:
        first.until_logged("connect", "twins/twin is attached")
        with second.running("connect", *options, RELAY_JWT_SECRET=secret):
            second.until_logged("connect", "twins/twin is attached")
            assert older.wait(PATIENCE_SECONDS) == 3


# --- serve ---


def test_serve_starts_with_a_given_secret_and_leaves_in_order(tmp_path: Path) -> None:
    machine = Machine(tmp_path / "data", {"RELAY_JWT_SECRET": OTHER_SECRET})
    with machine.running("serve", "--port", "0", "--store", "memory:") as relay:
        machine.until("the profile", (machine.data_dir / "profile.json").exists)
        assert machine.profile["secret_file"] is None
        machine.until("the relay", lambda: machine.run("agents").stdout == "tenant local has no agents\n")
        assert not (machine.data_dir / "jwt_secret").exists()
        relay.send_signal(signal.SIGTERM)
        assert relay.wait(PATIENCE_SECONDS) == 0


def test_serve_says_in_one_line_why_it_does_not_start(tmp_path: Path) -> None:
    machine = Machine(tmp_path / "data")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        refusals = {
            "taken port": machine.run("serve", "--port", port),
            "short secret": machine.run("serve", "--port", "0", RELAY_JWT_SECRET="short"),
            "no secret": machine.run("serve", "--port", "0", "--host", "0.0.0.0"),
            "strange store": machine.run("serve", "--port", "0", "--store", "carrier-pigeon:"),
            "unreadable store": machine.run("serve", "--port", "0", "--store", "sqlite:////dev/null/x/relay.db"),
            "bad certificate": machine.run("serve", "--port", "0", "--tls-cert", "/none", "--tls-key", "/none"),
        }
    for what, ran in refusals.items():
        lines = [line for line in ran.stderr.splitlines() if line.startswith("relay: ")]
        assert (ran.returncode, len(lines), "Traceback" in ran.stderr) == (2, 1, False), f"{what}: {ran.stderr}"
