"""What goes back to an HTTP client, as a value."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from a2a_relay.a2a import jsonbytes, problems
from a2a_relay.errors import OverLimit, Quota, Reason, Refused

JSON = "application/json"

Headers = tuple[tuple[str, str], ...]


class Answer(NamedTuple):
    """A whole response."""

    status: int
    body: bytes
    media_type: str = JSON
    headers: Headers = ()


def json_answer(document: Any, status: int = 200, headers: Headers = ()) -> Answer:
    """A document that the relay made itself."""
    return Answer(status, jsonbytes.dump(document), JSON, headers)


def instant(seconds: float) -> str:
    """An instant in seconds since the epoch as RFC 3339 writes it, in UTC, to the millisecond."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def refusal_headers(refused: Refused) -> Headers:
    """The headers that belong to a refusal: the challenge, when to come back, what is allowed."""
    found: list[tuple[str, str]] = []
    if refused.reason is Reason.UNAUTHENTICATED:
        found.append(("www-authenticate", 'Bearer realm="a2a-relay"'))
    if refused.retry_after_seconds is not None:
        found.append(("retry-after", str(refused.retry_after_seconds)))
    if refused.reason is Reason.METHOD_NOT_ALLOWED and "allow" in refused.metadata:
        found.append(("allow", refused.metadata["allow"]))
    if isinstance(refused, OverLimit):
        found += _quota_headers(refused.quota, refused.retry_after_seconds or 0)
    return tuple(found)


def _quota_headers(quota: Quota, seconds: int) -> Headers:
    """A quota of which nothing is left for so many seconds, by draft-ietf-httpapi-ratelimit-headers-10."""
    if quota.window_seconds is None:
        policy = f'"{quota.name}";q={quota.amount};qu="concurrent-requests"'
        return (("ratelimit-policy", policy), ("ratelimit", f'"{quota.name}";r=0'))
    policy = f'"{quota.name}";q={quota.amount};w={quota.window_seconds}'
    return (("ratelimit-policy", policy), ("ratelimit", f'"{quota.name}";r=0;t={seconds}'))


def refusal(refused: Refused) -> Answer:
    """A refusal outside of any binding: relay-go's `{"error": "..."}` with the reason beside it."""
    document = {"error": refused.message, "reason": str(refused.reason), **_details(refused.metadata)}
    return json_answer(document, refused.ruling.http_status, refusal_headers(refused))


def rest_refusal(refused: Refused) -> Answer:
    """A refusal in HTTP+JSON."""
    return Answer(refused.ruling.http_status, problems.refusal_body(refused), JSON, refusal_headers(refused))


def _details(metadata: Mapping[str, str]) -> dict[str, Any]:
    return {"details": dict(metadata)} if metadata else {}
