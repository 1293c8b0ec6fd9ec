"""The public URLs of an agent at this relay."""

from __future__ import annotations

from a2a_relay.core.address import Address


def base_path(address: Address) -> str:
    """The path of an agent's base, without a trailing slash. Names need no escaping (decision 11)."""
    return f"/t/{address.tenant}/a2a/{address.agent}"


def agent_urls(public_url: str, address: Address) -> dict[str, str]:
    """The URL of each binding. JSON-RPC ends in a slash and HTTP+JSON does not, as clients of each expect."""
    base = public_url.rstrip("/") + base_path(address)
    return {"JSONRPC": base + "/", "HTTP+JSON": base}
