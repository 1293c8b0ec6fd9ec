"""The keys of issuers, as far as they are here: fetched beside whoever asks, and kept."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from a2a_relay.auth.jwks import PublicKey, read_key_set
from a2a_relay.auth.jwks_fetch import FetchFailed
from a2a_relay.core.tenants import Issuer
from a2a_relay.errors import Reason, Refused

REFETCH_SECONDS = 60.0
"""A URL is asked no more often than this, whatever kids tokens name."""
FRESH_SECONDS = 600.0
"""Keys are used for so long without asking whether they have changed."""
STALE_SECONDS = 24 * 3600.0
"""Keys are used for so long when their issuer does not answer."""
MAX_FETCHES = 8
"""Fetches at a time: slow issuers of one tenant hold up few of another's."""


@dataclass(slots=True)
class _KeySet:
    """What is known of one URL. Instants are monotonic time."""

    keys: tuple[PublicKey, ...] | None = None
    fetched_at: float = -math.inf
    asked_at: float = -math.inf
    is_fetching: bool = False


class KeySets:
    """Answers at once from what is here; what is not is fetched, once for all who ask."""

    def __init__(
        self,
        fetch: Callable[[str], Awaitable[bytes]],
        monotonic: Callable[[], float],
        on_trouble: Callable[[str], None],
    ) -> None:
        """`fetch` gets what is at a URL, or raises FetchFailed."""
        self._fetch = fetch
        self._monotonic = monotonic
        self._on_trouble = on_trouble
        self._by_url: dict[str, _KeySet] = {}
        self._by_text: dict[str, tuple[PublicKey, ...]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._turns = asyncio.Semaphore(MAX_FETCHES)
        self.on_change: Callable[[], None] = _nothing
        """Called when keys have come or gone that somebody may rely on."""

    def load(self, issuers: Iterable[Issuer]) -> None:
        """These are the issuers now: fetch what is not here, forget all others. Call it on the running loop."""
        listed = list(issuers)
        urls = {issuer.jwks_url for issuer in listed if not issuer.jwks and issuer.jwks_url}
        texts = {issuer.jwks for issuer in listed}
        self._by_url = {url: self._by_url.get(url) or _KeySet() for url in urls}
        self._by_text = {text: keys for text, keys in self._by_text.items() if text in texts}
        for url in urls:
            if self._by_url[url].keys is None:
                self._ask(url)

    def keys(self, issuer: Issuer) -> tuple[PublicKey, ...] | None:
        """An issuer's keys, as far as they are here; None: they are not. What is old is asked for anew, beside this."""
        if issuer.jwks:
            return self._offline(issuer.jwks)
        known = self._by_url.setdefault(issuer.jwks_url, _KeySet())
        age = self._monotonic() - known.fetched_at
        if known.keys is None or age > FRESH_SECONDS:
            self._ask(issuer.jwks_url)
        return known.keys if age <= STALE_SECONDS else None

    def look_again(self, issuer: Issuer) -> bool:
        """A token names a key that is not here: ask for the keys anew, unless that was done just now.

        Whether an answer is on its way.
        """
        return not issuer.jwks and self._ask(issuer.jwks_url)

    def pending(self, issuer: Issuer) -> Refused:
        """Why a token cannot be verified yet, and when to come again."""
        waits = self._by_url[issuer.jwks_url].asked_at + REFETCH_SECONDS - self._monotonic()
        seconds = 1 if self._by_url[issuer.jwks_url].is_fetching else max(1, math.ceil(waits))
        return Refused(
            Reason.UNAUTHENTICATED, "the keys of the token's issuer are not here yet", retry_after_seconds=seconds
        )

    def _offline(self, text: str) -> tuple[PublicKey, ...]:
        found = self._by_text.get(text)
        if found is None:
            try:
                found = read_key_set(text.encode("utf-8", "replace"))
            except ValueError as error:
                self._on_trouble(f"the offline keys of an issuer cannot be read: {error}")
                found = ()
            self._by_text[text] = found
        return found

    def _ask(self, url: str) -> bool:
        known, now = self._by_url[url], self._monotonic()
        if known.is_fetching:
            return True
        if now - known.asked_at < REFETCH_SECONDS:
            return False
        known.asked_at, known.is_fetching = now, True
        task = asyncio.get_running_loop().create_task(self._renew(url, known))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return True

    async def _renew(self, url: str, known: _KeySet) -> None:
        before = known.keys
        try:
            async with self._turns:
                known.keys = read_key_set(await self._fetch(url))
            known.fetched_at = self._monotonic()
        except (FetchFailed, ValueError) as error:
            self._on_trouble(f"the keys at {url} could not be had: {error}")
        finally:
            known.is_fetching = False
        if before is not None and {key.digest for key in before} != {key.digest for key in known.keys or ()}:
            self.on_change()


def _nothing() -> None:
    """Nobody relies on them."""
