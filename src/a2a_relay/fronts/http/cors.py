"""Which web pages may read answers (the Fetch standard's CORS). Off unless origins are set.

Credentials here are headers that a page sends itself, never cookies: `Access-Control-Allow-Credentials` is not said.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from a2a_relay.core.target import read_target
from a2a_relay.fronts.http.answer import Answer, Headers
from a2a_relay.fronts.http.head import RequestHead

ANY = "*"
ALLOWED_HEADERS = (
    "A2A-Extensions, A2A-Relay-TTL, A2A-Relay-Timeout, A2A-Version, Authorization, Content-Type, Idempotency-Key,"
    " Last-Event-ID, Prefer, Traceparent, X-A2A-Extensions, X-Request-ID"
)
EXPOSED_HEADERS = (
    "A2A-Extensions, A2A-Relay-Stream, A2A-Version, Allow, ETag, RateLimit, RateLimit-Policy, Retry-After,"
    " WWW-Authenticate, X-A2A-Extensions, X-Request-ID"
)
MAX_AGE_SECONDS = 600
_VARY: Headers = (("vary", "Origin"),)


class Cors:
    """Answers preflight requests, and says which headers an answer to a page has."""

    def __init__(self, origins: Iterable[str]) -> None:
        """`origins` as browsers write them (`https://app.example`), or `*`."""
        self._origins = frozenset(origins)
        self._is_any = ANY in self._origins

    def headers(self, headers: Mapping[str, str]) -> Headers:
        """What belongs on the answer to a request with these headers."""
        allowed = self._allowed(headers.get("origin", ""))
        if not allowed:
            return () if self._is_any else _VARY
        found = (("access-control-allow-origin", allowed), ("access-control-expose-headers", EXPOSED_HEADERS))
        return found if self._is_any else found + _VARY

    def preflight(self, request: RequestHead, *, relay_elixir: bool) -> Answer | None:
        """The answer to a browser that asks first; None for any other request. Raises `Refused`, as its call would."""
        verb = request.headers.get("access-control-request-method")
        if request.verb != "OPTIONS" or verb is None or "origin" not in request.headers:
            return None
        route = read_target(verb, request.target, relay_elixir=relay_elixir)
        if not self._allowed(request.headers["origin"]):
            return Answer(204, b"")
        return Answer(
            204,
            b"",
            headers=(
                ("access-control-allow-methods", ", ".join(route.verbs)),
                ("access-control-allow-headers", ALLOWED_HEADERS),
                ("access-control-max-age", str(MAX_AGE_SECONDS)),
            ),
        )

    def _allowed(self, origin: str) -> str:
        if self._is_any:
            return ANY
        return origin if origin in self._origins else ""
