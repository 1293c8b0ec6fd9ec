"""The programs of `make demo` and its screen: started, watched, shown, and stopped whatever happens."""

import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType, TracebackType
from typing import IO

ROOT = Path(__file__).resolve().parent.parent
RELAY = Path(sys.executable).parent / "relay"
START_SECONDS = 30.0  # a cold start on a slow laptop, with room to spare
SHOW_SECONDS = 90.0  # a shown command; `relay send` itself gives up sooner, and says why
STOP_SECONDS = 10.0  # longer than any program takes to leave by itself when nothing is in flight
POLL_SECONDS = 0.1
# Settings of the person's own relay must not leak into the demo's.
FOREIGN_SETTINGS = ("RELAY_", "JWT_SECRET", "PORT", "BIND")
ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class DemoError(Exception):
    """The demo cannot go on; the text tells a person why."""


class Endings:
    """SIGTERM and a closed terminal leave by the same way as Ctrl-C: by one KeyboardInterrupt.

    It is raised once, so that nothing cuts the stopping short, and never while a program is being started, so that
    none is forgotten.
    """

    def __init__(self) -> None:
        self._is_held = False
        self._is_pending = False

    def __enter__(self) -> None:
        for number in ENDINGS:
            signal.signal(number, self._leave)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._is_held = True

    @contextmanager
    def held(self) -> Iterator[None]:
        """Put the end off until the block is done."""
        self._is_held = True
        yield
        self._is_held = False
        if self._is_pending:
            self._leave(0, None)

    def _leave(self, _number: int, _frame: FrameType | None) -> None:
        self._is_pending = True
        if not self._is_held:
            self._is_held = True
            raise KeyboardInterrupt


