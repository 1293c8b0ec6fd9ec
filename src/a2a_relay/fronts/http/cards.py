"""Agent cards over HTTP: caching, conditional requests, who may see one."""

from __future__ import annotations

import hashlib
from email.utils import formatdate, parsedate_to_datetime

from a2a_relay.a2a import agent_card
from a2a_relay.core.urls import agent_urls
from a2a_relay.errors import Reason, Refused
from a2a_relay.fronts.http.answer import JSON, Answer
from a2a_relay.fronts.http.head import RequestHead
from a2a_relay.ports.directory import AgentRecord


def card_answer(
    request: RequestHead,
    record: AgentRecord,
    base_url: str,
    *,
    legacy_version: str,
    max_age_seconds: int,
    is_shared: bool,
) -> Answer:
    """The card of one agent, or 304. `is_shared` when any cache may keep it for anyone."""
    if record.agent_card is None:
        raise Refused(Reason.CARD_NOT_PUBLISHED)
    served = agent_card.served(
        record.agent_card,
        agent_urls(base_url, record.address),
        legacy_version=legacy_version,
        rest_v03=record.serves_rest_v03,
    )
    etag = f'"{hashlib.sha256(served.body).hexdigest()[:32]}"'
    visibility = "public" if is_shared else "private"
    headers = (
        ("etag", etag),
        ("last-modified", formatdate(record.card_changed_at, usegmt=True)),
        ("cache-control", f"{visibility}, max-age={max_age_seconds}"),
        *(() if is_shared else (("vary", "Authorization"),)),
    )
    if _is_fresh(request, etag, record.card_changed_at):
        return Answer(304, b"", JSON, headers)
    return Answer(200, served.body, JSON, headers)


def original_answer(record: AgentRecord) -> Answer:
    """The card as the agent sent it, for its tenant's admin only."""
    if record.agent_card is None:
        raise Refused(Reason.CARD_NOT_PUBLISHED)
    return Answer(200, record.agent_card, JSON, (("cache-control", "no-store"),))


def _is_fresh(request: RequestHead, etag: str, changed_at: float) -> bool:
    """RFC 9110 section 13.1: If-None-Match rules, If-Modified-Since only without it."""
    tags = request.headers.get("if-none-match")
    if tags is not None:
        return tags.strip() == "*" or etag in (tag.strip().removeprefix("W/") for tag in tags.split(","))
    since = request.headers.get("if-modified-since")
    if since is None:
        return False
    try:
        return parsedate_to_datetime(since).timestamp() >= int(changed_at)
    except (ValueError, TypeError):
        return False
