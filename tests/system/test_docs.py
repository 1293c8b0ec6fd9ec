"""What the documents show is what happens: the README's tour and the examples run against real processes."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

import pytest
from programs import (
    RELAY,
    ROOT,
    SECRET,
    START_SECONDS,
    TENANT,
    Program,
    Relay,
    answers,
    clean_environment,
    running,
    running_agent,
    running_connector,
)
from shown import missing_line, pattern_of

README = ROOT / "README.md"
DEPLOYING = ROOT / "docs" / "deploying.md"
_BLOCK = re.compile(r"^```console tour(?: in=(\w+))?\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@dataclass
class Terminal:
    """A terminal in which one program at a time runs in the foreground; `seen` is how far its output was read."""

    log: Path
    program: Program | None = None
    stack: ExitStack = field(default_factory=ExitStack)
    seen: int = 0

    def start(self, command: str, environment: dict[str, str]) -> None:
        self.program = self.stack.enter_context(running(["/bin/sh", "-c", f"exec {command}"], self.log, environment))
        self.seen = 0

    def interrupt(self) -> None:
        """Ctrl-C, and wait until the program has ended."""
        assert self.program
        self.program.process.send_signal(signal.SIGINT)
        self.program.process.wait(START_SECONDS)

    def expect(self, line: str) -> None:
        """Wait until a line is printed beyond what was read before."""
        assert self.program
        deadline = time.monotonic() + START_SECONDS
        while True:
            text = self.log.read_text(errors="replace")
            found = re.compile(pattern_of(line)).search(text, self.seen)
            if found:
                self.seen = found.end()
                return
            if time.monotonic() > deadline or self.program.process.poll() is not None:
                pytest.fail(f"never printed: {line}\n--- printed:\n{text[-2000:]}")
            time.sleep(0.05)


@dataclass
class Tour:
    """The person who follows the README: several terminals, and one shell whose variables stay."""

    directory: Path
    environment: dict[str, str]
    ports: dict[str, str]
    terminals: dict[str, Terminal] = field(default_factory=dict)
    variables: list[str] = field(default_factory=list)

    def here(self, text: str) -> str:
        for shown, actual in self.ports.items():
            text = text.replace(shown, actual)
        return text

    def follow(self, terminal: str, lines: list[str]) -> None:
        if not terminal:
            return self._follow_in_shell(lines)
        found = self.terminals.setdefault(terminal, Terminal(self.directory / f"{terminal}.log"))
        for line in lines:
            if line.startswith("$ "):
                found.start(self.here(line[2:]), self.environment)
            elif line == "^C":
                found.interrupt()
            else:
                found.expect(line)
        return None

    def _follow_in_shell(self, lines: list[str]) -> None:
        at = [number for number, line in enumerate(lines) if line.startswith("$ ")]
        for start, end in zip(at, [*at[1:], len(lines)], strict=True):
            command = self.here(lines[start][2:])
            if re.match(r"[A-Z]+=", command):
                self.variables.append(command)
                continue
            printed = self._run(command)
            missing = missing_line(lines[start + 1 : end], printed)
            assert missing is None, f"$ {command}\nshown: {missing}\n--- printed:\n{printed}"

    def _run(self, command: str) -> str:
        """What a command prints, errors too. A `relay send` that fails is part of the tour."""
        script = "\n".join([*self.variables, command])
        done = subprocess.run(
            ["/bin/sh", "-c", script],
            cwd=ROOT,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=START_SECONDS,
            check=False,
        )
        return done.stdout


@pytest.fixture
def tour(tmp_path: Path) -> Iterator[Tour]:
    """A machine on which nothing has happened yet; the ports of the text stand for free ones."""
    ports = {"8080": str(free_port()), "9999": str(free_port())}
    environment = clean_environment(
        PATH=f"{RELAY.parent}:{os.environ['PATH']}",
        RELAY_DATA_DIR=str(tmp_path / "data"),
        RELAY_PORT=ports["8080"],
        RELAY_LOG_FORMAT="console",
    )
    running_tour = Tour(tmp_path, environment, ports)
    yield running_tour
    for terminal in running_tour.terminals.values():
        terminal.stack.close()


@pytest.mark.timeout(240)
def test_the_tour_of_the_readme_shows_what_happens(tour: Tour, unavailable: Callable[[str], NoReturn]) -> None:
    if shutil.which("curl") is None:
        unavailable("the tour uses curl")
    blocks = _BLOCK.findall(README.read_text(encoding="utf-8"))
    assert len(blocks) > 10
    for terminal, text in blocks:
        tour.follow(terminal, text.splitlines())


# the examples


def send(relay: Relay, agent: str, text: str, *words: str) -> str:
    done = subprocess.run(
        [str(RELAY), "send", *words, "--relay", relay.url, agent, text],
        env=clean_environment(RELAY_TOKEN=relay.token()),
        capture_output=True,
        text=True,
        timeout=START_SECONDS,
        check=False,
    )
    return done.stdout + done.stderr


@contextmanager
def example(directory: Path, relay: Relay, agent: str, *command: str) -> Iterator[Program]:
    """An example agent, attached; ended with Ctrl-C."""
    environment = clean_environment(RELAY_URL=relay.url, RELAY_TOKEN=relay.token(role="agent", agent=agent))
    with running([sys.executable, *command], directory / f"{agent}.log", environment) as program:
        program.wait_for(r"(attached to)")
        yield program
        program.process.send_signal(signal.SIGINT)
        program.process.wait(START_SECONDS)


@contextmanager
def embedded(directory: Path, *command: str, port: int) -> Iterator[Relay]:
    """The relay of examples/embedded_relay.py under some server."""
    environment = clean_environment(RELAY_JWT_SECRET=SECRET)
    with running([*command], directory / "relay.log", environment) as program:
        url = program.wait_until(answers(f"http://127.0.0.1:{port}/readyz")).removesuffix("/readyz")
        yield Relay(url, SECRET, program)


def under_uvicorn(port: int) -> list[str]:
    return [sys.executable, "examples/embedded_relay.py", str(port)]


def under_hypercorn(port: int) -> list[str]:
    target = "examples.embedded_relay:make_app()"
    return [sys.executable, "-m", "hypercorn", "--bind", f"127.0.0.1:{port}", target]


@pytest.mark.timeout(120)
@pytest.mark.parametrize("server", [under_uvicorn, under_hypercorn])
def test_the_examples_of_the_library_work_together(tmp_path: Path, server: Callable[[int], list[str]]) -> None:
    port = free_port()
    with (
        embedded(tmp_path, *server(port), port=port) as relay,
        example(tmp_path, relay, "shouter", "examples/handler_agent.py"),
        example(tmp_path, relay, "echo", "examples/asgi_agent.py"),
        example(tmp_path, relay, "asker", "examples/handler_agent.py", "--ask", "echo"),
    ):
        assert send(relay, "shouter", "hi there") == "HI THERE\n"
        assert send(relay, "shouter", "hi there", "--stream") == "HI THERE\n"
        assert send(relay, "echo", "one two three", "--stream") == "one two three\n"
        assert send(relay, "asker", "how are you") == "echo says: how are you\n"


def test_the_python_blocks_of_the_library_document_compile() -> None:
    text = (ROOT / "docs" / "library.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    assert blocks
    for block in blocks:
        if block.startswith("Connector(relay, token, *"):
            continue  # a signature, not a program
        body = "".join(f"    {line}\n" for line in block.splitlines())
        compile(f"async def shown():\n{body}", "docs/library.md", "exec")


# nginx


def nginx_configuration(directory: Path, relay_port: int, port: int) -> Path:
    """The document's block, with this test's places in it."""
    block = re.search(r"^```nginx\n(.*?)^```$", DEPLOYING.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    assert block
    shown = block[1].replace("127.0.0.1:8080", f"127.0.0.1:{relay_port}").replace("443 ssl", f"127.0.0.1:{port} ssl")
    shown = shown.replace("server_name relay.example.com", "server_name localhost")
    shown = re.sub(r"/etc/ssl/relay\.example\.com\.(pem|key)", rf"{directory}/\1", shown)
    assert "relay.example.com" not in shown
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    places = "".join(f"{kind}_temp_path {directory}/{kind};\n" for kind in kinds)
    path = directory / "nginx.conf"
    path.write_text(
        f"daemon off;\nmaster_process off;\npid {directory}/nginx.pid;\nerror_log stderr;\n"
        f"events {{}}\nhttp {{\naccess_log off;\n{places}{shown}}}\n"
    )
    return path


def make_certificate(directory: Path) -> None:
    names = "subjectAltName=DNS:localhost,IP:127.0.0.1"
    command = f"openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext {names}".split()
    files = ["-keyout", str(directory / "key"), "-out", str(directory / "pem")]
    subprocess.run([*command, *files], check=True, capture_output=True)


@pytest.mark.timeout(120)
def test_the_nginx_configuration_of_the_documents_carries_links_calls_and_streams(
    tmp_path: Path, unavailable: Callable[[str], NoReturn]
) -> None:
    nginx = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    if nginx is None or shutil.which("openssl") is None:
        unavailable("nginx or openssl is not installed")
    port, relay_port = free_port(), free_port()
    make_certificate(tmp_path)
    configuration = nginx_configuration(tmp_path, relay_port, port)
    serve = [str(RELAY), "serve", "--port", str(relay_port), "--store", "memory:", "--trusted-proxies", "127.0.0.1"]
    environment = clean_environment(RELAY_JWT_SECRET=SECRET)
    url, authority = f"https://localhost:{port}", str(tmp_path / "pem")
    with (
        running([*serve, "--data-dir", str(tmp_path)], tmp_path / "relay.log", environment) as program,
        running([nginx, "-p", str(tmp_path), "-c", str(configuration)], tmp_path / "nginx.log") as proxy,
        running_agent(tmp_path, "echo") as upstream,
    ):
        program.wait_until(answers(f"http://127.0.0.1:{relay_port}/readyz"))
        proxy.wait_until(lambda: url if is_listening(port) else None)
        relay = Relay(url, SECRET, program)
        with trusting(authority), running_connector(tmp_path, relay, "echo", upstream):
            assert send(relay, "echo", "one two three", "--stream", "--ca", authority) == "one two three\n"
            doctor = subprocess.run(
                [str(RELAY), "doctor", f"{TENANT}/echo", "--relay", url, "--ca", authority],
                env=clean_environment(RELAY_TOKEN=relay.token()),
                capture_output=True,
                text=True,
                timeout=START_SECONDS,
                check=False,
            )
            assert doctor.returncode == 0, doctor.stdout


def is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def trusting(authority: str) -> Iterator[None]:
    """Let programs that are started meanwhile believe a certificate."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", authority)
        yield
