"""`make demo`: a relay, an agent behind it, and a call and a stream that go through both; all on this machine.

Starts three programs (the relay, the echo agent of examples/, the connector between them), shows what they do, prints
commands to try, and stays up until Ctrl-C. With --once it ends after the shown calls. Whatever the way out, the three
are stopped. While the demo runs, its data directory holds their logs and process ids; it goes when the demo ends.
"""

import argparse
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import httpx
import jwt

ROOT = Path(__file__).resolve().parent.parent
RELAY = Path(sys.executable).parent / "relay"
HOST = "127.0.0.1"
AGENT = "echo"
START_SECONDS = 30.0  # a cold start on a slow laptop, with room to spare
STOP_SECONDS = 10.0  # longer than any of the three takes to leave by itself when nothing is in flight
POLL_SECONDS = 0.1
# Settings of the person's own relay must not leak into the demo's.
FOREIGN_SETTINGS = ("RELAY_", "JWT_SECRET", "PORT", "BIND")

CALL = "Hello from the other side of the relay"
STREAM = "These words arrive one after the other"


class DemoError(Exception):
    """The demo cannot go on; the text tells a person why."""


@dataclass
class Program:
    """One of the three started programs; `log` takes all that it prints."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def check(self) -> None:
        """Raise DemoError when the program has ended."""
        code = self.process.poll()
        if code is not None:
            tail = "\n".join(f"    {line}" for line in self.log.read_text(errors="replace").splitlines()[-15:])
            raise DemoError(
                f"The {self.name} ended with exit code {code}. The last it said:\n\n{tail or '    nothing'}"
            )

    def stop(self) -> None:
        """End the program: politely, then not."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


