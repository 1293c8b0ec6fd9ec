"""A function as an agent, as the guide shows it."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from small_agents import Output, request

from a2a_relay.connector import AgentError, IncomingRequest
from a2a_relay.connector.handler import HandlerUpstream
from a2a_relay.connector.upstream import CallFailed

GUIDE = Path(__file__).resolve().parents[3] / "docs" / "connector.md"


def from_the_guide(name: str) -> Any:
    """A function of the guide's example that defines it."""
    (code,) = [
        block for block in re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL) if f"def {name}" in block
    ]
    scope: dict[str, Any] = {}
    exec(code, scope)
    return scope[name]


async def test_the_guides_handler_answers_and_refuses() -> None:
    upstream, output = HandlerUpstream(from_the_guide("shout"), None), Output()
    params = json.dumps({"message": {"parts": [{"text": "hi"}]}}).encode()
    await upstream.call(request("SendMessage", params), output)
    assert json.loads(output.answers[0][0])["message"]["parts"] == [{"text": "HI"}]
    with pytest.raises(CallFailed, match="only SendMessage"):
        await upstream.call(request("GetTask", b'{"id":"x"}'), output)


async def test_of_a_generator_a_unary_call_gets_the_last_value() -> None:
    async def count(asked: IncomingRequest) -> AsyncIterator[dict[str, int]]:
        for number in range(3):
            yield {"n": number}

    output = Output()
    await HandlerUpstream(count, None).call(request(), output)
    assert output.answers[0][0] == b'{"n":2}'
    await HandlerUpstream(count, None).call(request(stream=True), output)
    assert output.events == [b'{"n":0}', b'{"n":1}', b'{"n":2}']


@pytest.mark.parametrize("bad", [b"nonsense", b"", b"\xff"])
async def test_bytes_that_are_no_json_fail_the_call(bad: bytes) -> None:
    async def reply(asked: IncomingRequest) -> bytes:
        return bad

    with pytest.raises(CallFailed, match="INVALID_AGENT_RESPONSE"):
        await HandlerUpstream(reply, None).call(request(), Output())


def test_an_agents_error_may_carry_data() -> None:
    assert json.loads(AgentError(-32001, "no", {"a": 1}).as_bytes()) == {
        "code": -32001,
        "message": "no",
        "data": {"a": 1},
    }
