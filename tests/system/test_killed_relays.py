"""A relay is killed in the middle of streams, and started again: with durable windows nobody loses a word.

Behind it is an agent on the official SDK and its connector, in front `relay send --stream` and a client of its own that
knows `Last-Event-ID`: all of them real processes and sockets, and none is told of what happens.
"""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import httpx
import pytest
from restarting import AGENT, Reading, counting_behind, first_words, outcome_of, restarting, sending

COUNT = 300
TEXT = f"count {COUNT} 0.02"
WHOLE = "".join(f"{number} " for number in range(COUNT))

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


@pytest.mark.parametrize(
    ("relay_words", "agent_words", "signals"),
    [
        ([], ["--durable"], [signal.SIGKILL, signal.SIGKILL, signal.SIGKILL]),
        (["--stream-rules", f"acme/{AGENT} window=durable"], [], [signal.SIGTERM, signal.SIGKILL]),
        (["--stream-window", "durable"], [], [signal.SIGKILL, signal.SIGTERM, signal.SIGKILL]),
    ],
    ids=["by its card", "by a rule", "by the setting"],
)
async def test_a_durable_stream_is_read_whole_through_several_kills(
    relay_words: list[str], agent_words: list[str], signals: list[signal.Signals], tmp_path: Path
) -> None:
    """Everything once and in order, for both clients, though the relay was killed again and again."""
    every, leave = COUNT // (len(signals) + 1), tmp_path / "leave"
    agent_words = [*agent_words, "--every", str(every), "--leave", str(leave)]
    with restarting(tmp_path, *relay_words) as relays, counting_behind(tmp_path, relays.relay, *agent_words):
        url, token = relays.relay.url, relays.relay.token()
        client = Reading(url, token)
        with sending(url, token, TEXT, tmp_path) as process:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(client.read(TEXT))
                first = await first_words(process)
                for kill, number in enumerate(signals, 1):
                    await client.until(kill * every)
                    await asyncio.to_thread(relays.restart, number)
                    leave.write_bytes(b"." * kill)
            said, complaints = await outcome_of(process)
    assert client.numbers == list(range(COUNT))
    assert len(set(client.ids)) == len(client.ids)
    assert client.states[-1] == "TASK_STATE_COMPLETED"
    assert client.connections == len(signals) + 1
    assert (first + said, process.returncode) == (f"{WHOLE}\n", 0), complaints
    assert complaints, "it says that its connection was lost; how often depends on how soon it is back"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_a_stream_in_memory_is_gone_with_its_relay_and_everybody_is_told(
    number: signal.Signals, tmp_path: Path
) -> None:
    """Never a clean end: `relay send` fails in words, and reading on is 410 `STREAM_GONE`."""
    with restarting(tmp_path) as relays, counting_behind(tmp_path, relays.relay):
        url, token = relays.relay.url, relays.relay.token()
        client = Reading(url, token)
        with sending(url, token, TEXT, tmp_path) as process:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(client.read(TEXT, is_final=lambda reason: reason == "STREAM_GONE"))
                first = await first_words(process)
                await client.until(50)
                await asyncio.to_thread(relays.restart, number)
            said, complaints = await outcome_of(process)
        assert client.refused[-1] == "STREAM_GONE"
        assert client.numbers == list(range(len(client.numbers)))
        assert 50 <= len(client.numbers) < COUNT
        assert process.returncode == 1, complaints
        assert WHOLE.startswith((first + said).rstrip("\n"))
        last = complaints.rstrip().rpartition("\n")[2]
        print(f"relay send says: {last!r}")
        assert "lost" in last or "not here" in last or "broken off" in last, complaints


async def test_a_durable_stream_that_has_ended_is_read_after_a_kill(tmp_path: Path) -> None:
    """What was streamed is kept for a while behind its end, also beyond the relay's own."""
    with restarting(tmp_path, "--stream-window", "durable") as relays, counting_behind(tmp_path, relays.relay):
        client = Reading(relays.relay.url, relays.relay.token())
        await client.read("count 50 0.001")
        await asyncio.to_thread(relays.restart, signal.SIGKILL)
        headers = {"Authorization": f"Bearer {relays.relay.token()}", "Last-Event-ID": client.ids[9]}
        async with httpx.AsyncClient(trust_env=False, headers=headers) as http:
            answer = await http.get(relays.relay.url + client.path)
            foreign = relays.relay.token(role="agent", agent="somebody")
            refused = await http.get(relays.relay.url + client.path, headers={"Authorization": f"Bearer {foreign}"})
    ids = [line.removeprefix("id: ") for line in answer.text.splitlines() if line.startswith("id:")]
    assert (answer.status_code, ids) == (200, client.ids[10:])
    assert "event: error" not in answer.text
    assert refused.status_code == 410