class Demo:
    """The running demo: a data directory and the programs started in it."""

    def __init__(self, port: int) -> None:
        self.url = f"http://{HOST}:{port}"
        self.data_dir = Path(".demo") / str(port)
        self._programs: list[Program] = []
        self._env = {k: v for k, v in os.environ.items() if not k.startswith(FOREIGN_SETTINGS)}
        self._env["PYTHONUNBUFFERED"] = "1"

    def relay(self, *words: str) -> list[str]:
        """Return the command line of the product's program, for this demo's data directory."""
        return [str(RELAY), *words, "--data-dir", str(self.data_dir)]

    def start(self, name: str, command: list[str]) -> Program:
        """Start a program in the background; its own session keeps a Ctrl-C at the terminal for the demo alone."""
        log = ROOT / self.data_dir / f"{name}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=self._env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        log.with_suffix(".pid").write_text(f"{process.pid}\n")
        program = Program(name, process, log)
        self._programs.append(program)
        return program

    def check(self) -> None:
        """Raise DemoError when one of the programs has ended."""
        for program in self._programs:
            program.check()

    def stop(self) -> None:
        """End the programs, the last started first, and remove their data."""
        while self._programs:
            self._programs.pop().stop()
        shutil.rmtree(ROOT / self.data_dir, ignore_errors=True)

    def wait_until(self, what: str, probe: Callable[[], str | None]) -> str:
        """Ask again and again until `probe` has an answer. Raises DemoError when a program ends, or after a while."""
        deadline = time.monotonic() + START_SECONDS
        while (answer := probe()) is None:
            self.check()
            if time.monotonic() > deadline:
                raise DemoError(f"Waited {START_SECONDS:.0f} s for {what}, in vain. The logs are in {self.data_dir}/.")
            time.sleep(POLL_SECONDS)
        return answer

    def output_of(self, command: list[str]) -> str:
        """Run a command to its end and return what it printed. Raises DemoError when it fails."""
        done = subprocess.run(
            command, cwd=ROOT, env=self._env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            self.check()
            raise DemoError(f"`{shown(command)}` failed:\n\n{done.stdout}{done.stderr}")
        return done.stdout

    def show(self, command: list[str]) -> None:
        """Run a command in front of the person: each line of its output as it comes."""
        say(f"  $ {shown(command)}")
        with subprocess.Popen(
            command,
            cwd=ROOT,
            env=self._env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as running:
            for line in running.stdout or ():
                say(f"  {line.rstrip()}")
        if running.returncode != 0:
            self.check()
            raise DemoError(f"`{shown(command)}` failed with exit code {running.returncode}.")


def say(text: str = "") -> None:
    """Print a line now, also into a pipe."""
    print(text, flush=True)


def shown(command: list[str]) -> str:
    """Return the command as a person would type it in the project's directory."""
    program, *words = command
    if Path(program).is_relative_to(ROOT):
        program = str(Path(program).relative_to(ROOT))
    return shlex.join([program, *words])


def is_free(port: int) -> bool:
    """Tell whether nobody listens on a port of this machine and we may."""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        if probe.connect_ex((HOST, port)) == 0:
            return False
    try:
        socket.create_server((HOST, port)).close()
    except OSError:
        return False
    return True


def first_free_port(wanted: int) -> int:
    """Return the wanted port or the next free one above it; any free one for 0."""
    if wanted == 0:
        with socket.create_server((HOST, 0)) as probe:
            return int(probe.getsockname()[1])
    for port in range(wanted, min(wanted + 100, 65536)):
        if is_free(port):
            return port
    raise DemoError(f"No free port from {wanted} to {wanted + 99}. Choose another: make demo DEMO_PORT=9000")


def start_relay(demo: Demo, port: int) -> None:
    """Start the relay and wait until it takes calls."""

    def ready() -> str | None:
        try:
            answer = httpx.get(f"{demo.url}/readyz", trust_env=False, timeout=2.0)
        except httpx.TransportError:
            return None
        return demo.url if answer.status_code == httpx.codes.OK else None

    demo.start("relay", demo.relay("serve", "--host", HOST, "--port", str(port)))
    demo.wait_until("the relay", ready)


def start_agent(demo: Demo) -> str:
    """Start the echo agent on a port of its own choice and return its URL."""
    agent = demo.start("agent", [sys.executable, "examples/demo_agent.py", "0"])

    def listening() -> str | None:
        url = agent.log.read_text().partition("\n")[0]
        if not url.startswith("http"):
            return None
        try:
            httpx.get(f"{url}/.well-known/agent-card.json", trust_env=False, timeout=2.0).raise_for_status()
        except httpx.HTTPError:
            return None
        return url

    return demo.wait_until("the agent", listening)


def attach(demo: Demo, agent_url: str) -> str:
    """Start the connector, wait until the relay lists the agent as attached, and return the tenant's name."""
    demo.start("connector", demo.relay("connect", "--upstream", agent_url, "--relay", demo.url, "--agent", AGENT))
    token = demo.output_of(demo.relay("token")).strip()
    tenant = str(jwt.decode(token, options={"verify_signature": False})["tenant"])

    def attached() -> str | None:
        headers = {"Authorization": f"Bearer {token}"}
        try:
            answer = httpx.get(f"{demo.url}/t/{tenant}/agents", headers=headers, trust_env=False, timeout=5.0)
            states = {agent["id"]: agent["state"] for agent in answer.raise_for_status().json()}
        except httpx.HTTPError as error:
            demo.check()
            raise DemoError(f"The relay did not list its agents: {error}") from error
        return tenant if states.get(AGENT) == "attached" else None

    return demo.wait_until("the agent to attach", attached)


def print_commands(demo: Demo, tenant: str) -> None:
    """Print what to try next; each line works as it is, pasted into a terminal in the project's directory."""
    base = f"{demo.url}/t/{tenant}/a2a/{AGENT}"
    message = '{"messageId":"m1","role":"ROLE_USER","parts":[{"text":"hi"}]}'
    call = f'{{"jsonrpc":"2.0","id":1,"method":"SendMessage","params":{{"message":{message}}}}}'
    say("Try it from another terminal, in this directory:")
    say()
    say(f"  {shown(demo.relay('send', AGENT, 'hi'))}")
    say(f"  {shown(demo.relay('send', '--stream', AGENT, 'one two three'))}")
    say(f"  curl {base}/.well-known/agent-card.json")
    say(f"  TOKEN=$({shown(demo.relay('token'))})")
    say(f"  curl {base}/ -H \"Authorization: Bearer $TOKEN\" -H 'A2A-Version: 1.0' \\")
    say(f"    -H 'Content-Type: application/json' -d '{call}'")
    say()


def run(demo: Demo, port: int, *, once: bool) -> None:
    """Start everything, show the two calls, and stay up unless told otherwise."""
    say("Starting the relay, an agent and the connector between them ...")
    start_relay(demo, port)
    agent_url = start_agent(demo)
    tenant = attach(demo, agent_url)
    say()
    say(f"  relay      {demo.url}")
    say(f"  agent      {AGENT}, at {agent_url}: an ordinary A2A server that listens on this machine only")
    say("  connector  attached: it called the relay, nobody has to reach the agent's machine")
    say()
    say("A call through the relay:")
    demo.show(demo.relay("send", AGENT, CALL))
    say()
    say("A stream through the relay:")
    demo.show(demo.relay("send", "--stream", AGENT, STREAM))
    say()
    print_commands(demo, tenant)
    if once:
        return
    say("Ctrl-C stops everything.")
    while True:
        demo.check()
        time.sleep(POLL_SECONDS)


@contextmanager
def signals_as_exceptions() -> Iterator[None]:
    """Let SIGTERM and a closed terminal leave by the same way as Ctrl-C."""

    def leave(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, leave)
    try:
        yield
    finally:
        # Nothing may cut the stopping short.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)


def main() -> int:
    """Run the demo and return its exit code."""
    options = argparse.ArgumentParser(description="A relay, an agent and a call through both, on this machine.")
    options.add_argument("--port", type=int, default=8080, help="or the next free one above it; 0: any free one")
    options.add_argument("--once", action="store_true", help="end after the shown calls")
    chosen = options.parse_args()
    try:
        port = first_free_port(chosen.port)
    except DemoError as error:
        print(error, file=sys.stderr)
        return 1

    demo = Demo(port)
    shutil.rmtree(ROOT / demo.data_dir, ignore_errors=True)
    (ROOT / demo.data_dir).mkdir(parents=True)
    try:
        with signals_as_exceptions():
            run(demo, port, once=chosen.once)
    except DemoError as error:
        print(f"\n{error}", file=sys.stderr, flush=True)
        return 1
    except KeyboardInterrupt:
        say("\nStopping ...")
    finally:
        demo.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
