"""The kinds of agents that a schedule draws from."""

from __future__ import annotations

from typing import NamedTuple


class Kind(NamedTuple):
    """What an agent can."""

    name: str
    is_native: bool = True
    remembers: bool = False
    resumes: bool = False
    streams: bool = False
    is_idempotent: bool = False
    adopts: bool = False


KINDS = (
    Kind("remembering", remembers=True),
    Kind("resuming", remembers=True, resumes=True),
    Kind("remembering and streaming", remembers=True, streams=True),
    Kind("resuming and streaming", remembers=True, resumes=True, streams=True),
    Kind("native alone"),
    Kind("streaming alone", streams=True),
    Kind("idempotent", is_idempotent=True),
    Kind("idempotent and streaming", is_idempotent=True, streams=True),
    Kind("relay-go", is_native=False),
    Kind("adopting", remembers=True, adopts=True),
    Kind("adopting and streaming", remembers=True, streams=True, adopts=True),
)
