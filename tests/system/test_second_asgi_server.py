"""The relay is an ASGI application: another ASGI server than its own serves all of it, and ends it in order."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from conformance_run import run_suite
from programs import SECRET, Relay, answers, clean_environment, running

_ROOMS = "auth bad_input cards errors message_send multi_tenant rest stream_resume streaming wire"  # of the suite
SERVED = tuple(f"test_{room}.py" for room in _ROOMS.split())
SERVER = Path(__file__).with_name("hypercorn_server.py")


@contextmanager
def relay_under_hypercorn(directory: Path) -> Iterator[Relay]:
    """The application under hypercorn on a free port."""
    port_file = directory / "port"
    environment = clean_environment(
        RELAY_JWT_SECRET=SECRET, RELAY_STORE="memory:", RELAY_DATA_DIR=str(directory / "data"), RELAY_DETACH_GRACE="2s"
    )
    with running([sys.executable, str(SERVER), str(port_file)], directory / "server.log", environment) as program:
        port = program.wait_until(lambda: port_file.read_text().strip() or None if port_file.exists() else None)
        url = f"http://127.0.0.1:{port}"
        program.wait_until(answers(f"{url}/readyz"))
        yield Relay(url, SECRET, program)


@pytest.mark.slow
@pytest.mark.timeout(330)
def test_the_relay_under_hypercorn_passes_the_suite(tmp_path: Path) -> None:
    """As far as it is about HTTP and links; what is behind them is the same as under its own server."""
    with relay_under_hypercorn(tmp_path) as relay:
        run = run_suite(relay.url, relay.secret, SERVED)
        assert relay.program.process.poll() is None, relay.program.output()

    assert run.exit_code == 0, run.output
    assert run.outcomes.keys() == {"passed"}, f"not everything ran: {run.outcomes}\n{run.output}"
    # hypercorn reports connections that it cancels at its end; what counts is whether our code has raised.
    assert "Error in ASGI Framework" not in relay.program.output(), relay.program.output()
    assert "internal_error" not in relay.program.output(), relay.program.output()


def test_the_relay_under_hypercorn_ends_well(tmp_path: Path) -> None:
    with relay_under_hypercorn(tmp_path) as relay:
        pass

    assert relay.program.process.returncode == 0, relay.program.output()
    assert "Traceback" not in relay.program.output(), relay.program.output()
