"""Ids that the relay makes (decision 22)."""

from __future__ import annotations

import secrets

from a2a_relay.a2a.spans import Spans
from a2a_relay.core.letter import ID_PREFIX


def new_id() -> str:
    """An id of a letter, a task or a context: 128 random bits."""
    return ID_PREFIX + secrets.token_hex(16)


def is_relays(id: str | None) -> bool:
    """Whether an id may be one of ours."""
    return id is not None and id.startswith(ID_PREFIX)


def names_relay(spans: Spans) -> bool:
    """Whether a call speaks of a task or a context that the relay made."""
    task_id, context_id, references, *_ = spans
    return is_relays(task_id) or is_relays(context_id) or any(map(is_relays, references))
