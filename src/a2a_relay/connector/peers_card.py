"""A peer's card as the peers door serves it: the same card, its interfaces pointing at the door."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from a2a_relay.a2a import jsonbytes
from a2a_relay.errors import Refused

_CARD_SUFFIXES = ("/.well-known/agent-card.json", "/.well-known/agent.json", "/extendedAgentCard", "/v1/card")


def is_card_path(path: str) -> bool:
    """Whether a path below an agent's base answers with a card."""
    return path.endswith(_CARD_SUFFIXES)


def rewrite(card: bytes, origins: frozenset[str], below: str, door: str) -> bytes:
    """The card with every interface under `below` (a path) of one of the relay's `origins` moved to the door.

    Interfaces that lead elsewhere are left out: the door is the only way. A signature does not survive that.
    """
    try:
        document = jsonbytes.value(card)
    except Refused:
        return card
    if not isinstance(document, dict):
        return card
    document.pop("signatures", None)
    for name in ("supportedInterfaces", "additionalInterfaces"):
        if isinstance(document.get(name), list):
            document[name] = [
                {**entry, "url": moved}
                for entry in document[name]
                if isinstance(entry, dict) and (moved := _moved(entry.get("url"), origins, below, door)) is not None
            ]
    if "url" in document:
        moved = _moved(document.pop("url"), origins, below, door)
        if moved is not None:
            document["url"] = moved
    return jsonbytes.dump(document)


def _moved(url: Any, origins: frozenset[str], below: str, door: str) -> str | None:
    if not isinstance(url, str):
        return None
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    if f"{parts.scheme}://{parts.netloc}" not in origins or below not in parts.path:
        return None
    return f"{door}/{parts.path.partition(below)[2]}"
