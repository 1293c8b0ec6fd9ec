"""Many at once: a thousand agents attached, a thousand calls in flight. Figures are printed, not asserted."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator

import pytest

from agents import Agent
from behaviours import echo, message
from clients import Client, RawAnswer, Relay, raw_exchange, raw_request, unique

AGENTS = 1000
CALLS = 1000
ATTACHING_AT_ONCE = 50
FILES_NEEDED = AGENTS + CALLS + 500

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(autouse=True)
def many_files() -> Iterator[None]:
    """Raise this process' limit on open files while the test runs, where the system has one."""
    try:
        import resource
    except ImportError:
        yield
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES_NEEDED if hard == resource.RLIM_INFINITY else min(FILES_NEEDED, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
async def agents(relay: Relay, tenant: str) -> list[Agent]:
    """A thousand agents of one tenant."""
    gate = asyncio.Semaphore(ATTACHING_AT_ONCE)

    async def attach(n: int) -> Agent:
        async with gate:
            token = relay.token(tenant=tenant, agent_id=f"agent-{n}", role="agent")
            return await Agent.attach(relay.ws_url, token, echo, {"name": f"Agent {n}", "version": "1", "url": ""})

    return list(await asyncio.gather(*map(attach, range(AGENTS))))


async def test_a_thousand_agents_answer_a_thousand_calls_at_once(
    relay: Relay, tenant: str, client: Client, agents: list[Agent], figure: Callable[[str], None]
) -> None:
    token = relay.token(tenant=tenant, user_id=unique("user"), role="client")
    try:
        listed = (await client.get(f"/t/{tenant}/agents")).json()
        assert {entry["id"] for entry in listed} == {agent.id for agent in agents}
        started = time.perf_counter()
        timed = await asyncio.gather(*(timed_call(relay, client, token, agents[n % AGENTS], n) for n in range(CALLS)))
        elapsed = time.perf_counter() - started
    finally:
        await asyncio.gather(*(agent.close() for agent in agents))
    for n, (answer, _) in enumerate(timed):
        assert answer.status == 200
        assert answer.json()["id"] == n
        assert answer.json()["result"]["message"]["parts"] == [{"text": f"Echo: n{n}"}]
    times = sorted(seconds * 1000 for _, seconds in timed)
    figure(
        f"{CALLS} calls at once to {AGENTS} agents, each on a connection of its own: "
        f"P50 {times[CALLS // 2]:.0f} ms, P99 {times[CALLS * 99 // 100]:.0f} ms, all within {elapsed:.2f} s"
    )


async def timed_call(relay: Relay, client: Client, token: str, agent: Agent, n: int) -> tuple[RawAnswer, float]:
    """One call on a connection of its own, and the seconds it took from connecting on."""
    body = json.dumps({"jsonrpc": "2.0", "id": n, "method": "SendMessage", "params": message(f"n{n}")}).encode()
    started = time.perf_counter()
    answer = await raw_exchange(relay, raw_request(relay, "POST", f"{client.base(agent.id)}/", token, body))
    return answer, time.perf_counter() - started
