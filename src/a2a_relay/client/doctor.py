"""What may be wrong between here, a relay and an agent: each check gives one finding with its mend."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping
from email.utils import parsedate_to_datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal, NamedTuple
from urllib.parse import urlsplit

import httpx
from websockets.exceptions import InvalidStatus, WebSocketException
from websockets.sync.client import connect

from a2a_relay.client import directory, tokens
from a2a_relay.client.address import Target, is_same_origin
from a2a_relay.client.calls import AgentClient, json_rpc_interfaces
from a2a_relay.client.connection import CONNECT_SECONDS, QUICK_TIMEOUT, failures_in_words, refusal_of, trust
from a2a_relay.client.credentials import NO_TOKEN
from a2a_relay.client.failures import ClientError, Speaker
from a2a_relay.settings import is_loopback

SKEW_WARN_SECONDS = 5
SKEW_FAIL_SECONDS = 60
"""A relay takes tokens within this leeway (decision 28)."""

HEAD_SECONDS = 3.0
"""The relay waits 2 s for a stream's first event before it sends the head (decision 18); one more for the way."""

HEARTBEAT_SECONDS = 1.0
GREETING = "Are you there? (relay doctor)"
UPGRADE_MEND = "let the proxy in front pass the Upgrade and Connection headers of /agent"
BUFFER_MEND = "something in between buffers: switch response buffering off (nginx: proxy_buffering off)"