class Screen:
    """What the person sees: the words of a line as they come, and whole lines, never one within the other."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._line_is_open = False
        self._is_interrupted = False

    def say(self, text: str = "") -> None:
        """Print a line now, also into a pipe; words that follow go on below it."""
        with self._lock:
            if self._line_is_open:
                print()
                self._line_is_open, self._is_interrupted = False, True
            print(text, flush=True)

    def add(self, text: str) -> None:
        """Print, indented, what a command has said so far; it may end within a line."""
        with self._lock:
            for line in text.splitlines(keepends=True):
                if not (self._is_interrupted and line == "\n"):  # the end of a line that has ended already
                    print(line if self._line_is_open else f"  {line}", end="")
                    self._line_is_open = not line.endswith("\n")
                self._is_interrupted = False
            sys.stdout.flush()


@dataclass
class Program:
    """One of the programs in the background; `log` takes all that it prints."""

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


@dataclass
class Shown:
    """A command that runs in front of the person. `pieces` is what it has answered so far, and when."""

    command: list[str]
    process: subprocess.Popen[bytes]
    screen: Screen
    pieces: list[tuple[float, str]] = field(default_factory=list)
    _readers: list[threading.Thread] = field(default_factory=list)

    def begin(self) -> None:
        """Show what it says from now on: its answer word by word, what it notes on standard error line by line."""
        for read in (self._read_answer, self._read_notes):
            reader = threading.Thread(target=read, daemon=True)
            reader.start()
            self._readers.append(reader)

    @property
    def answer(self) -> str:
        """All that it has answered so far."""
        return "".join(text for _, text in self.pieces)

    def is_over(self) -> bool:
        """Whether it has ended well and all it said is shown. Raises DemoError when it has failed."""
        if self.process.poll() is None:
            return False
        self.join()
        if self.process.returncode != 0:
            raise DemoError(f"`{shown(self.command)}` failed with exit code {self.process.returncode}.")
        return True

    def join(self) -> None:
        """Wait until all that a command said before its end is on the screen."""
        for reader in self._readers:
            reader.join(STOP_SECONDS)

    def _read_answer(self) -> None:
        for text in self._pieces_of(self.process.stdout):
            self.pieces.append((time.monotonic(), text))
            self.screen.add(text)

    def _read_notes(self) -> None:
        for line in self.process.stderr or ():
            self.screen.say(f"  {line.decode(errors='replace').rstrip()}")

    @staticmethod
    def _pieces_of(pipe: IO[bytes] | None) -> Iterator[str]:
        while pipe is not None and (data := os.read(pipe.fileno(), 4096)):
            yield data.decode(errors="replace")


class Demo:
    """The running demo: a data directory and the programs started in it."""

    def __init__(self, url: str, data_dir: Path, endings: Endings) -> None:
        self.url = url
        self.data_dir = data_dir
        self.screen = Screen()
        self._endings = endings
        self._programs: list[Program] = []
        self._shown: list[Shown] = []
        self._processes: list[subprocess.Popen[bytes]] = []
        self._env = {k: v for k, v in os.environ.items() if not k.startswith(FOREIGN_SETTINGS)}
        self._env["PYTHONUNBUFFERED"] = "1"

    def make_data_dir(self) -> None:
        """Make the data directory, empty."""
        self._clear()
        (ROOT / self.data_dir).mkdir(parents=True)

    def relay(self, *words: str) -> list[str]:
        """Return the command line of the product's program, for this demo's data directory."""
        return [str(RELAY), *words, "--data-dir", str(self.data_dir)]

    def start(self, name: str, command: list[str]) -> Program:
        """Start a program in the background."""
        log = ROOT / self.data_dir / f"{name}.log"
        with log.open("ab") as output:
            process = self._launch(command, output, subprocess.STDOUT)
        log.with_suffix(".pid").write_text(f"{process.pid}\n")
        program = Program(name, process, log)
        self._programs.append(program)
        return program

    def end(self, program: Program) -> None:
        """End a program as its person would: it says goodbye."""
        self._programs.remove(program)
        program.process.terminate()
        program.process.wait(STOP_SECONDS)

    def kill(self, program: Program) -> None:
        """End a program with SIGKILL, as a power cut would: it can do nothing more, nor does it know."""
        self._programs.remove(program)
        program.process.kill()
        program.process.wait(STOP_SECONDS)

    def check(self) -> None:
        """Raise DemoError when one of the programs has ended."""
        for program in self._programs:
            program.check()

    def stop(self, *, keeps_logs: bool = False) -> None:
        """End the programs, the last started first, and remove their data; a failed demo leaves its logs."""
        while self._processes:
            process = self._processes.pop()
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for command in self._shown:
            command.join()
        if keeps_logs:
            for path in (ROOT / self.data_dir).iterdir():
                if path.suffix != ".log":
                    path.unlink()
        else:
            self._clear()

    def wait_until(self, what: str, is_so: Callable[[], bool], seconds: float = START_SECONDS) -> None:
        """Ask again and again until it is so. Raises DemoError when a program ends, or after a while."""
        deadline = time.monotonic() + seconds
        while not is_so():
            self.check()
            if time.monotonic() > deadline:
                raise DemoError(f"Waited {seconds:.0f} s for {what}, in vain.")
            time.sleep(POLL_SECONDS)

    def output_of(self, command: list[str]) -> str:
        """Run a command to its end and return what it printed. Raises DemoError when it fails."""
        process = self._launch(command, subprocess.PIPE, subprocess.PIPE)
        try:
            output, complaints = process.communicate(timeout=START_SECONDS)
        except subprocess.TimeoutExpired as error:
            raise DemoError(f"`{shown(command)}` did not end within {START_SECONDS:.0f} s.") from error
        if process.returncode != 0:
            self.check()
            raise DemoError(f"`{shown(command)}` failed:\n\n{(output + complaints).decode(errors='replace')}")
        return output.decode()

    def begin(self, command: list[str], **environment: str) -> Shown:
        """Run a command in front of the person: each word of its output as it comes."""
        self.screen.say(f"  $ {shown(command)}")
        process = self._launch(command, subprocess.PIPE, subprocess.PIPE, **environment)
        running = Shown(command, process, self.screen)
        self._shown.append(running)
        running.begin()
        return running

    def finish(self, running: Shown) -> None:
        """Wait for the end of a shown command. Raises DemoError when it fails."""
        self.wait_until(f"the end of `{shown(running.command)}`", running.is_over, SHOW_SECONDS)

    def _launch(
        self, command: list[str], output: int | IO[bytes], complaints: int, **environment: str
    ) -> subprocess.Popen[bytes]:
        """Start a process that `stop` will end; its own session keeps a Ctrl-C at the terminal for the demo alone."""
        with self._endings.held():
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=self._env | environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=complaints,
                start_new_session=True,
            )
            self._processes.append(process)
        return process

    def _clear(self) -> None:
        shutil.rmtree(ROOT / self.data_dir, ignore_errors=True)


def shown(command: list[str]) -> str:
    """Return the command as a person would type it in the project's directory."""
    program, *words = command
    if Path(program).is_relative_to(ROOT):
        program = str(Path(program).relative_to(ROOT))
    return shlex.join([program, *words])
