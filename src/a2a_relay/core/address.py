"""Names and addresses: `tenant/agent`."""

from __future__ import annotations

import re
from typing import NamedTuple

from a2a_relay.errors import Reason, Refused

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}", re.ASCII)
# Tokens of relay-go may carry any name; those are taken that no URL needs to escape
# (RFC 3986 unreserved), and never `.` or `..`. Names that this relay itself gives are narrower.
_LEGACY_NAME = re.compile(r"[A-Za-z0-9._~-]{1,128}", re.ASCII)


class Address(NamedTuple):
    """Where an agent is known: composite keys are tuples, so that no separator can be forged."""

    tenant: str
    agent: str

    def __str__(self) -> str:
        return f"{self.tenant}/{self.agent}"


def is_covered(address: Address, tenant: str, agent: str) -> bool:
    """Whether a rule for `tenant` and `agent` speaks of this address; `*` stands for any."""
    return tenant in ("*", address.tenant) and agent in ("*", address.agent)


def is_name(text: str) -> bool:
    """Whether `text` may be the name of something that this relay is asked to make (decision 11)."""
    return _NAME.fullmatch(text) is not None


def is_legacy_name(text: str) -> bool:
    """Whether `text` may come from a token of relay-go."""
    return _LEGACY_NAME.fullmatch(text) is not None and text.strip(".") != ""


def require_name(text: str, what: str) -> str:
    """`text`, when it may name a `what`. Raises UNAUTHENTICATED: names come from credentials."""
    if not is_legacy_name(text):
        raise Refused(Reason.UNAUTHENTICATED, f"the {what} in the token is not an acceptable name")
    return text
