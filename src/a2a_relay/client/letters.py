"""Letters, as their relay tells of them and as an operator orders."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import httpx

from a2a_relay.client.connection import QUICK_TIMEOUT, failures_in_words, refusal_of
from a2a_relay.client.directory import get_json
from a2a_relay.client.failures import ClientError

PAGE = 200


class LetterClient:
    """The letters of one tenant at one relay. Every method raises ClientError."""

    def __init__(self, http: httpx.Client, relay: str, tenant: str) -> None:
        self._http = http
        self._base = f"{relay}/t/{quote(tenant, safe='')}"

    def find(self, filter: Mapping[str, str], limit: int) -> dict[str, Any]:
        """Up to `limit` letters, the newest first, read page by page: `{letters, total}`."""
        found: list[Any] = []
        after: str | None = None
        while True:
            asked = {**filter, "limit": str(min(limit - len(found), PAGE)), **({"after": after} if after else {})}
            page = _object(get_json(self._http, f"{self._base}/letters?{httpx.QueryParams(asked)}"))
            letters, after = page.get("letters"), page.get("next")
            if not isinstance(letters, list) or not all(isinstance(letter, dict) for letter in letters):
                raise ClientError("the relay's list of letters cannot be read")
            found += letters
            if not letters or not isinstance(after, str) or len(found) >= limit:
                return {"letters": found[:limit], "total": page.get("total", len(found))}

    def show(self, id: str) -> dict[str, Any]:
        """One letter with its history."""
        return _object(get_json(self._http, f"{self._base}/letters/{quote(id, safe='')}"))

    def mailboxes(self) -> list[dict[str, Any]]:
        """The mailboxes that hold anything."""
        found = _object(get_json(self._http, f"{self._base}/mailboxes")).get("mailboxes")
        if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
            raise ClientError("the relay's list of mailboxes cannot be read")
        return found

    def redrive(self, filter: Mapping[str, str], reason: str, *, is_all: bool) -> int:
        """Queue dead and expired letters anew; how many."""
        return self._order("letters:redrive", {"filter": filter, "all": is_all, "reason": reason}, "redriven")

    def purge(self, filter: Mapping[str, str], reason: str, *, is_all: bool) -> int:
        """Remove letters that are not in delivery; how many."""
        return self._order("letters:purge", {"filter": filter, "all": is_all, "reason": reason}, "purged")

    def set_paused(self, agent: str, reason: str, *, is_paused: bool) -> None:
        """Hand out none of an agent's letters, or do so again."""
        verb = "pause" if is_paused else "resume"
        self._post(f"agents/{quote(agent, safe='')}/mailbox:{verb}", {"reason": reason})

    def _order(self, path: str, order: dict[str, Any], name: str) -> int:
        count = self._post(path, order).get(name)
        if not isinstance(count, int):
            raise ClientError("the relay did not say how many letters it has changed")
        return count

    def _post(self, path: str, document: dict[str, Any]) -> dict[str, Any]:
        url = f"{self._base}/{path}"
        with failures_in_words(url):
            response = self._http.post(url, json=document, timeout=QUICK_TIMEOUT)
        if not response.is_success:
            raise refusal_of(response)
        try:
            return _object(response.json())
        except (ValueError, RecursionError) as error:
            raise ClientError(f"{url} did not answer with JSON") from error


def _object(document: Any) -> dict[str, Any]:
    if not isinstance(document, dict):
        raise ClientError("the relay's answer cannot be read")
    return document
