"""The agents of a tenant, as its relay lists them."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import httpx

from a2a_relay.client.connection import QUICK_TIMEOUT, failures_in_words, refusal_of
from a2a_relay.client.failures import ClientError


def list_agents(http: httpx.Client, relay: str, tenant: str) -> list[dict[str, Any]]:
    """All registered agents, each `{id, name, description, state, connected_at?, last_seen_at, card_url?}`.

    Raises ClientError.
    """
    found = get_json(http, f"{relay}/t/{quote(tenant, safe='')}/agents")
    if not isinstance(found, list):
        raise ClientError("the relay's list of agents cannot be read")
    return [entry for entry in found if isinstance(entry, dict)]


def forget_agent(http: httpx.Client, relay: str, tenant: str, agent: str) -> None:
    """Remove an agent that is away from the directory. Raises ClientError."""
    url = f"{relay}/t/{quote(tenant, safe='')}/agents/{quote(agent, safe='')}"
    with failures_in_words(url):
        response = http.delete(url, timeout=QUICK_TIMEOUT)
    if not response.is_success:
        raise refusal_of(response)


def register_agent(http: httpx.Client, relay: str, tenant: str, agent: str, card: Any = None) -> dict[str, Any]:
    """Make an agent known that has not attached yet, with a card if given: as it is listed. Raises ClientError."""
    url = f"{relay}/t/{quote(tenant, safe='')}/agents/{quote(agent, safe='')}"
    with failures_in_words(url):
        response = http.put(url, json={} if card is None else {"card": card}, timeout=QUICK_TIMEOUT)
    if not response.is_success:
        raise refusal_of(response)
    try:
        found = response.json()
    except (ValueError, RecursionError) as error:
        raise ClientError(f"{url} did not answer with JSON") from error
    return found if isinstance(found, dict) else {}


def get_json(http: httpx.Client, url: str) -> Any:
    """A JSON document of the relay. Raises ClientError."""
    with failures_in_words(url):
        response = http.get(url, timeout=QUICK_TIMEOUT)
    if not response.is_success:
        raise refusal_of(response)
    try:
        return response.json()
    except (ValueError, RecursionError) as error:
        raise ClientError(f"{url} did not answer with JSON") from error
