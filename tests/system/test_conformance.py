"""The relay that `relay serve` starts passes the conformance suite, run as a user runs it, and nothing is left out."""

from __future__ import annotations

from pathlib import Path

import pytest
from conformance_run import run_suite
from programs import running_relay


@pytest.mark.slow
@pytest.mark.timeout(330)
def test_the_relay_passes_the_whole_suite(tmp_path: Path) -> None:
    """On SQLite, where calls take the fast lane. The other lane and the other store: test_second_asgi_server."""
    # The suite waits until streams that nobody reads are given up, which by default takes half a minute.
    with running_relay(tmp_path, "--detach-grace", "2s", store=f"sqlite:///{tmp_path}/relay.db") as relay:
        run = run_suite(relay.url, relay.secret)
        assert relay.program.process.poll() is None, relay.program.output()

    assert run.exit_code == 0, run.output
    assert run.outcomes.keys() == {"passed"}, f"not everything ran: {run.outcomes}\n{run.output}"
    assert "Traceback" not in relay.program.output(), relay.program.output()
    assert "internal_error" not in relay.program.output(), relay.program.output()


def test_the_suite_says_in_one_line_that_no_relay_answers(tmp_path: Path) -> None:
    with running_relay(tmp_path) as relay:
        gone = relay.url

    run = run_suite(gone, relay.secret)

    assert run.exit_code == 2
    assert f"no relay answers at {gone}" in run.output
