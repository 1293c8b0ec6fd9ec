"""Where an agent's card comes from when it is not given as a value: the well-known places, a file, or a URL."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from a2a_relay.a2a import jsonbytes
from a2a_relay.connector.refused import ConnectorRefused
from a2a_relay.errors import Refused

WELL_KNOWN = ("/.well-known/agent-card.json", "/.well-known/agent.json")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class Fetcher(Protocol):
    """Gets cards over HTTP; None where there is none. Raises `UpstreamDown`."""

    async def fetch_card(self, target: str) -> bytes | None: ...

    async def fetch_card_at(self, url: str) -> bytes | None: ...


class CardSource(Protocol):
    """Finds the card, and shows on the way whether the agent is running. Raises `UpstreamDown` when it is not."""

    async def read(self, fetcher: Fetcher) -> bytes | None: ...


class WellKnown:
    """A2A 1.0.1 section 8.2 and 0.3.0 section 5.3; the second name is 0.2's."""

    async def read(self, fetcher: Fetcher) -> bytes | None:
        for target in WELL_KNOWN:
            card = await fetcher.fetch_card(target)
            if card is not None:
                return card
        return None


class GivenCard:
    """A card that the user has given as a value."""

    def __init__(self, card: bytes) -> None:
        self._card = card

    async def read(self, fetcher: Fetcher) -> bytes | None:
        await fetcher.fetch_card(WELL_KNOWN[0])
        return self._card


class CardFile:
    """A file, read again each time. Raises `ConnectorRefused` when it cannot be read."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)

    async def read(self, fetcher: Fetcher) -> bytes | None:
        card = self._load()
        await fetcher.fetch_card(WELL_KNOWN[0])
        return card

    def _load(self) -> bytes:
        try:
            data = self._path.read_bytes()
        except OSError as error:
            raise ConnectorRefused(f"the card {self._path} cannot be read: {error.strerror}") from error
        card = acceptable(data)
        if card is None:
            raise ConnectorRefused(f"the card {self._path} is not a JSON object")
        return card


class CardUrl:
    """A URL; the one address beside the upstream's own that is ever asked, because the user named it."""

    def __init__(self, url: str) -> None:
        self._url = url

    async def read(self, fetcher: Fetcher) -> bytes | None:
        await fetcher.fetch_card(WELL_KNOWN[0])
        return await fetcher.fetch_card_at(self._url)


def source(place: str) -> CardSource:
    """A source for what the user wrote: a URL or the path of a file."""
    return CardUrl(place) if place.startswith(("http://", "https://")) else CardFile(place)


def as_bytes(card: bytes | str | Mapping[str, Any]) -> bytes:
    """A card as the user holds it, as bytes. Raises `ConnectorRefused`."""
    if isinstance(card, Mapping):
        data = json.dumps(dict(card), ensure_ascii=False).encode("utf-8", "surrogatepass")
    else:
        data = card.encode() if isinstance(card, str) else bytes(card)
    found = acceptable(data)
    if found is None:
        raise ConnectorRefused("the agent card is not a JSON object")
    return found


def acceptable(data: bytes) -> bytes | None:
    """The card itself when it is a JSON object, with nothing around it; else None."""
    data = data.removeprefix(_BYTE_ORDER_MARK).strip()
    try:
        jsonbytes.check(data)
    except Refused:
        return None
    return data if data[:1] == b"{" else None