class Level(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


class Finding(NamedTuple):
    """One check: what was found, and what mends it where it is not well."""

    check: str
    level: Level
    what: str
    mend: str = ""


class Patient(NamedTuple):
    """What is examined. `now` and `monotonic` give seconds."""

    http: httpx.Client
    relay: str
    token: str | None
    tenant: str | None
    target: Target | None
    ca: Path | None
    now: Callable[[], float]
    monotonic: Callable[[], float]
    sends_message: bool = True


def examine(patient: Patient) -> Iterator[Finding]:
    """All checks in their order; what cannot be checked because of an earlier finding is left out."""
    try:
        with failures_in_words(patient.relay):
            response = patient.http.get(f"{patient.relay}/health", timeout=QUICK_TIMEOUT)
    except ClientError as error:
        yield Finding("relay", Level.FAIL, error.message, "start it with `relay serve`, or give its --relay URL")
        return
    yield _relay(patient, response)
    yield _encryption(patient)
    yield _clock(response.headers.get("date"), patient.now())
    yield _web_socket(patient)
    token = _token(patient)
    yield token
    if token.level is Level.FAIL:
        return
    yield _agents(patient)
    if patient.target is not None:
        yield from _agent(patient, AgentClient(patient.http, patient.target.base))


def _relay(patient: Patient, response: httpx.Response) -> Finding:
    if response.status_code == httpx.codes.OK:
        return Finding("relay", Level.OK, f"{patient.relay} answers")
    return Finding(
        "relay", Level.FAIL, f"{response.url} answered HTTP {response.status_code}", "is this a relay's URL?"
    )


def _encryption(patient: Patient) -> Finding:
    parts = urlsplit(patient.relay)
    if parts.scheme == "https":
        return Finding("encryption", Level.OK, "TLS")
    if is_loopback(parts.hostname or ""):
        return Finding("encryption", Level.OK, "none, and none is needed on one machine")
    return Finding("encryption", Level.WARN, "tokens and messages cross the network in clear", "use an https:// URL")


def _clock(date: str | None, now: float) -> Finding:
    try:
        skew = abs(parsedate_to_datetime(date or "").timestamp() - now)
    except ValueError:
        return Finding(
            "clock", Level.WARN, "the relay does not say what time it is", "a proxy may drop the Date header"
        )
    what = f"the relay's clock and this one differ by {skew:.0f} s"
    if skew <= SKEW_WARN_SECONDS:
        return Finding("clock", Level.OK, what)
    level = Level.WARN if skew <= SKEW_FAIL_SECONDS else Level.FAIL
    return Finding("clock", level, what, "set both by NTP: tokens are valid by the relay's clock")


def _web_socket(patient: Patient) -> Finding:
    parts = urlsplit(patient.relay)
    url = "ws" + patient.relay.removeprefix("http") + "/agent"
    tls = trust(patient.ca) if parts.scheme == "https" else None
    proxy: Literal[True] | None = None if is_loopback(parts.hostname or "") else True
    try:
        with connect(url, ssl=tls, proxy=proxy, open_timeout=CONNECT_SECONDS, close_timeout=1):
            return Finding("websocket", Level.OK, f"{url} upgrades to a WebSocket")
    except InvalidStatus as error:
        what = f"{url} answered HTTP {error.response.status_code} instead of a WebSocket"
        return Finding("websocket", Level.FAIL, what, UPGRADE_MEND)
    except (OSError, TimeoutError, WebSocketException) as error:
        return Finding("websocket", Level.FAIL, f"{url} does not upgrade to a WebSocket: {error}", UPGRADE_MEND)


def _token(patient: Patient) -> Finding:
    if patient.token is None:
        return Finding("token", Level.FAIL, "no token", NO_TOKEN.partition(": ")[2])
    claims = tokens.claims_of(patient.token)
    what = "the token is no JWT" if claims is None else _described(claims, patient.now())
    try:
        info = directory.get_json(patient.http, f"{patient.relay}/")
    except ClientError as error:
        return Finding("token", Level.FAIL, f"{what}; the relay refuses it: {error}", "get a new one (`relay token`)")
    if isinstance(info, dict) and "tenant" not in info:
        return Finding("token", Level.WARN, f"{what}; the relay does not say whose it is", "is this a relay's URL?")
    return Finding("token", Level.OK, what)


def _described(claims: Mapping[str, Any], now: float) -> str:
    who = f"tenant {claims.get('tenant')}, role {claims.get('role') or 'none (may attach, send and read)'}"
    if claims.get("agent_id"):
        who += f", agent {claims['agent_id']}"
    expiry = claims.get("exp")
    if isinstance(expiry, int | float):
        left = expiry - now
        who += f", expires in {left / 60:.0f} min" if left > 0 else f", expired {-left / 60:.0f} min ago"
    return who


def _agents(patient: Patient) -> Finding:
    """Whether the agent in question is attached, or how many are."""
    target = patient.target
    tenant = target.tenant if target and target.tenant else patient.tenant
    if tenant is None:
        return Finding("agent", Level.WARN, "of which tenant is not known", "give --tenant")
    try:
        listed = directory.list_agents(patient.http, patient.relay, tenant)
    except ClientError as error:
        return Finding(
            "agent", Level.FAIL, f"the agents of {tenant} cannot be listed: {error}", "check the token's tenant"
        )
    states = {str(entry.get("id")): str(entry.get("state", "attached")) for entry in listed}
    if target is None or target.agent is None:
        attached = sum(state == "attached" for state in states.values())
        return Finding("agent", Level.OK, f"{attached} of {len(states)} agents of tenant {tenant} attached")
    state = states.get(target.agent)
    if state == "attached":
        return Finding("agent", Level.OK, f"{target.agent} is attached")
    if state == "paused":
        return Finding("agent", Level.FAIL, f"{target.agent} is paused", "start the agent behind the connector")
    if state is not None:
        return Finding("agent", Level.FAIL, f"{target.agent} is away", "start `relay connect` beside it")
    known = ", ".join(sorted(states)[:10]) or "none"
    return Finding("agent", Level.FAIL, f"there is no {target.agent} (known: {known})", "check the name and the tenant")


def _agent(patient: Patient, agent: AgentClient) -> Iterator[Finding]:
    """Checks of one agent: its card, a call, a stream."""
    try:
        card = agent.fetch_card()
    except ClientError as error:
        yield Finding("card", Level.FAIL, f"the card cannot be read: {error}", "check the agent's name")
        card = None
    else:
        yield _card(agent, card)
    agent.heed(card)
    agent.url = f"{agent.base}/"  # the URL in use is what is examined, whatever the card says
    call = _call(patient, agent)
    yield call
    capabilities = card.get("capabilities") if isinstance(card, dict) else None
    if call.level is not Level.FAIL and patient.sends_message:
        if isinstance(capabilities, dict) and capabilities.get("streaming") is True:
            yield _stream(patient, agent)
        else:
            yield Finding("stream", Level.OK, "the agent's card does not offer streaming")


def _card(agent: AgentClient, card: Any) -> Finding:
    if card is None:
        return Finding("card", Level.WARN, "the agent has published no card", "most clients need one to begin")
    urls = [url for url, _ in json_rpc_interfaces(card)]
    if not urls:
        return Finding("card", Level.WARN, "the card names no JSON-RPC interface", "check the agent's card")
    strange = [url for url in urls if url.rstrip("/") != agent.base]
    if not strange:
        return Finding("card", Level.OK, f"the card names the URL in use, {agent.url}")
    same_machine = _is_same(strange[0], agent.base)
    level = Level.OK if same_machine else Level.FAIL
    mend = "" if same_machine else "set the relay's public_url to the URL that clients use"
    return Finding("card", level, f"the card names {strange[0]}, in use is {agent.url}", mend)


def _is_same(url: str, base: str) -> bool:
    """Two names of this machine are as good as one."""
    try:
        return is_same_origin(url, base) and urlsplit(url).path.rstrip("/") == urlsplit(base).path
    except ClientError:
        return False


def _call(patient: Patient, agent: AgentClient) -> Finding:
    """Ask for a task that does not exist: the agent's refusal is a round trip that leaves no trace with it."""
    began = patient.monotonic()
    try:
        agent.get_task(f"relay-doctor-{uuid.uuid4().hex}")
    except ClientError as error:
        if error.said_by is not Speaker.AGENT:
            return Finding(
                "call", Level.FAIL, f"the call has failed: {error}", "see the connector's and the relay's logs"
            )
    took = (patient.monotonic() - began) * 1000
    return Finding("call", Level.OK, f"a call to the agent and back took {took:.0f} ms")


def _stream(patient: Patient, agent: AgentClient) -> Finding:
    began = patient.monotonic()
    try:
        with agent.open_stream(GREETING) as response:
            head = patient.monotonic() - began
            if not response.is_success:
                response.read()
                raise refusal_of(response)
            if not response.headers.get("content-type", "").startswith("text/event-stream"):
                return Finding("stream", Level.WARN, "the agent answered without a stream", "check the agent")
            next(response.iter_bytes(), b"")
            first = patient.monotonic() - began - head
    except ClientError as error:
        return Finding(
            "stream", Level.FAIL, f"the stream has failed: {error}", "see the connector's and the relay's logs"
        )
    if head > HEAD_SECONDS or first > HEARTBEAT_SECONDS:
        return Finding("stream", Level.FAIL, f"the first byte of a stream took {head + first:.1f} s", BUFFER_MEND)
    return Finding("stream", Level.OK, f"the first byte of a stream came after {(head + first) * 1000:.0f} ms")
