"""Settings from the environment, capability markers and the suite's fixtures.

RELAY_URL           the relay under test (http or https, no path)
RELAY_JWT_SECRET    its shared secret, with which the suite mints its tokens
RELAY_CAPABILITIES  optional, `name,-name`: added to, or taken from, what the relay declares
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

# The suite is a directory that can be copied anywhere; its modules find each other by this.
sys.path.insert(0, str(Path(__file__).parent))

from agents import Agent, Attach, Behaviour, Json, NativeAgent, card
from behaviours import echo
from clients import Client, MakeClient, Relay, unique

LACKS = "the relay lacks the capability "
FIGURE = "figure"


def pytest_configure(config: pytest.Config) -> None:
    """Make the suite's markers known where no ini file does."""
    config.addinivalue_line("markers", "capability(name): needs what only newer relays offer")
    config.addinivalue_line("markers", "timeout(seconds): for pytest-timeout, where it is installed")


@pytest.fixture(scope="session")
def relay() -> Relay:
    """The relay under test and what it says it can do."""
    url = os.environ.get("RELAY_URL", "").rstrip("/")
    secret = os.environ.get("RELAY_JWT_SECRET", "")
    if not url or not secret:
        pytest.exit("set RELAY_URL and RELAY_JWT_SECRET to the relay under test", returncode=2)
    try:
        declared = httpx.get(f"{url}/", timeout=10, trust_env=False).json()
    except (httpx.HTTPError, ValueError) as error:
        pytest.exit(f"no relay answers at {url}: {error}", returncode=2)
    names = set(declared.get("capabilities") or ()) if isinstance(declared, dict) else set()
    for word in os.environ.get("RELAY_CAPABILITIES", "").replace(",", " ").split():
        if word.startswith("-"):
            names.discard(word[1:])
        else:
            names.add(word)
    return Relay(url, secret, frozenset(names))


@pytest.fixture(autouse=True)
def _capabilities(request: pytest.FixtureRequest, relay: Relay) -> None:
    """Skip, by the capability's name, what this relay does not claim to do."""
    for marker in request.node.iter_markers("capability"):
        if marker.args[0] not in relay.capabilities:
            pytest.skip(LACKS + marker.args[0])


@pytest.fixture
def tenant() -> str:
    """A tenant that no other test uses."""
    return unique("tenant")


@pytest.fixture
async def attach(relay: Relay, tenant: str) -> AsyncIterator[Attach]:
    """Attach agents that are detached when the test ends."""
    async with AsyncExitStack() as stack:

        async def attach_one(
            behaviour: Behaviour = echo,
            *,
            kind: type[Agent] = Agent,
            id: str | None = None,
            of: str | None = None,
            token: str | None = None,
            agent_card: Json | str | None = None,
            bare: bool = False,
            **fields: Any,
        ) -> Agent:
            if issubclass(kind, NativeAgent) and "native-link" not in relay.capabilities:
                pytest.skip(LACKS + "native-link")
            token = token or relay.token(tenant=of or tenant, agent_id=id or unique("agent"), role="agent")
            shown = None if bare else agent_card or card()
            agent = await kind.attach(relay.ws_url, token, behaviour, shown, **fields)
            stack.push_async_callback(agent.close)
            return agent

        yield attach_one


@pytest.fixture
async def native(attach: Attach) -> Attach:
    """Attach agents of the native dialect."""

    async def attach_one(behaviour: Behaviour = echo, **options: Any) -> Any:
        return await attach(behaviour, kind=NativeAgent, **options)

    return attach_one


@pytest.fixture
async def gone(attach: Attach, client: Client) -> str:
    """The name of an agent that has been here; it does not stream."""
    return await leave(client, await attach())


@pytest.fixture
async def native_gone(native: Attach, client: Client) -> str:
    """The name of an agent that has been here and streams; its connector also serves 0.3's HTTP+JSON."""
    return await leave(client, await native(rest_0_3=True))


async def leave(client: Client, agent: Agent) -> str:
    """Detach an agent, and return its name when the relay has noticed."""
    await agent.close()
    await client.until_away(agent.id)
    return agent.id


@pytest.fixture
async def make_client(relay: Relay, tenant: str) -> AsyncIterator[MakeClient]:
    """Make clients whose connections are closed when the test ends."""
    async with AsyncExitStack() as stack:

        def make(token: str | None = "", *, of: str | None = None) -> Client:
            minted = relay.token(tenant=of or tenant, user_id=unique("user"), role="client")
            client = Client(relay, of or tenant, minted if token == "" else token)
            stack.push_async_callback(client.http.aclose)
            return client

        yield make


@pytest.fixture
def client(make_client: MakeClient) -> Client:
    """A client of the test's tenant."""
    return make_client()


@pytest.fixture
def figure(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Report a measured figure; figures are printed at the end and never asserted."""

    def report(text: str) -> None:
        record_property(FIGURE, text)

    return report


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say what this relay lacks, with the number of tests left out, and print the figures."""
    lacking: Counter[str] = Counter()
    for report in terminalreporter.stats.get("skipped", []):
        _, _, reason = report.longrepr if isinstance(report.longrepr, tuple) else ("", 0, "")
        if LACKS in reason:
            lacking[reason.partition(LACKS)[2]] += 1
    figures = [
        str(value)
        for outcome in ("passed", "failed")
        for report in terminalreporter.stats.get(outcome, [])
        for name, value in getattr(report, "user_properties", ())
        if name == FIGURE
    ]
    if not lacking and not figures:
        return
    terminalreporter.section("conformance")
    for line in figures:
        terminalreporter.write_line(line)
    for name, count in sorted(lacking.items()):
        terminalreporter.write_line(f"lacks {name} ({count} tests not run)")
