"""What holds for the links of all agents, unless their tenant has settled otherwise."""

from __future__ import annotations

from typing import NamedTuple


class LinkRules(NamedTuple):
    """Second sessions (decision 7), and the ends of tokens (decision 28). Durations in seconds."""

    refuses_second_session: bool = False
    """Whether a live session keeps another instance of its agent out; else the newest wins."""
    takeover_hold_seconds: float = 30
    """How long letters are held back from a session that has taken another instance's place; 0: not at all."""
    is_expiry_strict: bool = False
    """Whether links end with their tokens even where their agents cannot renew them."""
