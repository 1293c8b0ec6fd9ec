"""What makes two records of one dialogue the same: ids, instants and addresses, which must differ, are named alike."""

from __future__ import annotations

import re
from typing import Any

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[.\d]*(?:Z|[+-]\d\d:\d\d)")


class _Names:
    """Numbers ids in the order in which they first appear."""

    def __init__(self, base_url: str) -> None:
        self._base_url = base_url.rstrip("/")
        self._seen: dict[str, str] = {}

    def _name(self, found: re.Match[str]) -> str:
        return self._seen.setdefault(found[0], f"<id {len(self._seen) + 1}>")

    def of(self, text: str) -> str:
        """The text with everything replaced that is this run's alone."""
        text = text.replace(self._base_url, "<base>")
        return _UUID.sub(self._name, _INSTANT.sub("<instant>", text))


def comparable(record: Any, base_url: str) -> Any:
    """A JSON value in which only what should be equal on both ways is left.

    `base_url` is the address at which the agent was reached.
    """
    return _walk(record, _Names(base_url))


def _walk(value: Any, names: _Names) -> Any:
    if isinstance(value, dict):
        return {names.of(key): _walk(item, names) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_walk(item, names) for item in value]
    return names.of(value) if isinstance(value, str) else value


RELAY_EXTENSION = "https://a2a-relay.dev/ext/relay/v1"
_SECURITY = {"securitySchemes", "securityRequirements", "security"}


def plain_card(card: dict[str, Any], *, is_relayed: bool) -> dict[str, Any]:
    """A card without what the relay adds to it (a relayed one must have that), and without empty security fields.

    0.3 names an agent's preferred interface in `url` and may or may not name it again among the others: it is
    left out there. A card of 0.3 alone says the same again in 1.0's words at the relay: that is left out, too.
    """
    capabilities = dict(card["capabilities"])
    extensions = capabilities.pop("extensions", [])
    assert [extension["uri"] for extension in extensions] == ([RELAY_EXTENSION] if is_relayed else []), extensions
    assert list(card.get("securitySchemes", {})) == (["relay"] if is_relayed else []), card["securitySchemes"]
    kept = {name: value for name, value in card.items() if name not in _SECURITY} | {"capabilities": capabilities}
    if "additionalInterfaces" in card:
        preferred = {"transport": card.get("preferredTransport", "JSONRPC"), "url": card["url"]}
        kept["additionalInterfaces"] = [other for other in card["additionalInterfaces"] if other != preferred]
        if is_relayed and {item["protocolVersion"] for item in card.get("supportedInterfaces", [])} == {"0.3"}:
            del kept["supportedInterfaces"]
    return kept


_BROKEN_OFF = ("Network communication error: peer closed connection", "terminated")
"""How the Python and the JavaScript clients say that an answer broke off."""


def forgiving_crashes(direct: Any, relayed: Any) -> tuple[Any, Any]:
    """Both records, where the agent broke off a stream without a word reduced to: there was an error.

    a2a-sdk does so for errors of 0.3 streams over HTTP+JSON. Through the relay the client must get an error there,
    too, and may get a better one.
    """
    if isinstance(direct, dict) and isinstance(relayed, dict):
        if any(sign in str(direct.get("message")) for sign in _BROKEN_OFF) and "message" in relayed:
            return "an error", "an error"
        pairs = {name: forgiving_crashes(direct[name], relayed[name]) for name in direct.keys() & relayed.keys()}
        return (
            direct | {name: pair[0] for name, pair in pairs.items()},
            relayed | {name: pair[1] for name, pair in pairs.items()},
        )
    if isinstance(direct, list) and isinstance(relayed, list) and len(direct) == len(relayed):
        both = [forgiving_crashes(*pair) for pair in zip(direct, relayed, strict=True)]
        return [pair[0] for pair in both], [pair[1] for pair in both]
    return direct, relayed
