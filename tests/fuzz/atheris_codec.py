"""The codec under a coverage-guided fuzzer; never needed, for long hours.

    python -m venv /tmp/fuzz && /tmp/fuzz/bin/pip install atheris -e '.[server]'
    /tmp/fuzz/bin/python tests/fuzz/atheris_codec.py -max_total_time=600 -max_len=4096

Every exception other than the relay's own refusals is a finding.
"""

from __future__ import annotations

import contextlib
import sys

import atheris  # type: ignore[import-not-found,unused-ignore]

with atheris.instrument_imports(include=["a2a_relay"]):
    from a2a_relay.a2a import agent_card, jsonbytes, jsonrpc, problems
    from a2a_relay.a2a.methods import Operation
    from a2a_relay.a2a.spans import read as read_spans
    from a2a_relay.core.target import read_target
    from a2a_relay.errors import Refused
    from a2a_relay.wire import agent_side
    from a2a_relay.wire.dialects import A2A_V1, NATIVE, OPENCLAW, RELAY_ELIXIR, RELAY_GO


def one_input(data: bytes) -> None:
    """Everything that reads bytes of strangers."""
    for dialect in (NATIVE, RELAY_GO, OPENCLAW, RELAY_ELIXIR, A2A_V1):
        dialect.read(data)
    agent_side.read(data)
    problems.rpc_error(500, data)
    for read in (jsonrpc.read, agent_card.require_servable):
        with contextlib.suppress(Refused):
            read(data)
    with contextlib.suppress(Refused):
        read_target("GET", data)
    with contextlib.suppress(Refused):
        jsonbytes.check(data)
        for operation in Operation:
            read_spans(operation, data)


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
